"""Check that nobody edited, removed, inserted or reordered an audit event, cut the end off or put an old copy back."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from terminals.recording.verify import verify_recordings
from tunnels.anchor import Pair, anchor_file, difference, read_anchor
from tunnels.audit import GENESIS, verify
from tunnels.models import AuditEvent


class Command(BaseCommand):
    """Changes nothing, not even the anchor: what it complains about, it complains about again."""

    help = (
        "Checks the hash chain of the audit log, and that it holds all that was anchored; exit 1 and the first broken "
        "event where it does not. Prints the newest sequence number and hash."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--anchor",
            type=Path,
            metavar="FILE",
            help="another anchor, such as the lines that a syslog server has (default: BROKERD_AUDIT_ANCHOR)",
        )

        parser.add_argument(
            "--recordings",
            action="store_true",
            help="also compare the files of all recordings with the hashes in the audit log",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        newest = AuditEvent.objects.order_by("sequence").last()
        sequence, digest = (newest.sequence, newest.hash) if newest else (0, GENESIS)
        anchored = self._anchored(options["anchor"], is_empty=newest is None)
        checked = AuditEvent.objects.filter(sequence__lte=sequence).order_by("sequence")
        if broken := verify(checked.iterator(chunk_size=1000)):
            raise CommandError(f"the audit chain is broken at sequence {broken.sequence}, event {broken.id}")
        if lost := difference(anchored):
            raise CommandError(f"the audit log is not what its anchor says: {lost}")
        last = max((pair.sequence for pair in anchored), default=0)
        self.stdout.write(f"the audit chain holds: {sequence} events, newest hash {digest}, anchored up to {last}")
        if options["recordings"]:
            self._verify_recordings()

    def _verify_recordings(self) -> None:
        try:
            report = verify_recordings()
        except OSError as error:
            raise CommandError(f"a recording cannot be read: {error}") from error
        if report.findings:
            raise CommandError("\n".join(report.findings))
        self.stdout.write(str(report))

    def _anchored(self, path: Path | None, *, is_empty: bool) -> list[Pair]:
        path = path or anchor_file()
        try:
            return list(read_anchor(path))
        except FileNotFoundError as error:
            if is_empty:
                return []
            raise CommandError(
                f"there is no anchor at {path}: whether the end was cut off cannot be told. "
                "The broker begins a new one when it runs"
            ) from error
        except OSError as error:
            raise CommandError(f"the anchor {path} cannot be read: {error.strerror}") from error
