"""What protects pages and files on their way to a browser, and says so where nothing does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from ipaddress import ip_address
from typing import Any, BinaryIO

from asgiref.sync import sync_to_async
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

BLOCK = 64 * 1024
"""Bytes of a file that are in memory for one request."""


def keep_to_ourselves(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Middleware: no other site embeds what we answer, scripts and pictures included."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    return answer


def in_the_clear(request: HttpRequest) -> dict[str, Any]:
    """Context processor: whether a password typed on this page crosses a network unencrypted."""
    return {"is_in_the_clear": not request.is_secure() and not ip_address(request.META["REMOTE_ADDR"]).is_loopback}


class StaticFiles(WhiteNoiseMiddleware):
    """WhiteNoise, block by block: under ASGI Django first collects a file that comes by a synchronous iterator, and a
    megabyte would stay in memory for each connection whose peer does not read."""

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponseBase:
        response: FileResponse = WhiteNoiseMiddleware.serve(static_file, request)
        if (file := response.file_to_stream) is not None:
            response.streaming_content = _blocks(file)
        return response


async def _blocks(file: BinaryIO) -> AsyncIterator[bytes]:
    """Until its end. The response closes the file."""
    while block := await sync_to_async(file.read, thread_sensitive=False)(BLOCK):
        yield block
