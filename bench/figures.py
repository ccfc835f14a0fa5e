"""What was measured, as rows of a table: the median of each side's blocks, our ratio to the others, and the aim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any

OURS, STOCK, TTYD = "brokerd", "ssh -J", "ttyd"


@dataclass(slots=True)
class Figure:
    name: str
    unit: str
    aim: str = ""
    """For people; issue 3, section "Bench and soak"."""
    most: float | None = None
    """Largest ratio (brokerd / ssh -J) that meets the aim, or the largest value of ours where it `is_absolute`."""
    least: float | None = None
    """Smallest ratio that meets it."""
    is_absolute: bool = False
    """The aim is about our own value; what stands beside it is for comparison."""
    blocks: dict[str, list[float]] = field(default_factory=dict)
    """Of each side, one value for each block."""

    def add(self, side: str, value: float) -> None:
        self.blocks.setdefault(side, []).append(value)

    def middle(self, side: str) -> float | None:
        return median(self.blocks[side]) if side in self.blocks else None

    def ratio(self, side: str = STOCK) -> float | None:
        ours, theirs = self.middle(OURS), self.middle(side)
        return ours / theirs if ours is not None and theirs else None

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        value = self.middle(OURS) if self.is_absolute else self.ratio()
        if value is None or (self.most is None and self.least is None):
            return None
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio(), "is_met": self.is_met}


def percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def table(figures: Iterable[Figure], sides: Sequence[str]) -> str:
    """One row a figure; `sides` are those that took part, ours first."""
    rows = [("", OURS, *(text for side in sides[1:] for text in (side, "ratio")), "aim", "")]
    rows += [_row(figure, sides) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(max(lines, key=len)), *lines[1:]])


def _row(figure: Figure, sides: Sequence[str]) -> tuple[str, ...]:
    others = [text for side in sides[1:] for text in (_shown(figure.middle(side)), _shown(figure.ratio(side)))]
    verdict = {True: "met", False: "short", None: ""}[figure.is_met]
    return f"{figure.name}, {figure.unit}", _shown(figure.middle(OURS)), *others, figure.aim, verdict


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Numbers to the right."""
    numbers = range(1, len(row) - 2)
    return [
        text.rjust(width) if column in numbers else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
