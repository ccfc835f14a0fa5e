"""The record of who did what: whatever is done to the database file is found, and no reader misses an event."""

from __future__ import annotations

import csv
import io
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test import Client

from tests.core.agent import in_database
from tests.core.waiting import until as soon
from tests.story.broker import ROOT, Broker, copy_of_template
from tunnels import anchor
from tunnels.anchor import Pair, anchor_file, catch_up, difference, read_anchor
from tunnels.audit import Event, record
from tunnels.models import AuditEvent
from tunnels.text import is_printable
from tunnels.witness import Witness

# What an insider with the database file can do

MORE = (
    "from django.db import transaction",
    "from tunnels.audit import Event, record",
    "for n in range(6):",
    "    with transaction.atomic():",
    "        record(Event.SETTING_CHANGED, host=f'web{n}', number=n)",
)
REHASH = (
    "from django.db import connection",
    "from tunnels.audit import GENESIS, digest",
    "from tunnels.models import AuditEvent",
    "previous = GENESIS",
    "for number, entry in enumerate(AuditEvent.objects.order_by('sequence'), start=1):",
    "    entry.sequence, entry.previous_hash = number, previous",
    "    previous = entry.hash = digest(entry)",
    "    with connection.cursor() as cursor:",
    "        cursor.execute('UPDATE tunnels_auditevent SET sequence = %s, previous_hash = %s, hash = %s'",
    "            ' WHERE id = %s', [number, entry.previous_hash, entry.hash, entry.id.hex])",
)
"""Makes the whole chain right again, as whoever can write to the database can."""


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Broker:
    """A data directory with a story in its audit log, all of it anchored; no broker runs on it."""
    broker = copy_of_template(tmp_path_factory.mktemp("told"))
    broker.do(*MORE)
    broker.manage("create_person", "erin")  # as any command does, it anchors all that is there
    assert "the audit chain holds" in broker.manage("verify_audit").stdout
    return broker


@pytest.fixture
def victim(told, tmp_path) -> Broker:
    """A copy of that directory, to do to it what should not be done."""
    return Broker(Path(shutil.copytree(told.data_dir, tmp_path / "victim")))


def newest(broker: Broker) -> int:
    return sql(broker, "SELECT max(sequence) FROM tunnels_auditevent")[0][0]


def sql(broker: Broker, *statements: str) -> list[tuple]:
    """On the file itself, behind the back of everything of ours. The rows of the last one."""
    with closing(sqlite3.connect(broker.data_dir / "brokerd.sqlite3")) as database, database:
        for statement in statements:
            rows = database.execute(statement).fetchall()
        return rows


def found(broker: Broker) -> str:
    """What `verify_audit` complains about: it must, and not only once."""
    for _ in range(2):
        done = broker.manage("verify_audit", check=False)
        assert done.returncode == 1, done.stdout
    return done.stderr


def test_an_edit_is_found(victim):
    sql(victim, "UPDATE tunnels_auditevent SET person = 'nobody' WHERE sequence = 4")
    assert "broken at sequence 4" in found(victim)


def test_an_edit_with_every_hash_made_right_is_found(victim):
    sql(victim, "UPDATE tunnels_auditevent SET person = 'nobody' WHERE sequence = 4")
    victim.do(*REHASH)
    assert "event 4 is not the one that was anchored" in found(victim)


def test_a_deletion_is_found(victim):
    sql(victim, "DELETE FROM tunnels_auditevent WHERE sequence = 4")
    assert "broken at sequence 5" in found(victim)


def test_a_deletion_with_every_number_and_hash_made_right_is_found(victim):
    sql(victim, "DELETE FROM tunnels_auditevent WHERE sequence = 4")
    victim.do(*REHASH)
    assert "event 4 is not the one that was anchored" in found(victim)


