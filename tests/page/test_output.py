"""Output: acknowledged as it is parsed, never beyond; replays type nothing; hostile output does nothing."""

from __future__ import annotations

import base64

import pytest

from .conftest import Terminal
from .fake_broker import WINDOW_BYTES, Session, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUERIES = b"\x1b[c\x1b[6n\x1b[>c"


async def test_a_flood_keeps_flowing_within_the_window(terminal: Terminal) -> None:
    session = await terminal.open()
    flood = b"".join(b"line %06d of the flood that must not stall\r\n" % number for number in range(40_000))
    await session.flood(flood)
    await terminal.shows("line 039999")
    # The fake broker notes an ack beyond what was sent, or one that goes back, as a violation.
    await wait_until(lambda: session.ack_log[-1] == len(session.output), "all of it acknowledged")
    gaps = [after - before for before, after in zip([0, *session.ack_log], session.ack_log, strict=False)]
    assert max(gaps) <= WINDOW_BYTES


async def test_a_replay_types_nothing_and_later_queries_are_answered(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"old" + QUERIES + b" end of old\r\n")
    await terminal.shows("end of old")
    await wait_until(lambda: b"\x1b[>" in session.typed and session.typed.endswith(b"c"), "answers to fresh queries")
    before = bytes(session.typed)

    await terminal.page.reload()
    await terminal.is_state("live")
    await terminal.shows("end of old")
    await wait_until(lambda: session.socket and session.socket.acked == len(session.output), "the replay parsed")
    assert bytes(session.typed) == before, "a reply to an old query was typed"

    session.print(b"\x1b[6n")
    await wait_until(lambda: len(session.typed) > len(before), "an answer after the replay")


async def test_a_gap_is_visible_amid_the_output(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"before")
    await terminal.shows("before")
    start = len(session.output)
    session.output += b"x" * 2048
    session.socket.sent = len(session.output)
    session.socket.send({"type": "gap", "from": start, "to": start + 2048, "reason": "slow"})
    session.print(b"after")
    await terminal.shows("2 KiB of output left out: this browser was too slow")
    await terminal.shows("after")


async def test_titles_are_plain_text(terminal: Terminal) -> None:
    session = await terminal.open()
    assert await terminal.page.title() == "web1"
    session.print("\x1b]2;<b>vim</b> \u202etxt.exe\x07shown".encode())
    await terminal.shows("shown")
    assert await terminal.page.title() == "web1 · <b>vim</b> txt.exe"


async def test_the_clipboard_is_out_of_reach_of_output(terminal: Terminal) -> None:
    session = await terminal.open()
    await terminal.page.evaluate("navigator.clipboard.writeText('mine')")
    session.print(b"\x1b]52;c;c3RvbGVu\x07\x1b]52;c;?\x07shown")
    await terminal.shows("shown")
    await wait_until(lambda: session.socket.acked == len(session.output), "all parsed")
    assert await terminal.page.evaluate("navigator.clipboard.readText()") == "mine"
    assert b"52;" not in session.typed


async def first_line(terminal: Terminal) -> tuple[float, float]:
    """A place on the third character or so of the first line."""
    box = await terminal.page.locator(".xterm-screen").bounding_box()
    assert box
    return box["x"] + 24, box["y"] + 8


@pytest.mark.parametrize("target", ["javascript:alert(1)", "file:///etc/passwd", "data:text/html,x"])
async def test_only_web_links_are_followed(terminal: Terminal, target: str) -> None:
    session = await terminal.open()
    session.print(f"\x1b]8;;{target}\x1b\\click here\x1b]8;;\x1b\\ end".encode())
    await terminal.shows("click here")
    await terminal.page.mouse.click(*await first_line(terminal))
    await terminal.page.keyboard.type("x")  # an answer to the click, had there been one, came before this
    await wait_until(lambda: b"x" in session.typed, "the key")
    assert not await terminal.page.evaluate("document.getElementById('link').open")


