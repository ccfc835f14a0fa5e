"""Text from strangers, made safe to show: one line, no control or direction characters, bounded."""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def is_printable(text: str) -> bool:
    """True when no character controls a terminal, a log line or the direction of writing."""
    return not any(unicodedata.category(char) in _UNSAFE for char in text)


def printable(text: str, limit: int) -> str:
    """`text` with every unsafe character shown as its code point, such as `<U+001B>`, cut to `limit` characters."""
    if not is_printable(text):
        text = "".join(f"<U+{ord(char):04X}>" if unicodedata.category(char) in _UNSAFE else char for char in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
