"""`brokerd.health`: alive, ready, and figures for the few."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from django.db import DatabaseError
from prometheus_client.parser import text_string_to_metric_families

from brokerd import health
from terminals.api_tokens import Scope
from tests.people.helpers import make_token

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_node(monkeypatch):
    """A registry of this test's own, and a node with three tunnels in it."""
    monkeypatch.setattr(health, "registry", type(health.registry)())
    monkeypatch.setattr(health, "_gateway_ready", health._gateway_ready)
    health.watch([("tunnels", "Live tunnels", lambda: 3)], gateway_ready=lambda: True)


def test_alive(client, monkeypatch):
    monkeypatch.setattr(health, "_database_answers", lambda: False)
    assert client.get("/healthz").status_code == 200


def test_ready(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"database": True, "layer": True, "gateway": True})


def broken_cursor():
    raise DatabaseError("disk is gone")


@pytest.mark.parametrize("part", ["database", "layer", "gateway"])
def test_each_part_that_is_missing_is_named(client, monkeypatch, part):
    match part:
        case "database":
            monkeypatch.setattr(health.connection, "cursor", broken_cursor)
        case "layer":
            monkeypatch.setattr(health, "get_channel_layer", lambda: None)
        case "gateway":
            monkeypatch.setattr(health, "_gateway_ready", lambda: False)
    answer = client.get("/readyz")
    parts = {"database": True, "layer": True, "gateway": True, part: False}
    assert (answer.status_code, answer.json()) == (503, parts)


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("127.9.9.9", 200), ("::1", 200), ("192.0.2.1", 403), ("10.0.0.1", 403)]
)
def test_metrics_are_for_loopback(client, address, status):
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status


def test_metrics_networks_can_be_set(client, settings):
    settings.BROKERD = replace(settings.BROKERD, metrics_allow=(ip_network("10.0.0.0/8"),))
    assert client.get("/metrics", REMOTE_ADDR="10.0.0.1").status_code == 200
    assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 403


@pytest.mark.parametrize(
    ("who", "scopes", "status"),
    [("admin", [], 200), ("admin", [Scope.SESSIONS], 403), ("alice", [], 403), ("auditor", [], 403), (None, [], 403)],
)
def test_metrics_from_elsewhere_need_an_admins_token(client, alice, admin, auditor, who, scopes, status):
    people = {"admin": admin, "alice": alice, "auditor": auditor}
    secret = make_token(people[who], *scopes) if who else "made-up"
    answer = client.get("/metrics", REMOTE_ADDR="192.0.2.1", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == status


def test_an_admins_login_is_no_token(client, admin):
    client.force_login(admin)
    assert client.get("/metrics", REMOTE_ADDR="192.0.2.1").status_code == 403


def test_the_figures_can_be_parsed(client):
    text = client.get("/metrics").content.decode()
    samples = {
        sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert samples["brokerd_tunnels"] == 3
