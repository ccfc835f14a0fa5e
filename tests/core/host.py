"""A host's SSH server in this process, on a free port of loopback: its login and its shell do as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from terminals.lines import Line
from terminals.session import TerminalSession
from terminals.shell import Shell
from tests.core.waiting import until


@dataclass(eq=False)
class FakeHost:
    """By default anybody is let in without a question, and gets a shell that prints nothing."""

    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    authority: asyncssh.SSHKey | None = None
    """Whose user certificates it trusts. With it, or with a password or questions, a login is asked for."""
    password: str | None = None
    questions: list[tuple[str, bool]] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    banner: str = ""
    gives_shell: bool = True
    answers_channels: bool = True
    max_sessions: int = 10
    """In one connection, as sshd's MaxSessions."""
    answers_requests: bool = True
    """The global ones, which ask whether it is there."""
    shells: list[FakeShell] = field(default_factory=list)
    doors: list[FakeDoor] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    """Passwords."""
    port: int = 0

    @property
    def key_line(self) -> str:
        return self.key.export_public_key("openssh").decode().strip()

    @property
    def open_doors(self) -> int:
        return sum(not door.lost for door in self.doors)

    @property
    def shell(self) -> FakeShell:
        return self.shells[-1]

    async def until_shell(self) -> FakeShell:
        await until(lambda: self.shells and self.shell.started, "a shell was started")
        return self.shell

    async def connect(self) -> asyncssh.SSHClientConnection:
        """Straight to it, without a tunnel."""
        return await asyncssh.connect(
            "127.0.0.1", self.port, known_hosts=None, config=None, username="root", client_keys=[], agent_path=None
        )

    @asynccontextmanager
    async def dial(self, session: TerminalSession) -> AsyncIterator[Shell]:
        """A terminal session's `Dial`, on a connection of its own."""
        async with Line(await self.connect()).shell(session) as shell:
            yield shell


class FakeDoor(asyncssh.SSHServer):
    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self.lost = False
        self.username = ""
        self.shells: list[FakeShell] = []
        host.doors.append(self)

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        if not self._host.answers_requests:
            conn._process_keepalive_at_openssh_dot_com_global_request = lambda packet: None  # type: ignore

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def begin_auth(self, username: str) -> bool:
        self.username = username
        if self._host.banner:
            self.connection.send_auth_banner(self._host.banner)
        return bool(self._host.authority or self._host.password or self._host.questions)

    def validate_ca_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._host.authority is not None and key == self._host.authority.convert_to_public()

    def public_key_auth_supported(self) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._host.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        self._host.tried.append(password)
        return password == self._host.password

    def kbdint_auth_supported(self) -> bool:
        return bool(self._host.questions)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
        return "Second \x1b factor", "look at\u202e your phone", "", self._host.questions

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
        self._host.tried += responses
        return responses == self._host.answers

    def session_requested(self) -> Any:
        if sum(not shell.lost for shell in self.shells) >= self._host.max_sessions:
            return False
        self.shells.append(FakeShell(self._host))
        return self.shells[-1] if self._host.answers_channels else self._never()

    async def _never(self) -> Any:
        await asyncio.Event().wait()

    def hold_sessions(self) -> asyncio.Event:
        """From now on an answer to a request for a channel waits for this."""
        go, give = asyncio.Event(), self.session_requested

        async def wait() -> Any:
            await go.wait()
            return give()

        self.session_requested = wait  # type: ignore[method-assign]
        return go


class FakeShell(asyncssh.SSHServerSession):
    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self.typed = bytearray()
        self.size: tuple[int, int] = (0, 0)
        self.term = ""
        self.started = self.lost = False
        self.may_write = asyncio.Event()
        self.may_write.set()
        host.shells.append(self)

    def connection_made(self, chan: Any) -> None:
        self.channel = chan

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.may_write.set()

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        self.term, self.size = term_type, tuple(term_size[:2])
        return True

    def shell_requested(self) -> bool:
        return self._host.gives_shell

    def session_started(self) -> None:
        self.started = True

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        self.size = (width, height)

    def data_received(self, data: Any, datatype: Any) -> None:
        self.typed += data

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    async def flood(self, total: int, chunk: int = 32 * 1024) -> int:
        """Print as a program does: until it blocks. How much it got rid of."""
        written = 0
        while written < total and not self.channel.is_closing():
            await self.may_write.wait()
            if self.channel.is_closing():
                break
            self.channel.write(bytes(chunk))
            written += chunk
            await asyncio.sleep(0)
        return written


@asynccontextmanager
async def fake_host(**facts: Any) -> AsyncIterator[FakeHost]:
    host = FakeHost(**facts)
    acceptor = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: FakeDoor(host),
        server_host_keys=[host.key],
        config=None,
        encoding=None,
        line_editor=False,
        allow_pty=True,
        x509_trusted_certs=None,
        gss_host=None,
    )
    host.port = acceptor.get_port()
    try:
        yield host
    finally:
        acceptor.close()
        for door in host.doors:
            if not door.lost:
                door.connection.abort()
        await acceptor.wait_closed()
