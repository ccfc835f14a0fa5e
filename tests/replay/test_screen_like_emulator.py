"""The screen model against the page's own emulator: what is shown, the cursor, and a snapshot drawn by the emulator."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminals.replay.screen import Screen
from terminals.replay.snapshot import snapshot
from terminals.replay.widths import NOT_ONE, width
from tests.effort import MINUTES, examples
from tests.needs import require_program

from .emulator import Emulator, Step

pytestmark = pytest.mark.browser


def compare(emulator: Emulator, cols: int, rows: int, steps: list[Step], *, then: str = "") -> Screen:
    """`then` is fed to the model, and to the emulator after the snapshot: what is not seen must be there as well."""
    screen = Screen(cols, rows)
    for step in steps:
        if isinstance(step, str):
            screen.feed(step)
        else:
            screen.resize(*step)
    here, drawn, size = facts(screen), snapshot(screen), (screen.cols, screen.rows)
    screen.feed(then)
    fed, redrawn, gone_on = emulator.show(
        (cols, rows, steps),
        (*size, ["\x1b[5;7Hleft over\x1b[?6h\x1b[4h", drawn]),
        (*size, [drawn, then]),
    )
    assert fed == here
    assert redrawn == here
    assert gone_on == facts(screen)
    return screen


def without_quirks(text: str) -> str:
    """Without wrapping, the emulator leaves halves of wide characters behind in the last column; and the second of two
    marks, of which it had no room for the first, may land anywhere."""
    text = re.sub("([\u0301\u200d])[\u0301\u200d]+", r"\1", text)
    return re.sub("[\u0301\u200d漢字🎉]", "", text) if "?7l" in text else text


def facts(screen: Screen) -> dict[str, object]:
    return {"lines": screen.lines(), "x": screen.x, "y": screen.y, "is_alternate": screen.is_alternate}


def test_widths(emulator: Emulator) -> None:
    codes = [code for code in range(0xA0, 0x110000) if not 0xD800 <= code < 0xE000]
    ours = {ord(match[0]): width(match[0]) for match in NOT_ONE.finditer("".join(map(chr, codes)))}
    assert emulator.widths(codes[0], codes[-1] + 1) == ours


# Real programs


def capture(command: list[str], keys: list[bytes], *, cols: int = 80, rows: int = 24) -> str:
    """The output of a program in a pty, typed to whenever it is still for a moment, once it has begun."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", LANG="C.UTF-8", LC_ALL="C.UTF-8", HOME="/nonexistent", LESS="")
        os.execvp(command[0], command)
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
    output, waiting = b"", list(keys)
    try:
        while True:
            ready, _, _ = select.select([master], [], [], 0.5 if output else 30)
            if ready:
                output += os.read(master, 65536)
            elif waiting:
                os.write(master, waiting.pop(0))
            else:
                break
    except OSError:
        pass  # it has ended
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(master)
    return output.decode("utf-8", "replace")


