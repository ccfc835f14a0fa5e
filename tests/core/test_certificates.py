"""`tunnels.certificates`: what the broker signs for itself is narrow and short."""

from __future__ import annotations

import time

import pytest

from tunnels import certificates, keystore
from tunnels.certificates import issue


@pytest.fixture
def cert():
    return issue(login="root", key_id="alice session 1")[1]


def test_for_one_login_and_minutes(cert):
    now = time.time()
    assert cert.principals == ["root"]
    assert cert._valid_after <= now < cert._valid_before
    assert cert._valid_before - cert._valid_after <= 300
    assert cert._valid_after <= now - 30  # clocks of hosts are not ours


def test_names_the_person_and_the_session(cert):
    assert cert._key_id == "alice session 1"


def test_opens_a_pty_and_forwards_nothing_and_only_from_loopback(cert):
    options = cert.options
    assert [str(network) for network in options["source-address"]] == ["127.0.0.1/32", "::1/128"]
    assert "force-command" not in options
    assert {name for name, value in options.items() if value is True} == {"permit-pty", "permit-user-rc"}


def test_a_fresh_ed25519_key_each_time_signed_by_the_authority():
    one, two = issue(login="root", key_id="x"), issue(login="root", key_id="x")
    assert one[0].get_algorithm() == "ssh-ed25519"
    assert one[0].public_data != two[0].public_data
    assert one[1].signing_key == keystore.authority_key().convert_to_public()


def test_never_longer_than_the_interface_promises():
    assert certificates.VALIDITY_S + certificates.CLOCK_SKEW_S <= 300
