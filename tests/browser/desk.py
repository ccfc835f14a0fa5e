"""alice's browser in front of a real broker with one machine: its terminal pages, as a person uses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

from tests.story.broker import SCALE, Broker, until
from tests.story.browser import Browser as Login
from tests.story.machine import LOGIN, PROMPT, Machine

FRAMES = """async () => {
    for (let count = 0; count < 4; count += 1) await new Promise(requestAnimationFrame);
}"""
"""A change of the window's size is seen in one frame and obeyed in the next."""


class Terminal:
    """One terminal page. Asked from here: a predicate in the page would be eval, which its CSP bars."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._asked = 0

    @property
    def text(self) -> str:
        """The visible screen, without the blanks at the ends of its lines."""
        shown: str = self.page.evaluate("window.brokerdScreen.text()")
        return "\n".join(line.rstrip() for line in shown.split("\n"))

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    def is_state(self, state: str) -> None:
        self.page.wait_for_selector(f"body[data-state={state}]", timeout=60_000 * SCALE)

    def wait(self, probe: Any, what: str) -> Any:
        try:
            return until(probe, what, 60)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen is\n{self.text}") from None

    def shows(self, text: str) -> None:
        self.wait(lambda: text in self.text, f"the terminal shows {text!r}")

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def run(self, command: str) -> None:
        self.type(command + "\n")

    def at_prompt(self) -> None:
        prompt = PROMPT.decode().strip()
        self.wait(lambda: self.text.rstrip().endswith(prompt), "the prompt")

    def still(self) -> str:
        """The screen, once it is the same in a few looks."""
        seen: list[str] = []

        def is_still() -> bool:
            seen.append(self.text)
            return len(seen) > 10 and len(set(seen[-10:])) == 1

        self.wait(is_still, "the screen is still")
        return seen[-1]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns, as the host knows them."""
        self._asked += 1
        self.run(f"clear; echo $(stty size) for {self._asked}")
        answer = re.compile(rf"^(\d+) (\d+) for {self._asked}$", re.MULTILINE)
        found = self.wait(lambda: answer.search(self.text), "stty size")
        return int(found[1]), int(found[2])

    def fit(self, rows: int, columns: int) -> None:
        """Make the window so large that the terminal has this size."""
        for _ in range(8):
            now = self.size
            if now == (rows, columns):
                return
            window = self.page.viewport_size
            assert window
            # A character is about 8.4 by 16 px; what is wrong is corrected in the next round.
            window["width"] += round((columns - now[1]) * 8.4)
            window["height"] += round((rows - now[0]) * 16)
            self.page.set_viewport_size(window)
            self.page.wait_for_timeout(250)  # the page collects changes of its size
            self.page.evaluate(FRAMES)
        raise AssertionError(f"the terminal cannot be {rows} by {columns}: {self.size}")


@dataclass
class Desk:
    broker: Broker
    machine: Machine
    chromium: Browser

    def context(self, person: str = "alice", **options: Any) -> BrowserContext:
        """A browser in which this person is logged in."""
        context = self.chromium.new_context(**{"viewport": {"width": 900, "height": 560}, **options})
        cookies = Login(self.broker).log_in(person).cookie.split("; ")
        pairs = [cookie.partition("=") for cookie in cookies]
        context.add_cookies([{"name": name, "value": value, "url": self.broker.url} for name, _, value in pairs])
        return context

    def open(self, context: BrowserContext) -> Terminal:
        """A new terminal at its prompt."""
        page = context.new_page()
        page.goto(f"{self.broker.url}/hosts/{self.machine.name}/terminal?login={LOGIN}")
        terminal = Terminal(page)
        terminal.is_state("live")
        terminal.at_prompt()
        return terminal

    def again(self, terminal: Terminal, context: BrowserContext | None = None) -> Terminal:
        """The same terminal, by its address in another tab."""
        until(lambda: "session=" in terminal.page.url, "the address names the session")
        page = (context or terminal.page.context).new_page()
        page.goto(terminal.page.url)
        other = Terminal(page)
        other.is_state("live")
        return other
