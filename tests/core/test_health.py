"""`brokerd.health`: alive, ready, and figures for the few."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest
from django.db import DatabaseError
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from brokerd import health
from terminals.api_tokens import Scope
from terminals.recording import store
from terminals.recording.policy import Policy
from tests.people.helpers import make_token
from tunnels import database

pytestmark = pytest.mark.django_db


class ThreeTunnels(Collector):
    def collect(self):
        yield GaugeMetricFamily("brokerd_tunnels", "Live tunnels", value=3)


@pytest.fixture(autouse=True)
def one_node(monkeypatch):
    """A registry of this test's own, and a node with three tunnels in it."""
    monkeypatch.setattr(health, "registry", type(health.registry)())
    monkeypatch.setattr(health, "_gateway_ready", health._gateway_ready)
    health.watch(ThreeTunnels(), gateway_ready=lambda: True)


def test_alive(client, monkeypatch):
    monkeypatch.setattr(health, "_database_answers", lambda: False)
    assert client.get("/healthz").status_code == 200


ALL = {"database": True, "recordings": True, "layer": True, "gateway": True, "serving": True}


def test_ready(client):
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, ALL)


def broken_cursor():
    raise DatabaseError("disk is gone")


@pytest.mark.parametrize(
    ("part", "how"),
    [
        ("database", "does not read"),
        ("database", "does not write"),
        ("recordings", ""),
        ("layer", ""),
        ("gateway", ""),
        ("serving", ""),
    ],
)
def test_each_part_that_is_missing_is_named(client, monkeypatch, part, how):
    match part:
        case "database" if how == "does not read":
            monkeypatch.setattr(health.connection, "cursor", broken_cursor)
        case "database":
            monkeypatch.setattr(database, "_problem", "its disk is full")
        case "recordings":
            monkeypatch.setattr(store, "problem", lambda: "no space left on device")
        case "serving":
            health.drain()
        case "layer":
            monkeypatch.setattr(health, "get_channel_layer", lambda: None)
        case "gateway":
            monkeypatch.setattr(health, "_gateway_ready", lambda: False)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {**ALL, part: False})


def test_what_need_not_be_recorded_needs_no_folder(client, monkeypatch, settings):
    monkeypatch.setattr(store, "problem", lambda: "no space left on device")
    settings.BROKERD = replace(settings.BROKERD, recording=Policy.BEST_EFFORT)
    assert client.get("/readyz").status_code == 200


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