async def test_a_web_link_asks_first(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"\x1b]8;;https://example.com/path?q=1\x1b\\a friendly name\x1b]8;;\x1b\\")
    await terminal.shows("a friendly name")
    x, y = await first_line(terminal)
    await terminal.page.mouse.move(x + 10, y)
    await terminal.page.mouse.click(x, y)
    await terminal.page.wait_for_selector("#link[open]")
    assert await terminal.page.inner_text("#link-url") == "https://example.com/path?q=1"
    assert await terminal.page.inner_text("#link-host") == "example.com"
    await terminal.page.get_by_role("button", name="Cancel").click()
    assert len(terminal.page.context.pages) == 1


async def column_after(terminal: Terminal, session: Session, text: bytes) -> int:
    """Where the emulator says that its cursor is (CPR, from 1) after the text at the start of a line."""
    before = len(session.typed)
    session.print(b"\r\x1b[2K" + text + b"\x1b[6n")
    await wait_until(lambda: session.typed.endswith(b"R") and len(session.typed) > before, "a cursor position report")
    return int(session.typed[before:].rstrip(b"R").rpartition(b";")[2])


# The columns as glibc's wcwidth has them, which the line editors of hosts go by.
WIDTHS = [
    ("plain", "abc", 3),
    ("accent", "é", 1),
    ("combining mark", "e\u0301", 1),
    ("three combining marks", "a\u0300\u0323\u0308", 1),
    ("wide", "漢字", 4),
    ("full width", "Ａ", 2),
    ("hangul", "한글", 4),
    ("kana with voicing mark", "か\u3099", 2),
    ("emoji", "👍", 2),
    ("emoji of 2018", "🥰", 2),
    ("skin tone", "👍🏽", 4),
    ("family", "👨\u200d👩\u200d👧", 6),
    ("zero width space", "a\u200bb", 2),
    ("box drawing", "│─┼", 3),
    ("thai with vowel", "ก\u0e34", 1),
]


@pytest.mark.parametrize(("text", "columns"), [row[1:] for row in WIDTHS], ids=[row[0] for row in WIDTHS])
async def test_characters_take_the_columns_that_hosts_expect(terminal: Terminal, text: str, columns: int) -> None:
    session = await terminal.open()
    assert await column_after(terminal, session, text.encode()) == columns + 1
    await terminal.shows(text)


async def test_wide_characters_keep_their_columns_bytewise(terminal: Terminal) -> None:
    """Each byte in a message of its own: no character is taken for its first bytes."""
    session = await terminal.open()
    for byte in "漢é👍|".encode():
        session.print(bytes([byte]))
    await terminal.shows("漢é👍|")
    assert await column_after(terminal, session, "漢é👍|".encode()) == 7


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x91",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        bytes(range(0xA0, 0x100)),
    ],
    ids=["no start", "cut after 1", "cut after 2", "cut after 3", "overlong", "surrogate", "too large", "latin-1"],
)
async def test_invalid_utf8_leaves_what_follows_alone(terminal: Terminal, data: bytes) -> None:
    session = await terminal.open()
    session.print(data + b"\r\nafter it: \xe2\x9c\x93 fine")
    await terminal.shows("after it: ✓ fine")


PIXELS = """async (points) => {
    const image = await createImageBitmap(await (await fetch(points.picture)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return points.at.map(([x, y]) => Array.from(context.getImageData(x, y, 1, 1).data.slice(0, 3)));
}"""


