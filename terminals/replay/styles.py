"""How a character looks: colours and attributes, as SGR (ECMA-48, xterm's ctlseqs) sets them. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

MAX_PARAMETERS = 32
"""Of one control sequence, as the page's emulator takes them; sub-parameters as well."""
MAX_VALUE = 0x7FFFFFFF

Parameter = tuple[int, tuple[int, ...]]
"""A parameter and its sub-parameters (after colons; -1 for an empty one)."""


class Style(NamedTuple):
    """Colours are SGR parameters ("31", "48;5;200", "48;2;1;2;3"), empty for the default."""

    foreground: str = ""
    background: str = ""
    flags: int = 0
    """Bit N is SGR N: 1 bold, 2 dim, 3 italic, 5 blink, 7 inverse, 8 invisible, 9 struck out, 53 overlined."""
    underline: int = 0
    """0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed."""
    underline_colour: str = ""


PLAIN = Style()
_FLAGS = (1, 2, 3, 5, 7, 8, 9, 53)
_ENDS = {22: (1, 2), 23: (3,), 25: (5,), 27: (7,), 28: (8,), 29: (9,), 55: (53,)}
_COLOURED = (38, 48, 58)
"""Of the foreground, the background, the underline."""


@lru_cache(4096)
def parameters(text: str) -> tuple[Parameter, ...]:
    """`1;38:2::1:2:3` as numbers; an empty parameter is 0."""
    return tuple(_parameter(part) for part in text.split(";")[:MAX_PARAMETERS])


def _parameter(text: str) -> Parameter:
    value, *subs = text.split(":")
    return _number(value, 0), tuple(_number(sub, -1) for sub in subs[:MAX_PARAMETERS])


def _number(text: str, default: int) -> int:
    return min(int(text), MAX_VALUE) if text else default


@lru_cache(4096)
def styled(style: Style, text: str) -> Style:
    """`style` after SGR with these parameters."""
    given = parameters(text)
    index = 0
    while index < len(given):
        value, subs = given[index]
        if value in _COLOURED:
            colour, taken = _colour(given, index)
            if colour:
                style = _coloured(style, value, colour)
            index += taken
        else:
            style = _changed(style, value, subs)
        index += 1
    return style


def _coloured(style: Style, target: int, colour: str) -> Style:
    match target:
        case 38:
            return style._replace(foreground=colour)
        case 48:
            return style._replace(background=colour)
    return style._replace(underline_colour=colour)


def _changed(style: Style, value: int, subs: tuple[int, ...]) -> Style:
    if value == 0:
        return PLAIN
    if value in _FLAGS:
        return style._replace(flags=style.flags | 1 << value)
    if value in _ENDS:
        return style._replace(flags=style.flags & ~sum(1 << flag for flag in _ENDS[value]))
    if 30 <= value <= 37 or 90 <= value <= 97:
        return style._replace(foreground=str(value))
    if 40 <= value <= 47 or 100 <= value <= 107:
        return style._replace(background=str(value))
    match value:
        case 4:
            kind = subs[0] if subs else 1
            return style._replace(underline=kind if 0 <= kind <= 5 else 1)
        case 21:
            return style._replace(underline=2)
        case 24:
            return style._replace(underline=0)
        case 39:
            return style._replace(foreground="")
        case 49:
            return style._replace(background="")
        case 59:
            return style._replace(underline_colour="")
    return style


def _colour(given: tuple[Parameter, ...], index: int) -> tuple[str, int]:
    """The colour that starts at `index`, empty where there is none, and how many further parameters it took.

    Both ways of writing are in use: `38;2;R;G;B` and `38:2:SPACE:R:G:B` (also without the space), likewise with 5.
    """
    target, subs = given[index]
    if subs:
        kind, values, taken = subs[0], subs[1:], 0
        if kind == 2 and len(values) > 3:
            values = values[1:]
    else:
        kind = given[index + 1][0] if index + 1 < len(given) else 0
        count = {2: 3, 5: 1}.get(kind, 0)
        values = tuple(value for value, _ in given[index + 2 : index + 2 + count])
        taken = min(1 + count, len(given) - index - 1)
    numbers = [max(value, 0) & 255 for value in values] + [0] * 3
    if kind == 5:
        return f"{target};5;{numbers[0]}", taken
    if kind == 2:
        return f"{target};2;{numbers[0]};{numbers[1]};{numbers[2]}", taken
    return "", taken


@lru_cache(4096)
def erased(style: Style) -> Style:
    """Of what is erased while `style` is set: its background stays."""
    return Style(background=style.background)


@lru_cache(4096)
def sequence(style: Style) -> str:
    """The control sequence that sets `style`, whatever was set before."""
    parts = ["0"]
    parts += [str(flag) for flag in _FLAGS if style.flags >> flag & 1]
    if style.underline:
        parts.append(f"4:{style.underline}")
    parts += [colour for colour in (style.foreground, style.background, style.underline_colour) if colour]
    return f"\x1b[{';'.join(parts)}m"
