"""`brokerd-agent doctor`: what is wrong, and what to do about it. Looks at everything, changes nothing.

A running agent is not disturbed: its gateway would take a second connection with its key for its successor. So the
tunnel itself is tried only where no agent runs; a running one has written down how its tunnel is.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

import asyncssh

from tunnels.agent.account import Account
from tunnels.agent.backoff import Pace
from tunnels.agent.config import Config
from tunnels.agent.forward import NoServer, ask_host_keys
from tunnels.agent.keylist import BadList, KeyList, read_list
from tunnels.agent.portal import Portal, Reply, Unreachable, is_loopback
from tunnels.agent.say import Say
from tunnels.agent.state import Broker, State, StateError
from tunnels.agent.threads import in_daemon_thread
from tunnels.agent.tunnel import try_tunnel

DIAL_S = 8.0
SHELL_S = 10.0
MAX_SKEW_S = 60.0
"""Certificates of the broker begin to hold a minute before they are made."""
RSA = ("rsa-sha2-256", "rsa-sha2-512")
PORTS = {"http": 80, "https": 443}
NOT_APPROVED = {
    "pending": "an admin must approve it in the portal",
    "rejected": "an admin rejected it: ask them",
    "revoked": "an admin revoked it: ask them",
}


class Wrong(Exception):
    """A check failed: what is wrong, and what to do."""

    def __init__(self, text: str, advice: str) -> None:
        super().__init__(text)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    text: str
    advice: str = ""
    """Empty where nothing is wrong."""

    def lines(self) -> list[str]:
        if not self.advice:
            return [f"ok     {self.check:<14}{self.text}"]
        return [f"WRONG  {self.check:<14}{self.text}", f"       {'':<14}-> {self.advice}"]


async def examine_all(configs: Sequence[Config], account: Account, *, say: Say) -> int:
    """Says what it finds. 1 where anything is wrong, 0 otherwise."""
    is_wrong = False
    for config in configs:
        if config.section:
            say(f"[{config.section}]")
        async for finding in examine(config, account):
            is_wrong = is_wrong or bool(finding.advice)
            for line in finding.lines():
                say(line)
    return int(is_wrong)


async def examine(config: Config, account: Account, *, pace: Pace | None = None) -> AsyncIterator[Finding]:
    """One finding after the other. What rests on something that is wrong is not looked at."""
    state, pace = State(config.state), pace or Pace()
    for check, look in _of_this_machine(config, account, state):
        yield await _finding(check, look)
    for chain in (_of_the_portal(config.broker), _of_the_tunnel(config, state, pace)):
        for check, look in chain:
            finding = await _finding(check, look)
            yield finding
            if finding.advice:
                break


Look = Callable[[], Awaitable[str]]


def _of_this_machine(config: Config, account: Account, state: State) -> list[tuple[str, Look]]:
    looks: list[tuple[str, Look]] = [("state", lambda: check_state(state))]
    if target := config.forward:
        looks.append(("sshd", lambda: check_sshd(config)))
    else:
        looks.append(("login shell", lambda: check_shell(account)))
    if config.authorized_keys and not target:
        looks.append(("keys", lambda: check_keys(config, account)))
    return looks


def _of_the_portal(url: str) -> list[tuple[str, Look]]:
    return [
        ("name", lambda: check_name(url)),
        ("port", lambda: check_port(url)),
        ("portal", lambda: check_portal(url)),
    ]


def _of_the_tunnel(config: Config, state: State, pace: Pace) -> list[tuple[str, Look]]:
    return [
        ("enrollment", lambda: check_enrollment(config, state)),
        ("gateway", lambda: check_gateway(state)),
        ("tunnel", lambda: check_tunnel(state, pace)),
    ]


async def _finding(check: str, look: Look) -> Finding:
    try:
        return Finding(check, await look())
    except Wrong as error:
        return Finding(check, str(error), error.advice)
    except StateError as error:
        return Finding(check, str(error), "see the line above, then run doctor again")


# This machine


async def check_state(state: State) -> str:
    folder = state.folder
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        text = f"there is no {folder}: {error.strerror}"
        raise Wrong(text, "start brokerd-agent once, or name its --state") from error
    if mode & 0o022:
        raise Wrong(f"{folder} can be written by others", f"chmod 700 {folder}")
    if not state.has_key:
        raise Wrong(f"there is no key in {folder}", "start brokerd-agent once: it makes one and enrolls")
    try:
        return f"key {state.key().get_fingerprint()} in {folder}"
    except StateError as error:
        raise Wrong(str(error), "without its key the machine is another one for the broker") from error


async def check_shell(account: Account) -> str:
    """Whether the account's shell runs a command, as it will for people."""
    environment = account.environment({})

    def run() -> int:
        return subprocess.run(
            [account.shell, "-c", "exit 0"],
            env=environment,
            cwd=account.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=SHELL_S,
            check=False,
        ).returncode

    advice = f"give {account.login} a working shell (chsh -s /bin/sh {account.login})"
    try:
        status = await in_daemon_thread(run)
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{account.shell} does not end within {SHELL_S:.0f} s", advice) from error
    except OSError as error:
        raise Wrong(f"{account.shell} cannot be run: {error.strerror}", advice) from error
    if status:
        raise Wrong(f"{account.shell} -c 'exit 0' ended with status {status}", advice)
    return f"{account.shell} runs for {account.login}, in {account.directory}"


