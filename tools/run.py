"""`make run`: the broker on the embedded default, and an agent for this very machine, until Ctrl-C.

Their logs go below the data directory, so that the lines printed here stay on the screen. Everything that is there
already is kept: a second run changes nothing.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from brokerd.conf import Config, ConfigError, load, prepare_data_dir  # noqa: E402

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 20
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    os.umask(0o077)
    os.environ.setdefault("BROKERD_OPEN_ENROLLMENT", "1")
    try:
        config = load()
        prepare_data_dir(config)
    except ConfigError as error:
        sys.exit(f"brokerd: {error}")
    for number in STOP_SIGNALS:
        signal.signal(number, _interrupt)
    logs = config.data_dir / "log"
    logs.mkdir(exist_ok=True)
    manage("migrate", "--verbosity", "0")
    children: list[subprocess.Popen[bytes]] = []
    try:
        with readiness() as ready:
            broker = start(logs / "broker.log", "manage.py", "serve")
            children.append(broker)
            wait_until_ready(ready, broker, logs / "broker.log")
        announce(config, manage("make_first_admin").strip(), logs)
        agent = start(logs / "agent.log", "-m", "tunnels.agent", *agent_options(config))
        children.append(agent)
        watch(broker, agent, logs)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        stop(children)


def manage(*arguments: str, given: str | None = None) -> str:
    """Run a management command; its complaint is ours."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, input=given, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr.strip() or f"manage.py {arguments[0]} failed")
    return done.stdout


def start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A child in a group of its own: Ctrl-C reaches us alone, and we stop the children in order."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


@contextmanager
def readiness() -> Iterator[socket.socket]:
    """A socket to which the broker that we start, and no other on the same port, says that it is ready (sd_notify)."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"{folder}/notify")
        ready.settimeout(0.2)
        os.environ["NOTIFY_SOCKET"] = f"{folder}/notify"
        try:
            yield ready
        finally:
            del os.environ["NOTIFY_SOCKET"]


def wait_until_ready(ready: socket.socket, broker: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if broker.poll() is not None:
            sys.exit(last_line(log) or "the broker did not start")
        with suppress(TimeoutError):
            if ready.recv(4096) == b"READY=1":
                return
    sys.exit(f"the broker was not ready within {READY_TIMEOUT_S} s; see {log}")


def announce(config: Config, password: str, logs: Path) -> None:
    print(f"portal  {config.portal_url}")
    if password:
        print("login  admin")
        print(f"password  {password}")
        print("The password is shown only now. Change it on your account page.")
    if config.is_in_the_clear:
        print("Passwords and terminals cross the network unencrypted: docs/operations.md says how to put TLS in front.")
    print(f"This machine waits for approval at {config.portal_url}/approvals/ (unless it was approved before).")
    print(f"Logs are in {logs}. Ctrl-C stops the broker.", flush=True)


def agent_options(config: Config) -> list[str]:
    return ["--broker", config.portal_url, "--login-shell", "--state", str(config.data_dir / "agent")]


def watch(broker: subprocess.Popen[bytes], agent: subprocess.Popen[bytes], logs: Path) -> NoReturn:
    agent_runs = True
    while True:
        if broker.poll() is not None:
            sys.exit(last_line(logs / "broker.log") or "the broker has stopped")
        if agent_runs and agent.poll() is not None:
            agent_runs = False
            print(f"the agent of this machine has stopped: {last_line(logs / 'agent.log')}", flush=True)
        time.sleep(0.5)


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """The agent first, then the broker, which drains."""
    for child in reversed(children):
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _interrupt(*_: object) -> NoReturn:
    # Once: a second signal must not break off the stopping, which would leave the children behind.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
