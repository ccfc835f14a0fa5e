"""Approvals: what an admin compares, each decision with its message and its event, and what is refused."""

from __future__ import annotations

import pytest

from terminals.models import Grant
from tests.machines.helpers import key_line
from tests.pages.helpers import Browser, ask
from tests.people.helpers import events, last_event, make_host
from tunnels.audit import Actor
from tunnels.enrollment import approve_enrollment
from tunnels.keys import parse_public_key
from tunnels.models import Host, State

PAGE = "/approvals/"


@pytest.fixture
def browser(admin) -> Browser:
    return Browser(admin)


@pytest.fixture
def approve(browser, new1):
    """Open the page, let something happen, then press the button."""

    def press(between=lambda: None, **changes):
        browser.open(PAGE)
        between()
        return browser.send(f"/approvals/{new1.pk}/approve", **changes)

    return press


def state_of(host: Host) -> str:
    return Host.objects.get(pk=host.pk).state


def test_what_the_admin_compares(browser, new1):
    card = browser.open(PAGE).one("article").text
    host_key = parse_public_key(key_line("sshd of new1")).fingerprint
    for fact in (new1.name, new1.fingerprint, new1.code, new1.address, host_key, "Debian 12", "x86_64", "pi"):
        assert fact in card
    assert browser.page.one("article").attrs["data-key"] == str(new1.pk)


def test_approving_with_the_ticked_grant(approve, admin, new1):
    page = approve()
    assert page.url == PAGE
    assert page.messages == ["new1 is approved, and you have a terminal there as pi."]
    grant = Grant.objects.get()
    assert (grant.person, grant.host, grant.logins, grant.capabilities) == (admin, new1, ["pi"], ["terminal"])
    assert state_of(new1) == State.APPROVED
    assert events()[1:] == ["host.approved", "host.key_pinned", "grant.created"]
    assert last_event().person == "admin"
    assert not page.all("article"), "it waits no longer"
    assert "new1" in page.all("tbody")[0].text


def test_approving_without_a_grant_opens_no_shell(approve, browser, new1):
    page = approve(grant=None)
    assert page.messages == ["new1 is approved."]
    assert not Grant.objects.exists()
    assert browser.client.get("/hosts/new1/").status_code == 404


def test_another_login_than_the_machine_asked_for(approve):
    approve(login="  guest ")
    assert Grant.objects.get().logins == ["guest"]


@pytest.mark.parametrize("login", ["", "not a login", "root;id", "-o"])
def test_approval_and_grant_stand_or_fall_together(approve, new1, login):
    page = approve(login=login)
    assert len(page.messages) == 1
    assert state_of(new1) == State.PENDING
    assert not Grant.objects.exists()
    assert events()[1:] == ["!grant.created"]


def test_a_key_swapped_in_between_is_not_approved(approve, new1):
    other = parse_public_key(key_line("another machine")).fingerprint
    page = approve(lambda: Host.objects.filter(pk=new1.pk).update(fingerprint=other))
    assert page.messages == ["The key of new1 is not the one that was shown; look again before approving."]
    assert state_of(new1) == State.PENDING
    assert not Grant.objects.exists()
    assert events()[1:] == ["!host.approved"]
    assert other in page.one("article").text, "the page shows the new one to compare"


def test_an_approval_names_a_fingerprint(approve, new1):
    assert len(approve(fingerprint="").messages) == 1
    assert state_of(new1) == State.PENDING


def test_of_two_admins_at_once_one_decides(approve, new1):
    other = Actor(person="other")
    page = approve(lambda: approve_enrollment(host=new1, fingerprint=new1.fingerprint, actor=other))
    (message,) = page.messages
    assert message.startswith("new1 is approved")
    assert Host.objects.get(pk=new1.pk).decided_by == "other"
    assert not Grant.objects.exists(), "nothing of the refused approval is left"
    assert last_event().outcome == "refused"


def test_rejecting_with_the_other_button_of_the_card(browser, new1):
    browser.open(PAGE)
    page = browser.send(f"/approvals/{new1.pk}/approve", to=f"/approvals/{new1.pk}/reject")
    assert page.messages == ["new1 is rejected."]
    assert state_of(new1) == State.REJECTED
    assert not Grant.objects.exists()
    assert last_event().event == "host.rejected"
    assert new1.fingerprint in page.one("details", **{"class": "past"}).text


def test_revoking(browser, web1):
    browser.open(PAGE)
    page = browser.send(f"/approvals/{web1.pk}/revoke")
    assert page.messages == ["web1 is revoked: its tunnel and its sessions end."]
    assert state_of(web1) == State.REVOKED
    assert last_event().event == "host.revoked"


def test_revoking_twice_is_told(browser, web1):
    browser.open(PAGE)
    form = browser.page.form(f"/approvals/{web1.pk}/revoke")
    browser.send(form.action)
    answer = browser.client.post(form.action, form.fields, follow=True)
    assert "web1 is revoked: only an approved host can be revoked." in answer.content.decode()
    assert last_event().outcome == "refused"


def test_renaming(browser, web1, db1):
    browser.open(PAGE)
    action = f"/approvals/{web1.pk}/rename"
    assert browser.send(action, name="db1").messages == [
        "The name db1 is taken by another machine; choose another one."
    ]
    assert len(browser.send(action, name="Not A Name").messages) == 1
    assert browser.send(action, name="web2").messages == ["web1 is called web2 now."]
    assert Host.objects.get(pk=web1.pk).name == "web2"
    assert events() == ["!host.renamed", "!host.renamed", "host.renamed"]


def test_changing_the_default_login(browser, web1):
    browser.open(PAGE)
    action = f"/approvals/{web1.pk}/login"
    assert len(browser.send(action, login="no login").messages) == 1
    assert browser.send(action, login="pi").messages == ["The default login of web1 is pi now."]
    assert Host.objects.get(pk=web1.pk).login == "pi"
    assert events() == ["!setting.changed", "setting.changed"]


def test_the_oldest_request_comes_first(browser, new1):
    ask("new2")
    make_host("aaa", state=State.PENDING)
    assert [tag.text for tag in browser.open(PAGE).all("h3")] == ["new1", "new2", "aaa"]


def test_a_machine_without_host_keys_says_when_they_are_read(browser, db):
    make_host("bare", state=State.PENDING)
    assert "read through the tunnel after approval" in browser.open(PAGE).one("article").text


def test_nothing_is_waiting(browser):
    page = browser.open(PAGE)
    assert "No machine is waiting." in page.text
    assert "No host is approved yet." in page.text
    assert not page.all("article")