async def check_sshd(config: Config) -> str:
    assert config.forward is not None
    try:
        keys = await ask_host_keys(config.forward)
    except NoServer as error:
        raise Wrong(str(error), "start the sshd, correct --forward, or use --login-shell") from error
    return f"an SSH server with {len(keys)} host keys answers at {config.forward}"


async def check_keys(config: Config, account: Account) -> str:
    assert config.authorized_keys is not None
    broker, warnings = State(config.state).broker(), list[str]()
    path = config.authorized_keys
    try:
        read_list(path)
    except BadList as error:
        raise Wrong(str(error), "nobody gets in before that is put right") from error
    known = KeyList(path, account.login, broker.ca_public_key if broker else "", warnings.append)
    admitted = known.read(datetime.now(UTC))
    if warnings:
        raise Wrong(warnings[0], "correct the line, or take it out")
    if admitted is None:
        raise Wrong(f"{path} has no key that counts now", "add the public keys of those who may get in")
    return f"people with a key in {path} get in, by ssh -J"


# The way to the portal


async def check_name(url: str) -> str:
    host = urlsplit(url).hostname or ""
    if proxy := proxy_for(url):
        return f"{host} is looked up by the proxy {proxy}"
    return await _look_up(host)


async def _look_up(host: str) -> str:
    try:
        found = await in_daemon_thread(lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError as error:
        text = f"the name {host} is not known: {error.strerror or error}"
        raise Wrong(text, "check how it is spelled, /etc/resolv.conf, and whether this machine is online") from error
    return f"{host} is {', '.join(sorted({str(address[0]) for *_, address in found}))}"


async def check_port(url: str) -> str:
    proxy = proxy_for(url)
    parts = urlsplit(proxy or url)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 80)
    advice = "is the broker up, and may this machine open connections to that port? ask for a firewall's rules"
    if proxy:
        advice = "the environment names this proxy (https_proxy, http_proxy): correct it or set no_proxy"
    await _connect(host, port, advice)
    return f"{host} answers at port {port}" + (", the proxy for the portal" if proxy else "")


