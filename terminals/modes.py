"""What a terminal emulator must know of output that it never gets: the modes that were set in it. Pure.

Where output is left out (the ring has moved on, an interrupt dropped it, a viewer was too slow), a program's alternate
screen, mouse or bracketed paste would be lost with it. `feed` reads all output for control sequences that set such
modes; `restore` says them again. Every so often it notes the modes at an offset between two sequences, a checkpoint,
from where output may be shown again. Colours are not followed: programs set these anew all the time.

Sequences: ECMA-48; private modes as xterm's ctlseqs has them.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

MAX_TITLE = 200
MAX_ARGUMENTS = 64
MAX_CARRY = 512
"""Longest sequence that may be split over two chunks; of a longer one the rest is taken for text."""

_ALTERNATE = frozenset((b"47", b"1047", b"1049"))
_MOUSE = frozenset((b"9", b"1000", b"1002", b"1003"))
_ON_BY_DEFAULT = frozenset((b"7", b"25"))
_PRIVATE = _MOUSE | {b"1", b"5", b"7", b"25", b"45", b"66", b"1004", b"1005", b"1006", b"1015", b"1016", b"2004"}
_ANSI = frozenset((b"4", b"20"))

_SEQUENCE = re.compile(
    rb"\x1b(?!\[[\d;]*+[mKHJABCD])"  # most sequences by far, colours above all: told apart early, they cost little
    rb"(?:\[(?P<kind>[?!]?)(?P<arguments>[\d;]*+)(?P<final>[hlrp]| q)"
    rb"|(?P<escape>[=>c])"
    rb"|\((?P<charset>[0A-Z])"
    rb"|\][02];(?P<title>[^\x07\x1b]{0,400}+)(?:\x07|\x1b\\))"
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|\()?\Z")


@dataclass(slots=True)
class State:
    """The modes at one offset of the output."""

    private: dict[bytes, bool] = field(default_factory=dict)
    """Only those that differ from the default."""
    ansi: frozenset[bytes] = frozenset()
    is_alternate: bool = False
    has_origin: bool = False
    region: bytes = b""
    cursor: bytes = b""
    keypad: bytes = b">"
    charset: bytes = b"B"
    title: bytes = b""

    def copy(self) -> State:
        return State(
            dict(self.private),
            self.ansi,
            self.is_alternate,
            self.has_origin,
            self.region,
            self.cursor,
            self.keypad,
            self.charset,
            self.title,
        )

    def restore(self) -> str:
        """The control sequences that bring any emulator, fresh or not, into this state."""
        # Off by 1047: 1049 would move the cursor of a normal screen. The program's own then goes to the last line.
        parts = [b"\x1b[999;1H\x1b[?1049h" if self.is_alternate else b"\x1b[?1047l"]
        # Region and origin mode move the cursor.
        parts.append(b"\x1b7\x1b[?6l\x1b[" + self.region + b"r" + (b"\x1b[?6h" if self.has_origin else b"") + b"\x1b8")
        modes = {mode: mode in _ON_BY_DEFAULT for mode in sorted(_PRIVATE, key=int)} | self.private
        # Off comes first: one kind of mouse report off is all of them off.
        parts += [b"\x1b[?%sl" % mode for mode, is_set in modes.items() if not is_set]
        parts += [b"\x1b[?%sh" % mode for mode, is_set in modes.items() if is_set]
        parts += [b"\x1b[%s%s" % (mode, b"h" if mode in self.ansi else b"l") for mode in sorted(_ANSI)]
        parts += [b"\x1b[%s q" % (self.cursor or b"0"), b"\x1b" + self.keypad, b"\x1b(" + self.charset]
        parts.append(b"\x1b]2;" + self.title + b"\x07")
        return b"".join(parts).decode("utf-8", "replace")


class Modes:
    """Follows one terminal's output, with a checkpoint every `checkpoint_every` bytes or little more."""

    def __init__(self, checkpoint_every: int) -> None:
        self._every = checkpoint_every
        self._state = State()
        self._head = 0
        self._carry = b""
        self._checkpoints: deque[tuple[int, State]] = deque([(0, State())])

    @property
    def is_alternate(self) -> bool:
        """Whether a program has the alternate screen now, which a changed size makes it draw anew."""
        return self._state.is_alternate

    def feed(self, data: bytes) -> None:
        """The next output bytes."""
        self._head += len(data)
        if self._carry or b"\x1b" in data:
            self._read(self._carry + data)
        due = self._checkpoints[-1][0] + self._every
        # Not within a sequence, nor within a character; a stream that is never between two has its modes all the same.
        if self._head >= due and ((not self._carry and data[-1] < 0x80) or self._head >= due + self._every):
            self._checkpoints.append((self._head, self._state.copy()))

    def forget_before(self, offset: int) -> None:
        """Checkpoints before `offset` are of no use any more; the newest stays."""
        while len(self._checkpoints) > 1 and self._checkpoints[0][0] < offset:
            self._checkpoints.popleft()

    def checkpoint(self, offset: int) -> tuple[int, str]:
        """The first checkpoint at or after `offset`, else the head: an offset, and what restores the modes there."""
        for at, state in self._checkpoints:
            if at >= offset:
                return at, state.restore()
        return self._head, self.restore()

    def restore(self) -> str:
        """The control sequences that bring an emulator into the modes at the head."""
        return self._state.restore()

    def _read(self, data: bytes) -> None:
        self._carry = b""
        for match in _SEQUENCE.finditer(data):
            self._take(match)
        if unfinished := _UNFINISHED.search(data, max(0, len(data) - MAX_CARRY)):
            self._carry = unfinished[0]

    def _take(self, match: re.Match[bytes]) -> None:
        state = self._state
        kind, arguments, final, escape, charset, title = match.groups()
        if final is not None:
            self._take_control(kind, arguments[:MAX_ARGUMENTS], final)
        elif charset is not None:
            state.charset = charset
        elif title is not None:
            state.title = title[:MAX_TITLE]
        elif escape == b"c":
            self._state = State()
        else:
            state.keypad = escape

    def _take_control(self, kind: bytes, arguments: bytes, final: bytes) -> None:
        """One control sequence, CSI `kind` `arguments` `final`."""
        state = self._state
        match kind, final:
            case b"?", b"h" | b"l":
                for mode in arguments.split(b";"):
                    self._set_private(mode, final == b"h")
            case b"", b"h" | b"l":
                chosen = frozenset(arguments.split(b";")) & _ANSI
                state.ansi = state.ansi | chosen if final == b"h" else state.ansi - chosen
            case b"", b"r":
                state.region = arguments
            case b"", b" q":
                state.cursor = arguments
            case b"!", b"p":
                self._state = State(is_alternate=state.is_alternate, title=state.title)

    def _set_private(self, mode: bytes, is_set: bool) -> None:
        state = self._state
        if mode in _ALTERNATE:
            state.is_alternate = is_set
        elif mode == b"6":
            state.has_origin = is_set
        elif mode in _MOUSE:
            for other in _MOUSE:
                state.private.pop(other, None)
            if is_set:
                state.private[mode] = True
        elif mode in _PRIVATE:
            if is_set == (mode in _ON_BY_DEFAULT):
                state.private.pop(mode, None)
            else:
                state.private[mode] = is_set