def test_an_exchange_of_two_is_found(victim):
    for move in ("= 999 WHERE sequence = 4", "= 4 WHERE sequence = 5", "= 5 WHERE sequence = 999"):
        sql(victim, f"UPDATE tunnels_auditevent SET sequence {move}")
    assert "broken at sequence 4" in found(victim)
    victim.do(*REHASH)
    assert "event 4 is not the one that was anchored" in found(victim)


def test_an_insertion_is_found(victim):
    sql(
        victim,
        "UPDATE tunnels_auditevent SET sequence = sequence + 1001 WHERE sequence >= 4",
        "UPDATE tunnels_auditevent SET sequence = sequence - 1000 WHERE sequence > 1000",
        "INSERT INTO tunnels_auditevent SELECT '00000000000000000000000000000000', 4, time, event, person, host, login,"
        " session, address, outcome, detail, previous_hash, hash FROM tunnels_auditevent WHERE sequence = 3",
    )
    assert "broken at sequence 4" in found(victim)
    victim.do(*REHASH)
    assert "event 4 is not the one that was anchored" in found(victim)


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_an_end_that_was_cut_off_is_found(victim, kept):
    end = newest(victim)
    sql(victim, f"DELETE FROM tunnels_auditevent WHERE sequence > {kept}")
    assert f"the end is missing: events up to {end} were anchored, the database ends at {kept}" in found(victim)


def test_it_is_found_also_once_new_events_stand_in_its_place(victim):
    sql(victim, f"DELETE FROM tunnels_auditevent WHERE sequence > {newest(victim) - 2}")
    warned = victim.manage("create_person", "frank").stderr
    assert "the end is missing" in warned, "whoever uses it next is told"
    for name in ("grace", "heidi", "ivan"):
        victim.manage("create_person", name)
    assert "is not the one that was anchored" in found(victim)


def test_an_old_copy_of_the_database_is_found(victim, tmp_path):
    with closing(sqlite3.connect(victim.data_dir / "brokerd.sqlite3")) as database:
        database.execute("VACUUM INTO ?", [str(tmp_path / "old")])
    victim.do(*MORE)
    victim.manage("create_person", "mallory", "--admin")
    for old in victim.data_dir.glob("brokerd.sqlite3*"):
        old.unlink()
    shutil.copy(tmp_path / "old", victim.data_dir / "brokerd.sqlite3")
    assert "the end is missing" in found(victim)


def test_an_anchor_that_is_gone_is_missed(victim):
    (victim.data_dir / "audit.anchor").unlink()
    assert "there is no anchor at" in found(victim)


def test_an_anchor_elsewhere_is_out_of_reach_of_who_has_the_data_directory(told, tmp_path):
    """Everything in the directory is replaced by an old copy, the anchor in it included."""
    elsewhere = tmp_path / "elsewhere" / "anchor"
    elsewhere.parent.mkdir()
    settings = {"BROKERD_AUDIT_ANCHOR": str(elsewhere)}
    broker = Broker(Path(shutil.copytree(told.data_dir, tmp_path / "data")), settings)
    shutil.copytree(broker.data_dir, tmp_path / "old")
    broker.manage("create_person", "mallory", "--admin")
    assert "holds" in broker.manage("verify_audit").stdout
    shutil.rmtree(broker.data_dir)
    shutil.copytree(tmp_path / "old", broker.data_dir)
    assert "the end is missing" in found(broker)


# The anchor


@pytest.fixture
def anchored(transactional_db, settings, tmp_path) -> Path:
    settings.BROKERD = replace(settings.BROKERD, audit_anchor=str(tmp_path / "anchor"))
    return anchor_file()


def tell(*hosts: str) -> None:
    for host in hosts:
        with transaction.atomic():
            record(Event.SETTING_CHANGED, host=host)


def held() -> list[Pair]:
    return [Pair(*row) for row in AuditEvent.objects.order_by("sequence").values_list("sequence", "hash")]


def test_every_event_has_a_line_in_order_and_nobody_else_reads_it(anchored):
    tell("web1", "web2")
    assert catch_up() is None
    tell("web3")
    assert catch_up() is None and catch_up() is None
    assert list(read_anchor(anchored)) == held() and len(held()) == 3
    assert anchored.stat().st_mode & 0o777 == 0o600


