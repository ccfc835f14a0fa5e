"""One tunnel: the SSH connection to the gateway and its remote forward, from dialling to its end, with the reason.

The gateway proves itself by the keys pinned at first contact, we by our own key and nothing else: no agent, no
password, no other key, no configuration file of OpenSSH. Trying again is `lifecycle`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import asyncssh
from asyncssh.constants import MSG_DISCONNECT
from asyncssh.packet import SSHPacket

from tunnels.agent.algorithms import ENCRYPTION, KEX
from tunnels.agent.backoff import Pace, retry_hint_s
from tunnels.agent.enrollment import public_line
from tunnels.agent.state import Broker
from tunnels.agent.threads import in_daemon_thread
from tunnels.agent.valve import Link, Valve

logger = logging.getLogger(__name__)

CLOSE_S = 2.0
ADDRESS_S = 8.0
"""For one of several addresses of the gateway, so that a dead IPv6 route does not use up the time for IPv4."""
WAITS_FOR_ADMIN = ("waiting for approval", "revoked", "rejected")


Keys = Sequence[asyncssh.SSHKey]


class Service(Protocol):
    """What the machine offers through its tunnel: a login shell, or the way to an sshd."""

    async def listen(self, conn: asyncssh.SSHClientConnection, tunnel_port: int, outlet: Valve) -> None:
        """Asks for the remote forward and answers its connections. ChannelListenError when the gateway refuses it.

        `outlet` is held while the gateway does not take our bytes.
        """


@dataclass(frozen=True, slots=True)
class Ending:
    """How a tunnel ended, or why it never came up."""

    reason: str
    lived_s: float = 0.0
    retry_after_s: float | None = None
    ask_portal: bool = False
    """The gateway does not know us as an approved host (any more): the enrollment has changed."""


class _Client(asyncssh.SSHClient):
    """Remembers what AsyncSSH tells only in passing: the key it refused, and why the connection ended."""

    def __init__(self, on_keys: Callable[[list[str]], None]) -> None:
        self._on_keys = on_keys
        self.refused_key: str | None = None
        self.error: Exception | None = None
        self.farewell = ""
        """The reason in the gateway's disconnect message."""
        self.remark = ""
        """What the gateway last asked to have shown; it says so why it refuses a forward."""
        self.up_since: float | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        note_farewell(conn, self._say_farewell)

    def _say_farewell(self, reason: str) -> None:
        self.farewell = reason

    def lived_s(self) -> float:
        return 0.0 if self.up_since is None else time.monotonic() - self.up_since

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        """Only asked about keys that are not pinned."""
        self.refused_key = key.get_fingerprint()
        return False

    def host_keys_reported(self, added: Keys, removed: Keys, retained: Keys, revoked: Keys) -> None:
        """Which keys the gateway has, over a connection that one of those we know has vouched for. Of the added ones it
        has proved each; those that it has no more are forgotten. OpenSSH calls this UpdateHostKeys."""
        if retained and (added or removed):
            lines = (key.export_public_key("openssh").decode("ascii") for key in (*retained, *added))
            self._on_keys([public_line(line) for line in lines])

    def debug_msg_received(self, msg: str, lang: str, always_display: bool) -> None:
        if always_display:
            self.remark = msg[:500]

    def connection_lost(self, exc: Exception | None) -> None:
        self.error = exc


def note_farewell(conn: asyncssh.SSHClientConnection, note: Callable[[str], None]) -> None:
    """Calls `note` with the reason of the peer's disconnect message.

    AsyncSSH drops it for the code "by application", the very one by which a broker says why it ends a tunnel and when
    to come back. There is no public way to see it, hence the private table of handlers, for this connection only.
    """
    plain = conn._packet_handlers[MSG_DISCONNECT]

    def process(owner: Any, kind: int, number: int, packet: SSHPacket) -> Any:
        copy = SSHPacket(packet.get_remaining_payload())
        copy.get_uint32()
        note(copy.get_string().decode("utf-8", "replace"))
        return plain(owner, kind, number, packet)

    conn._packet_handlers = {**conn._packet_handlers, MSG_DISCONNECT: process}


