"""Tells text from control functions, as a VT500 does and the page's emulator with it. Pure; never raises, keeps little.

Well-formed sequences are found by one regular expression. What it does not take, because it is cut off at the end of a
chunk or has other controls in its middle, goes through a state machine character by character, which remembers where
it stands. Strings (titles, links, clipboard, device control) are skipped.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Protocol

MAX_PARAMETER_TEXT = 256
MAX_INTERMEDIATES = 4

# Printable, control, CSI, ESC, OSC that ends, anything else. C1 controls are "\x80" to "\x9f".
_TOKEN = re.compile(
    r"([ -~\xa0-\U0010ffff]+)"
    r"|(\r\n|[\x00-\x17\x19\x1c-\x1f])"
    r"|\x1b\[([<-?]?)([0-9;:]{0,256}+)([ -/]{0,2}+)([@-~])"
    r"|\x1b([ -/]{0,2}+[0-OQ-WYZ\\`-~])"
    r"|\x1b\][^\x07\x18\x1a\x1b\x80-\x9f]*+(?:[\x07\x9c]|(?=\x1b))"
    r"|([\x18\x1a\x1b\x7f-\x9f])"
)
_STRING_END = re.compile(r"[\x18\x1a\x1b\x80-\x9f]")
_OSC_END = re.compile(r"[\x07\x18\x1a\x1b\x80-\x9f]")
_COMMENT_END = re.compile(r"[\x18\x1a\x1b\x80-\U0010ffff]")


class Acts(Protocol):
    """What the parser calls."""

    def printed(self, text: str) -> None:
        """Printable characters, at least one."""

    def controlled(self, control: str) -> None:
        """A C0 or C1 control, or "\\r\\n" for both in a row."""

    def escaped(self, function: str) -> None:
        """ESC with its intermediate and final characters."""

    def sequenced(self, function: str, parameters: str) -> None:
        """CSI: private marker, intermediate and final characters; the parameters as they came."""


class _State(Enum):
    GROUND = auto()
    ESCAPE = auto()
    CSI = auto()
    CSI_IGNORED = auto()
    OSC = auto()
    DCS_BEGIN = auto()
    DCS = auto()
    COMMENT = auto()
    """SOS, PM or APC."""


_ENDS = {_State.OSC: _OSC_END, _State.DCS: _STRING_END, _State.COMMENT: _COMMENT_END}
_C1_STARTS = {
    "\x1b": _State.ESCAPE,
    "\x90": _State.DCS_BEGIN,
    "\x98": _State.COMMENT,
    "\x9b": _State.CSI,
    "\x9d": _State.OSC,
    "\x9e": _State.COMMENT,
    "\x9f": _State.COMMENT,
}
_ESCAPE_STARTS = {
    "P": _State.DCS_BEGIN,
    "X": _State.COMMENT,
    "[": _State.CSI,
    "]": _State.OSC,
    "^": _State.COMMENT,
    "_": _State.COMMENT,
}


class Parser:
    def __init__(self, acts: Acts) -> None:
        self._acts = acts
        self._state = _State.GROUND
        self._marker = self._parameters = self._intermediates = ""

    def reset(self) -> None:
        self._state = _State.GROUND

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            at = self._fast(text, at) if self._state is _State.GROUND else self._slow(text, at)

    def _fast(self, text: str, start: int) -> int:
        """From between two sequences to the first one that is for `_slow`. Answers where that is, or the end."""
        printed, controlled, sequenced = self._acts.printed, self._acts.controlled, self._acts.sequenced
        for match in _TOKEN.finditer(text, start):
            kind = match.lastindex
            if kind == 1:
                printed(match[1])
            elif kind == 2:
                controlled(match[2])
            elif kind == 6:
                sequenced(match[3] + match[5] + match[6], match[4])
            elif kind == 7:
                self._acts.escaped(match[7])
            elif kind == 8:
                self._step(match[8])
                return match.start() + 1
            else:
                self._acts.escaped("\\")  # a string has ended
        return len(text)

    def _slow(self, text: str, at: int) -> int:
        while at < len(text) and self._state is not _State.GROUND:
            if end := _ENDS.get(self._state):
                found = end.search(text, at)
                if found is None:
                    return len(text)
                at = found.start()
            self._step(text[at])
            at += 1
        return at

    def _step(self, character: str) -> None:
        """One character; a control function that it completes is called."""
        if character in _C1_STARTS:
            self._state = _C1_STARTS[character]
            self._marker = self._parameters = self._intermediates = ""
        elif character in "\x18\x1a" or "\x80" <= character <= "\x9f":
            self._state = _State.GROUND
            self._acts.controlled(character)
        elif self._state in _ENDS:
            self._state = _State.GROUND  # BEL after OSC; a comment has no characters beyond ASCII
            self._acts.escaped("\\")
        elif character < " " and self._state is not _State.DCS_BEGIN:
            self._acts.controlled(character)
        elif character < " " or character == "\x7f":
            pass
        elif self._state is _State.CSI_IGNORED:
            if "@" <= character <= "~":
                self._state = _State.GROUND
        elif character > "\x7f":
            self._state = _State.GROUND
        elif self._state is _State.ESCAPE:
            self._step_escape(character)
        elif self._state is _State.CSI:
            self._step_csi(character)
        elif self._state is _State.DCS_BEGIN and character >= "@":
            self._state = _State.DCS

    def _step_escape(self, character: str) -> None:
        if character < "0":
            self._intermediates += character if len(self._intermediates) < MAX_INTERMEDIATES else ""
        elif not self._intermediates and character in _ESCAPE_STARTS:
            self._state = _ESCAPE_STARTS[character]
        else:
            self._state = _State.GROUND
            self._acts.escaped(self._intermediates + character)

    def _step_csi(self, character: str) -> None:
        if character >= "@":
            self._state = _State.GROUND
            self._acts.sequenced(self._marker + self._intermediates + character, self._parameters)
        elif character < "0":
            self._intermediates += character if len(self._intermediates) < MAX_INTERMEDIATES else ""
        elif self._intermediates or (character >= "<" and (self._marker or self._parameters)):
            self._state = _State.CSI_IGNORED
        elif character >= "<":
            self._marker = character
        elif len(self._parameters) < MAX_PARAMETER_TEXT:
            self._parameters += character
