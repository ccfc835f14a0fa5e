"""`terminals.ssh.target`: what a person's SSH username asks for, as a table."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.ssh.target import BadTarget, Brokered, Portal, parse

TABLE = [
    ("alice", Portal()),
    ("root@web1", Brokered("web1", "root")),
    ("alice/web1", Brokered("web1", None)),
    ("deploy.user@web1", Brokered("web1", "deploy.user")),
]
BAD = [
    "",
    "bob",
    "bob/web1",
    "root@",
    "@web1",
    "root@Web1",
    "alice/",
    "alice/Web_1",
    "root@web1@x y",
    "root@-web",
    "a\x1bb",
]


@pytest.mark.parametrize(("username", "target"), TABLE)
def test_what_it_asks_for(username, target):
    assert parse(username, person="alice") == target


@pytest.mark.parametrize("username", BAD)
def test_what_makes_no_sense(username):
    with pytest.raises(BadTarget) as refusal:
        parse(username, person="alice")
    assert str(refusal.value).isprintable()


@given(st.text(max_size=40))
def test_anything_else_is_one_of_these(username):
    with suppress(BadTarget):
        assert isinstance(parse(username, person="alice"), Portal | Brokered)
