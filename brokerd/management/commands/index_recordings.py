"""Prepare recordings for playing and searching, as the broker does by itself."""

from __future__ import annotations

import asyncio
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from brokerd.management.base import ActCommand
from terminals.models import Recording
from terminals.recording.store import root
from terminals.replay import search
from terminals.replay.files import index_of
from terminals.replay.indexer import PLAYABLE, cast_to_index, unindexed
from terminals.replay.workshop import Lost, Workshop


class Command(ActCommand):
    help = "Prepares recordings that have no index yet for playing and searching, as the broker does by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rebuild", action="store_true", help="make all indexes and the search anew")

    def act(self, **options: Any) -> None:
        if options["rebuild"]:
            search.remove(root())
            for recording in Recording.objects.filter(state__in=PLAYABLE).select_related("session").iterator(1000):
                index_of(recording).unlink(missing_ok=True)
        todo = {session_id: cast for session_id in unindexed() if (cast := cast_to_index(session_id))}
        count = asyncio.run(self._index(todo))
        self.stdout.write(f"{count} recording{'' if count == 1 else 's'} indexed")

    async def _index(self, todo: dict[UUID, Path]) -> int:
        """As many as could be. By a worker, as in the broker: a recording may be made to do harm."""
        count = 0
        async with Workshop() as workshop:
            for session_id, cast in todo.items():
                try:
                    await workshop.index(cast, session_id)
                    count += 1
                except Lost as error:
                    self.stderr.write(f"session {session_id}: not indexed: {error}")
        return count