PROGRAMS = {
    "vim": (["vim", "-u", "NONE", "-N", "FILE"], [b":set number\r", b"\x04", b"Gohello\x1b", b"kdd", b"/line 10\r"]),
    "less": (["less", "-R", "FILE"], [b" ", b"\x15", b"/line 77\r", b"G", b"k"]),
    "top": (["top", "-d", "1"], [b"h", b"\x1b"]),
    "htop": (["htop", "-d", "5"], [b"\x1b[B\x1b[B", b"t"]),
    "bash": (
        ["bash", "--norc", "-i"],
        [
            b"printf '\\e[31mred\\e[0m %s\\n' $(seq 100)\r",
            b"echo w\xc3\xa4re \xe6\xbc\xa2\xe5\xad\x97\x01\x02\r",
            b"\x1b[A",
        ],
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(emulator: Emulator, program: str, tmp_path: Path) -> None:
    require_program(program)
    file = tmp_path / "text"
    file.write_text("".join(f"line {n} \t漢字 e\u0301 \x1b[3{n % 8}mcolour\x1b[0m\n" for n in range(200)))
    command, keys = PROGRAMS[program]
    output = capture([str(file) if part == "FILE" else part for part in command], keys)
    assert len(output) > 200
    for part in range(1, 9):  # on the way as well, also in the middle of a sequence
        compare(emulator, 80, 24, [output[: len(output) * part // 8]])


# Sequences as they come

NUMBER = st.one_of(st.just(""), st.integers(0, 12).map(str), st.sampled_from(["24", "80", "99999"]))
CSI = st.builds(
    lambda numbers, final: f"\x1b[{';'.join(numbers)}{final}",
    st.lists(NUMBER, max_size=3),
    st.sampled_from("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu"),
)
PRIVATE = st.builds(
    lambda mode, final: f"\x1b[?{mode}{final}",
    st.sampled_from([2, 6, 7, 25, 47, 1047, 1048, 1049]),
    st.sampled_from("hl"),
)
MODES = st.builds(lambda mode, final: f"\x1b[{mode}{final}", st.sampled_from([4, 20]), st.sampled_from("hl"))
ESCAPES = st.sampled_from(
    [f"\x1b{final}" for final in ("7", "8", "D", "E", "H", "M", "c", "n", "o", "(0", "(B", ")0", "*A", "#8", "\\", "Z")]
)
CONTROLS = st.sampled_from(["\r\n", *"\r\n\b\t\v\f\x0e\x0f\x00\x07\x7f\x84\x85\x88"])
ODD = st.sampled_from(
    [
        "\x1b[!p",
        "\x1b[?J",
        "\x1b]0;title\x07",
        "\x1b]8;;https://example.org\x1b\\",
        "\x1bPq#0\x1b\\",
        "\x1b_comment\x1b\\",
        "\x1b[3\n1m",
        "\x1b[1\x18",
        "\x1b[<1;2;3M",
        "\x1b[1;2<H",
        "\x9b4C",
        "\x9d0;t\x9c",
        "\x1b(é",
        "\x1b[ 5C",
        "\x1b[38:2::1:2:3m",
        "\x1b[4:3;58;5;1m",
    ]
)
TEXT = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30),
    st.text(st.sampled_from("ab漢字🎉éx\u0301\u200d─"), min_size=1, max_size=12),
)
PIECE = st.one_of(TEXT, TEXT, CSI, PRIVATE, MODES, ESCAPES, CONTROLS, ODD)


@settings(max_examples=examples(150, 1000), deadline=None, derandomize=not MINUTES)
@given(
    pieces=st.lists(PIECE, max_size=40),
    size=st.tuples(st.integers(2, 30), st.integers(1, 8)),
    then=st.lists(PIECE, max_size=5),
)
def test_any_sequence(emulator: Emulator, pieces: list[str], size: tuple[int, int], then: list[str]) -> None:
    text, _, rest = without_quirks("|THEN|".join(("".join(pieces), "".join(then)))).partition("|THEN|")
    compare(emulator, *size, [text], then=f"\0{rest}")


@pytest.mark.parametrize("text", ["e", "\x1b[31me", "x" * 20, "漢", "x" * 18 + "漢", "\x1b[?6h\x1b[2;4ry"])
@pytest.mark.parametrize("then", ["\u0301", "\u0301\u0302", "\x1b[3b"])
def test_a_snapshot_between_a_character_and_its_mark(emulator: Emulator, text: str, then: str) -> None:
    compare(emulator, 20, 6, [text], then=then)


@settings(max_examples=examples(50, 1000), deadline=None, derandomize=not MINUTES)
@given(
    pieces=st.lists(st.one_of(PIECE, st.tuples(st.integers(2, 30), st.integers(2, 8))), max_size=30),
)
def test_any_sizes(emulator: Emulator, pieces: list[Step]) -> None:
    prefix = "?7l" if any("?7l" in piece for piece in pieces if isinstance(piece, str)) else ""
    pieces = [
        without_quirks(prefix + piece).removeprefix(prefix) if isinstance(piece, str) else piece for piece in pieces
    ]
    # A mark right after a new size joins whatever is before the cursor then, in the emulator: so none comes there.
    compare(emulator, 20, 6, [f"\0{piece}" if isinstance(piece, str) else piece for piece in pieces])
