"""Remove the recordings that were kept long enough."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.utils import timezone

from brokerd.management.base import ActCommand
from terminals.recording.acts import prune


class Command(ActCommand):
    help = (
        "Removes recordings that are older than BROKERD_RECORDING_RETENTION, as the broker does by itself every few "
        "hours. Their hashes and the audit log stay."
    )

    def act(self, **options: Any) -> None:
        retention_s = settings.BROKERD.recording_retention_s
        if not retention_s:
            self.stdout.write("recordings are kept for ever: BROKERD_RECORDING_RETENTION is 0")
            return
        try:
            count = prune(before=timezone.now() - timedelta(seconds=retention_s))
        except OSError as error:
            raise CommandError(f"a recording cannot be removed: {error}") from error
        self.stdout.write(f"{count} recording{'' if count == 1 else 's'} removed")