def test_what_is_not_committed_is_not_anchored(anchored):
    with transaction.atomic():
        record(Event.SETTING_CHANGED)
        assert catch_up() is None
    assert not anchored.exists()


def test_a_torn_line_is_written_again(anchored):
    tell("web1", "web2")
    catch_up()
    whole = anchored.read_bytes()
    anchored.write_bytes(whole[:-30])
    catch_up()
    assert set(read_anchor(anchored)) == set(held())
    assert difference(read_anchor(anchored)) is None


def test_it_stays_bounded_and_still_finds_what_was_changed(anchored, monkeypatch):
    monkeypatch.setattr(anchor, "IN_FULL", 20)
    monkeypatch.setattr(anchor, "MAX_BYTES", 40 * 70)
    for _ in range(15):
        tell(*(f"web{n}" for n in range(10)))
        assert catch_up() is None
    lines = list(read_anchor(anchored))
    assert len(lines) < 60 and lines[-20:] == held()[-20:] and lines[0].sequence == 1
    assert difference(lines) is None
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tunnels_auditevent SET hash = %s WHERE sequence = 140", ["0" * 64])
    assert "event 140 is not the one" in (difference(lines) or "")


def test_syslog_gets_each_line_and_can_be_verified_against(transactional_db, settings, tmp_path, monkeypatch):
    settings.BROKERD = replace(settings.BROKERD, audit_anchor="syslog", data_dir=tmp_path)
    monkeypatch.setattr(anchor, "SYSLOG", str(tmp_path / "log"))
    tell("web1", "web2")
    with pytest.raises(OSError):
        catch_up()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(5)
        catch_up()
        lines = [log.recv(1000).decode() for _ in range(2)]
    assert all(line.startswith("<85>brokerd[") for line in lines)
    (tmp_path / "syslog").write_text("".join(f"Nov 21 17:00:00 broker {line[4:]}\n" for line in lines))
    assert list(read_anchor(tmp_path / "syslog")) == held() == list(read_anchor(anchor_file()))


async def test_the_broker_anchors_soon_and_survives_that_it_cannot(anchored, monkeypatch):
    """Without delaying, or failing, whoever acts meanwhile."""
    monkeypatch.setattr("tunnels.witness.PAUSE_S", 0.05)
    anchored.mkdir()
    async with Witness():
        await in_database(tell)("web1")
        anchored.rmdir()
        await soon(lambda: anchored.is_file() and list(read_anchor(anchored)), "anchored once it can be")
        await in_database(tell)("web2")
        await soon(lambda: len(list(read_anchor(anchored))) == 2, "followed")
        await in_database(tell)("web3")
    assert len(list(read_anchor(anchored))) == 3, "and once more at the end"


# Readers

WRITER = """
from django.db import transaction
from tunnels.audit import Actor, Event, record
for n in range(%d):
    with transaction.atomic():
        record(Event.SETTING_CHANGED, actor=Actor("%s"), number=n)
"""


@pytest.fixture
def busy(tmp_path) -> Broker:
    return copy_of_template(tmp_path / "busy")


@contextmanager
def started(broker: Broker, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=broker.environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def writing(broker: Broker, *names: str, each: int = 150) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that write audit events at the same time, as fast as they can."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(started(broker, "shell", "--no-imports", "-c", WRITER % (each, name))) for name in names
        ]


def finished(writers: list[subprocess.Popen[str]]) -> None:
    for writer in writers:
        assert writer.wait(120) == 0, writer.stderr and writer.stderr.read()