def proxy_for(url: str) -> str:
    """The proxy that the environment gives for the portal; empty: none. As `portal` goes about it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return ""
    found = urllib.request.getproxies().get(parts.scheme, "")
    return found if "://" in found or not found else f"http://{found}"


async def _connect(host: str, port: int, advice: str) -> None:
    try:
        async with asyncio.timeout(DIAL_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError as error:
        raise Wrong(f"{host} port {port} does not answer within {DIAL_S:.0f} s", advice) from error
    except OSError as error:
        raise Wrong(f"{host} port {port} cannot be reached: {error.strerror or error}", advice) from error
    writer.close()


async def check_portal(url: str) -> str:
    """TLS, that it is a broker, and the clock: its certificates hold for minutes."""
    try:
        reply = await Portal(url).healthz()
    except Unreachable as error:
        raise Wrong(str(error), _advice_for(str(error))) from error
    if reply.status != 200:
        advice = "is that the URL of the broker's portal, and is it well?"
        raise Wrong(f"{url} answers with status {reply.status}", advice)
    return f"answers as a broker's does{_skew(reply)}"


def _advice_for(text: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "check this machine's clock; for an authority of your own set SSL_CERT_FILE"
    if "SSL" in text:
        return "does the portal speak TLS at this port? http:// and https:// are not the same"
    return "is something in between, such as a proxy or a captive portal?"


def _skew(reply: Reply) -> str:
    if reply.date is None:
        return ""
    skew = (datetime.now(UTC) - reply.date).total_seconds()
    if abs(skew) > MAX_SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        text = f"the clock is {abs(skew):.0f} s {way} the broker's"
        raise Wrong(text, "set it, best by NTP: logins hold for minutes")
    return f", clocks {abs(skew):.0f} s apart"


# The tunnel


async def check_enrollment(config: Config, state: State) -> str:
    broker = state.broker()
    if broker is None:
        advice = "start brokerd-agent: it shows the code for an admin to compare"
        raise Wrong("this machine has not enrolled yet", advice)
    if broker.url != config.broker:
        raise Wrong(f"{state.folder} belongs to the broker {broker.url}", "name that broker, or another --state")
    if broker.state in NOT_APPROVED:
        raise Wrong(f"the enrollment of {broker.name} is {broker.state}", NOT_APPROVED[broker.state])
    return f"{broker.name}, {broker.state}, tunnel port {broker.tunnel_port}"


async def check_gateway(state: State) -> str:
    broker = _known(state)
    place = broker.gateway
    await _look_up(place.host)
    advice = f"may this machine open connections to port {place.port}? the tunnel goes there without any proxy"
    await _connect(place.host, place.port, advice)
    shown = await _shown_key(broker)
    if shown not in broker.gateway.host_keys:
        text = f"{place.host}:{place.port} shows another host key than the one pinned on {broker.pinned}"
        raise Wrong(text, f"ask an admin; if the broker was set up anew, delete {state.folder / 'broker.json'}")
    return f"{place.host}:{place.port} shows the pinned host key"


async def _shown_key(broker: Broker) -> str:
    """The gateway's host key of a kind that is pinned, as an OpenSSH line; empty where it has none."""
    kinds = sorted({line.split()[0] for line in broker.gateway.host_keys})
    algorithms = [name for kind in kinds for name in (RSA if kind == "ssh-rsa" else (kind,))]
    place = broker.gateway
    try:
        async with asyncio.timeout(DIAL_S):
            key = await asyncssh.get_server_host_key(
                place.host, place.port, server_host_key_algs=algorithms, config=None
            )
    except asyncssh.KeyExchangeFailed:
        return ""
    except (asyncssh.Error, OSError, TimeoutError) as error:
        text = f"{place.host}:{place.port} does not speak SSH: {error}"
        raise Wrong(text, "is something in between, such as a firewall or another service at this port?") from error
    return " ".join(key.export_public_key("openssh").decode("ascii").split()[:2]) if key else ""


async def check_tunnel(state: State, pace: Pace) -> str:
    broker = _known(state)
    if not state.has_key:
        raise Wrong("there is no key to try it with", "see what is said of the state above")
    key = state.key()
    try:
        with state:
            ending = await try_tunnel(broker, key, pace=pace)
    except StateError:
        return _of_running(state)
    if ending is not None:
        raise Wrong(ending.reason, "ask an admin whether the host is approved; doctor tried it, for no agent runs now")
    return f"tunnel port {broker.tunnel_port} is granted; no agent runs now, so this try was let go again"


def _of_running(state: State) -> str:
    """What the agent that holds the lock has noted."""
    noted = state.noted()
    if noted is None:
        raise Wrong("an agent runs and has no tunnel yet", "see what it says itself, or run doctor again in a minute")
    if noted["tunnel"] != "up":
        raise Wrong(f"the running agent has no tunnel: {noted['text']}", "it tries again by itself")
    return f"the running agent has had its tunnel since {noted['since']}"


def _known(state: State) -> Broker:
    broker = state.broker()
    assert broker is not None, "checked before"
    return broker
