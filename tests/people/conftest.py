from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache

from terminals.grants import create_grant
from terminals.models import Grant
from tests.people.helpers import make_host
from tunnels.audit import OPERATOR
from tunnels.models import Host, State


@pytest.fixture(autouse=True)
def no_limits_left_over():
    """Rate limits live in the cache, which outlives a test."""
    cache.clear()


@pytest.fixture
def web1(db) -> Host:
    return make_host("web1", online=True, site="berlin")


@pytest.fixture
def db1(db) -> Host:
    return make_host("db1", site="paris")


@pytest.fixture
def new1(db) -> Host:
    return make_host("new1", state=State.PENDING)


@pytest.fixture
def alices(alice, web1) -> Grant:
    """alice may open terminals on web1 as root."""
    return create_grant(person=alice, host=web1, logins=["root"], actor=OPERATOR)


@pytest.fixture
def bobs(bob, db1) -> Grant:
    """bob has the right next door: db1 as guest."""
    team = Group.objects.create(name="team")
    team.user_set.add(bob)
    return create_grant(group=team, host=db1, logins=["guest"], actor=OPERATOR)
