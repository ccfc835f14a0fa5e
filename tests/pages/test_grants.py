"""Grants: made by form, filtered, revoked, and the answer to "may this person do that?"."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.contrib.auth.models import Group

from terminals.models import Grant
from tests.pages.helpers import Browser, Page
from tests.people.helpers import events, last_event

PAGE = "/grants/"
GOOD = {"person": "alice", "host": "web1", "logins": "root"}


@pytest.fixture
def browser(admin) -> Browser:
    return Browser(admin)


@pytest.fixture
def make(browser, alice, web1):
    def send(**fields) -> Page:
        browser.open(PAGE)
        return browser.send(PAGE, **{**GOOD, **fields})

    return send


def test_a_grant_to_a_person_on_a_host(make, alice, web1):
    page = make()
    grant = Grant.objects.get()
    assert page.messages == [f"Grant {grant.pk} is made."]
    assert (grant.person, grant.host, grant.logins, grant.capabilities) == (alice, web1, ["root"], ["terminal"])
    assert (grant.created_by, events()) == ("admin", ["grant.created"])
    row = page.one("tbody").text
    for fact in ("alice", "web1", "root", "terminal", "always", "anywhere", "by admin"):
        assert fact in row


def test_a_grant_to_a_group_on_a_tag(make):
    Group.objects.create(name="team")
    page = make(
        person="", group="team", host="", tag="site=berlin", logins="root, pi  guest", capabilities=["exec", "sftp"]
    )
    grant = Grant.objects.get()
    assert (str(grant.group), grant.tag_key, grant.tag_value) == ("team", "site", "berlin")
    assert (grant.logins, grant.capabilities) == (["guest", "pi", "root"], ["exec", "sftp"])
    assert "site=berlin" in page.one("tbody").text


def test_a_grant_on_all_hosts_for_a_while_from_some_networks(make):
    page = make(host="", all_hosts="on", valid_until="8h", networks="10.0.0.0/8, 192.0.2.7/32")
    grant = Grant.objects.get()
    assert grant.all_hosts
    assert (grant.valid_until - grant.created_at).total_seconds() == pytest.approx(8 * 3600, abs=60)
    assert grant.networks == ["10.0.0.0/8", "192.0.2.7/32"]
    assert "all hosts" in page.one("tbody").text


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"person": "nobody"}, "There is no person of that name."),
        ({"group": "nobody"}, "There is no group of that name."),
        ({"host": "new1"}, "There is no approved host of that name."),
        ({"person": ""}, "A grant is for one person or for one group: name exactly one."),
        ({"all_hosts": "on"}, "A grant is on one host, on a tag or on all hosts: name exactly one."),
        ({"host": "", "tag": "berlin"}, "is not a tag such as site=berlin."),
        ({"logins": ""}, "This field is required."),
        ({"logins": "root;id"}, "is not a login such as root."),
        ({"capabilities": None}, "This field is required."),
        ({"capabilities": ["fly"]}, "not one of the available choices"),
        ({"valid_until": "2020-01-01T00:00Z"}, "The grant would be over already"),
        ({"valid_from": "2d", "valid_until": "1d"}, "The grant would end before it begins"),
        ({"valid_until": "2999-01-01"}, "A time needs its zone"),
        ({"valid_until": "999999999d"}, "Write a duration"),
        ({"networks": "10.0.0.1/8"}, "is not a network"),
        ({"idle_s": "5s"}, "idle: a limit of a grant is between 10 s and 30 d; leave it out for the broker's setting."),
        ({"grace_s": "0"}, "grace: a limit of a grant is between 10 s and 30 d"),
        ({"longest_s": "soon"}, "Write a duration such as 30m, 8h or 7d."),
    ],
)
def test_what_makes_no_sense_is_told_and_stays_filled_in(make, new1, fields, told):
    page = make(**fields)
    assert told in page.text
    assert page.form(PAGE).fields["logins"] == fields.get("logins", "root")
    assert not Grant.objects.exists()


def test_revoking(browser, alices, bobs):
    page = browser.open(PAGE)
    assert len(page.all("tr", **{"data-key": str(alices.pk)})) == 1
    page = browser.send(f"/grants/{alices.pk}/revoke")
    assert page.messages == [f"Grant {alices.pk} is revoked. Sessions that nothing else allows end now."]
    assert not page.all("tr", **{"data-key": str(alices.pk)})
    assert page.all("tr", **{"data-key": str(bobs.pk)})
    assert (last_event().event, last_event().person) == ("grant.revoked", "admin")


def test_revoking_twice_is_told(browser, alices):
    action = f"/grants/{alices.pk}/revoke"
    form = browser.open(PAGE).form(action)
    browser.send(action)
    answer = browser.client.post(action, form.fields, follow=True)
    assert Page(answer.client.get(PAGE)).messages == []
    assert f"Grant {alices.pk} is revoked already." in answer.content.decode()
    assert last_event().outcome == "refused"


def test_limits(make, browser, alice):
    page = make(idle_s="10m", longest_s="", grace_s="5 min")
    grant = Grant.objects.get()
    assert (grant.idle_s, grant.longest_s, grant.grace_s) == (600, None, 300)
    assert "idle 10 min, grace 5 min" in page.one("tbody").text
    explained = browser.open("/grants/explain/?person=alice&host=web1&login=root&capability=terminal")
    assert "idle 10 min, grace 5 min" in explained.one("tbody").text
    assert "idle 10 min, grace 5 min" in Browser(alice).open("/hosts/web1/").one("tbody").text


def test_the_form_shows_the_settings_that_hold_without_limits(browser, settings):
    settings.BROKERD = replace(settings.BROKERD, idle_timeout_s=0, max_session_s=5400)
    page = browser.open(PAGE)
    shown = [page.one("input", id=f"id_{name}_s").attrs["placeholder"] for name in ("idle", "longest", "grace")]
    assert shown == ["none", "1 h 30 min", "10 min"]


def test_no_grant_yet(browser):
    assert "nobody can open a terminal anywhere" in browser.open(PAGE).text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("person=alice&host=web1&login=root&capability=terminal", "Yes."),
        ("person=alice&host=web1&login=pi&capability=terminal", "No."),
        ("person=alice&host=web1&login=root&capability=exec", "No."),
        ("person=bob&host=web1&login=root&capability=terminal", "No."),
        ("person=bob&host=db1&login=guest&capability=terminal&address=192.0.2.1", "Yes."),
    ],
)
def test_may_somebody(browser, alices, bobs, question, answer):
    page = browser.open(f"/grants/explain/?{question}")
    assert page.one("div", **{"class": "panel verdict"}).text.split()[0] == answer
    assert len(page.all("tr")) == (2 if answer == "Yes." else 0), "the grant that allows it"


def test_a_question_that_is_incomplete(browser, alice, web1):
    page = browser.open("/grants/explain/?person=&host=nowhere&login=&capability=fly&address=here")
    for told in ("This field is required.", "no approved host", "available choices", "valid IPv4 or IPv6"):
        assert told in page.text
    assert not page.all("div", **{"class": "panel verdict"})
