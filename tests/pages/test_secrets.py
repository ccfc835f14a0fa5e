"""Tokens: made by form, their secret shown once and in no later page, listed, revoked."""

from __future__ import annotations

import re

import pytest

from terminals.api_tokens import create_api_token
from terminals.models import ApiToken
from tests.pages.helpers import Browser, Page
from tests.people.helpers import Api, events, last_event
from tunnels.audit import OPERATOR
from tunnels.models import EnrollmentToken

TOKENS, ACCOUNT = "/approvals/tokens/", "/account/"
GOOD = {"name": "Berlin office"}


@pytest.fixture
def browser(admin) -> Browser:
    return Browser(admin)


def secrets_in(page: Page, prefix: str) -> set[str]:
    return set(re.findall(rf"{prefix}_[\w-]{{20,}}", page.html))


def make(browser: Browser, **fields) -> Page:
    browser.open(TOKENS)
    return browser.send(TOKENS, **GOOD, **fields)


def test_an_enrollment_token_is_shown_once(browser, auditor):
    page = make(browser)
    (secret,) = secrets_in(page, "bet")
    assert "it is shown this once" in page.text
    assert "no-store" in browser.client.get(TOKENS)["Cache-Control"]
    for path in (TOKENS, "/approvals/", "/"):
        assert secret not in browser.open(path).html
    assert secret not in Browser(auditor).open("/audit/").html
    token = EnrollmentToken.objects.get()
    assert secret not in str(EnrollmentToken.objects.values())
    assert (token.name, token.uses, token.auto_approve, token.created_by) == ("Berlin office", 1, False, "admin")
    assert events() == ["token.created"]


def test_the_commands_beside_it_use_it(browser, settings):
    page = make(browser, host_name="pi7")
    (secret,) = secrets_in(page, "bet")
    commands = [tag.text for tag in page.all("pre")]
    assert commands[0] == secret
    agent, install, request, tunnel = commands[1], commands[2], commands[4], commands[7]
    assert agent == f"brokerd-agent --broker {settings.BROKERD.portal_url} --token {secret} --name pi7"
    assert install == f"curl -fsS {settings.BROKERD.portal_url}/install.sh | BROKERD_TOKEN={secret} sh -s -- --name pi7"
    assert "/api/v1/enrollments" in request
    assert f'"token": "{secret}"' in request
    assert tunnel.startswith("ssh -N -R 0:localhost:22 ")
    assert "pi7@" in tunnel


def test_all_that_a_token_may_say(browser):
    page = make(browser, host_name="pi7", uses="3", expires="7d", tags="site=berlin, kind=pi", auto_approve="on")
    token = EnrollmentToken.objects.get()
    assert (token.host_name, token.uses, token.auto_approve) == ("pi7", 3, True)
    assert token.tags == {"site": "berlin", "kind": "pi"}
    assert (token.expires_at - token.created_at).days in (6, 7)
    assert "It approves at once." in page.text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "  "}, "This field is required."),
        ({"uses": "0"}, "greater than or equal to 1"),
        ({"uses": "99999999999999999999"}, "less than or equal to"),
        ({"expires": "soon"}, "Write a duration such as 30m, 8h or 7d."),
        ({"expires": "0"}, "A token lives at least a second and at most 365 days."),
        ({"expires": "999999999d"}, "A token lives at least a second and at most 365 days."),
        ({"host_name": "Not A Name"}, "name"),
        ({"tags": "berlin"}, "Write tags as key=value"),
        ({"tags": "Bad Key=1"}, "is not a tag"),
        ({"name": "a\x00b"}, "Null characters"),
    ],
)
def test_what_does_not_fit_is_told_and_stays_filled_in(browser, fields, told):
    browser.open(TOKENS)
    page = browser.send(TOKENS, **{**GOOD, "uses": "7", **fields})
    assert told in page.text
    assert page.status == 200
    assert page.form(TOKENS).fields["uses"] == fields.get("uses", "7")
    assert not EnrollmentToken.objects.exists()


def test_a_list_of_tokens_and_how_they_stand(browser):
    make(browser)
    row = browser.open(TOKENS).one("tbody").text
    assert "Berlin office" in row
    assert "usable" in row
    assert "0 of 1" in row
    EnrollmentToken.objects.update(used=1)
    assert "used up" in browser.open(TOKENS).one("tbody").text
    EnrollmentToken.objects.update(expires_at="2020-01-01T00:00Z")
    assert "expired" in browser.open(TOKENS).one("tbody").text


def test_revoking_an_enrollment_token(browser):
    make(browser)
    token = EnrollmentToken.objects.get()
    action = f"/approvals/tokens/{token.pk}/revoke"
    browser.open(TOKENS)
    form = browser.page.form(action)
    page = browser.send(action)
    assert page.messages == ["Token Berlin office is revoked."]
    assert "revoked" in page.one("tbody").text
    assert action not in page.html, "nothing left to press"
    assert last_event().event == "token.revoked"
    again = browser.client.post(action, form.fields, follow=True)
    assert "revoked already" in again.content.decode()


def test_an_api_token_is_shown_once_and_works(alice, alices):
    browser = Browser(alice)
    browser.open(ACCOUNT)
    page = browser.send(ACCOUNT, name="backup script", scopes=["hosts"])
    (secret,) = secrets_in(page, "bat")
    token = ApiToken.objects.get()
    assert (token.person, token.scopes) == (alice, ["hosts"])
    assert (token.expires_at - token.created_at).days in (89, 90)
    assert Api(token=secret).get("/hosts").status_code == 200
    page = browser.open(ACCOUNT)
    assert secret not in page.html
    assert secret not in browser.open("/").html
    assert "backup script" in page.one("tbody", id="token-rows").text
    assert events()[1:] == ["token.created"]


def test_revoking_ones_own_api_token(alice, bob):
    token, secret = create_api_token(person=alice, name="script", actor=OPERATOR)
    assert not Browser(bob).open(ACCOUNT).all("tbody", id="token-rows")
    browser = Browser(alice)
    browser.open(ACCOUNT)
    page = browser.send(f"/account/tokens/{token.pk}/revoke")
    assert page.messages == ["Token script is revoked."]
    assert "token revoked" in page.one("tbody", id="token-rows").text
    assert Api(token=secret).get("/hosts").status_code == 401
    assert events()[:2] == ["token.created", "token.revoked"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": ""}, "This field is required."),
        ({"expires": "yesterday"}, "Write a duration such as 8h"),
        ({"expires": "2020-01-01T00:00Z"}, "would have expired already"),
        ({"expires": "2999-01-01T00:00"}, "A time needs its zone"),
        ({"scopes": ["root"]}, "not one of the available choices"),
    ],
)
def test_api_tokens_that_make_no_sense(alice, fields, told):
    browser = Browser(alice)
    browser.open(ACCOUNT)
    page = browser.send(ACCOUNT, **{"name": "script", **fields})
    assert told in page.text
    assert not secrets_in(page, "bat")
    assert not ApiToken.objects.exists()


def test_a_page_about_oneself(alice, bobs, bob):
    assert "team" in Browser(bob).open(ACCOUNT).one("dl").text
    page = Browser(alice).open(ACCOUNT)
    assert "none" in page.one("dl").text
    assert "admin" not in page.one("dl").text
