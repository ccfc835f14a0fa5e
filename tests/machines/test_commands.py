"""The management commands for machines and audit: output, errors in one line, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from brokerd.times import parse_time
from terminals.models import Grant
from tests.machines.helpers import ask, events
from tunnels.models import AuditEvent, EnrollmentToken, Host, State

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def run(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_a_token_stands_alone_on_stdout():
    words = ["--name", "lab", "--host", "web1", "--uses", "3", "--expires", "2h", "--auto-approve"]
    secret = run(
        "create_enrollment_token", *words, "--tag", "site=berlin", "rack=7", "--tag", "os=debian"
    ).removesuffix("\n")
    assert re.fullmatch(r"bet_[\w-]{32}", secret)
    token = EnrollmentToken.objects.get()
    assert (token.name, token.host_name, token.uses, token.auto_approve) == ("lab", "web1", 3, True)
    assert token.tags == {"site": "berlin", "rack": "7", "os": "debian"}
    assert timedelta(hours=1.9) < token.expires_at - token.created_at < timedelta(hours=2.1)
    assert ask("web1", token=secret).state == State.APPROVED


@pytest.mark.django_db
def test_a_token_by_default_is_for_one_use_within_half_an_hour():
    run("create_enrollment_token", "--name", "lab")
    token = EnrollmentToken.objects.get()
    assert (token.uses, token.auto_approve, token.tags) == (1, False, {})
    assert timedelta(minutes=29) < token.expires_at - token.created_at < timedelta(minutes=31)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words",
    [
        ["--uses", "0"],
        ["--host", "W 1"],
        ["--tag", "Site=x"],
        ["--tag", "x"],
        ["--expires", "soon"],
        ["--expires", "0"],
    ],
)
def test_a_token_that_makes_no_sense_is_refused(words):
    with pytest.raises(CommandError) as refusal:
        run("create_enrollment_token", "--name", "lab", *words)
    assert "\n" not in str(refusal.value)
    assert not EnrollmentToken.objects.exists()


@pytest.mark.django_db
def test_listing(open_enrollment):
    ask("web1"), ask("web2", login="pi")
    table = run("list_hosts").splitlines()
    assert table[0].split()[:4] == ["name", "state", "online", "login"]
    assert table[2].split()[:4] == ["web2", "pending", "no", "pi"]
    [first, _] = json.loads(run("list_hosts", "--json"))
    assert (first["name"], first["state"], first["online"], first["tunnel_port"]) == ("web1", "pending", False, 22100)


@pytest.mark.django_db
def test_nothing_to_list():
    assert run("list_hosts") == ""
    assert json.loads(run("list_hosts", "--json")) == []


@pytest.mark.django_db
def test_approve_says_which_key(open_enrollment):
    host = ask("web1")
    assert host.fingerprint in run("approve_host", "web1")
    host.refresh_from_db()
    assert host.state == State.APPROVED and not Grant.objects.exists()


@pytest.mark.django_db
def test_approve_with_a_grant(open_enrollment, alice):
    ask("web1", login="pi")
    run("approve_host", "web1", "--grant-to", "alice")
    grant = Grant.objects.get()
    assert (grant.person, grant.host.name, grant.logins, grant.capabilities) == (alice, "web1", ["pi"], ["terminal"])


@pytest.mark.django_db
def test_a_grant_to_nobody_approves_nothing(open_enrollment):
    ask("web1")
    with pytest.raises(CommandError, match="no person"):
        run("approve_host", "web1", "--grant-to", "nobody")
    assert Host.objects.get().state == State.PENDING and not Grant.objects.exists()
    assert events() == ["enrollment.requested", "!host.approved"]


@pytest.mark.django_db
def test_reject_then_approve_then_revoke(open_enrollment):
    ask("web1")
    run("reject_host", "web1")
    run("approve_host", "web1")
    run("revoke_host", "web1")
    assert Host.objects.get().state == State.REVOKED
    assert events()[1:] == ["host.rejected", "host.approved", "host.key_pinned", "host.revoked"]


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["approve_host", "reject_host", "revoke_host"])
def test_no_such_host(command):
    with pytest.raises(CommandError, match=r"no .* host web1"):
        run(command, "web1")


@pytest.mark.django_db
def test_export_is_lines_oldest_first_and_is_itself_audited(open_enrollment):
    ask("web1"), ask("web2")
    lines = [json.loads(line) for line in run("export_audit").splitlines()]
    assert [(line["sequence"], line["host"]) for line in lines] == [(1, "web1"), (2, "web2")]
    assert set(lines[0]) == {
        "id", "sequence", "time", "event", "person", "host", "login", "session", "address", "outcome", "detail",
        "previous_hash", "hash",
    }  # fmt: skip
    assert events()[-1] == "audit.exported"


@pytest.mark.django_db
def test_export_of_a_span(open_enrollment):
    ask("web1"), ask("web2")
    assert len(run("export_audit", "--since", "1h").splitlines()) == 2
    assert run("export_audit", "--until", "1h") == ""
    middle = AuditEvent.objects.get(sequence=2).time.isoformat()
    assert '"sequence": 1' in run("export_audit", "--until", middle)
    assert '"sequence": 2' in run("export_audit", "--since", middle).splitlines()[0]
    with pytest.raises(CommandError, match="zone"):
        run("export_audit", "--since", "2026-01-01")


@pytest.mark.django_db
def test_verify(open_enrollment, tmp_path):
    ask("web1"), ask("web2"), ask("web3")
    with pytest.raises(CommandError, match="there is no anchor at"):
        run("verify_audit", "--anchor", str(tmp_path / "anchor"))
    (tmp_path / "anchor").write_text(f"3 {AuditEvent.objects.get(sequence=3).hash}\n")
    assert "holds: 3 events" in run("verify_audit", "--anchor", str(tmp_path / "anchor"))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tunnels_auditevent SET host = 'other' WHERE sequence = 2")
    broken = AuditEvent.objects.get(sequence=2)
    with pytest.raises(CommandError, match=f"sequence 2, event {broken.id}"):
        run("verify_audit", "--anchor", str(tmp_path / "anchor"))


@pytest.mark.django_db
def test_an_empty_log_verifies(tmp_path):
    assert "holds: 0 events" in run("verify_audit", "--anchor", str(tmp_path / "anchor"))


def test_a_refusal_is_one_line_on_stderr_and_exit_1(tmp_path):
    tmp_path.chmod(0o700)
    environment = {**os.environ, "BROKERD_DATA_DIR": str(tmp_path)}

    def manage(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True)

    assert manage("migrate", "-v0").returncode == 0
    refused = manage("revoke_host", "web1")
    assert refused.returncode == 1 and refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1 and "web1" in refused.stderr
    made = manage("create_enrollment_token", "--name", "lab")
    assert made.returncode == 0 and re.fullmatch(r"bet_[\w-]{32}\n", made.stdout) and made.stderr == ""


@pytest.mark.parametrize(
    ("text", "past", "time"),
    [
        ("2026-01-31T13:00+01:00", False, NOW),
        ("2026-01-31T12:00Z", True, NOW),
        ("1h", False, NOW + timedelta(hours=1)),
        ("7d", True, NOW - timedelta(days=7)),
        ("90", False, NOW + timedelta(seconds=90)),
    ],
)
def test_times(text, past, time):
    assert parse_time(text, NOW, past=past) == time


@pytest.mark.parametrize("text", ["", "soon", "2026-01-31", "2026-01-31T12:00", "-1h", "9999999999999d", "99999999d"])
def test_no_times(text):
    with pytest.raises(ValueError, match=r"."):
        parse_time(text, NOW)