class _Dialler:
    """AsyncSSH's `tunnel` argument: connects by TCP, with a link in between; look-ups can be abandoned."""

    link: Link | None = None

    async def create_connection(
        self, factory: Callable[[], Any], host: str, port: int
    ) -> tuple[asyncio.BaseTransport, Any]:
        loop = asyncio.get_running_loop()
        found = await in_daemon_thread(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
            try:
                async with asyncio.timeout(ADDRESS_S):
                    await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
                continue
            except BaseException:
                sock.close()
                raise
            return await self._start(loop, factory(), sock)
        raise failure

    async def _start(
        self, loop: asyncio.AbstractEventLoop, conn: Any, sock: socket.socket
    ) -> tuple[asyncio.BaseTransport, Any]:
        link = self.link = Link(conn)
        transport, _ = await loop.create_connection(lambda: link, sock=sock)  # type: ignore[type-var]
        return transport, conn


def _ignore(_keys: list[str]) -> None:
    return


async def hold_tunnel(
    broker: Broker,
    key: asyncssh.SSHKey,
    service: Service,
    *,
    pace: Pace,
    on_up: Callable[[], None],
    on_keys: Callable[[list[str]], None] = _ignore,
) -> Ending:
    """Dials, forwards, and returns how it ended. Cancelling closes the connection: the broker sees it at once.

    `on_keys` gets the lines by which the gateway is known from now on, where it has proved others to us.
    """
    client = _Client(on_keys)
    try:
        error = await _run(broker, key, service, client, pace, on_up)
    except Exception as caught:  # the tunnel's root: whatever it was, the agent dials again
        logger.debug("tunnel failed", exc_info=True)
        error = caught
    return _ending(error, broker, client)


class _Trial:
    """Offers nothing: for `doctor`, which only wants to know whether the forward is granted."""

    async def listen(self, conn: asyncssh.SSHClientConnection, tunnel_port: int, outlet: Valve) -> None:
        await conn.create_server(lambda _host, _port: False, "localhost", tunnel_port)


async def try_tunnel(broker: Broker, key: asyncssh.SSHKey, *, pace: Pace) -> Ending | None:
    """None when the gateway grants the forward, which is then let go; else why not. Cancelling lets go as well."""
    granted = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        holding = group.create_task(hold_tunnel(broker, key, _Trial(), pace=pace, on_up=granted.set))
        waiting = group.create_task(granted.wait())
        await asyncio.wait({holding, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        holding.cancel()
    return None if granted.is_set() else holding.result()


async def _run(
    broker: Broker,
    key: asyncssh.SSHKey,
    service: Service,
    client: _Client,
    pace: Pace,
    on_up: Callable[[], None],
) -> Exception:
    dialler = _Dialler()
    conn = await _dial(broker, key, client, dialler, pace)
    try:
        assert dialler.link is not None
        async with asyncio.timeout(pace.connect):
            await service.listen(conn, broker.tunnel_port, dialler.link.valve)
        client.up_since = time.monotonic()
        on_up()
        await conn.wait_closed()
    finally:
        await _close(conn)
    return client.error or asyncssh.ConnectionLost("closed by the gateway")


async def _dial(
    broker: Broker, key: asyncssh.SSHKey, client: _Client, dialler: _Dialler, pace: Pace
) -> asyncssh.SSHClientConnection:
    pinned = [asyncssh.import_public_key(line) for line in broker.gateway.host_keys]
    async with asyncio.timeout(pace.connect):
        return await asyncssh.connect(
            broker.gateway.host,
            broker.gateway.port,
            tunnel=dialler,
            client_factory=lambda: client,
            username=broker.name,
            client_keys=[key],
            known_hosts=(pinned, [], []),
            server_host_keys_handler=client.host_keys_reported,
            config=None,
            agent_path=None,
            x509_trusted_certs=None,
            x509_trusted_cert_paths=None,
            client_host_keysign=False,
            gss_host=None,
            preferred_auth=["publickey"],
            kex_algs=KEX,
            encryption_algs=ENCRYPTION,
            compression_algs=None,
            keepalive_interval=pace.keepalive,
            keepalive_count_max=3,
            login_timeout=pace.connect,
        )


def _ending(error: Exception, broker: Broker, client: _Client) -> Ending:
    if isinstance(error, asyncssh.ChannelListenError) and (client.error or client.farewell):
        error = client.error or asyncssh.ConnectionLost(client.farewell)  # the forward failed with the connection
    text = client.farewell or (client.remark if isinstance(error, asyncssh.ChannelListenError) else str(error))
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or "server host key" in text:
        return Ending(_mismatch(broker, client), client.lived_s())
    ask_portal = _is_unwelcome(error) or any(words in text.lower() for words in WAITS_FOR_ADMIN)
    return Ending(_reason(error, text, broker), client.lived_s(), retry_hint_s(text), ask_portal)


def _is_unwelcome(error: Exception) -> bool:
    """Whether the gateway turned us away for who we are, as opposed to trouble on the way."""
    if isinstance(error, asyncssh.DisconnectError) and error.code == asyncssh.DISC_HOST_NOT_ALLOWED_TO_CONNECT:
        return True
    return isinstance(error, asyncssh.PermissionDenied | asyncssh.ChannelListenError)


def _reason(error: Exception, text: str, broker: Broker) -> str:
    match error:
        case asyncssh.PermissionDenied():
            return f"the gateway does not let {broker.name} in: {text}"
        case asyncssh.ChannelListenError():
            return f"the gateway refuses tunnel port {broker.tunnel_port}" + (f": {text}" if text else "")
        case TimeoutError():
            return "the gateway does not answer in time"
        case _:
            return text or type(error).__name__


def _mismatch(broker: Broker, client: _Client) -> str:
    shown = f" ({client.refused_key})" if client.refused_key else ""
    return (
        f"gateway {broker.gateway.host}:{broker.gateway.port} shows another host key{shown} than the one pinned on "
        f"{broker.pinned}: refused; if the broker was set up anew, delete broker.json in the state directory"
    )


async def _close(conn: asyncssh.SSHClientConnection) -> None:
    conn.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await conn.wait_closed()
