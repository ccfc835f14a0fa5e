"""What was measured, as rows of a table: the median of each side's blocks, their ratio, and the aim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median, quantiles
from typing import Any


@dataclass(slots=True)
class Figure:
    name: str
    unit: str
    aim: str = ""
    """For people; issue 2, section "Bench"."""
    most: float | None = None
    """Largest ratio (ours / stock) that meets the aim, or the largest value where there is no stock side."""
    least: float | None = None
    """Smallest ratio that meets it."""
    ours: list[float] = field(default_factory=list)
    """One value for each block."""
    stock: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float | None:
        return median(self.ours) / median(self.stock) if self.ours and self.stock and median(self.stock) else None

    @property
    def is_met(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        value = self.ratio if self.stock else median(self.ours) if self.ours else None
        if value is None or (self.most is None and self.least is None):
            return None
        return (self.most is None or value <= self.most) and (self.least is None or value >= self.least)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "is_met": self.is_met}


def percentile(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def table(figures: Iterable[Figure]) -> str:
    rows = [("", "brokerd", "ssh -J", "ratio", "aim", "")]
    rows += [_row(figure) for figure in figures]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(max(lines, key=len)), *lines[1:]])


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = f"{figure.ratio:.2f}" if figure.ratio is not None else "-"
    verdict = {True: "met", False: "short", None: ""}[figure.is_met]
    return f"{figure.name}, {figure.unit}", _shown(figure.ours), _shown(figure.stock), ratio, figure.aim, verdict


def _shown(values: Sequence[float]) -> str:
    if not values:
        return "-"
    value = median(values)
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.rjust(width) if column in (1, 2, 3) else text.ljust(width)
        for column, (text, width) in enumerate(zip(row, widths, strict=True))
    ]
