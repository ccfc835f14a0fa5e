"""Why a terminal session is over: one value for the screen, the close code and the audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from terminals.protocol import Close


@dataclass(frozen=True, slots=True)
class End:
    reason: str
    """For people, on the screen and in the audit."""
    code: Close = Close.ENDED
    exit: dict[str, Any] | None = None
    """`{"status": 0}` or `{"signal": "TERM"}` where the program ended by itself."""
    retry_after_s: int | None = None
