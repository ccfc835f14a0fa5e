"""A broker for the terminal page alone: one asyncio server that serves page, assets and REST, and speaks section 5.

It does nothing by itself: a test says what the host prints and looks at what was typed. It holds the page to the
contract, though: a message that breaks it is kept in `Broker.violations`, which the tests' teardown asserts empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import mimetypes
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.conf import settings
from django.template import Context, Engine, Library
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from terminals.preferences import default_preferences

ROOT = Path(__file__).resolve().parents[2]
SUBPROTOCOL = "brokerd.terminal.v1"
NONCE = "bm9uY2U"
CSRF_TOKEN = "csrf-of-the-page"
PERSON = "alice"
PREFERENCES = default_preferences().model_dump()
CSP = f"default-src 'self'; script-src 'self' 'nonce-{NONCE}'; style-src 'self' 'nonce-{NONCE}'"
MESSAGE_BYTES = 64 * 1024
WINDOW_BYTES = 128 * 1024
SCALE_S = 30.0

mimetypes.add_type("text/javascript", ".mjs")
register = Library()


@register.simple_tag
def static(path: str) -> str:
    return f"/static/{path}"


def render(template: str, preferences: dict, person: str = PERSON, **context: object) -> bytes:
    if not settings.configured:
        settings.configure()
    engine = Engine(dirs=[str(ROOT / "templates")], libraries={"static": __name__})
    around = {
        "preferences": preferences,
        "csrf_token": CSRF_TOKEN,
        "request": {"csp_nonce": NONCE, "user": {"username": person}},
    }
    return engine.get_template(template).render(Context({**around, **context})).encode()


async def wait_until(condition: Callable[[], object], what: str) -> None:
    """Polls `condition`; fails the test with `what` at the deadline."""
    try:
        async with asyncio.timeout(SCALE_S):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None


class Socket:
    """One websocket of the page, from its attach to its close."""

    def __init__(self, protocol: ServerProtocol, writer: asyncio.StreamWriter, attach: dict) -> None:
        self.protocol, self.writer, self.attach = protocol, writer, attach
        self.texts: list[dict] = []
        self.sent = 0
        self.acked = 0  # by the page, or because it was left out
        self.acked_by_page = 0

    def send(self, message: dict | bytes) -> None:
        if self.protocol.state is not State.OPEN:
            return  # as what is sent to a page that goes away
        if isinstance(message, bytes):
            self.protocol.send_binary(message)
        else:
            self.protocol.send_text(json.dumps(message).encode())
        self.flush()

    def close(self, code: int, reason: str = "") -> None:
        self.protocol.send_close(code, reason)
        self.flush()

    def cut(self) -> None:
        """As when a cable is pulled: no close frame."""
        self.writer.transport.abort()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)


@dataclass
class Host:
    """A host as `GET /hosts` shows it; `logins` by capabilities."""

    name: str
    logins: dict[str, list[str]] = field(default_factory=lambda: {"root": ["terminal"]})
    online: bool = True
    offline_reason: str | None = None
    state: str = "approved"

    def shown(self) -> dict:
        return {
            "name": self.name,
            "state": self.state,
            "online": self.online,
            "last_seen": None,
            "offline_reason": self.offline_reason,
            "tags": {},
            "logins": list(self.logins),
            "capabilities": sorted({capability for names in self.logins.values() for capability in names}),
            "rights": [{"login": login, "capabilities": names} for login, names in self.logins.items()],
            "info": {},
            "tunnel_port": 22100,
        }


@dataclass
class Session:
    """What the broker keeps of one terminal session."""

    id: str
    host: str = "web1"
    login: str = "root"
    started: str = ""
    is_ended: bool = False
    output: bytearray = field(default_factory=bytearray)
    typed: bytearray = field(default_factory=bytearray)
    socket: Socket | None = None
    acks_input: bool = True
    ack_log: list[int] = field(default_factory=list)
    resizes: list[tuple[int, int]] = field(default_factory=list)
    interrupts: int = 0  # each counts as one input byte, 0x03, and is in `typed`
    stays: int = 0
    drops_output: bool = True  # at an interrupt
    restoring: str = "\x1b[?1047l"  # the `screen` that follows a gap
    role: str = "driver"  # of the page that is attached, or attaches next
    size: tuple[int, int] | None = None  # of somebody else's terminal, where the page watches
    recorded: bool = False
    role_asks: list[str] = field(default_factory=list)
    acts: list[tuple[str, str, dict]] = field(default_factory=list)  # REST about its people: method, path, body
    shares: list[dict] = field(default_factory=list)

    def shown(self) -> dict:
        return {
            "id": self.id,
            "person": PERSON,
            "host": self.host,
            "login": self.login,
            "way": "browser",
            "has_terminal": True,
            "state": "ended" if self.is_ended else "live",
            "started": self.started,
            "ended": None,
            "reason": "",
            "viewers": int(self.socket is not None),
            "bytes_in": len(self.typed),
            "bytes_out": len(self.output),
        }

    def print(self, data: bytes) -> None:
        """The host prints; sent at once, whatever the window (`flood` respects it)."""
        self.output += data
        if self.socket is not None:
            self._send_from(self.socket, self.socket.sent, len(self.output))

    def show_people(self, *people: dict, asking: tuple[dict, ...] = (), you: str = "v1") -> None:
        """Who is here. `person` and `asking` below make the entries."""
        message = {"type": "viewers", "you": you, "owner": PERSON, "items": list(people)}
        self.socket.send({**message, "asking": list(asking)} if asking else message)

    def turn(self, role: str, cols: int, rows: int) -> None:
        """The keyboard comes to the page, or goes."""
        self.role = role
        self.socket.send(
            {"type": "role", "role": role, "input_offset": len(self.typed), "cols": cols, "rows": rows},
        )

    def leave_out(self, reason: str) -> None:
        """What is unsent is never sent; a gap says so."""
        socket = self.socket
        socket.send({"type": "gap", "from": socket.sent, "to": len(self.output), "reason": reason})
        socket.send({"type": "screen", "sequence": self.restoring})
        socket.sent = socket.acked = len(self.output)

    async def flood(self, data: bytes, chunk: int = 8192) -> None:
        """The host prints as fast as the window allows."""
        start = len(self.output)
        self.output += data
        while (at := self.socket.sent) < start + len(data):
            room = WINDOW_BYTES - (at - self.socket.acked)
            if room <= 0:
                before = self.socket.acked
                await wait_until(lambda: self.socket.acked > before, f"an ack after {before} at {at}")  # noqa: B023
                continue
            self._send_from(self.socket, at, min(at + min(room, chunk), len(self.output)))
            await self.socket.writer.drain()

    def _send_from(self, socket: Socket, start: int, end: int) -> None:
        for at in range(start, end, MESSAGE_BYTES):
            socket.send(bytes(self.output[at : min(at + MESSAGE_BYTES, end)]))
        socket.sent = end


def person(viewer: str, name: str, role: str = "watcher", **more: object) -> dict:
    """Somebody in a terminal, as the broker tells it."""
    entry = {"id": viewer, "name": name, "role": role, "may_drive": False, "wants": False, "is_owner": False}
    return {**entry, "is_guest": False, "via": "share", "way": "browser", **more}


def asking(ask: str, name: str, role: str = "watcher", *, is_guest: bool = False) -> dict:
    """Somebody who wants to come in."""
    return {"id": ask, "name": name, "role": role, "is_guest": is_guest, "since": "2026-01-01T00:00:00Z"}


class Broker:
    """Serves the page on a free loopback port."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.attaches: list[dict] = []
        self.requests: list[tuple[str, str, dict]] = []
        self.violations: list[str] = []
        self.problems: list[tuple[int, dict]] = []  # answers for the next REST calls
        self.is_down = False
        self.close_attach_with: list[tuple[int, str]] = []
        self.shift_output = 0  # added to the wanted output offset, to act a broker that lost some
        self.greeting: Callable[[Session, Socket], None] | None = None  # says more right after `attached`
        self.grace: int | None = 600  # seconds, in `attached`; None: an older broker
        self.tunnel_ms: float | None = 4.2
        self.host, self.login = "web1", "root"
        self.hosts = {name: Host(name) for name in ("web1", "web2", "db1")}
        self.preferences = dict(PREFERENCES)
        self.joiner = ""  # who opens the link; "" has no login
        self.joining: dict = {}  # the answer to who asks by the link, as the test wants it
        self._tickets: dict[str, str] = {}
        self._count = 0
        self._tasks: set[asyncio.Task] = set()

    @property
    def session(self) -> Session:
        return list(self.sessions.values())[-1]

    @property
    def url(self) -> str:
        return self.url_of(self.host, self.login)

    def url_of(self, host: str, login: str = "root") -> str:
        return f"http://127.0.0.1:{self.port}/hosts/{host}/terminal?login={login}"

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[Broker]:
        server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def live(self) -> Session:
        """The newest session, once a page is attached to it."""
        await wait_until(lambda: self.sessions and self.session.socket is not None, "a page that attaches")
        return self.session

    # HTTP

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if self.is_down:
                writer.transport.abort()
            elif b"upgrade: websocket" in head.lower():
                await self._on_websocket(head, reader, writer)
            else:
                await self._on_http(head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the page went away, or the test is over: this task has no other owner to tell
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _on_http(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request, *lines = head.decode().splitlines()
        method, target, _ = request.split()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        status, kind, answer = self._answer(method, urlsplit(target), headers, body)
        extra = f"Content-Security-Policy: {CSP}\r\n" if kind == "text/html" else ""
        cache = "no-store" if "json" in kind else "max-age=600"
        writer.write(
            f"HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\nContent-Length: {len(answer)}\r\n"
            f"Cache-Control: {cache}\r\nConnection: close\r\n{extra}\r\n".encode()
            + answer
        )
        await writer.drain()

    def _answer(self, method: str, target: SplitResult, headers: dict, body: bytes) -> tuple[int, str, bytes]:
        path, query = target.path, dict(parse_qsl(target.query))
        if path.startswith("/static/"):
            file = ROOT / path.lstrip("/")
            return 200, mimetypes.guess_type(file.name)[0] or "application/octet-stream", file.read_bytes()
        if path.startswith("/api/v1/"):
            status, answer = self._rest(method, path.removeprefix("/api/v1"), query, headers, body)
            kind = "application/json" if status < 400 else "application/problem+json"
            return status, kind, b"" if answer is None else json.dumps(answer).encode()
        if path.endswith("/terminal"):
            host = unquote(path.removeprefix("/hosts/").removesuffix("/terminal"))
            login = query.get("login", self.login)
            return 200, "text/html", render("terminals/terminal.html", self.preferences, host=host, login=login)
        if path == "/join/":
            shown = {"is_gated": True, "login_url": "/login/?next=/join/"}
            return 200, "text/html", render("join/join.html", self.preferences, self.joiner, **shown)
        if path.endswith("/watch"):
            session = self.sessions[path.split("/")[2]]
            shown = {"host": session.host, "login": session.login, "session_id": session.id}
            return 200, "text/html", render("join/watch.html", self.preferences, **shown)
        return 200, "text/html", b"<!doctype html><title>hosts</title>the list of hosts"

    def _rest(self, method: str, path: str, query: dict, headers: dict, body: bytes) -> tuple[int, dict | None]:
        sent = json.loads(body) if body else query
        self.requests.append((method, path, sent))
        if method != "GET" and headers.get("x-csrftoken") != CSRF_TOKEN:
            self.violations.append(f"{method} {path}: no CSRF token")
        if self.problems:
            return self.problems.pop(0)
        match method, path.strip("/").split("/"):
            case "GET", ["hosts"]:
                return 200, {"items": [host.shown() for host in self.hosts.values()], "next": None}
            case "GET", ["hosts", name] if name in self.hosts:
                return 200, self.hosts[name].shown()
            case "GET", ["sessions"]:
                return 200, self._live_sessions(query)
            case "POST", ["sessions"]:
                return self._open(sent)
            case "POST", ["sessions", session, "tickets"]:
                return self._attachable(session)
            case "DELETE", ["sessions", session]:
                return self._end(session)
            case _, ["sessions", session, "shares" | "asks" | "viewers" | "drive" | "say", *_]:
                return self._share(self.sessions[session], method, path.partition(session)[2], sent)
            case "POST", ["shares", "ask"] | ["shares", "asks", _]:
                return (200, dict(self.joining)) if self.joining else self.problems.pop(0)
            case "GET", ["preferences"]:
                return 200, self.preferences
            case "PUT", ["preferences"]:
                return self._prefer(sent)
        self.violations.append(f"{method} {path}: there is no such call")
        return 404, {"title": "Not found", "detail": "There is nothing here.", "status": 404}

    def open_session(self, host: str, login: str = "root") -> Session:
        """As from another browser of the same person."""
        self._count += 1
        session = Session(f"s{self._count}", host, login, datetime.now(UTC).isoformat())
        self.sessions[session.id] = session
        return session

    def _open(self, wanted: dict) -> tuple[int, dict]:
        session = self.open_session(wanted["host"], wanted["login"])
        return 201, {"id": session.id, **self._ticket(session.id)}

    def _live_sessions(self, query: dict) -> dict:
        if query.get("live") != "1" or query.get("mine") != "1":
            self.violations.append(f"sessions that are not the person's or not live were asked for: {query}")
        shown = [session.shown() for session in self.sessions.values() if not session.is_ended]
        return {"items": shown[::-1], "next": None}

    def _attachable(self, session_id: str) -> tuple[int, dict]:
        session = self.sessions.get(session_id)
        if session is None:
            return 404, {"title": "Not found", "detail": "There is no such terminal session.", "status": 404}
        if session.is_ended:
            return 409, {"title": "Conflict", "detail": "this terminal has ended", "status": 409}
        return 201, self._ticket(session_id)

    def _end(self, session_id: str) -> tuple[int, dict | None]:
        session = self.sessions[session_id]
        session.is_ended = True
        if session.socket is not None:
            session.socket.send({"type": "closing", "reason": "ended by its owner", "retry_after": None})
            session.socket.close(1000, "ended by its owner")
        return 204, None

    def _share(self, session: Session, method: str, path: str, body: dict) -> tuple[int, dict | None]:
        if method == "GET" and path == "/shares":
            return 200, {"items": session.shares}
        session.acts.append((method, path, body))
        if (method, path) == ("POST", "/shares"):
            share = {"id": f"share{len(session.shares)}", "revoked": None, "expires": "2999-01-01T00:00:00Z"}
            share |= {"role": body["role"], "person": body.get("person"), "guests": body.get("guests", False)}
            session.shares.append(share)
            return 201, {**share, "url": f"http://127.0.0.1:{self.port}/join/#a-secret"}
        if method == "DELETE" and path.startswith("/shares/"):
            session.shares = [share for share in session.shares if not path.endswith(share["id"])]
        return 204, None

    def _prefer(self, wanted: dict) -> tuple[int, dict]:
        if set(wanted) != set(PREFERENCES):
            self.violations.append(f"preferences are stored whole: {wanted}")
        self.preferences = wanted
        return 200, wanted

    def _ticket(self, session_id: str) -> dict:
        ticket = f"t{len(self._tickets)}"
        self._tickets[ticket] = session_id
        return {"ticket": ticket, "socket": f"ws://127.0.0.1:{self.port}/ws/sessions/{session_id}"}

    # The websocket

    async def _on_websocket(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        protocol = ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=MESSAGE_BYTES)
        protocol.receive_data(head)
        [request] = protocol.events_received()
        protocol.send_response(protocol.accept(request))
        writer.writelines(protocol.data_to_send())
        socket: Socket | None = None
        session: Session | None = None
        parts: list[Frame] = []
        try:
            while protocol.state is not State.CLOSED and (data := await reader.read(1 << 16)):
                protocol.receive_data(data)
                for frame in protocol.events_received():
                    if frame.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
                        continue
                    parts.append(frame)
                    if not frame.fin:
                        continue
                    payload = b"".join(bytes(part.data) for part in parts)
                    is_text = parts[0].opcode is Opcode.TEXT
                    parts = []
                    if socket is None:
                        session, socket = self._on_attach(Socket(protocol, writer, json.loads(payload)))
                    elif is_text:
                        self._on_control(session, socket, json.loads(payload))
                    else:
                        self._on_input(session, socket, payload)
                writer.writelines(chunk for chunk in protocol.data_to_send() if chunk)
                if protocol.close_expected():
                    break  # the closing handshake is complete: the server's part is to end the connection
            if protocol.parser_exc is not None:
                self.violations.append(f"websocket: {protocol.parser_exc}")
        finally:
            if session is not None and session.socket is socket:
                session.socket = None

    def _on_attach(self, socket: Socket) -> tuple[Session, Socket]:
        attach = socket.attach
        self.attaches.append(attach)
        wanted = {"type", "ticket", "cols", "rows", "output_offset", "input_offset"}
        if attach.get("type") != "attach" or set(attach) != wanted:
            self.violations.append(f"attach: {attach}")
        session = self.sessions[self._tickets.pop(attach["ticket"])]
        if session.socket is not None:
            session.socket.close(4409, "opened in another window")
        if self.close_attach_with:
            socket.close(*self.close_attach_with.pop(0))
            return session, socket
        offset = attach["output_offset"]
        cols, rows = session.size or (attach["cols"], attach["rows"])
        start = 0 if offset is None else min(offset + self.shift_output, len(session.output))
        socket.send(
            {
                "type": "attached",
                "session": session.id,
                "role": session.role,
                "cols": cols,
                "rows": rows,
                "owner": PERSON,
                "viewer": "v1",
                "recorded": session.recorded,
                "output_offset": start,
                "input_offset": len(session.typed),
                "window": WINDOW_BYTES,
                "head": len(session.output),
                **({} if self.grace is None else {"grace": self.grace}),
            }
        )
        socket.sent = socket.acked = socket.acked_by_page = start
        if offset is None and session.output:
            socket.send({"type": "replay", "until": len(session.output)})
        if self.greeting is not None:
            self.greeting(session, socket)
        session.socket = socket
        session._send_from(socket, start, len(session.output))
        return session, socket

    def _on_control(self, session: Session, socket: Socket, message: dict) -> None:
        socket.texts.append(message)
        kind = message["type"]
        if kind == "ack":
            if not socket.acked_by_page < message["offset"] <= socket.sent:
                self.violations.append(f"ack {message['offset']}: acked {socket.acked_by_page}, sent {socket.sent}")
            socket.acked_by_page = message["offset"]
            socket.acked = max(socket.acked, message["offset"])
            session.ack_log.append(message["offset"])
        elif kind == "role":
            session.role_asks.append(message["ask"])
        elif kind in ("resize", "interrupt", "stay") and session.role == "watcher":
            self.violations.append(f"a watcher sent {message}")
        elif kind == "resize":
            session.resizes.append((message["cols"], message["rows"]))
        elif kind == "ping":
            socket.send({"type": "pong", "t": message["t"], "tunnel_ms": self.tunnel_ms})
        elif kind == "interrupt":
            session.interrupts += 1
            if session.drops_output:
                session.leave_out("interrupt")
            self._on_input(session, socket, b"\x03")
        elif kind == "stay":
            session.stays += 1
        else:
            self.violations.append(f"message: {message}")

    def _on_input(self, session: Session, socket: Socket, data: bytes) -> None:
        if session.role == "watcher":
            self.violations.append(f"a watcher typed {data!r}")
            return
        session.typed += data
        if session.acks_input:
            socket.send({"type": "input_ack", "offset": len(session.typed)})
