"""The terminal's size and modes, as RFC 4254 sections 6.2, 6.7 and 8 carry them, set on a pty."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Mapping
from contextlib import suppress

from asyncssh import constants

IFLAG, OFLAG, CFLAG, LFLAG, CHARACTERS = 0, 1, 2, 3, 6
NO_CHARACTER = 255
_CHARACTERS = ("VINTR", "VQUIT", "VERASE", "VKILL", "VEOF", "VEOL", "VEOL2", "VSTART", "VSTOP", "VSUSP")
_FLAGS = {
    IFLAG: ("IGNPAR", "PARMRK", "INPCK", "ISTRIP", "INLCR", "IGNCR", "ICRNL", "IXON", "IXANY", "IXOFF", "IMAXBEL"),
    LFLAG: ("ISIG", "ICANON", "ECHO", "ECHOE", "ECHOK", "ECHONL", "NOFLSH", "TOSTOP", "IEXTEN", "ECHOCTL", "ECHOKE"),
    OFLAG: ("OPOST", "ONLCR", "OCRNL", "ONOCR", "ONLRET"),
}
IUTF8 = getattr(termios, "IUTF8", 0o40000)


def _numbers(names: tuple[str, ...]) -> dict[int, int]:
    """Opcode -> this system's constant, for those names that both know."""
    pairs = ((getattr(constants, f"PTY_{name}", None), getattr(termios, name, None)) for name in names)
    return {opcode: number for opcode, number in pairs if opcode is not None and number is not None}


CHARACTER_NUMBERS = _numbers(_CHARACTERS) | {
    constants.PTY_VREPRINT: termios.VREPRINT,
    constants.PTY_WERASE: termios.VWERASE,
    constants.PTY_VLNEXT: termios.VLNEXT,
}
FLAG_BITS = {place: _numbers(names) for place, names in _FLAGS.items()}
FLAG_BITS[IFLAG][constants.PTY_IUTF8] = IUTF8


def set_size(descriptor: int, size: tuple[int, int, int, int]) -> None:
    """Columns, rows, and both in pixels; 0 means unknown. The kernel tells the foreground programs by SIGWINCH."""
    columns, rows, width, height = (min(number, 0xFFFF) for number in size)
    with suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, width, height))


def set_modes(descriptor: int, modes: Mapping[int, int]) -> None:
    """What the client asked for; what it does not name keeps the kernel's default, except that text is UTF-8."""
    attributes = termios.tcgetattr(descriptor)
    attributes[IFLAG] |= IUTF8
    for place, bits in FLAG_BITS.items():
        for opcode, bit in bits.items():
            if opcode in modes:
                attributes[place] = attributes[place] | bit if modes[opcode] else attributes[place] & ~bit
    for opcode, number in CHARACTER_NUMBERS.items():
        if opcode in modes:
            value = modes[opcode]
            attributes[CHARACTERS][number] = bytes([0 if value == NO_CHARACTER else value & 0xFF])
    termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
