"""Save the data directory in one file, also while the broker runs."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import transaction

from brokerd.backup import BackupError, make_backup
from brokerd.management.base import ActCommand
from tunnels.audit import OPERATOR, Event, record


class Command(ActCommand):
    help = (
        "Writes the whole data directory (database, keys, recordings, the anchor of the audit log) into one new file "
        "(tar, 0600), also while the broker runs. Who has it can be the broker: keep it as you keep the keys."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)
        parser.add_argument("--without-recordings", action="store_true", help="leave the recordings out")

    def act(self, **options: Any) -> None:
        target, recordings = Path(options["file"]).absolute(), not options["without_recordings"]
        if target.exists():
            raise CommandError(f"{target} is there already; name a new file")
        # First the fact, as with an export, so that the copy tells of itself.
        with transaction.atomic():
            record(Event.AUDIT_EXPORTED, actor=OPERATOR, form="backup", file=target.name, recordings=recordings)
        try:
            count = make_backup(settings.BROKERD.data_dir, target, recordings=recordings)
        except (BackupError, OSError) as error:
            raise CommandError(f"no backup was made: {error}") from error
        self.stdout.write(f"{target}: {count} files, {target.stat().st_size} bytes")
        if settings.BROKERD.secret_key:
            self.stderr.write("note: BROKERD_SECRET_KEY is set in the environment and not in it: keep it as well")
