"""The audit chain: written with its act, never changed by us, and telling when somebody else did."""

from __future__ import annotations

import json

import pytest
from django.db import connection, transaction

from tests.machines.helpers import ADMIN
from tunnels import audit
from tunnels.audit import Event, record, verify
from tunnels.models import AppendOnly, AuditEvent

pytestmark = pytest.mark.django_db


def chain() -> list[AuditEvent]:
    return list(AuditEvent.objects.order_by("sequence"))


def sql(statement: str, *values) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.fixture
def five() -> list[AuditEvent]:
    with transaction.atomic():
        return [
            record(Event.SETTING_CHANGED, actor=ADMIN, host=f"web{n}", number=n, nested={"a": [n]}) for n in range(5)
        ]


def test_the_chain_holds(five):
    assert verify(chain()) is None
    assert [entry.sequence for entry in chain()] == [1, 2, 3, 4, 5]
    assert verify([]) is None


@pytest.mark.parametrize("column", ["event", "person", "host", "login", "session", "address", "outcome", "detail"])
def test_an_edited_event_is_found(five, column):
    sql(f"UPDATE tunnels_auditevent SET {column} = %s WHERE sequence = 3", json.dumps("other"))
    broken = verify(chain())
    assert broken and broken.sequence == 3


def test_an_edited_time_is_found(five):
    sql("UPDATE tunnels_auditevent SET time = '2020-01-01 00:00:00' WHERE sequence = 2")
    assert verify(chain()).sequence == 2


def test_an_edit_with_its_hash_made_right_is_found_at_the_next(five):
    sql("UPDATE tunnels_auditevent SET host = 'other' WHERE sequence = 3")
    sql("UPDATE tunnels_auditevent SET hash = %s WHERE sequence = 3", audit.digest(chain()[2]))
    assert verify(chain()).sequence == 4


def test_a_deleted_event_is_found(five):
    sql("DELETE FROM tunnels_auditevent WHERE sequence = 3")
    assert verify(chain()).sequence == 4


def test_a_deleted_first_event_is_found(five):
    sql("DELETE FROM tunnels_auditevent WHERE sequence = 1")
    assert verify(chain()).sequence == 2


def test_an_inserted_event_is_found(five):
    sql("UPDATE tunnels_auditevent SET sequence = sequence + 10 WHERE sequence > 3")
    sql("UPDATE tunnels_auditevent SET sequence = sequence - 9 WHERE sequence > 10")
    forged = AuditEvent(
        **{field.name: getattr(five[1], field.name) for field in AuditEvent._meta.fields if field.name != "id"}
    )
    forged.sequence, forged.previous_hash = 4, five[2].hash
    forged.hash = audit.digest(forged)
    forged.save(force_insert=True)
    assert verify(chain()).sequence == 5


def test_reordered_events_are_found(five):
    sql("UPDATE tunnels_auditevent SET sequence = 100 WHERE sequence = 3")
    sql("UPDATE tunnels_auditevent SET sequence = 3 WHERE sequence = 4")
    sql("UPDATE tunnels_auditevent SET sequence = 4 WHERE sequence = 100")
    assert verify(chain()).sequence == 3


def test_the_app_neither_changes_nor_deletes(five):
    entry = five[2]
    entry.host = "other"
    for attempt in (
        entry.save,
        entry.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(host="other"),
        lambda: AuditEvent.objects.filter(pk=entry.pk).update(host="other"),
        lambda: AuditEvent.objects.bulk_update([entry], ["host"]),
        lambda: AuditEvent.objects.update_or_create(pk=entry.pk, defaults={"host": "other"}),
    ):
        with pytest.raises(AppendOnly):
            attempt()
    assert verify(chain()) is None


def test_an_event_rolls_back_with_its_act():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        record(Event.SETTING_CHANGED)
        _ = 1 / 0
    assert chain() == []


@pytest.mark.django_db(transaction=True)
def test_an_event_outside_a_transaction_is_a_mistake():
    with pytest.raises(RuntimeError):
        record(Event.SETTING_CHANGED)


def test_text_from_strangers_is_made_visible():
    with transaction.atomic():
        record(Event.ENROLLMENT_REFUSED, host="a\x1b[2J\n", login="\u202e", bad="x\ny", more={"k\n": ["\x07"]})
    [entry] = chain()
    assert (entry.host, entry.login) == ("a<U+001B>[2J<U+000A>", "<U+202E>")
    assert entry.detail == {"bad": "x<U+000A>y", "more": {"k<U+000A>": ["<U+0007>"]}}
    assert verify([entry]) is None


@pytest.mark.django_db(transaction=True)
def test_subscribers_hear_of_what_was_committed_only():
    heard: list[int] = []
    undo = audit.subscribe(lambda: heard.append(audit.newest_sequence()))
    try:
        with transaction.atomic():
            record(Event.SETTING_CHANGED)
            assert heard == []
        assert heard == [1]
    finally:
        undo()
    with transaction.atomic():
        record(Event.SETTING_CHANGED)
    assert heard == [1]
