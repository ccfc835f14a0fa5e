"""A two-hour recording in a real browser: from the click to the first picture, and from one moment to another."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.effort import Effort
from bench.figures import OURS, Figure
from bench.stage import Stage
from terminals.recording.format import Encoder, Event, FrameWriter, Kind, header
from terminals.recording.store import ENDING as RECORDING
from tests.browser.desk import Desk
from tests.chromium import ARGUMENTS, CHROMIUM
from tests.story.broker import until

DURATION_S = 7200
FRAME_SIZE = 256 * 1024
INDEXED_WITHIN_S = 300
PAINTED = """
window.painted = new Promise((resolve, reject) => {
  setTimeout(() => reject(new Error("no picture within a minute")), 60_000);
  const change = { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] };
  new MutationObserver((_, watch) => {
    if (document.querySelector("#player[data-state=ready]") === null) return;
    watch.disconnect();
    const now = () => resolve(performance.timeOrigin + performance.now());
    requestAnimationFrame(() => requestAnimationFrame(now));
  }).observe(document, change);
});
"""
"""The page itself says when the browser has drawn the picture (Unix time in milliseconds): asking it again and again
from here, whether it has, would take several tenths of a second of its time."""


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    size = f"{effort.replay_mb} MB"
    opening = Figure(f"a recording of {size}: click to picture", "ms", "1000 ms", most=1000, is_absolute=True)
    seeking = Figure(f"a recording of {size}: seek", "ms", "500 ms", most=500, is_absolute=True)
    indexing = Figure(f"a recording of {size}: prepared once", "s")
    session = _recorded(stage, effort.replay_mb, indexing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = Desk(stage.broker, stage.host, browser).context()
        context.add_init_script(PAINTED)
        for _ in range(effort.opens):
            page = context.new_page()
            moment = random.uniform(0, DURATION_S)
            opening.add(OURS, _open(page, f"{stage.broker.url}/sessions/{session}/#t={moment:.1f}"))
            seeking.add(OURS, _seek(page))
            page.close()
        browser.close()
    return [opening, seeking, indexing]


def _open(page: Page, url: str) -> float:
    """Milliseconds."""
    begun = time.time() * 1000
    page.goto(url, wait_until="commit")
    painted: float = page.evaluate("painted")
    assert page.evaluate("brokerdPlayer.text()").strip(), "the picture is empty"
    return painted - begun


def _seek(page: Page) -> float:
    """Milliseconds, to anywhere."""
    took: float = page.evaluate(
        """async (time) => {
            const begun = performance.now();
            await brokerdPlayer.seek(time);
            return performance.now() - begun;
        }""",
        random.uniform(0, DURATION_S),
    )
    return took


def _recorded(stage: Stage, size_mb: int, indexing: Figure) -> str:
    """A session of alice's whose recording is as large as that; the broker has prepared it."""
    broker = stage.broker
    with closing(stage.ours.click()) as terminal:
        terminal.prepare()
    session: str = broker.api("GET", "/sessions?mine=1&limit=1", None, "alice")["items"][0]["id"]
    path = f"/sessions/{session}/replay"
    until(lambda: broker.call("GET", f"/api/v1{path}", None, "alice").status == 200, "the recording is sealed")
    until(lambda: broker.api("GET", path, None, "alice")["state"] == "ready", "the short one is prepared", 60)
    (file,) = (broker.data_dir / "recordings").glob(f"*/*/{session}{RECORDING}")
    _write(file, size_mb)
    file.with_name(f"{session}.index.zst").unlink()
    begun = time.perf_counter()
    until(lambda: broker.api("GET", path, None, "alice")["state"] == "ready", "it is prepared", INDEXED_WITHIN_S)
    indexing.add(OURS, time.perf_counter() - begun)
    return session


def _write(file: Path, size_mb: int) -> None:
    """Two hours of work: what scrolls by in colours, and every ten minutes an editor."""
    chance = random.Random(1)
    words = [f"{chance.getrandbits(40):x}" for _ in range(3000)]
    encoder, frame = Encoder(), FrameWriter()
    frame.add(header(cols=120, rows=40, timestamp=0, title="bench", term="xterm-256color"))
    total = 0
    with file.open("wb") as stored:
        while total < size_mb * 1_000_000:
            at = DURATION_S * total / (size_mb * 1_000_000)
            text = "".join(
                f"\x1b[{31 + chance.randrange(6)}m{' '.join(chance.choices(words, k=3))}\x1b[0m "
                f"{' '.join(chance.choices(words, k=4))}\r\n"
                for _ in range(20)
            )
            if int(at / 60) % 10 == 0:
                text = f"\x1b[?1049h\x1b[H\x1b[2J{text}"
            elif int(at / 60) % 10 == 1:
                text = f"\x1b[?1049l{text}"
            lines = b"".join(encoder.lines([Event(at, Kind.OUTPUT, text.encode())]))
            total += len(lines)
            stored.write(frame.add(lines))
            if frame.size >= FRAME_SIZE:
                stored.write(frame.finish())
                frame = FrameWriter()
        stored.write(frame.finish())
