"""`manage.py serve` with the constants that a person would wait for made short; all else is as ever."""

from __future__ import annotations

import os
import sys

import django

LOGIN_GRACE_S = 4
TICKET_S = 5
STALL_S = 3
PAIRING_S = 8
"""Seconds; a busy machine is not late for these where nobody waits for them on purpose."""


def main() -> None:
    os.umask(0o077)
    os.environ["DJANGO_SETTINGS_MODULE"] = "brokerd.settings"
    django.setup()
    from django.core.management import execute_from_command_line

    import brokerd.door
    import terminals.consumer
    import terminals.grants
    import terminals.tickets
    import terminals.viewer
    import tunnels.pairing

    brokerd.door.LOGIN_GRACE_S = LOGIN_GRACE_S
    terminals.consumer.ATTACH_TIMEOUT_S = TICKET_S
    terminals.tickets.LIFETIME_S = TICKET_S
    terminals.grants.LIMIT_S = range(1, 3600)
    terminals.viewer.STALL_S = STALL_S
    tunnels.pairing.WAIT_S = PAIRING_S
    execute_from_command_line(["manage.py", "serve", *sys.argv[1:]])


if __name__ == "__main__":
    main()
