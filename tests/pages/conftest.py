"""The people of every story at a portal with two hosts, a machine that waits, and a session of alice's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.utils import timezone

from terminals.api_tokens import create_api_token
from terminals.grants import create_grant
from terminals.keys import add_key
from terminals.models import Grant, Session, WebLogin
from terminals.sessions import end_session
from terminals.webhooks.acts import send_test
from tests.conftest import DATA_DIR
from tests.machines.helpers import key_line
from tests.pages.helpers import ask
from tests.people.helpers import ADDRESS, make_host
from tests.webhooks.helpers import make_webhook
from tunnels.audit import OPERATOR
from tunnels.models import Host, State
from tunnels.tokens import create_enrollment_token


@pytest.fixture(autouse=True)
def no_limits_left_over():
    """Rate limits live in the cache, which outlives a test."""
    cache.clear()


@pytest.fixture(autouse=True)
def no_static_files(settings):
    """Each test client would list them all anew, which takes five times as long as any page."""
    settings.STATIC_ROOT = DATA_DIR / "static"
    settings.STATIC_ROOT.mkdir(exist_ok=True)


@pytest.fixture
def web1(db) -> Host:
    return make_host("web1", online=True, site="berlin")


@pytest.fixture
def db1(db) -> Host:
    return make_host("db1", site="paris")


@pytest.fixture
def new1(db, settings) -> Host:
    """A machine that asked over REST and waits for an admin."""
    settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)
    return ask("new1", login="pi")


@pytest.fixture
def alices(alice, web1) -> Grant:
    """alice may open terminals on web1 as root."""
    return create_grant(person=alice, host=web1, logins=["root"], actor=OPERATOR)


@pytest.fixture
def bobs(bob, db1) -> Grant:
    """bob has the right next door: db1 as guest, by his team."""
    team = Group.objects.create(name="team")
    team.user_set.add(bob)
    return create_grant(group=team, host=db1, logins=["guest"], actor=OPERATOR)


@pytest.fixture
def her_session(alice, web1, alices) -> Session:
    return Session.objects.create(person=alice, host=web1, login="root", node="n1", address=ADDRESS, grant=alices)


class Portal:
    """Everything there is, once. `path` puts the ids of its rows into a path: `/sessions/SESSION/`."""

    def __init__(self, **rows: Any) -> None:
        self._ids = {name: row if isinstance(row, str) else str(row.pk) for name, row in rows.items()}

    def path(self, path: str) -> str:
        return "/".join(self._ids.get(part, part) for part in path.split("/"))


@pytest.fixture
def portal(alice, bob, charlie, auditor, admin, web1, new1, alices, bobs, her_session) -> Portal:
    past = Session.objects.create(person=alice, host=web1, login="root", node="n1", address=ADDRESS)
    end_session(session_id=past.pk, reason="the shell ended")
    make_host("old1", state=State.REVOKED)
    later = timezone.now() + timedelta(hours=1)
    elsewhere = WebLogin.objects.create(session_key="k" * 40, expire_date=later, person=alice, login="1" * 32)
    chat = make_webhook("https://chat.example/hook")
    send_test(webhook=chat, actor=OPERATOR)
    return Portal(
        NEW1=new1,
        WEB1=web1,
        SESSION=her_session,
        PAST=past,
        GRANT=alices,
        TOKEN=create_enrollment_token(name="office", tags={"site": "berlin"}, actor=OPERATOR)[0],
        KEY=add_key(person=alice, text=key_line("alice's laptop"), actor=OPERATOR),
        APITOKEN=create_api_token(person=alice, name="script", actor=OPERATOR)[0],
        BOB=bob,
        TEAM=bobs.group,
        LOGIN=elsewhere.login,
        WEBHOOK=chat,
        DELIVERY=chat.deliveries.get(),
    )
