"""How much a test does that could go on for ever: little in every run, and more where somebody wants to know."""

from __future__ import annotations

import os

MINUTES = float(os.environ.get("TEST_MINUTES", "0"))


def examples(usually: int, in_a_minute: int) -> int:
    """How many to draw at random. `TEST_MINUTES=10` makes it about ten minutes for each such test."""
    return int(MINUTES * in_a_minute) or usually
