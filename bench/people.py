"""People at a stock client: a large file there and back, one command, many at once; end to end and brokered."""

from __future__ import annotations

import filecmp
import os
import subprocess
import time
from dataclasses import dataclass

from bench.effort import Effort
from bench.figures import OURS, STOCK, Figure
from bench.ours import PERSON
from bench.stage import Stage
from bench.stock import SERVER
from tests.story.broker import until
from tests.story.machine import LOGIN

MB = 1_000_000
GATEWAY = "bench-gateway"
RIGHTS = ["exec", "sftp", "forward"]


@dataclass(frozen=True, slots=True)
class Way:
    """One of ours, with what is aimed at: ratios to stock ssh's throughput and time (issue 5, section "Bench")."""

    host: str
    """In the clients' configuration file."""
    throughput: float
    time: float


WAYS = (Way("end-to-end", 0.8, 1.5), Way("brokered", 0.5, 2))
STOCK_HOST = "stock"


def measure(stage: Stage, effort: Effort) -> list[Figure]:
    config = _settle(stage)
    return [*_copies(stage, config, effort), *_commands(config, effort), *_at_once(config, effort)]


def _copies(stage: Stage, config: str, effort: Effort) -> list[Figure]:
    """By scp, which is SFTP, both ways."""
    file, there, back = (stage.folder / name for name in ("copied", "there", "back"))
    with file.open("wb") as writer:
        for _ in range(effort.copy_mb):
            writer.write(os.urandom(MB))
    name = f"scp of {effort.copy_mb} MB"
    up = {way: Figure(f"{name} to the host, {way.host}", "MB/s", *_at_least(way)) for way in WAYS}
    down = {way: Figure(f"{name} from the host, {way.host}", "MB/s", *_at_least(way)) for way in WAYS}
    for block in range(effort.copies):
        for host, way in _sides(block):
            for figures, source, target in ((up, str(file), f"{host}:{there}"), (down, f"{host}:{there}", str(back))):
                seconds = _seconds(["scp", "-q", "-F", config, source, target])
                _add(figures, way, effort.copy_mb / seconds)
            if not filecmp.cmp(file, back, shallow=False):
                raise ValueError(f"the file arrived changed through {host}")
            there.unlink()
            back.unlink()
    file.unlink()
    return [*up.values(), *down.values()]


def _commands(config: str, effort: Effort) -> list[Figure]:
    """One command, from the client's start to its exit."""
    figures = {way: Figure(f"ssh host true, {way.host}", "ms", *_at_most(way)) for way in WAYS}
    for block in range(effort.commands):
        for host, way in _sides(block):
            _add(figures, way, _seconds(_command(config, host)) * 1000)
    return list(figures.values())


def _at_once(config: str, effort: Effort) -> list[Figure]:
    """So many at once, until the last has ended."""
    name = f"{effort.at_once} times ssh host true at once"
    figures = {way: Figure(f"{name}, {way.host}", "s", *_at_most(way)) for way in WAYS}
    for block in range(effort.rounds):
        for host, way in _sides(block):
            begun = time.perf_counter()
            clients = [_start(_command(config, host)) for _ in range(effort.at_once)]
            ends = [_finish(client) for client in clients]
            _add(figures, way, max(ends) - begun)
    return list(figures.values())


def _sides(block: int) -> list[tuple[str, Way | None]]:
    """Stock ssh, which has no way of ours, counts for both. In turns: the first meets what the disk still writes."""
    sides = [*((way.host, way) for way in WAYS), (STOCK_HOST, None)]
    first = block % len(sides)
    return sides[first:] + sides[:first]


def _add(figures: dict[Way, Figure], way: Way | None, value: float) -> None:
    if way is not None:
        figures[way].add(OURS, value)
    else:
        for figure in figures.values():
            figure.add(STOCK, value)


def _at_least(way: Way) -> tuple[str, None, float]:
    return f"{way.throughput:g}x", None, way.throughput


def _at_most(way: Way) -> tuple[str, float]:
    return f"{way.time:g}x", way.time


def _command(config: str, host: str) -> list[str]:
    return ["ssh", "-F", config, host, "true"]


def _seconds(command: list[str]) -> float:
    begun = time.perf_counter()
    return _finish(_start(command)) - begun


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def _finish(client: subprocess.Popen[bytes]) -> float:
    """When it was seen to have ended, as it must: with success."""
    if client.wait() != 0:
        raise OSError(f"{client.args} ended with {client.returncode}")
    return time.perf_counter()


def _settle(stage: Stage) -> str:
    """The person's key and rights, and the configuration file of all clients: a host for each way."""
    key = stage.folder / "key.pub"
    stage.broker.manage("add_key", PERSON, str(key))
    stage.broker.api(
        "POST",
        "/grants",
        {"person": PERSON, "host": stage.host.name, "logins": [LOGIN], "capabilities": RIGHTS},
        status=201,
    )
    tunnel = stage.stock.tunnel
    _, port, localhost = tunnel.target
    gateway_key = stage.host.enrollment["gateway"]["host_keys"][0]
    known_hosts = stage.folder / "known_hosts_of_people"
    known_hosts.write_text(f"{GATEWAY} {gateway_key}\n{stage.host.name} {stage.host.host_key}\n")
    gateway = f"HostName 127.0.0.1\n  Port {stage.broker.ssh_port}\n  HostKeyAlias {GATEWAY}"
    first, last = WAYS
    config = stage.folder / "ssh_config_of_people"
    config.write_text(
        f"Host {STOCK_HOST}\n  HostName {localhost}\n  Port {port}\n  ProxyJump {SERVER}\n"
        f"Host {GATEWAY}\n  {gateway}\n  User {PERSON}\n"
        f"Host {first.host}\n  HostName {stage.host.name}\n  ProxyJump {GATEWAY}\n"
        f"Host {last.host}\n  {gateway}\n  User {LOGIN}@{stage.host.name}\n"
        f"Host {GATEWAY} {first.host} {last.host}\n  UserKnownHostsFile {known_hosts}\n"
        f"Host *\n  Include {tunnel.config()}\n"
    )
    until(lambda: _start(_command(str(config), last.host)).wait() == 0, "the gateway knows the key")
    return str(config)
