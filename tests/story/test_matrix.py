"""Every route x every role: who gets which answer. A route that is not in the table fails the suite.

The requests are such that the one who is let in changes nothing by them: a revocation of what does not exist, the
approval of a host that is approved already. What an allowed request does is told elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.story.broker import Answer, Broker
from tests.story.browser import Browser
from tests.story.machine import LOGIN, Machine, machine
from tests.story.routes import all_routes

pytestmark = pytest.mark.sshd
ROLES = ("anonymous", "charlie", "alice", "auditor", "admin")
IN = "login"
"""A redirect to the login page."""
NOBODY = (IN, 403, 403, 403)
PEOPLE = (IN, 200, 200, 200, 200)

# Method and route -> what is sent, and the answer to each of ROLES. alice has a grant on web1, admin is no auditor.
API: dict[tuple[str, str], tuple[dict[str, Any] | None, tuple[int, ...]]] = {
    ("POST", "api/v1/enrollments"): ({}, (422, 422, 422, 422, 422)),
    ("GET", "api/v1/enrollments/{enrollment_id}"): (None, (401, 401, 401, 401, 401)),
    ("GET", "api/v1/hosts"): (None, (401, 200, 200, 200, 200)),
    ("GET", "api/v1/hosts/{name}"): (None, (401, 404, 200, 404, 404)),
    ("POST", "api/v1/hosts/{name}/approve"): ({"fingerprint": "SHA256:no"}, (401, 404, 403, 404, 409)),
    ("POST", "api/v1/hosts/{name}/reject"): ({}, (401, 404, 403, 404, 409)),
    ("POST", "api/v1/hosts/{waiting}/revoke"): ({}, (401, 404, 404, 404, 409)),
    ("PUT", "api/v1/hosts/{name}/second-factor"): ({"required": False}, (401, 404, 403, 404, 200)),
    ("GET", "api/v1/grants"): (None, (401, 403, 403, 403, 200)),
    ("POST", "api/v1/grants"): ({"person": "alice", "host": "nowhere", "logins": ["x"]}, (401, 403, 403, 403, 404)),
    ("DELETE", "api/v1/grants/{grant_id}"): (None, (401, 403, 403, 403, 404)),
    ("POST", "api/v1/grants/explain"): ({"person": "bob", "host": "web1", "login": "x"}, (401, 403, 403, 403, 200)),
    ("GET", "api/v1/audit"): (None, (401, 403, 403, 200, 403)),
    ("POST", "api/v1/sessions"): ({"host": "web1", "login": "nobody"}, (401, 404, 403, 404, 404)),
    ("GET", "api/v1/sessions"): (None, (401, 200, 200, 200, 200)),
    ("GET", "api/v1/sessions/{session_id}"): (None, (401, 404, 200, 200, 200)),
    ("DELETE", "api/v1/sessions/{session_id}"): (None, (401, 404, 409, 403, 409)),
    ("POST", "api/v1/sessions/{session_id}/tickets"): ({}, (401, 404, 409, 403, 403)),
    ("GET", "api/v1/sessions/{session_id}/recording"): (None, (401, 404, 200, 200, 404)),
    ("GET", "api/v1/sessions/{session_id}/replay"): (None, (401, 404, 200, 200, 404)),
    # Without the proof of a viewing; tests/replay has those with one.
    ("GET", "api/v1/sessions/{session_id}/replay/segment"): (None, (401, 422, 422, 422, 422)),
    ("GET", "api/v1/sessions/{session_id}/replay/search"): (None, (401, 422, 422, 422, 422)),
    ("POST", "api/v1/sessions/{session_id}/shares"): ({}, (401, 404, 403, 403, 403)),
    ("GET", "api/v1/sessions/{session_id}/shares"): (None, (401, 404, 200, 403, 403)),
    ("DELETE", "api/v1/sessions/{session_id}/shares/{share_id}"): (None, (401, 404, 404, 403, 403)),
    ("GET", "api/v1/sessions/{session_id}/viewers"): (None, (401, 404, 200, 200, 200)),
    ("DELETE", "api/v1/sessions/{session_id}/viewers/{viewer_id}"): (None, (401, 404, 409, 403, 403)),
    ("POST", "api/v1/sessions/{session_id}/viewers/{viewer_id}/drive"): ({}, (401, 404, 409, 403, 403)),
    ("POST", "api/v1/sessions/{session_id}/drive"): ({}, (401, 404, 409, 403, 403)),
    ("POST", "api/v1/sessions/{session_id}/asks/{ask_id}"): ({"admit": True}, (401, 404, 404, 403, 403)),
    ("POST", "api/v1/sessions/{session_id}/say"): ({"text": "x"}, (401, 404, 409, 403, 403)),
    ("POST", "api/v1/shares/ask"): ({"secret": "x", "name": "eve"}, (404, 404, 404, 404, 404)),
    ("POST", "api/v1/shares/asks/{ask_id}"): ({"key": "x"}, (404, 404, 404, 404, 404)),
    ("GET", "api/v1/webhooks"): (None, (401, 403, 403, 403, 200)),
    ("POST", "api/v1/webhooks"): ({"name": "x", "url": "http://x", "events": []}, (401, 403, 403, 403, 422)),
    ("DELETE", "api/v1/webhooks/{webhook_id}"): (None, (401, 403, 403, 403, 404)),
    ("GET", "api/v1/preferences"): (None, (401, 200, 200, 200, 200)),
    ("PUT", "api/v1/preferences"): ({"font_size": 1}, (401, 422, 422, 422, 422)),
}
OPEN: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "api/v1/openapi.json"): (200, 200, 200, 200, 200),
    ("GET", "api/v1/docs"): (200, 200, 200, 200, 200),
    ("GET", "api/v1/"): (404, 404, 404, 404, 404),
    ("GET", "install.sh"): (200, 200, 200, 200, 200),
    ("GET", "join/"): (200, 200, 200, 200, 200),
    ("GET", "healthz"): (200, 200, 200, 200, 200),
    ("GET", "readyz"): (200, 200, 200, 200, 200),
    ("GET", "metrics"): (200, 200, 200, 200, 200),
}
PAGES: dict[tuple[str, str], tuple[int | str, ...]] = {
    ("GET", "login/"): (200, 302, 302, 302, 302),
    ("GET", "login/factor/"): (IN, 302, 302, 302, 302),
    ("GET", "login/passkey/"): (IN, 302, 302, 302, 302),
    ("GET", "logout/"): (405, 405, 405, 405, 405),
    ("GET", "account/password/"): PEOPLE,
    ("GET", "account/reauthenticate/"): PEOPLE,
    ("GET", "account/confirm/"): PEOPLE,
    # Nobody here has a second factor, and nobody has just shown that it is them: on to the password.
    ("GET", "account/confirm/code/"): (IN, 302, 302, 302, 302),
    ("GET", "account/confirm/passkey/"): (IN, 302, 302, 302, 302),
    ("GET", "account/password/none/"): (IN, 302, 302, 302, 302),
    ("GET", "account/factors/"): (IN, 302, 302, 302, 302),
    ("GET", "account/factors/app/"): (IN, 302, 302, 302, 302),
    ("GET", "account/factors/app/remove/"): (IN, 404, 404, 404, 404),
    ("GET", "account/factors/codes/"): (IN, 404, 404, 404, 404),
    ("GET", "account/factors/codes/new/"): (IN, 302, 302, 302, 302),
    ("GET", "account/factors/passkeys/add/"): (IN, 302, 302, 302, 302),
    ("GET", "account/factors/passkeys/<int:pk>/name/"): (IN, 302, 302, 302, 302),
    ("GET", "account/factors/passkeys/<int:pk>/remove/"): (IN, 302, 302, 302, 302),
    ("POST", "account/logins/end-others"): (IN, 302, 302, 302, 302),
    ("POST", "account/logins/<str:login_id>/end"): (IN, 404, 404, 404, 404),
    ("GET", "people/"): (*NOBODY, 200),
    ("POST", "people/<int:person_id>/end"): (*NOBODY, 404),
    ("POST", "people/<int:person_id>/disable"): (*NOBODY, 404),
    ("POST", "people/<int:person_id>/enable"): (*NOBODY, 404),
    ("POST", "people/<int:person_id>/factors/remove"): (*NOBODY, 404),
    ("POST", "people/groups/<int:group_id>/factor"): (*NOBODY, 404),
    ("POST", "approvals/<uuid:host_id>/factor"): (*NOBODY, 302),
    ("GET", ""): PEOPLE,
    ("GET", "hosts/<str:name>/"): (IN, 404, 200, 404, 404),
    ("GET", "hosts/<str:name>/terminal"): (IN, 404, 200, 404, 404),
    ("GET", "approvals/"): (*NOBODY, 200),
    ("GET", "approvals/tokens/"): (*NOBODY, 200),
    ("POST", "approvals/tokens/<int:token_id>/revoke"): (*NOBODY, 404),
    ("POST", "approvals/<uuid:host_id>/approve"): (*NOBODY, 302),
    ("POST", "approvals/<uuid:host_id>/reject"): (*NOBODY, 302),
    ("POST", "approvals/<uuid:waiting_id>/revoke"): (*NOBODY, 302),
    ("POST", "approvals/<uuid:host_id>/rename"): (*NOBODY, 302),
    ("POST", "approvals/<uuid:host_id>/login"): (*NOBODY, 302),
    ("GET", "grants/"): (*NOBODY, 200),
    ("GET", "grants/explain/"): (*NOBODY, 200),
    ("POST", "grants/<int:grant_id>/revoke"): (*NOBODY, 404),
    ("GET", "audit/"): (IN, 403, 403, 200, 403),
    ("GET", "audit/export.csv"): (IN, 403, 403, 200, 403),
    ("GET", "sessions/"): PEOPLE,
    ("GET", "sessions/export.csv"): (IN, 403, 403, 200, 403),
    ("GET", "sessions/<uuid:session_id>/"): (IN, 404, 200, 200, 200),
    ("POST", "sessions/<uuid:session_id>/end"): (IN, 404, 302, 403, 302),
    ("GET", "sessions/<uuid:session_id>/watch"): (IN, 404, 302, 404, 404),
    ("GET", "webhooks/"): (*NOBODY, 200),
    ("GET", "webhooks/<uuid:webhook_id>/"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/events"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/test"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/disable"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/enable"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/secret"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/remove"): (*NOBODY, 404),
    ("POST", "webhooks/<uuid:webhook_id>/deliveries/<int:delivery_id>/again"): (*NOBODY, 404),
    ("GET", "account/"): PEOPLE,
    ("GET", "account/keys/"): (IN, 302, 302, 302, 302),
    ("POST", "account/keys/<int:key_id>/remove"): (IN, 404, 404, 404, 404),
    ("POST", "account/tokens/<int:token_id>/revoke"): (IN, 404, 404, 404, 404),
}
REDIRECTS = {"admin/logout/": "/admin/", "admin/password_change/": "/account/password/"}
"""Pages below admin/ that lead everybody elsewhere, where they are asked who they are. Admins log out by POST."""
ADMIN = sorted(route for _, route in all_routes() if route.startswith("admin/") and route not in REDIRECTS)


@dataclass
class Stage:
    """What the routes' parameters stand for, and the people's browsers."""

    broker: Broker
    values: dict[str, str]
    browsers: dict[str, Browser]
    poll_tokens: dict[str, str]

    def path(self, route: str) -> str:
        for name, value in self.values.items():
            for kind in ("", "str:", "int:", "uuid:"):
                route = route.replace(f"<{kind}{name}>", value)
            route = route.replace(f"{{{name}}}", value)
        assert "<" not in route, f"{route}: what does its parameter stand for here?"
        assert "{" not in route, f"{route}: what does its parameter stand for here?"
        return f"/{route}"

    def browse(self, role: str, method: str, route: str, body: Any = None) -> Answer:
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body is None and method == "POST" else {}
        data = b"" if form else body
        return self.browsers[role].call(method, self.path(route), data, **form)


@pytest.fixture(scope="module")
def stage(broker: Broker, web1: Machine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    session = broker.api("POST", "/sessions", {"host": "web1", "login": LOGIN}, "alice", 201)["id"]
    broker.api("DELETE", f"/sessions/{session}", None, "alice", 204)
    broker.ended(session)
    with machine(tmp_path_factory.mktemp("matrix"), "waiting", broker) as waiting:
        enrollment = waiting.request()
        values = {
            "name": "web1",
            "waiting": "waiting",
            "enrollment_id": enrollment["id"],
            "host_id": web1.enrollment["id"],  # approved: it can be neither approved again nor rejected
            "waiting_id": enrollment["id"],  # pending: it cannot be revoked
            "session_id": session,
            "share_id": "00000000-0000-0000-0000-000000000000",
            "viewer_id": "nobody",
            "ask_id": "nothing",
            "grant_id": "999999",
            "token_id": "999999",
            "key_id": "999999",
            "pk": "999999",
            "person_id": "999999",
            "group_id": "999999",
            "login_id": "nothing",
            "webhook_id": "00000000-0000-4000-8000-000000000000",
            "delivery_id": "999999",
        }
        browsers = {role: Browser(broker) for role in ROLES}
        for role in ROLES[1:]:
            browsers[role].log_in(role)
        polls = {"agent": web1.enrollment["poll_token"], "unapproved agent": enrollment["poll_token"]}
        yield Stage(broker, values, browsers, polls)
        states = {
            state: broker.api("GET", f"/hosts?state={state}&limit=1000")["items"] for state in ("approved", "pending")
        }
        assert "web1" in [host["name"] for host in states["approved"]], "the matrix changed something"
        assert "waiting" in [host["name"] for host in states["pending"]], "the matrix changed something"


def test_every_route_is_in_the_table():
    named = {as_routed(route) for _, route in [*API, *OPEN, *PAGES]}
    operations = {(method, as_routed(route)) for method, route in API}
    for method, route in sorted(all_routes()):
        if route.startswith("admin/"):
            continue  # all of them by one rule, below
        if method == "*":
            assert route in named, f"no row for {route}"
        else:
            assert (method, route) in operations, f"no row for {method} {route}"
    assert named <= {route for _, route in all_routes()}, "a row for a route that is gone"


def as_routed(route: str) -> str:
    """The table sends some requests to the machine that waits."""
    return route.replace("{waiting}", "{name}").replace("waiting_id", "host_id")


@pytest.mark.parametrize(("method", "route"), API)
def test_api(stage: Stage, method: str, route: str):
    """By token and by cookie alike."""
    body, expected = API[method, route]
    by_token = {
        role: stage.broker.call(method, stage.path(route), body, None if role == "anonymous" else role)
        for role in ROLES
    }
    assert statuses(by_token) == dict(zip(ROLES, expected, strict=True))
    by_cookie = {role: stage.browse(role, method, route, body) for role in ROLES}
    assert statuses(by_cookie) == dict(zip(ROLES, expected, strict=True))
    for answer in (*by_token.values(), *by_cookie.values()):
        if answer.status >= 400:
            assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "route"), API)
@pytest.mark.parametrize("role", ["agent", "unapproved agent"])
def test_api_for_machines(stage: Stage, role: str, method: str, route: str):
    """A poll token opens its own enrollment, and nothing else."""
    body, expected = API[method, route]
    headers = {"Authorization": f"Bearer {stage.poll_tokens[role]}"}
    status = stage.broker.call(method, stage.path(route), body, **headers).status
    is_own = role == "unapproved agent" and route.endswith("{enrollment_id}")
    is_open_to_strangers = route.startswith("api/v1/shares/")  # with a secret, but not with one that fits nowhere
    assert status == (200 if is_own else 401 if is_open_to_strangers else expected[0])


@pytest.mark.parametrize(("method", "route"), [key for key in API if key[0] != "GET" and "enrollments" not in key[1]])
def test_a_cookie_without_its_csrf_token_changes_nothing(stage: Stage, method: str, route: str):
    body, _ = API[method, route]
    cookie = {"Cookie": stage.browsers["admin"].cookie}
    answer = stage.broker.call(method, stage.path(route), body, **cookie)
    assert answer.status == 403
    assert "CSRF" in answer.json["detail"]


@pytest.mark.parametrize(("method", "route"), [*OPEN, *PAGES])
def test_pages(stage: Stage, method: str, route: str):
    expected = {**OPEN, **PAGES}[method, route]
    answers = {role: stage.browse(role, method, route) for role in ROLES}
    assert statuses(answers) == dict(zip(ROLES, expected, strict=True))


@pytest.mark.parametrize(("method", "route"), [key for key in PAGES if key[0] == "POST"])
def test_pages_that_change_things_take_no_get(stage: Stage, method: str, route: str):
    assert stage.browse("admin", "GET", route).status == 405


@pytest.mark.parametrize("route", REDIRECTS)
def test_redirects(stage: Stage, route: str):
    for role in ROLES[:-1]:
        answer = stage.browse(role, "GET", route)
        assert (answer.status, answer.headers["Location"]) == (302, REDIRECTS[route])


@pytest.mark.parametrize("route", ADMIN)
def test_the_django_admin_is_for_admins(stage: Stage, route: str):
    path = (
        re.sub(r"\^\(\?P<app_label>[^)]*\)/\$", "tunnels/", route)
        .replace("(?P<url>.*)$", "nonsense")
        .replace("<path:object_id>", "1")
        .replace("<path:content_type_id>", "1")
    )
    got = statuses({role: stage.browse(role, "GET", path) for role in ROLES})
    for role in ROLES[:-1]:
        assert got[role] in (IN, 403, 405), got
    assert got["admin"] not in (IN, 401, 500), got


def statuses(answers: dict[str, Answer]) -> dict[str, int | str]:
    return {role: _status(answer) for role, answer in answers.items()}


def _status(answer: Answer) -> int | str:
    target = answer.headers.get("Location", "")
    return IN if answer.status == 302 and "login/" in target.partition("?")[0] else answer.status
