"""The page's own emulator in Chromium, to compare with: xterm.js, set up as the player sets it up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Route

STATIC = Path(__file__).resolve().parents[2] / "static"
ORIGIN = "http://emulator.test"
Step = str | tuple[int, int]
"""Output, or a new size."""

SCRIPT = """
const { Terminal } = await import("/vendor/xterm.mjs");
const { Unicode11Addon } = await import("/vendor/addon-unicode11.mjs");
const { boundCounts } = await import("/terminals/internals.js");
const terminal = new Terminal({
  allowProposedApi: true, scrollback: 0, windowsPty: { backend: "winpty", buildNumber: 1 }, logLevel: "off",
});
terminal.loadAddon(new Unicode11Addon());
terminal.unicode.activeVersion = "11";
boundCounts(terminal);
const write = (text) => new Promise((done) => terminal.write(text, done));
window.show = async (cols, rows, steps) => {
  terminal.resize(cols, rows);
  terminal.reset(); // now: rows that become narrower keep what they have
  terminal.options.convertEol = false;
  await write("\\x18"); // nor does it forget the character that a mark would join
  for (const step of steps) {
    if (typeof step === "string") await write(step);
    else terminal.resize(...step);
  }
  const buffer = terminal.buffer.active;
  const lines = Array.from({ length: terminal.rows }, (_, y) => {
    const line = buffer.getLine(buffer.viewportY + y);
    const isCut = line.getCell(terminal.cols - 1).getWidth() === 2;
    return line.translateToString(false, 0, terminal.cols - (isCut ? 1 : 0)).trimEnd();
  });
  const x = Math.min(buffer.cursorX, terminal.cols); // a mark that joins nothing counts there, and nobody sees it
  return { lines, x, y: buffer.cursorY, is_alternate: buffer.type === "alternate" };
};
window.show_each = async (screens) => {
  const shown = [];
  for (const screen of screens) shown.push(await show(...screen));
  return shown;
};
window.widths = (first, end) => {
  const found = [];
  for (let code = first; code < end; code += 1) {
    const columns = terminal._core.unicodeService.wcwidth(code);
    if (columns !== 1 && !(code >= 0xd800 && code < 0xe000)) found.push([code, columns]);
  }
  return JSON.stringify(found);
};
window.ready = true;
"""


class Emulator:
    def __init__(self, browser: Browser) -> None:
        self._page = browser.new_page()
        self._page.route(f"{ORIGIN}/**", _serve)
        self._page.goto(f"{ORIGIN}/")
        self._page.wait_for_function("window.ready")

    def show(self, *screens: tuple[int, int, Sequence[Step]]) -> list[dict[str, Any]]:
        """Lines, cursor and kind of screen after the steps, for each size and its steps. In one call: it takes long."""
        shown: list[dict[str, Any]] = self._page.evaluate("screens => show_each(screens)", [list(s) for s in screens])
        return shown

    def widths(self, first: int, end: int) -> dict[int, int]:
        """Columns of the characters that do not have one."""
        return dict(json.loads(self._page.evaluate("([first, end]) => widths(first, end)", [first, end])))

    def close(self) -> None:
        self._page.close()


def _serve(route: Route) -> None:
    path = route.request.url.removeprefix(ORIGIN)
    if path == "/":
        route.fulfill(content_type="text/html", body=f"<script type=module>{SCRIPT}</script>")
    elif (file := STATIC / path.lstrip("/")).is_file():
        route.fulfill(content_type="text/javascript", body=file.read_bytes())
    else:
        route.fulfill(status=404)
