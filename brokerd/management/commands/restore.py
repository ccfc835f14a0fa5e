"""Fill an empty data directory from a backup."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from brokerd.backup import BackupError, restore_backup
from brokerd.conf import prepare_data_dir
from brokerd.lock import only_one
from terminals.login_store import end_all
from tunnels.anchor import catch_up
from tunnels.audit import OPERATOR, Event, record


class Command(BaseCommand):
    """No `ActCommand`, which would look into the database, and thereby make one, also where nothing was restored."""

    help = "Fills the empty data directory (BROKERD_DATA_DIR) from a file that `backup` made."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        config = settings.BROKERD
        prepare_data_dir(config)
        with only_one(config.data_dir):
            try:
                manifest = restore_backup(options["file"], config.data_dir)
            except (BackupError, OSError) as error:
                raise CommandError(f"nothing was restored: {error}") from error
            made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(manifest["made"]))
            with transaction.atomic():
                ended = end_all()  # one that was ended since the backup would live again
                facts: dict[str, Any] = {"setting": "data directory", "restored_from": made, "ended_logins": ended}
                record(Event.SETTING_CHANGED, actor=OPERATOR, **facts)
            if problem := catch_up():  # an anchor outside of the directory knows what came after the backup
                self.stderr.write(f"warning: the anchor of the audit log: {problem}")
        self.stdout.write(f"restored {len(manifest['sha256'])} files as of {made}; now run: manage.py migrate")
