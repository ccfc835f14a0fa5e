"""`manage.py serve` in a hurry: a second of the web server's clock is a day, and a request has 2 s in place of 30."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace

import django

REQUEST_TIMEOUT_S = 2
DAY_S = 86_400


def main() -> None:
    os.umask(0o077)
    os.environ["DJANGO_SETTINGS_MODULE"] = "brokerd.settings"
    django.setup()
    import daphne.http_protocol
    import daphne.ws_protocol
    from django.core.management import execute_from_command_line

    import brokerd.web

    brokerd.web.REQUEST_TIMEOUT_S = REQUEST_TIMEOUT_S
    clock = SimpleNamespace(time=lambda: DAY_S * time.time())
    daphne.http_protocol.time = daphne.ws_protocol.time = clock
    execute_from_command_line(["manage.py", "serve", *sys.argv[1:]])


if __name__ == "__main__":
    main()
