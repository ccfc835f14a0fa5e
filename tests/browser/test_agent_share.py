"""`brokerd-agent share`, joined from a browser: the user at the machine decides, both see one terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.agent.sharing import ESCAPE, User
from tests.browser.desk import Desk, Terminal
from tests.story.agent import agent_machine
from tests.story.machine import LOGIN

pytestmark = pytest.mark.browser
GRANT = {"person": "alice", "logins": [LOGIN], "capabilities": ["terminal"]}


def wait(for_: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: the browser's event loop runs in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, for_).result()


def test_joined_from_a_browser(desk: Desk, tmp_path: Path):
    with agent_machine(tmp_path, "desk1", desk.broker) as host:
        host.bring_up(GRANT)
        with User(desk.broker.url, host.state) as user:
            wait(user.sees("this terminal is shared"))
            page = desk.context().new_page()
            page.goto(f"{desk.broker.url}/hosts/desk1/terminal?login={LOGIN}")
            terminal = Terminal(page)
            wait(user.sees("alice wants in"))
            user.type(f"{ESCAPE}y")
            wait(user.sees("alice (types) is here now"))
            terminal.is_state("live")
            terminal.run("echo fr''om-the-browser")
            wait(user.sees("from-the-browser"))
            terminal.shows("from-the-browser")
            user.type("echo fr''om-the-machine\r")
            terminal.shows("from-the-machine")
            page.screenshot(path="test-results/agent-share.png")
            user.type("exit\r")
            assert wait(user.ended()) == 0
            page.wait_for_selector("body[data-state=ended]")
