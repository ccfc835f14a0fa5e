"""Many idle agents: enrolled at once, then connected from one child process, which is `python -m bench.agents`.

They speak AsyncSSH, because a thousand stock clients would be a thousand processes; to the broker it is the same.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from bench.stage import Stage

FIRST_PORT = 22150
KNOWN_S = 5.0
"""Until the broker surely knows what another process has approved; tries before that would be held against us."""
AT_ONCE = 20
"""Logins under way at the same time; the gateway turns away the hundred and first."""
FIRST_WAIT_S, MOST_WAIT_S = 1.0, 15.0
"""Between the tries of an agent that comes back: doubling, the upper half of it by chance, as `brokerd-agent` waits."""
SEED = """
import json, pathlib
from django.db import transaction
from tunnels.audit import OPERATOR
from tunnels.enrollment import approve_enrollment, request_enrollment
with transaction.atomic():
    plan = json.loads(pathlib.Path(%r).read_text())
    for agent in plan["agents"]:
        host, _ = request_enrollment(
            name=agent["name"], public_key=agent["public_key"], host_keys=[plan["host_key"]],
            tunnel_port=agent["port"], info={}, address="127.0.0.1",
        )
        approve_enrollment(host=host, fingerprint=host.fingerprint, actor=OPERATOR)
"""


def enroll(stage: Stage, count: int) -> Path:
    """`count` approved hosts, and the plan of their agents for `connected`."""
    plan = stage.folder / "agents.json"
    agents = [_agent(index) for index in range(count)]
    plan.write_text(json.dumps({"port": stage.broker.ssh_port, "host_key": stage.server.host_key, "agents": agents}))
    stage.broker.manage("shell", "--no-imports", "-c", SEED % str(plan))
    return plan


@contextmanager
def connected(plan: Path) -> Iterator[Callable[[], None]]:
    """All agents of a plan with their tunnels, while inside. Calling what it gives waits until they are back again."""
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.agents", str(plan)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin and child.stdout
    try:
        answer = child.stdout.readline().strip()
        if not answer.startswith("connected "):
            raise OSError(f"idle agents: {answer or 'they could not connect'}")
        yield lambda: _expect(child.stdout, "back")
    finally:
        child.stdin.close()
        child.wait(30)


def _expect(lines: IO[str] | None, word: str) -> None:
    if lines is None or not lines.readline().startswith(word):
        raise OSError(f"idle agents: they are not {word}")


def _agent(index: int) -> dict[str, Any]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return {
        "name": f"idle-{index}",
        "port": FIRST_PORT + index,
        "key": key.export_private_key().decode(),
        "public_key": key.export_public_key().decode().strip(),
    }


async def _hold_all(plan: dict[str, Any]) -> None:
    """The child: all agents, until stdin ends."""
    turn = asyncio.Semaphore(AT_ONCE)
    await asyncio.sleep(KNOWN_S)

    async def hold(agent: dict[str, Any]) -> asyncssh.SSHClientConnection:
        async with turn:
            connection = await _log_in(plan["port"], agent)
            await connection.forward_remote_port("localhost", agent["port"], "127.0.0.1", 22)
            return connection

    held = await asyncio.gather(*(hold(agent) for agent in plan["agents"]))  # fails unless all of them connect
    print(f"connected {len(held)}", flush=True)
    returning = asyncio.create_task(_return_for_ever(plan, held))
    await asyncio.to_thread(sys.stdin.read)
    returning.cancel()
    for connection in held:
        connection.abort()


async def _return_for_ever(plan: dict[str, Any], held: list[asyncssh.SSHClientConnection]) -> None:
    """Each time the broker is gone, all come back at once, each by itself, and the parent is told."""

    async def come_back(index: int, agent: dict[str, Any]) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            await asyncio.sleep(wait_s * random.uniform(0.5, 1))
            wait_s = min(2 * wait_s, MOST_WAIT_S)
            try:
                held[index] = await _log_in(plan["port"], agent)
                await held[index].forward_remote_port("localhost", agent["port"], "127.0.0.1", 22)
            except (OSError, asyncssh.Error):
                continue
            return

    while True:
        await asyncio.gather(*(connection.wait_closed() for connection in held))
        await asyncio.gather(*(come_back(index, agent) for index, agent in enumerate(plan["agents"])))
        print("back", flush=True)


async def _log_in(port: int, agent: dict[str, Any]) -> asyncssh.SSHClientConnection:
    return await asyncssh.connect(
        "127.0.0.1",
        port,
        config=None,
        known_hosts=None,
        username=agent["name"],
        client_keys=[asyncssh.import_private_key(agent["key"])],
        agent_path=None,
    )


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with open(sys.argv[1]) as file:  # noqa: PTH123
        asyncio.run(_hold_all(json.load(file)))
