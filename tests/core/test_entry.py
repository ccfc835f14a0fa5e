"""`brokerd.entry`: whom the gateway takes in, whom it turns away, and for how long, by a clock of the tests' own."""

from __future__ import annotations

import pytest

from brokerd.entry import Entry, EntryLimits, Offence, Place, Refusal

HOME, AWAY = "192.0.2.1", "198.51.100.1"


def sources(count: int) -> list[str]:
    return [f"203.0.{index // 250}.{index % 250 + 1}" for index in range(count)]


def fill(entry: Entry, count: int, address: str = "", now: float = 0) -> list[Place]:
    """So many places, each from a source of its own unless an address is given. Chance lets all of them in."""
    chance, entry._chance = entry._chance, lambda: 0.999
    taken = [entry.admit(address or source, now) for source in sources(count)]
    entry._chance = chance
    places = [place for place in taken if isinstance(place, Place)]
    assert len(places) == count
    return places


# Places


@pytest.mark.parametrize(
    ("standing", "share"),
    [(0, 0), (9, 0), (10, 0.3), (55, 0.65), (99, 0.3 + 0.7 * 89 / 90), (100, 1), (150, 1)],
)
def test_strangers_are_dropped_as_sshd_drops_them(standing, share):
    """MaxStartups 10:30:100."""
    assert Entry()._drop_share(standing) == pytest.approx(share)


def test_chance_decides_from_ten_on_and_at_a_hundred_nothing_does():
    entry = Entry(chance=lambda: 0.31)
    fill(entry, 10)
    assert isinstance(entry.admit(AWAY, 0), Place), "the dice are above the share of 0.3"
    entry = Entry(chance=lambda: 0.29)
    fill(entry, 10)
    assert entry.admit(AWAY, 0) == Refusal.FULL
    entry = Entry(chance=lambda: 0.999999)
    fill(entry, 100)
    assert entry.admit(AWAY, 0) == Refusal.FULL
    assert entry.refused == {Refusal.FULL: 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (HOME, HOME),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
    ],
    ids=["one address", "one /64", "one address in both forms"],
)
def test_one_source_has_twenty_places(first, second):
    entry = Entry(EntryLimits(drop_from=100))
    places = [entry.admit(first, 0) for _ in range(20)]
    assert all(isinstance(place, Place) for place in places)
    assert entry.admit(second, 0) == Refusal.SOURCE
    assert isinstance(entry.admit(AWAY, 0), Place)
    entry.leave(places[0])
    assert isinstance(entry.admit(second, 0), Place)


def test_a_flood_of_strangers_takes_no_place_of_known_sources():
    entry = Entry(chance=lambda: 0)
    entry.know(HOME, 0)
    fill(entry, 100)
    assert entry.admit(AWAY, 0) == Refusal.FULL
    assert isinstance(entry.admit(HOME, 0), Place)


def test_a_known_source_cannot_take_all_places_of_known_sources():
    """A thousand agents behind one address: a hundred of them at once, and the others meet room as well."""
    entry = Entry()
    entry.know(HOME, 0)
    entry.know(AWAY, 0)
    fill(entry, 100, HOME)
    assert entry.admit(HOME, 0) == Refusal.SOURCE
    fill(entry, 100, AWAY)
    entry.know("192.0.2.99", 0)
    assert entry.admit("192.0.2.99", 0) == Refusal.FULL
    assert isinstance(entry.admit("192.0.2.98", 0), Place), "nor the strangers' ones"


def test_places_are_given_back_where_they_were_taken():
    entry = Entry()
    place = entry.admit(HOME, 0)
    assert isinstance(place, Place)
    entry.know(HOME, 0)
    assert entry.waiting == 1
    entry.leave(place)
    assert entry.waiting == 0 and not entry._strangers and not entry._known
    entry.take(place)
    assert entry.waiting == 1


def test_a_source_is_known_for_a_while():
    entry = Entry(EntryLimits(known_for_s=100))
    entry.know(HOME, 0)
    assert entry.is_known(HOME, 99) and not entry.is_known(HOME, 100)


# Penalties


@pytest.mark.parametrize(
    ("offence", "times"),
    [(Offence.LEFT, 15), (Offence.FAILED, 3), (Offence.TRIED_MANY, 2), (Offence.SILENT, 2), (Offence.BROKE, 1)],
    ids=lambda value: getattr(value, "name", value),
)
def test_so_many_offences_at_once_are_a_penalty(offence, times):
    entry = Entry()
    assert [entry.offend(HOME, offence, 0) for _ in range(times)] == [0] * (times - 1) + [15]
    assert entry.admit(HOME, 14.9) == Refusal.PENALTY
    assert isinstance(entry.admit(AWAY, 14.9), Place)
    assert isinstance(entry.admit(HOME, 15), Place)


def test_who_fails_now_and_then_is_not_refused():
    entry = Entry()
    assert not any(entry.offend(HOME, Offence.FAILED, 7.0 * turn) for turn in range(1000))


def test_penalties_double_up_to_ten_minutes():
    entry, now, penalties = Entry(), 0.0, []
    for _ in range(8):
        penalties.append(entry.offend(HOME, Offence.BROKE, now))
        now += penalties[-1]
    assert penalties == [15, 30, 60, 120, 240, 480, 600, 600]
    assert entry.penalties == 8
    now += 3601
    assert entry.offend(HOME, Offence.BROKE, now) == 15, "an hour without one"


def test_what_came_in_before_a_penalty_does_not_make_it_longer():
    """One penalty, one row in the audit, however many connections it had open."""
    entry = Entry()
    assert [entry.offend(HOME, Offence.BROKE, 0.1 * turn) for turn in range(10)] == [15] + [0] * 9
    assert isinstance(entry.admit(HOME, 15), Place)


def test_known_sources_are_forgiven_sooner():
    """One machine with a wrong key, among many behind one address."""
    entry = Entry()
    entry.know(HOME, 0)
    assert [entry.offend(HOME, Offence.FAILED, 0) for _ in range(26)] == [0] * 25 + [15]
    assert entry.admit(HOME, 14) == Refusal.PENALTY
    for turn in range(1, 6):
        again = [entry.offend(HOME, Offence.FAILED, 15.0 * turn) for _ in range(26)]
        assert sum(again) == 15, "and it stays the shortest"


def test_a_login_forgives():
    entry = Entry()
    for _ in range(2):
        entry.offend(HOME, Offence.FAILED, 0)
    entry.know(HOME, 0)
    assert not any(entry.offend(HOME, Offence.FAILED, 0) for _ in range(24))


# Memory


def test_both_tables_are_bounded():
    entry = Entry(EntryLimits(table=100))
    for source in sources(1000):
        entry.offend(source, Offence.BROKE, 0)
        entry.know(source, 0)
        entry.offend(source, Offence.BROKE, 0)
    assert len(entry._records) <= 100 and len(entry._seen) == 100
    assert entry.is_known(sources(1000)[-1], 1) and not entry.is_known(sources(1000)[0], 1)


def test_who_was_quiet_for_longest_is_forgotten_first():
    entry = Entry(EntryLimits(table=2))
    entry.know("192.0.2.1", 0)
    entry.know("192.0.2.2", 1)
    entry.know("192.0.2.1", 2)
    entry.know("192.0.2.3", 3)
    assert [entry.is_known(f"192.0.2.{last}", 4) for last in (1, 2, 3)] == [True, False, True]
