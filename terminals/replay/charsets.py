"""The character sets of a terminal: which of four is in use, and what its characters look like. Pure."""

from __future__ import annotations

ASCII = "B"
_LINES = str.maketrans("`abcdefghijklmnopqrstuvwxyz{|}~", "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·")
_SETS = {"0": _LINES, "A": str.maketrans("#", "£"), ASCII: None}
"""DEC special graphics, British, ASCII; the national ones are taken for ASCII."""


class Charsets:
    """Sets are named by the final character of the sequence that designates them."""

    def __init__(self) -> None:
        self.slots = [ASCII] * 4
        self.level = 0
        self.current = ASCII
        """What is drawn with: after DECRC it may be another one than any slot has."""

    def lock(self, level: int) -> None:
        """Draw with this slot's from now on."""
        self.level = level
        self.current = self.slots[level]

    def designate(self, slot: int, name: str) -> None:
        self.slots[slot] = name if name in _SETS else ASCII
        if slot == self.level:
            self.current = self.slots[slot]

    def forget(self) -> None:
        """ASCII everywhere; the level stays."""
        self.slots, self.current = [ASCII] * 4, ASCII

    def translated(self, text: str) -> str:
        table = _SETS.get(self.current)
        return text if table is None else text.translate(table)
