"""`terminals.ssh.notices`: what somebody at a stock client reads of who else is there."""

from __future__ import annotations

from terminals.ssh.notices import Notices

PAGE = "https://portal.example/sessions/1/"


def item(name: str, **more) -> dict:
    facts = {"id": name, "name": name, "role": "watcher", "wants": False, "is_owner": False, "is_guest": False}
    return {**facts, "via": "share", **more}


def told(notices: Notices, *items: dict, asking: list[dict] | None = None) -> list[str]:
    return notices.of_company({"items": [item("alice", is_owner=True), *items], "asking": asking or []})


def test_what_changes_is_told_once():
    notices = Notices(PAGE)
    assert told(notices) == []
    bob = {"id": "a1", "name": "bob", "is_guest": False}
    assert told(notices, asking=[bob]) == [f"bob asks to join: {PAGE}"]
    assert told(notices, asking=[bob]) == []
    assert told(notices, item("bob")) == ["bob watches"]
    assert told(notices, item("bob", wants=True)) == [f"bob asks for the keyboard: {PAGE}"]
    handed = f"bob has the keyboard; what you type is dropped. Take it back: {PAGE}"
    assert told(notices, item("bob", role="driver")) == [handed]
    assert told(notices, item("bob", role="driver")) == []
    assert told(notices, item("bob")) == []
    assert told(notices) == ["bob left"]


def test_guests_and_observers_are_told_apart():
    notices = Notices(PAGE)
    people = (item("alice", id="g", is_guest=True), item("dora", via="observe"))
    assert told(notices, *people) == ["alice (guest) watches", "dora watches (an observer)"]
