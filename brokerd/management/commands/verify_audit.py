"""Check that nobody edited, removed, inserted or reordered an audit event."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError

from brokerd.management.base import ActCommand
from tunnels.audit import GENESIS, verify
from tunnels.models import AuditEvent


class Command(ActCommand):
    help = (
        "Checks the hash chain of the audit log; exit 1 and the first broken event where it does not hold. "
        "Prints the newest sequence number and hash: kept elsewhere, they also show when the end was cut off."
    )

    def act(self, **options: Any) -> None:
        newest = AuditEvent.objects.order_by("sequence").last()
        sequence, digest = (newest.sequence, newest.hash) if newest else (0, GENESIS)
        checked = AuditEvent.objects.filter(sequence__lte=sequence).order_by("sequence")
        if broken := verify(checked.iterator(chunk_size=1000)):
            raise CommandError(f"the audit chain is broken at sequence {broken.sequence}, event {broken.id}")
        self.stdout.write(f"the audit chain holds: {sequence} events, newest hash {digest}")
