"""Programs through a reload and in another tab, and what they send and take, in Chromium with a real host."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import RESULTS
from tests.browser.desk import Desk, Terminal
from tests.needs import require_program
from tests.story.broker import until
from tests.story.machine import Machine

pytestmark = [pytest.mark.browser, pytest.mark.sshd]
RING = 2 * 1024 * 1024
CONTROLS = {0x7F, 0x9B}
PASTE = "".join(f"{number:07d} grüße, {number * 7919 % 10007}\n" for number in range(50_000))


def steady(text: str) -> str:
    """A screen without what changes by itself: figures, bars, and processes that come and go."""
    return re.sub(r"\d", "#", text)


def comes_back(terminal: Terminal, before: str, seen: Callable[[str], object] = steady) -> None:
    terminal.wait(lambda: seen(terminal.text) == seen(before), "the screen is as before")


def reloaded_and_moved(desk: Desk, terminal: Terminal, seen: Callable[[str], object] = steady) -> Terminal:
    """The same terminal in another tab, after a reload; its screen was right both times."""
    before = terminal.still() if seen is steady else terminal.text
    terminal.page.reload()
    terminal.is_state("live")
    comes_back(terminal, before, seen)
    other = desk.again(terminal)
    comes_back(other, before, seen)
    terminal.page.close()
    return other


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "lines"
    path.write_text("".join(f"line {number} of 500\n" for number in range(1, 501)))
    return path


def test_vim(desk: Desk, lines: Path) -> None:
    require_program("vim")
    with desk.context() as context:
        terminal = desk.open(context)
        terminal.run("echo before vi''m")
        terminal.run(f"vim -u NONE -N --cmd 'set ruler' {lines}")
        terminal.shows("line 2 of 500")
        terminal.type("100Gzt")
        terminal.wait(lambda: terminal.lines[0] == "line 100 of 500", "line 100 at the top")
        terminal = reloaded_and_moved(desk, terminal)
        assert terminal.lines[0] == "line 100 of 500"
        # Now more than the ring holds, so that the switch to the alternate screen is not in it any more.
        terminal.type(":for i in range(6000) | redraw! | endfor\n:echo 'dra'.'wn'\n")
        terminal.shows("drawn")
        until(lambda: newest_session(desk)["bytes_out"] > RING, "more than the ring holds")
        terminal.press("Control+L")
        terminal.wait(lambda: "drawn" not in terminal.text, "vim lets go of its message, as it does when it is resized")
        terminal = reloaded_and_moved(desk, terminal)
        terminal.type("Onew words")
        terminal.press("Escape")
        terminal.wait(lambda: terminal.lines[0] == "new words", "what was typed")
        terminal.type(":wq\n")
        terminal.at_prompt()
        assert "line 101 of 500" not in terminal.text, "the normal screen is back"
        assert lines.read_text().split("\n")[99] == "new words"


def newest_session(desk: Desk) -> dict[str, Any]:
    [newest, *_] = desk.broker.api("GET", "/sessions?live=1", person="auditor")["items"]
    return newest


def test_less(desk: Desk, lines: Path) -> None:
    require_program("less")
    with desk.context() as context:
        terminal = desk.open(context)
        terminal.run(f"less -S {lines}")
        terminal.shows("line 2 of 500")
        terminal.type("200g")
        terminal.wait(lambda: terminal.lines[0] == "line 200 of 500", "line 200 at the top")
        terminal = reloaded_and_moved(desk, terminal)
        terminal.type("G")
        terminal.shows("line 500 of 500")
        terminal.type("q")
        terminal.at_prompt()


def test_htop(desk: Desk) -> None:
    """Its figures and processes change: what stays is the place of the header, of the menu, and that it takes keys."""
    require_program("htop")

    def parts(text: str) -> list[tuple[int, str]]:
        found = [(row, word) for row, line in enumerate(text.split("\n")) for word in re.findall(r"PID|F10Quit", line)]
        assert len(found) <= 2, text
        return found

    with desk.context() as context:
        terminal = desk.open(context)
        terminal.run("htop -d 50")
        terminal.shows("F10Quit")
        terminal.still()
        assert len(parts(terminal.text)) == 2
        terminal = reloaded_and_moved(desk, terminal, parts)
        terminal.shows("Load average")
        terminal.type("h")
        terminal.shows("Released under the GNU")
        terminal.press("Escape")
        terminal.shows("F10Quit")
        terminal.type("q")
        terminal.at_prompt()


def test_mc(desk: Desk, lines: Path) -> None:
    require_program("mc")
    with desk.context() as context:
        terminal = desk.open(context)
        terminal.run(f"mc --nosubshell {lines.parent} {lines.parent}")
        terminal.shows("10Quit")
        terminal = reloaded_and_moved(desk, terminal)
        assert "┌" in terminal.text and "│" in terminal.text
        terminal.type("echo $((6 * 7)) is the ans''wer > told\n")
        told = lines.parent / "told"
        terminal.wait(lambda: told.exists() and told.read_text() == "42 is the answer\n", "the command has run")
        terminal.shows("told")
        terminal.press("F10")
        terminal.at_prompt()


def test_two_browsers_of_one_person(desk: Desk) -> None:
    """The newer one drives; the older is told, and can take back."""
    with desk.context() as one, desk.context() as two:
        first = desk.open(one)
        first.run("echo from the fir''st")
        first.shows("from the first")
        second = desk.again(first, two)
        second.shows("from the first")
        first.is_state("ended")
        first.page.get_by_text("now used from another window").wait_for()
        second.run("echo from the sec''ond")
        second.shows("from the second")
        assert "from the second" not in first.text

        first.page.get_by_role("button", name="Take back").click()
        first.is_state("live")
        first.shows("from the second")
        second.is_state("ended")
        second.page.get_by_text("now used from another window").wait_for()
        first.run("echo taken ba''ck")
        first.shows("taken back")


def test_ctrl_c_under_a_flood(desk: Desk) -> None:
    """The prompt comes back each time; where the page was behind, a line says how much was left out."""
    with desk.context() as context:
        terminal = desk.open(context)
        # Slow, so that the host gets far ahead of the page.
        context.new_cdp_session(terminal.page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
        assert any(interrupts(terminal, number) for number in range(6))
        terminal.page.screenshot(path=RESULTS / "gap.png")
        terminal.run("echo $((6 * 7))")
        terminal.shows("42")


def interrupts(terminal: Terminal, number: int) -> bool:
    """Whether a gap was marked."""
    terminal.run(f"clear; yes flood {number}")
    terminal.wait(lambda: f"flood {number}\nflood {number}\n" in terminal.text, "a flood")
    terminal.page.wait_for_timeout(300)
    terminal.press("Control+C")
    terminal.at_prompt()
    return re.search(r"[\d.]+ [KM]iB of output left out: interrupted", terminal.text) is not None


def test_a_megabyte_from_the_clipboard(desk: Desk, tmp_path: Path) -> None:
    """Byte for byte but for the line ends, which are those of the Enter key."""
    expected = PASTE.replace("\n", "\r").encode()
    assert len(expected) > 1_000_000
    with desk.context() as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.broker.url)
        terminal = desk.open(context)
        terminal.run(f"stty raw -echo; echo re''ady; head -c {len(expected)} | sha256sum; stty sane")
        terminal.shows("ready")
        terminal.page.evaluate("text => navigator.clipboard.writeText(text)", PASTE)
        terminal.press("Control+Shift+V")
        terminal.page.locator("#paste[open]").get_by_role("button", name="Paste").click()
        terminal.shows(hashlib.sha256(expected).hexdigest()[:60])
        terminal.at_prompt()


def test_what_is_shown(desk: Desk, tmp_path: Path) -> None:
    """Invalid UTF-8, wide, combining and emoji characters take the columns that the host's C library gives them."""
    text, noise, script, places = (tmp_path / name for name in ("text", "noise", "script", "places"))
    text.write_bytes(
        "wide 漢字カナ한글|\r\ncombining e\u0301a\u0308n\u0303|\r\nemoji 🚀😀|\r\n".encode()
        + b"invalid \xff\xfe \xc3\x28 \xed\xa0\x80 \xf0\x9f|\r\n"
    )
    script.write_text(
        f"stty -echo; clear; cat {text}\n"
        "for part in 漢字カナ e\u0301a\u0308 🚀😀; do\n"
        f'printf "$part\\033[6n"; IFS= read -rs -d R place; echo "${{place#*;}}" >> {places}; echo\n'
        "done; stty echo; echo do''ne\n"
    )
    noise.write_bytes(bytes(byte for byte in random.Random(3).randbytes(3000) if byte >= 0x20 and byte not in CONTROLS))
    with desk.context() as context:
        terminal = desk.open(context)
        terminal.run(f"bash {script}")
        terminal.shows("done")
        assert "wide 漢字カナ한글|" in terminal.text
        assert "combining e\u0301a\u0308n\u0303|" in terminal.text
        assert "emoji 🚀😀|" in terminal.text
        assert "invalid  (  |" in terminal.text, "xterm.js leaves out what is invalid, and only that"
        assert places.read_text().split() == ["9", "3", "5"]
        # Noise breaks nothing: the shell is there afterwards, and its screen can be cleared.
        terminal.run(f"cat {noise}; reset; echo $((6 * 7)) still here")
        terminal.shows("42 still here")


def test_24_bit_colour(desk: Desk, web1: Machine) -> None:
    with desk.context() as context:
        terminal = desk.open(context)
        terminal.run("clear; printf '\\033[48;2;18;52;86m%60s\\033[0m\\n\\n' ' '; echo do''ne")
        terminal.shows("done")
        terminal.still()
        until(lambda: (18, 52, 86) in pixels(terminal), "the colour is drawn")


def pixels(terminal: Terminal) -> set[tuple[int, int, int]]:
    """Colours of the picture of the page, decoded by the browser itself in a page of its own."""
    page = terminal.page.context.new_page()
    picture = list(terminal.page.screenshot())
    found = page.evaluate(
        """async (bytes) => {
            const image = await createImageBitmap(new Blob([new Uint8Array(bytes)], { type: "image/png" }));
            const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
            canvas.drawImage(image, 0, 0);
            const { data } = canvas.getImageData(0, 0, image.width, image.height);
            const seen = new Set();
            for (let at = 0; at < data.length; at += 4) seen.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
            return [...seen];
        }""",
        picture,
    )
    page.close()
    return {tuple(map(int, colour.split(","))) for colour in found}
