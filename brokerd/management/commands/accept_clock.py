"""`manage.py accept_clock`: the clock was ahead for a while and is right now. Puts that on record."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from brokerd.management.base import ActCommand
from tunnels import audit, clock
from tunnels.audit import Event
from tunnels.models import AuditEvent


class Command(ActCommand):
    help = (
        "After the clock was wrong towards the future and was set right: go by it again. Without this the broker goes "
        "on from the newest time on record, so that nothing which has expired lives again. Stop the broker first."
    )

    def act(self, **options: Any) -> None:
        behind = clock.learn()
        with transaction.atomic():
            newest = AuditEvent.objects.order_by("-sequence").values_list("time", flat=True).first()
            audit.record(
                Event.SETTING_CHANGED,
                sets_clock=True,
                setting="clock set back",
                seconds=round(behind.total_seconds()),
                before=newest.isoformat() if newest else "",
            )
        self.stdout.write(f"the clock is taken as it is; it was {behind} behind the newest event on record")
