"""How often one address may show secrets that need no login beside them."""

from __future__ import annotations

import time

from tunnels.errors import TooMany
from tunnels.throttle import Throttle

shown = Throttle(burst=60, refill_s=0.2)
"""Keys and admissions. A browser that waits for an answer comes once a second; several may sit behind one address."""
asked = Throttle(burst=20, refill_s=3)
"""Links."""


def check_guessing(address: str) -> None:
    """TooMany when this address has shown keys or admissions too often."""
    _check(shown, address)


def check_asking(address: str) -> None:
    """TooMany when this address has come by links too often."""
    _check(asked, address)


def _check(throttle: Throttle, address: str) -> None:
    if wait_s := throttle.take(address, time.monotonic()):
        raise TooMany("too many attempts from your address", wait_s)
