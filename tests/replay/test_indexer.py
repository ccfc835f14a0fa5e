"""Recordings are indexed by another process: after their end, at start, and when asked for; none holds up the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async

from terminals.models import Recording, Session
from terminals.recording.store import path_of, root
from terminals.replay import indexer as indexing
from terminals.replay.files import facts_of
from terminals.replay.indexer import Indexer, enqueue, unindexed
from terminals.replay.search import search
from tests.people.helpers import make_host

from .helpers import record

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
WAIT_S = 60


async def until(probe: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(probe):
            await asyncio.sleep(0.05)


def facts(session: Session):
    return facts_of(Recording(session=session))


async def made(alice, name: str, **options) -> Session:
    return await sync_to_async(lambda: record(alice, make_host(name), [(0.0, "o", f"words{name}\r\n")], **options))()


async def test_left_over_ended_and_asked_for(alice):
    before = await made(alice, "web1", indexed=False)
    async with Indexer():
        await until(lambda: facts(before))
        after = await made(alice, "web2", indexed=False)  # its sealing tells the indexer
        await until(lambda: facts(after))
        path = path_of(after.pk, after.started_at)
        path.with_name(f"{after.pk}.index.zst").unlink()
        enqueue(after.pk)
        await until(lambda: facts(after))
    assert [hit.session_id for hit in search(root(), "wordsweb2", None, 5)] == [after.pk]
    assert await sync_to_async(unindexed)() == []
    assert [file for file in path.parent.iterdir() if "draft" in file.name] == []


async def test_one_that_fails_says_so_and_does_not_hold_up_the_next(alice, monkeypatch, tmp_path):
    bad = await made(alice, "web1", indexed=False)
    good = await made(alice, "web2", indexed=False)
    cast = path_of(bad.pk, bad.started_at)
    fake = tmp_path / "python"
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *{bad.pk}*) echo went wrong >&2; exit 3;; esac\nexec {indexing.sys.executable} "$@"\n'
    )
    fake.chmod(0o700)
    monkeypatch.setattr(indexing.sys, "executable", str(fake))
    async with Indexer():
        await until(lambda: facts(good))
    assert facts(good).problem == ""
    assert "could not be prepared" in facts(bad).problem
    assert cast.exists()


async def test_leaving_ends_the_worker(alice, monkeypatch, tmp_path):
    session = await made(alice, "web1", indexed=False)
    pid = tmp_path / "pid"
    fake = tmp_path / "python"
    fake.write_text(f"#!/bin/sh\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec sleep 600\n")
    fake.chmod(0o700)
    monkeypatch.setattr(indexing.sys, "executable", str(fake))
    async with Indexer():
        await until(pid.exists)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert facts(session) is None  # the next start does it


async def test_a_worker_whose_recording_was_pruned_leaves_nothing(alice):
    session = await made(alice, "web1", indexed=False)
    path_of(session.pk, session.started_at).unlink()
    async with Indexer() as indexer:
        indexer.enqueue(session.pk)
        await asyncio.sleep(0)
    assert facts(session) is None
    assert search(root(), "wordsweb1", [session.pk], 5) == []
