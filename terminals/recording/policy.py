"""What happens to a terminal that cannot be recorded. Pure."""

from __future__ import annotations

from enum import StrEnum


class Policy(StrEnum):
    REQUIRED = "required"
    """It does not open, or ends."""
    BEST_EFFORT = "best-effort"
    """It goes on, with a gap in its recording that everybody is told of."""
    OFF = "off"
    """Nothing is recorded."""