async def colours_of_cells(terminal: Terminal, cells: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """The colour in the middle of cells (column, row), read from a picture of the page."""
    page = terminal.page
    box = await page.locator(".pane[data-active] .xterm-screen").bounding_box()
    assert box is not None
    attach = terminal.broker.attaches[-1]
    width, height = box["width"] / attach["cols"], box["height"] / attach["rows"]
    at = [[round(box["x"] + (x + 0.5) * width), round(box["y"] + (y + 0.5) * height)] for x, y in cells]
    picture = "data:image/png;base64," + base64.b64encode(await page.screenshot()).decode()
    blank = await page.context.new_page()  # the page's own policy fetches no data: address
    try:
        return [tuple(colour) for colour in await blank.evaluate(PIXELS, {"picture": picture, "at": at})]
    finally:
        await blank.close()


async def test_24_bit_colours_are_exact(terminal: Terminal) -> None:
    await terminal.page.emulate_media(color_scheme="dark")
    session = await terminal.open()
    wanted = [(1, 2, 3), (255, 128, 0), (18, 52, 86), (254, 254, 254), (120, 7, 201)]
    session.print(b"\x1b[?25l\x1b[H")
    for red, green, blue in wanted:
        session.print(b"\x1b[48;2;%d;%d;%dm    \x1b[0m" % (red, green, blue))
    session.print(b"\r\n\x1b[48:2::9:99:199m    \x1b[0m\x1b[48;5;196m    \x1b[0m\x1b[7m    \x1b[0mdone")
    await terminal.shows("done")
    cells = [(index * 4 + 1, 0) for index in range(len(wanted))] + [(1, 1), (5, 1), (9, 1)]
    wanted += [(9, 99, 199), (255, 0, 0), (214, 219, 225)]
    for _ in range(50):
        shown = await colours_of_cells(terminal, cells)
        if shown == wanted:
            break
        await terminal.page.wait_for_timeout(200)  # until it is drawn
    assert shown == wanted


async def test_many_terminals_draw_without_the_gpu(terminal: Terminal) -> None:
    """A browser gives 16 WebGL contexts: those after the eighth draw with the DOM, and nobody hears of it."""
    await terminal.open()
    found = await terminal.page.evaluate("""async () => {
        const { Terminal } = await import("/static/vendor/xterm.mjs");
        const { drawWithGpu } = await import("/static/terminals/gpu.js");
        const count = () => document.querySelectorAll("#probe canvas.xterm-link-layer").length;
        const room = document.createElement("div");
        room.id = "probe";
        document.body.append(room);
        const open = () => {
            const box = document.createElement("div");
            room.append(box);
            const terminal = new Terminal({ cols: 20, rows: 2, allowProposedApi: true });
            terminal.open(box);
            return { terminal, release: drawWithGpu(terminal) };
        };
        const all = Array.from({ length: 20 }, open);
        const used = count();
        all.forEach(({ terminal }, number) => terminal.write(`screen ${number}`));
        await Promise.all(all.map(({ terminal }) => new Promise((parsed) => terminal.write("", parsed))));
        const texts = all.map(({ terminal }) => terminal.buffer.active.getLine(0).translateToString(true));
        for (const { terminal, release } of all) {
            release();
            terminal.dispose();
        }
        const again = open();
        const afterRelease = count();
        again.release();
        again.release(); // once is enough
        again.terminal.dispose();
        room.remove();
        return { used, texts, afterRelease };
    }""")
    assert found["texts"] == [f"screen {number}" for number in range(20)]
    assert found["used"] in (0, 7), "one of the eight is the page's own; none where there is no WebGL"
    assert found["afterRelease"] == min(found["used"], 1)


async def test_a_lost_gpu_is_not_noticed(terminal: Terminal) -> None:
    session = await terminal.open()
    session.print(b"before")
    await terminal.shows("before")
    await terminal.page.evaluate("""() => {
        for (const canvas of document.querySelectorAll(".pane[data-active] canvas")) {
            canvas.getContext("webgl2")?.getExtension("WEBGL_lose_context")?.loseContext();
        }
    }""")
    session.print(b" and after")
    await terminal.page.wait_for_function(
        """() => document.querySelector(".pane[data-active] .xterm-rows")?.textContent.includes("before and after")"""
    )


async def test_a_sequence_of_the_broker_restores_and_is_answered_by_nobody(terminal: Terminal) -> None:
    session = await terminal.open()
    session.socket.send({"type": "screen", "sequence": "\x1b[?2004h\x1b[?1h\x1b[c\x1b[6n"})
    session.print(b"restored")
    await terminal.shows("restored")
    await terminal.page.keyboard.press("ArrowUp")
    await wait_until(lambda: session.typed, "the key")
    assert bytes(session.typed) == b"\x1bOA"
