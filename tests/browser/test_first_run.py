"""The story of the README: `make run` on a fresh machine, log in, approve the machine that waits, click it, type."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import complaints_of, shot
from tests.story.broker import ROOT, SCALE, free_port, until
from tests.story.machine import keygen

pytestmark = pytest.mark.browser


@dataclass
class FirstRun:
    """`make run` without its set-up, which the suite itself stands on."""

    data_dir: Path

    def __post_init__(self) -> None:
        self.ports = free_port(), free_port()
        self.output = self.data_dir.with_suffix(".out")

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BROKERD_")}
        return {
            **kept,
            "BROKERD_DATA_DIR": str(self.data_dir),
            "BROKERD_WEB_BIND": f"127.0.0.1:{self.ports[0]}",
            "BROKERD_SSH_BIND": f"127.0.0.1:{self.ports[1]}",
        }

    def start(self) -> str:
        """All that it printed until it was ready."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "tools/run.py"], cwd=ROOT, env=self.environ, stdout=output, stderr=output
            )
        until(lambda: "Ctrl-C" in self.printed or self.process.poll() is not None, "make run is up", 60)
        return self.printed

    @property
    def printed(self) -> str:
        return self.output.read_text()

    def stop(self) -> int:
        """As Ctrl-C and an impatient second one do."""
        self.process.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30 * SCALE)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstRun]:
    run = FirstRun(tmp_path_factory.mktemp("first") / "data")
    run.start()
    yield run
    if run.process.poll() is None:
        run.stop()


def add_machines(run: FirstRun, url: str, folder: Path) -> None:
    """By token, as the README's third way; they have not dialled yet."""

    def manage(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=run.environ,
            text=True,
            capture_output=True,
            check=True,
        )
        return done.stdout.strip()

    for name, site in (("pi-attic", "home"), ("kiosk-7", "fair"), ("meter-north", "plant")):
        options = "--host", name, "--auto-approve", "--tag", f"site={site}"
        token = manage("create_enrollment_token", "--name", name, *options)
        keygen(folder / name), keygen(folder / f"{name}-host")
        body = {
            "name": name,
            "token": token,
            "public_key": (folder / f"{name}.pub").read_text().strip(),
            "host_keys": [(folder / f"{name}-host.pub").read_text().strip()],
            "info": {"hostname": name, "os": "Linux", "arch": "aarch64", "version": "6.1"},
        }
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/api/v1/enrollments", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["state"] == "approved"
    manage("grant_access", "--person", "admin", "--all-hosts", "--login", "root")


def log_in(page: Page, url: str, password: str) -> None:
    page.goto(url)
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")


def shows(page: Page, text: str) -> None:
    """Until the terminal shows `text`. Asked from here: a predicate in the page would be eval, which its CSP bars."""
    until(lambda: text in page.evaluate("window.brokerdScreen.text()"), f"terminal shows {text}")


def test_from_the_printed_lines_to_a_shell_on_this_machine(
    first_run: FirstRun, chromium: Browser, tmp_path: Path
) -> None:
    url = re.search(r"^portal  (\S+)$", first_run.printed, re.MULTILINE)[1]
    assert "login  admin" in first_run.printed
    password = re.search(r"^password  (\S+)$", first_run.printed, re.MULTILINE)[1]

    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    complaints = complaints_of(page)
    log_in(page, url, password)
    expect(page.get_by_role("link", name=re.compile("Approvals")).first).to_be_visible()
    shot(page, "hosts-empty")

    page.get_by_role("link", name=re.compile("Approvals")).first.click()
    approve = page.get_by_role("button", name=re.compile("Approve"))
    expect(approve).to_be_visible(timeout=20_000 * SCALE)  # the agent's request appears without a reload
    shot(page, "approvals")
    approve.click()
    expect(page.get_by_text("online").first).to_be_visible(timeout=20_000 * SCALE)

    page.goto(url)
    expect(page.get_by_text("online").first).to_be_visible(timeout=20_000 * SCALE)
    add_machines(first_run, url, tmp_path)
    expect(page.get_by_text("kiosk-7")).to_be_visible(timeout=20_000 * SCALE)  # without a reload
    expect(page.get_by_text("never connected").first).to_be_visible()
    page.reload()  # what is new is shown highlighted for a moment, which is not for the picture
    expect(page.get_by_text("kiosk-7")).to_be_visible()
    shot(page, "hosts", height=360)
    page.keyboard.press("/")
    page.keyboard.type(socket.gethostname())
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=live]", timeout=20_000 * SCALE)
    until(lambda: page.evaluate("window.brokerdScreen.text()").strip(), "prompt")
    page.keyboard.type("echo $((6*7)) is the ans''wer\n")
    shows(page, "42 is the answer")
    page.keyboard.type("uname -sm; uptime; ls --color -C /usr /var\n")
    shows(page, "load average")
    shot(page, "terminal", height=360)

    page.reload()  # the same shell, with its screen
    page.wait_for_selector("body[data-state=live]", timeout=20_000 * SCALE)
    shows(page, "42 is the answer")

    page.keyboard.type("exit 3\n")
    page.wait_for_selector("body[data-state=ended]", timeout=20_000 * SCALE)
    expect(page.get_by_text("status 3")).to_be_visible()
    shot(page, "terminal-ended")
    assert complaints == []
    context.close()


def test_a_second_run_keeps_everything_and_prints_no_password(first_run: FirstRun, chromium: Browser) -> None:
    password = re.search(r"^password  (\S+)$", first_run.printed, re.MULTILINE)[1]
    assert first_run.stop() == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", first_run.ports[0])) != 0, "the broker outlived make run"
    first_run.ports = free_port(), free_port()  # another address is still the same broker, also for its agent
    printed = first_run.start()
    assert "password" not in printed.lower()
    assert f"portal  http://127.0.0.1:{first_run.ports[0]}" in printed
    page = chromium.new_page()
    log_in(page, f"http://127.0.0.1:{first_run.ports[0]}", password)
    # The machine needs no second approval, and its agent comes back by itself.
    expect(page.get_by_text("online").first).to_be_visible(timeout=30_000 * SCALE)
    page.close()


def test_a_port_that_is_taken_is_one_line(first_run: FirstRun, tmp_path: Path) -> None:
    second = FirstRun(tmp_path / "data")
    second.ports = first_run.ports
    printed = second.start()
    assert second.process.wait(30 * SCALE) == 1
    assert "set BROKERD_SSH_BIND to a free address" in printed or "set BROKERD_WEB_BIND to a free address" in printed
    assert len(printed.strip().splitlines()) == 1, printed
