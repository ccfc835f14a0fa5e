"""`/install.sh`: the script by which a machine with an SSH server becomes a host. The same for all, and no secret.

Its only variable part is this broker's address, which comes from the settings and never from the request: whoever
forges a Host header must not have machines dial elsewhere.
"""

from __future__ import annotations

import shlex
from functools import cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

SCRIPT = Path(__file__).with_name("install.sh")
MARK = "\nbroker=''\n"


@cache
def script(url: str) -> str:
    """The script with the broker's `url` in the one line that is marked for it."""
    before, after = SCRIPT.read_text().split(MARK)
    return f"{before}\nbroker={shlex.quote(url)}\n{after}"


@require_safe
def install(request: HttpRequest) -> HttpResponse:
    """Plain text, so that a browser shows what one is about to run; asked for anew each time."""
    answer = HttpResponse(script(settings.BROKERD.portal_url), content_type="text/plain; charset=utf-8")
    answer["Cache-Control"] = "no-cache"
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
