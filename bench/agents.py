"""Many idle agents: enrolled at once, then connected from one child process, which is `python -m bench.agents`.

They speak AsyncSSH, because a thousand stock clients would be a thousand processes; to the broker it is the same.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import asyncssh

if TYPE_CHECKING:
    from bench.stage import Stage

FIRST_PORT = 22150
TRIES = 5
AT_ONCE = 20
"""Logins under way at the same time; the gateway turns away the hundred and first."""
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


@contextmanager
def idle_agents(stage: Stage, count: int) -> Iterator[None]:
    """`count` agents with their tunnels, while inside."""
    plan = stage.folder / "agents.json"
    agents = [_agent(index) for index in range(count)]
    plan.write_text(json.dumps({"port": stage.broker.ssh_port, "host_key": stage.server.host_key, "agents": agents}))
    stage.broker.manage("shell", "--no-imports", "-c", SEED % str(plan))
    child = subprocess.Popen(
        [sys.executable, "-m", "bench.agents", str(plan)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin and child.stdout
    try:
        if (answer := child.stdout.readline().strip()) != f"connected {count}":
            raise OSError(f"idle agents: {answer or 'they could not connect'}")
        yield
    finally:
        child.stdin.close()
        child.wait(30)


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
    held: list[asyncssh.SSHClientConnection] = []
    turn = asyncio.Semaphore(AT_ONCE)

    async def hold(agent: dict[str, Any]) -> None:
        async with turn:
            connection = await _log_in(plan["port"], agent)
            held.append(connection)
            await connection.forward_remote_port("localhost", agent["port"], "127.0.0.1", 22)

    async with asyncio.TaskGroup() as group:
        for agent in plan["agents"]:
            group.create_task(hold(agent))
    print(f"connected {len(held)}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for connection in held:
        connection.abort()


async def _log_in(port: int, agent: dict[str, Any]) -> asyncssh.SSHClientConnection:
    """The broker sees within seconds what another process has approved; until then it knows no such key."""
    for _ in range(TRIES):
        try:
            return await asyncssh.connect(
                "127.0.0.1",
                port,
                config=None,
                known_hosts=None,
                username=agent["name"],
                client_keys=[asyncssh.import_private_key(agent["key"])],
                agent_path=None,
            )
        except asyncssh.PermissionDenied:
            await asyncio.sleep(1)
    raise OSError(f"{agent['name']} is not let in")


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with open(sys.argv[1]) as file:  # noqa: PTH123
        asyncio.run(_hold_all(json.load(file)))