def test_an_export_that_follows_skips_nothing(busy):
    """With several processes writing, and broken off and begun again in the middle."""
    names, read = ("one", "two", "three"), []
    with writing(busy, *names) as writers:
        while sum("number" in event["detail"] for event in read) < 450:
            with started(busy, "export_audit", "--follow", "--since-sequence", str(len(read) + 1)) as export:
                assert export.stdout
                for line in islice(export.stdout, 170):
                    read.append(json.loads(line))
                    if read[-1]["detail"].get("number") == 149:
                        break  # the writer was at its end, and there may be nothing more to come
        finished(writers)
    assert [event["sequence"] for event in read] == list(range(1, len(read) + 1))
    numbers = [(event["person"], event["detail"]["number"]) for event in read if "number" in event["detail"]]
    assert sorted(numbers) == sorted((name, n) for name in names for n in range(150))


def test_an_export_that_follows_says_when_an_event_is_gone(victim):
    sql(victim, "DELETE FROM tunnels_auditevent WHERE sequence = 4")
    with started(victim, "export_audit", "--follow") as export:
        lines, complaint = export.communicate(timeout=60)
    assert [json.loads(line)["sequence"] for line in lines.splitlines()] == [1, 2, 3]
    assert "event 4 is missing" in complaint and export.returncode == 1


def test_it_does_not_begin_after_the_end(victim):
    done = victim.manage("export_audit", "--follow", "--since-sequence", "5000", check=False)
    assert done.returncode == 1 and "is the database an older copy?" in done.stderr


def test_pages_and_streams_of_rest_skip_nothing_while_others_write(busy):
    busy.start()
    try:
        with writing(busy, "one", "two") as writers:
            while any(writer.poll() is None for writer in writers):
                paged, cursor = [], ""
                while cursor is not None:
                    page = busy.api("GET", f"/audit?limit=50{cursor and '&cursor=' + cursor}", person="auditor")
                    paged += [event["sequence"] for event in page["items"]]
                    cursor = page["next"]
                assert paged == list(range(paged[0], 0, -1))
                streamed = busy.call("GET", "/api/v1/audit", person="auditor", Accept="application/x-ndjson").body
                numbers = [json.loads(line)["sequence"] for line in streamed.splitlines()]
                assert numbers == list(range(1, len(numbers) + 1)) and numbers[-1] >= paged[0]
            finished(writers)
    finally:
        busy.stop()


# The auditor's spreadsheet

HOSTILE = ['=HYPERLINK("http://evil")', "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "x\u202ey", "a;=1", 'q"=1', "\x1b[2J"]


def text_of(answer) -> str:
    async def parts() -> bytes:
        return b"".join([part async for part in answer.streaming_content])

    return async_to_sync(parts)().decode()


def test_the_spreadsheet_computes_nothing_and_hides_nothing(auditor, charlie):
    for text in HOSTILE:
        with transaction.atomic():
            record(Event.ENROLLMENT_REFUSED, host=text, login=text, bad=text)
    client = Client()
    client.force_login(auditor)
    before = AuditEvent.objects.count()
    answer = client.get("/audit/export.csv?event=enrollment.refused")
    content = text_of(answer)
    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert len(rows) == len(HOSTILE)
    for row in rows:
        for cell in row.values():
            assert is_printable(cell) and cell[:1] not in set("=+-@")
    assert [row["host"] for row in rows[:4]] == [f"'{text}" for text in HOSTILE[:4]]
    assert rows[6]["host"] == "x<U+202E>y"
    assert all(line.startswith('"') and line.endswith('"') for line in content.splitlines())
    assert [event.event for event in AuditEvent.objects.filter(sequence__gt=before)] == ["audit.exported"]
    client.force_login(charlie)
    assert client.get("/audit/export.csv").status_code == 403


def test_the_spreadsheet_holds_what_the_filter_says_and_nothing_for_nonsense(auditor):
    with transaction.atomic():
        for host in ("web1", "web2"):
            record(Event.SETTING_CHANGED, host=host)
    client = Client()
    client.force_login(auditor)
    content = text_of(client.get("/audit/export.csv?host=web2"))
    assert [row["host"] for row in csv.DictReader(io.StringIO(content, newline=""))] == ["web2"]
    assert client.get("/audit/export.csv?since=nonsense").status_code == 400
