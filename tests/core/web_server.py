"""A program: the real `WebServer` on a free port with a small application. Prints its port; ends at the end of stdin.

Twisted's reactor lives once in a process, so `test_web.py` gives it one of its own. Arguments: `NAME=NUMBER` set
constants of `brokerd.web`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from brokerd import web, wire
from brokerd.conf import Address

calls: list[str] = []
cancelled: list[str] = []


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    calls.append(scope["path"])
    try:
        await (http if scope["type"] == "http" else websocket)(scope, receive, send)
    except asyncio.CancelledError:
        cancelled.append(scope["path"])
        raise


async def http(scope: dict[str, Any], receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        event = await receive()
        size, more = size + len(event.get("body", b"")), event.get("more_body", False)
    if scope["path"] == "/hang":
        await asyncio.Event().wait()
    if scope["path"].startswith("/stream/"):
        await stream(int(scope["path"].rpartition("/")[2]), send)
        return
    body = json.dumps({"size": size, "root_path": scope["root_path"], "calls": calls}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


async def stream(megabytes: int, send: Any) -> None:
    """A response of many pieces."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(16 * megabytes):
        await send({"type": "http.response.body", "body": bytes(64 * 1024), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def websocket(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await receive()
    if scope["path"] == "/ws/refuse":
        await send({"type": "websocket.close"})
        return
    await send({"type": "websocket.accept"})
    wire = scope["brokerd.wire"]
    match scope["path"].split("/")[2:]:
        case ["asgi", code]:
            await send({"type": "websocket.close", "code": int(code), "reason": "said by ASGI"})
        case ["wire", code]:
            wire.close(int(code), "said by the wire")
        case ["crash"]:
            raise RuntimeError("the application failed")
        case ["flood"]:
            while True:
                while wire.writable:
                    wire.send_bytes(bytes(32 * 1024))
                await asyncio.sleep(0.001)
        case ["stall"]:
            await asyncio.Event().wait()
        case ["echo"]:
            while (event := await receive())["type"] == "websocket.receive":
                wire.send_bytes(event["bytes"])


async def main() -> None:
    server = web.WebServer(application)
    address = await server.start(Address("127.0.0.1", 0))
    print(address.port, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await server.stop_listening()
    await server.close(0.2)
    limits = {"ping": [server.ping_interval, server.ping_timeout], "websocket_timeout": server.websocket_timeout}
    print(json.dumps({"cancelled": sorted(cancelled), **limits}))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        name, _, number = argument.partition("=")
        setattr(wire if hasattr(wire, name) else web, name, int(number))
    web.start_reactor().run_until_complete(main())
