"""The agent's lines for people, on stdout; flushed at once, so that `make run` and journals show them live."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

Say = Callable[[str], None]
MAX_REMEMBERED = 100


def say(line: str) -> None:
    """Prints one line. What comes from outside is made harmless for the terminal that shows it."""
    with suppress(OSError, ValueError):  # nobody reads any more, or not these letters: no reason to end the tunnel
        print("".join(letter if letter.isprintable() else "?" for letter in line), flush=True)


def once(say: Say) -> Say:
    """The same line again is not said: whoever knocks often does not fill the log."""
    said: set[str] = set()

    def tell(line: str) -> None:
        if line not in said:
            if len(said) >= MAX_REMEMBERED:
                said.clear()
            said.add(line)
            say(line)

    return tell


def complain(line: str) -> None:
    """The one line on stderr by which the program says why it stops."""
    print(f"brokerd-agent: {line}", file=sys.stderr, flush=True)
