"""Prepare recordings for playing and searching, as the broker does by itself."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from brokerd.management.base import ActCommand
from terminals.models import Recording
from terminals.recording.store import root
from terminals.replay import search
from terminals.replay.files import cast_of, index_of
from terminals.replay.indexer import PLAYABLE, unindexed
from terminals.replay.worker import index


class Command(ActCommand):
    help = "Prepares recordings that have no index yet for playing and searching, as the broker does by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="make all indexes and the search anew")

    def act(self, **options: Any) -> None:
        if options["rebuild"]:
            search.remove(root())
            for recording in Recording.objects.filter(state__in=PLAYABLE).select_related("session").iterator(1000):
                index_of(recording).unlink(missing_ok=True)
        todo = unindexed()
        for session_id in todo:
            recording = Recording.objects.select_related("session").get(pk=session_id)
            index(cast_of(recording), root(), session_id)
        self.stdout.write(f"{len(todo)} recording{'' if len(todo) == 1 else 's'} indexed")
