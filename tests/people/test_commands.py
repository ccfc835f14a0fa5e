"""People and grants from the command line, as scripts use them."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from terminals.api_tokens import authenticate
from terminals.models import ApiToken, Grant, Person
from tests.people.helpers import events, last_event


def run(command: str, *arguments: str, stdin: str = "", monkeypatch=None) -> str:
    """What the command prints. SystemExit and CommandError are exit 1."""
    out = io.StringIO()
    if monkeypatch:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


def explain(*question: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("explain_access", *question, stdout=out)
    except SystemExit as exit_:
        return exit_.code, out.getvalue().strip()
    return 0, out.getvalue().strip()


def test_three_people(alice, bob, charlie, web1):
    Group.objects.create(name="team").user_set.add(bob)
    run("grant_access", "--person", "alice", "--host", "web1", "--login", "root", "guest")
    run("grant_access", "--group", "team", "--host", "web1", "--login", "guest", "--capability", "sftp")
    first, second = Grant.objects.order_by("id")
    assert explain("alice", "web1", "root") == (0, f"grant {first.pk} allows it")
    assert explain("bob", "web1", "guest", "sftp") == (0, f"grant {second.pk} allows it")
    assert explain("bob", "web1", "guest") == (1, f"grant {second.pk} does not give terminal")
    assert explain("bob", "web1", "root") == (1, f"grant {second.pk} does not cover login root")
    assert explain("charlie", "web1", "root") == (1, "no grant gives charlie access to web1")


def test_grant_and_revoke(alice, web1):
    printed = run("grant_access", "--person", "alice", "--host", "web1", "--login", "root")
    number = re.fullmatch(r"grant (\d+)\n", printed)[1]
    run("revoke_access", number)
    assert explain("alice", "web1", "root")[0] == 1
    for again in (number, "999"):
        with pytest.raises(CommandError):
            run("revoke_access", again)
    assert events() == ["grant.created", "grant.revoked", "!grant.revoked"]
    assert last_event().person == "", "nobody of the portal: whoever runs commands on the broker"


def test_values_after_one_option_or_repeated(alice, web1):
    both = ["--person", "alice", "--tag", "site=berlin", "--until", "2h", "--network", "10.0.0.0/8"]
    run("grant_access", *both, "--login", "root", "pi", "--capability", "exec", "sftp")
    run("grant_access", *both, "--login", "root", "--login", "pi", "--capability", "exec", "--capability", "sftp")
    first, second = Grant.objects.order_by("id")
    for grant in (first, second):
        assert (grant.logins, grant.capabilities) == (["pi", "root"], ["exec", "sftp"])
        assert (grant.tag_key, grant.tag_value, grant.networks) == ("site", "berlin", ["10.0.0.0/8"])
        assert timedelta(minutes=119) < grant.valid_until - timezone.now() < timedelta(minutes=121)


def test_limits(alice, bob, web1):
    on = ["--host", "web1", "--login", "root"]
    run("grant_access", "--person", "alice", *on, "--idle", "10m", "--longest", "2h", "--grace", "90")
    run("grant_access", "--person", "bob", *on)
    hers, his = Grant.objects.order_by("id")
    assert (hers.idle_s, hers.longest_s, hers.grace_s) == (600, 7200, 90)
    told = f"grant {hers.pk} allows it, with its limits: idle 10 min, longest 2 h, grace 1 min 30 s"
    assert explain("alice", "web1", "root") == (0, told)
    assert explain("bob", "web1", "root") == (0, f"grant {his.pk} allows it")


def test_on_all_hosts_until_a_time(alice, bob, web1):
    run("grant_access", "--person", "bob", "--all-hosts", "--login", "root", "--until", "2999-01-01T12:00+01:00")
    assert explain("bob", "web1", "root")[0] == 0
    assert explain("alice", "web1", "root")[0] == 1


def test_explain_by_address(alice, web1):
    run("grant_access", "--person", "alice", "--host", "web1", "--login", "root", "--network", "10.0.0.0/8")
    assert explain("alice", "web1", "root")[0] == 1
    assert explain("alice", "web1", "root", "--address", "10.1.2.3")[0] == 0
    assert explain("alice", "web1", "root", "--address", "192.0.2.1")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("--person alice --host web1", "--login"),
        ("--host web1 --login root", "--person --group"),
        ("--person alice --login root", "--host --tag --all-hosts"),
        ("--person alice --group team --host web1 --login root", "not allowed"),
        ("--person nobody --host web1 --login root", "no person nobody"),
        ("--group nobody --host web1 --login root", "no group nobody"),
        ("--person alice --host new1 --login root", "no approved host new1"),
        ("--person alice --host web1 --login no/login", "is not a login"),
        ("--person alice --host web1 --login root --capability fly", "invalid choice"),
        ("--person alice --host web1 --login root --until yesterday", "neither a time"),
        ("--person alice --host web1 --login root --until 2999-01-01T00:00", "no zone"),
        ("--person alice --tag berlin --login root", "is not a tag"),
        ("--person alice --host web1 --login root --idle soon", "is not a duration"),
        ("--person alice --host web1 --login root --idle 5s", "between 10 s and 30 d"),
        ("--person alice --host web1 --login root --longest 31d", "between 10 s and 30 d"),
        ("--person alice --host web1 --login root --grace 0", "between 10 s and 30 d"),
    ],
)
def test_refused_with_a_line_that_says_why(alice, web1, new1, arguments, told):
    with pytest.raises(CommandError, match=re.escape(told)):
        run("grant_access", *arguments.split())
    assert not Grant.objects.exists()


@pytest.mark.parametrize("question", [("nobody", "web1", "root"), ("alice", "nowhere", "root")])
def test_explain_unknown(alice, web1, question):
    with pytest.raises(CommandError, match="there is no"):
        explain(*question)


def test_explain_a_waiting_host(alice, new1):
    assert explain("alice", "new1", "root") == (1, "host new1 is pending")


def test_people(db, monkeypatch):
    run("create_person", "dora", "--auditor", "--password-stdin", stdin="a wholly new one\n", monkeypatch=monkeypatch)
    run("create_person", "erik", "--admin")
    dora, erik = Person.objects.order_by("username")
    assert dora.check_password("a wholly new one")
    assert (dora.is_auditor, dora.is_superuser) == (True, False)
    assert (erik.is_auditor, erik.is_superuser, erik.has_usable_password()) == (False, True, False)
    for name in ("dora", "Bad Name"):
        with pytest.raises(CommandError):
            run("create_person", name)
    with pytest.raises(CommandError, match="too short"):
        run("create_person", "frida", "--password-stdin", stdin="short\n", monkeypatch=monkeypatch)


def test_disable(alice, bob, web1, alices):
    assert explain("alice", "web1", "root")[0] == 0
    run("disable_person", "alice")
    assert explain("alice", "web1", "root") == (1, "alice is disabled")
    assert Person.objects.get(pk=bob.pk).is_active
    for name in ("alice", "nobody"):
        with pytest.raises(CommandError):
            run("disable_person", name)


def test_a_stolen_admin_account_can_be_shut_from_the_machine_itself(admin):
    run("disable_person", "admin")
    assert not Person.objects.get().is_active


def test_a_token_alone_on_stdout(alice, charlie):
    printed = run("create_api_token", "alice", "--name", "backup", "--scope", "hosts", "grants", "--expires", "7d")
    secret = printed.removesuffix("\n")
    assert re.fullmatch(r"bat_[\w-]{43}", secret)
    token = ApiToken.objects.get()
    assert (token.person, token.scopes) == (alice, ["hosts", "grants"])
    assert timedelta(days=6) < token.expires_at - timezone.now() < timedelta(days=8)
    assert authenticate(secret, timezone.now()) == token
    assert not charlie.api_tokens.exists()
    assert run("create_api_token", "alice", "--name", "all") != printed
    assert ApiToken.objects.get(name="all").scopes == []
    assert ApiToken.objects.get(name="all").expires_at is None


@pytest.mark.parametrize(
    "arguments", ["nobody --name n", "alice", "alice --name n --scope everything", "alice --name n --expires 0s"]
)
def test_tokens_that_are_not_made(alice, arguments):
    with pytest.raises(CommandError):
        run("create_api_token", *arguments.split())
    assert not ApiToken.objects.exists()
