"""Machines in the Django admin: the same acts as everywhere, for admins only, and no other way to change a row."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.urls import reverse

from tests.machines.helpers import ADMIN, ask, events, key_line
from tunnels.enrollment import approve_enrollment, reject_enrollment
from tunnels.models import AuditEvent, EnrollmentToken, Host, State
from tunnels.tokens import create_enrollment_token

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("open_enrollment")]

MODELS = ("host", "enrollmenttoken", "auditevent", "tunnel")


@pytest.fixture
def at_desk(client, admin):
    client.force_login(admin)
    return client


def listing(model: str = "host") -> str:
    return reverse(f"admin:tunnels_{model}_changelist")


def page(host: Host) -> str:
    return reverse("admin:tunnels_host_change", args=[host.pk])


def choose(client, action: str, *rows, **more):
    data = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return client.post(listing(), data)


def confirm(client, response):
    """Send the form of the confirmation page as a browser would."""
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', response.content.decode())
    data: dict[str, list[str]] = {}
    for name, value in fields:
        data.setdefault(name, []).append(value)
    return client.post(listing(), data)


def said(response) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def test_approving_shows_the_fingerprint_and_approves_it(at_desk):
    host = ask()
    shown = choose(at_desk, "approve", host)
    assert host.fingerprint in shown.content.decode() and host.code in shown.content.decode()
    assert Host.objects.get().state == State.PENDING
    assert "web1 is approved" in said(confirm(at_desk, shown))
    host.refresh_from_db()
    assert (host.state, host.decided_by) == (State.APPROVED, "admin")
    assert AuditEvent.objects.get(event="host.approved").person == "admin"


def test_a_fingerprint_that_was_not_shown_is_not_approved(at_desk):
    host = ask()
    assert "fingerprint" in said(choose(at_desk, "approve", host, confirmed="1"))
    forged = {f"fingerprint-{host.pk}": "SHA256:other"}
    assert "not the one" in said(choose(at_desk, "approve", host, confirmed="1", **forged))
    assert Host.objects.get().state == State.PENDING
    assert events()[1:] == ["!host.approved", "!host.approved"]


def test_rejecting_and_revoking(at_desk):
    waiting, working = ask("web1"), ask("web2")
    approve_enrollment(host=working, fingerprint=working.fingerprint, actor=ADMIN)
    confirm(at_desk, choose(at_desk, "reject", waiting))
    confirm(at_desk, choose(at_desk, "revoke", working))
    assert [host.state for host in Host.objects.order_by("name")] == [State.REJECTED, State.REVOKED]
    assert "only" in said(confirm(at_desk, choose(at_desk, "revoke", waiting)))


def test_name_login_and_tags_change_through_their_acts(at_desk):
    host = ask("web1")
    response = at_desk.post(page(host), {"name": "www", "login": "pi", "tags": "site=berlin\nrack=7"})
    assert response.status_code == 302
    host = Host.objects.get()
    assert (host.name, host.login, host.tag_map) == ("www", "pi", {"site": "berlin", "rack": "7"})
    assert events()[1:] == ["host.renamed", "setting.changed", "setting.changed"]


def test_a_taken_name_is_refused_in_words(at_desk):
    ask("web1")
    host = ask("web2")
    response = at_desk.post(page(host), {"name": "web1", "login": "root", "tags": ""})
    assert "taken" in said(response)
    assert Host.objects.filter(name="web2").exists() and events()[-1] == "!host.renamed"


@pytest.mark.parametrize("bad", [{"name": "W W"}, {"login": "a b"}, {"tags": "Site=x"}, {"tags": "nothing"}])
def test_a_bad_value_is_a_form_error(at_desk, bad):
    host = ask("web1")
    response = at_desk.post(page(host), {"name": "web1", "login": "root", "tags": "", **bad})
    assert response.status_code == 200 and b"errorlist" in response.content
    assert events() == ["enrollment.requested"]


def test_other_fields_cannot_be_edited(at_desk):
    host = ask("web1")
    facts = {"state": "approved", "public_key": "x", "fingerprint": "x", "tunnel_port": "22222", "host_keys": "[]"}
    at_desk.post(page(host), {"name": "web1", "login": "root", "tags": "", **facts})
    unchanged = Host.objects.get()
    for field in facts:
        assert getattr(unchanged, field) == getattr(host, field)


def test_what_was_turned_away_is_only_shown(at_desk):
    host = ask("web1")
    reject_enrollment(host=host, actor=ADMIN)
    assert at_desk.get(page(host)).status_code == 200
    assert at_desk.post(page(host), {"name": "www", "login": "root", "tags": ""}).status_code == 403


def test_a_token_is_shown_once(at_desk):
    form = {"name": "lab", "host_name": "web1", "uses": "2", "expires": "28800", "tags": "site=berlin"}
    response = at_desk.post(reverse("admin:tunnels_enrollmenttoken_add"), form, follow=True)
    text = response.content.decode()
    [secret] = re.findall(r"bet_[\w-]+", text)
    token = EnrollmentToken.objects.get()
    assert (token.name, token.uses, token.tags, token.created_by) == ("lab", 2, {"site": "berlin"}, "admin")
    assert ask("web1", token=secret).tag_map == {"site": "berlin"}
    assert secret not in at_desk.get(listing("enrollmenttoken")).content.decode()
    detail = at_desk.get(reverse("admin:tunnels_enrollmenttoken_change", args=[token.pk])).content.decode()
    assert secret not in detail and token.digest not in detail


def test_a_bad_token_is_a_form_error(at_desk):
    form = {"name": "lab", "host_name": "Web 1", "uses": "0", "expires": "5", "tags": "x"}
    response = at_desk.post(reverse("admin:tunnels_enrollmenttoken_add"), form)
    assert response.content.count(b"errorlist") >= 4
    assert not EnrollmentToken.objects.exists()


def test_a_token_is_revoked_not_edited(at_desk):
    token, _ = create_enrollment_token(name="lab", actor=ADMIN)
    change = reverse("admin:tunnels_enrollmenttoken_change", args=[token.pk])
    assert at_desk.post(change, {"uses": "99"}).status_code == 403
    data = {"action": "revoke", "_selected_action": [str(token.pk)]}
    assert "revoked" in said(at_desk.post(listing("enrollmenttoken"), data))
    token.refresh_from_db()
    assert token.revoked_at and token.uses == 1


def test_the_audit_is_searched_and_never_changed(at_desk):
    ask("web1")
    entry = AuditEvent.objects.get(event="enrollment.requested")
    assert b"enrollment.requested" in at_desk.get(listing("auditevent"), {"q": "web1"}).content
    change = reverse("admin:tunnels_auditevent_change", args=[entry.pk])
    assert at_desk.get(change).status_code == 200
    assert at_desk.post(change, {"host": "other"}).status_code == 403


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_added_or_deleted_by_hand(at_desk, model):
    ask("web1")
    create_enrollment_token(name="lab", actor=ADMIN)
    if model != "enrollmenttoken":
        assert at_desk.get(reverse(f"admin:tunnels_{model}_add")).status_code == 403
    for row in (Host.objects.get(), EnrollmentToken.objects.get(), AuditEvent.objects.first()):
        if row._meta.model_name == model:
            assert (
                at_desk.post(reverse(f"admin:tunnels_{model}_delete", args=[row.pk]), {"post": "yes"}).status_code
                == 403
            )
            data = {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"}
            at_desk.post(listing(model), data)
            assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("who", ["anonymous", "charlie", "auditor", "staff"])
def test_only_admins_get_in(client, request, model, who):
    if who in ("charlie", "auditor"):
        client.force_login(request.getfixturevalue(who))
    if who == "staff":  # with every permission that Django knows, but no admin
        charlie = request.getfixturevalue("charlie")
        charlie.is_staff = True
        charlie.save()
        charlie.user_permissions.set(Permission.objects.all())
        client.force_login(charlie)
    host = ask("web1", public_key=key_line("agent"))
    assert client.get(listing(model)).status_code in (302, 403)
    assert choose(client, "approve", host, confirmed="1").status_code in (302, 403)
    assert Host.objects.get().state == State.PENDING
