"""The door of the portal under attack: guessing, stolen passwords, stolen browsers, stolen databases."""

from __future__ import annotations

import base64
import re
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth as totp
from asyncssh.packet import String
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import timezone

from terminals import lockout, second_factor
from terminals.grants import create_grant
from terminals.groups import delete_group
from terminals.login_forms import MAX_PASSKEYS, AddPasskeyForm
from terminals.models import LoginAttempt, Person, SecondFactorRule, Session, WebLogin
from terminals.people import disable_person, end_everything, end_logins, remove_factors, set_password
from terminals.second_factor import (
    BY_TOKEN,
    By,
    Proof,
    SecondFactorRequired,
    require_second_factor,
    set_second_factor,
)
from terminals.sessions import open_forward, open_session
from tests.conftest import DATA_DIR, PASSWORD
from tests.pages.helpers import Browser
from tests.people.helpers import ADDRESS, Api, last_event, make_host, make_token
from tests.security.passkey import SoftKey
from tunnels import clock
from tunnels.audit import OPERATOR
from tunnels.errors import Conflict, TooMany
from tunnels.models import AuditEvent

WRONG = "not the password"
ELSEWHERE = "198.51.100.99"
HALF_AN_HOUR = timedelta(minutes=30)
SK_KEY = String("sk-ssh-ed25519@openssh.com") + String(b"k" * 32) + String("ssh:")
"""OpenSSH's PROTOCOL.u2f: its public half."""
APP_TIME = int(time.time())
"""The clock of authenticator apps stands: a code whose half minute ends on its way is rightly refused."""


committed = pytest.mark.django_db(transaction=True)
"""What waits for a commit happens."""


@pytest.fixture(autouse=True)
def nothing_left_over(settings, monkeypatch):
    cache.clear()
    monkeypatch.setattr(totp, "time", SimpleNamespace(time=lambda: APP_TIME))
    settings.STATIC_ROOT = DATA_DIR / "static"  # each client would list all files
    settings.STATIC_ROOT.mkdir(exist_ok=True)


def at(address: str = ADDRESS) -> Client:
    return Client(REMOTE_ADDR=address)


def log_in(client: Client, name: str = "alice", password: str = PASSWORD, path: str = "/login/"):
    return client.post(path, {"login": name, "password": password})


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def fail(times: int, name: str = "alice", address: str = ADDRESS) -> None:
    for _ in range(times):
        log_in(at(address), name, WRONG)


def gets_in(name: str = "alice", address: str = ADDRESS) -> bool:
    client = at(address)
    log_in(client, name)
    return is_in(client)


def failures():
    return AuditEvent.objects.filter(event="person.login_failed").order_by("sequence")


def later(delta: timedelta = HALF_AN_HOUR) -> None:
    """As if that time had passed."""
    for row in LoginAttempt.objects.all():
        LoginAttempt.objects.filter(pk=row.pk).update(at=row.at - delta)


# Guessing passwords


def test_five_failures_close_the_account_to_that_address(alice, bob, charlie):
    fail(4)
    assert gets_in(), "a person may mistype"
    fail(1)
    client = at()
    answer = log_in(client)
    assert not is_in(client), "the right password comes too late: it may be a guess as well"
    assert "Too many failed attempts; try again in 30 minutes." in answer.content.decode()
    assert last_event().detail == {"reason": "too many attempts"}
    assert gets_in("bob"), "others at that address go on"
    assert gets_in(address=ELSEWHERE), "and she goes on elsewhere"
    later()
    assert gets_in()


def test_what_is_right_in_between_forgives_nothing(alice, bob):
    for _ in range(5):
        fail(1)
        assert is_in(log_in_with(at(), "bob")), "an account of one's own opens no way to guess another"
    assert not gets_in()


def log_in_with(client: Client, name: str) -> Client:
    log_in(client, name)
    return client


def test_a_restart_forgives_nothing(alice):
    fail(5)
    cache.clear()
    assert not gets_in()


def test_who_waits_and_tries_on_does_not_wait_longer(alice):
    fail(5)
    later(timedelta(minutes=20))
    fail(5)
    later(timedelta(minutes=10))
    assert gets_in()


def test_many_refused_tries_do_not_fill_the_audit(alice):
    fail(30)
    reasons = [event.detail["reason"] for event in failures()]
    assert reasons == ["wrong password"] * 5 + ["too many attempts"]


def test_nor_do_they_with_ever_another_name(alice):
    for number in range(29):  # allauth takes thirty a minute
        fail(1, f"nobody{number}")
    reasons = [event.detail["reason"] for event in failures()]
    assert reasons == ["unknown person"] * 20 + ["too many attempts"]


def test_twenty_names_from_one_address_close_the_portal_to_it(alice, charlie):
    for number in range(19):
        fail(1, f"nobody{number}")
    assert gets_in("charlie")
    fail(1, "nobody19")
    assert not gets_in("charlie")
    assert gets_in("charlie", ELSEWHERE)


def test_a_network_of_one_customer_is_one_address(alice):
    for number in range(5):
        fail(1, address=f"2001:db8:1:1::{number}")
    assert not gets_in(address="2001:db8:1:1:ffff::1")
    assert gets_in(address="2001:db8:1:2::1")


def test_a_botnet_does_not_lock_a_person_out_of_their_own_desk(alice):
    assert gets_in(), "the desk"
    for number in range(20):
        fail(1, address=f"203.0.113.{number}")
    assert not gets_in(address=ELSEWHERE), "nowhere else, for now"
    assert gets_in(), "here she was before"
    later()
    assert gets_in(address=ELSEWHERE)


def test_having_been_there_counts_for_a_month(alice):
    assert gets_in()
    later(lockout.KNOWN_FOR)
    for number in range(20):
        fail(1, address=f"203.0.113.{number}")
    assert not gets_in()


def test_admins_and_the_door_of_the_django_admin_are_no_exception(admin):
    for _ in range(5):
        log_in(at(), "admin", WRONG, path="/admin/login/")
        log_in(at(), "admin", WRONG)
    assert not gets_in("admin")
    client = at()
    client.post("/admin/login/", {"username": "admin", "password": PASSWORD})
    assert not is_in(client)


@pytest.mark.django_db(transaction=True)
def test_of_many_guesses_at_once_no_more_than_five_are_made():
    def guess(_: int) -> bool:
        try:
            lockout.begin("alice", ADDRESS)
        except TooMany:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(guess, range(24))) == 5


def test_calls_of_the_api_lock_nobody_out(alice, web1):
    api = Api(token="bat_" + "x" * 43)
    for _ in range(30):
        assert api.get("/hosts").status_code == 401
    assert not LoginAttempt.objects.exists()
    assert gets_in()


def test_the_old_password_cannot_be_guessed_in_a_stolen_browser(alice):
    stolen = at()
    stolen.force_login(alice)
    new = {"password1": "a wholly new one", "password2": "a wholly new one"}
    for _ in range(5):
        stolen.post("/account/password/", {"oldpassword": WRONG, **new})
    stolen.post("/account/password/", {"oldpassword": PASSWORD, **new})
    assert Person.objects.get(pk=alice.pk).check_password(PASSWORD)
    stolen.post("/account/reauthenticate/", {"password": PASSWORD})
    assert stolen.get("/account/factors/app/").status_code == 302, "nor is it taken as hers"


# Learning who there is


def test_unknown_disabled_and_locked_names_are_told_alike(alice, bob):
    Person.objects.filter(pk=bob.pk).update(is_active=False)

    def told(name: str, password: str) -> str:
        page = log_in(at(f"192.0.2.{len(name)}"), name, password).content.decode()
        return re.sub(r'csrfmiddlewaretoken"[^>]*|nonce="[^"]*"', "", page).replace(name, "NAME")

    for _ in range(7):
        pages = {told(name, word) for name, word in (("alice", WRONG), ("bob", PASSWORD), ("nobody", WRONG))}
        assert len(pages) == 1
    assert "Too many" in pages.pop()


def test_an_unknown_name_takes_as_long_as_a_known_one(alice, bob, settings):
    """With the real hasher; of the processor, and medians, so that a busy machine does not decide."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    for person in (alice, bob):
        person.set_password(PASSWORD)
        person.save()
    bob.set_unusable_password()
    bob.save()
    took: dict[str, list[float]] = {"alice": [], "bob": [], "nobody": []}
    for number in range(5):
        for name, times in took.items():
            start = time.process_time()
            log_in(at(f"203.0.113.{number}"), name, WRONG)
            times.append(time.process_time() - start)
    known, without, unknown = (statistics.median(times) for times in took.values())
    assert 0.5 < unknown / known < 2
    assert 0.5 < without / known < 2
    assert known > 0.01, "argon2 was at work"


# Second factors


def set_up_app(person: Person, browser: Browser | None = None) -> tuple[str, list[str]]:
    """By the pages: the key of the app, and the recovery codes."""
    browser = browser or Browser(person)
    prove(browser)
    page = browser.open("/account/factors/app/")
    seed = page.one("code").text
    page = browser.send("/account/factors/app/", code=code_of(seed))
    assert page.status == 200
    return seed, page.one("pre").text.split()


def prove(browser: Browser) -> None:
    """The password again, before anything of this is changed."""
    page = browser.open("/account/reauthenticate/?next=/account/")
    assert page.forms[-1].action == "/account/reauthenticate/"
    browser.send("/account/reauthenticate/", password=PASSWORD)


def code_of(seed: str) -> str:
    return totp.format_hotp_value(totp.hotp_value(seed, APP_TIME // 30))


@pytest.fixture
def app(alice) -> SimpleNamespace:
    seed, codes = set_up_app(alice)
    return SimpleNamespace(seed=seed, codes=codes)


def half_way(address: str = ADDRESS) -> Client:
    """Somebody with alice's password."""
    client = at(address)
    answer = log_in(client)
    assert answer["Location"] == "/login/factor/"
    return client


def test_a_stolen_password_alone_opens_nothing(alice, app):
    thief = half_way()
    assert not is_in(thief)
    for path in ("/", "/account/", "/api/v1/hosts", "/account/factors/app/", "/account/factors/codes/"):
        assert thief.get(path).status_code in (302, 401), path
    assert thief.get("/login/factor/").status_code == 200


def test_the_app_lets_her_in_and_it_is_on_record(alice, app):
    cache.clear()
    client = half_way()
    answer = client.post("/login/factor/", {"code": code_of(app.seed)})
    assert (answer.status_code, is_in(client)) == (302, True)
    assert (last_event().event, last_event().detail) == ("person.logged_in", {"second_factor": "app"})


def test_a_code_that_was_seen_opens_nothing_again(alice, app):
    code = code_of(app.seed)
    assert half_way().post("/login/factor/", {"code": code}).status_code == 302
    seen = half_way()
    assert seen.post("/login/factor/", {"code": code}).status_code == 200
    assert not is_in(seen)


def test_nor_after_a_restart_or_where_the_memory_of_it_was_flooded(alice, app):
    code = code_of(app.seed)
    assert half_way().post("/login/factor/", {"code": code}).status_code == 302
    cache.clear()
    seen = half_way()
    assert seen.post("/login/factor/", {"code": code}).status_code == 200
    assert not is_in(seen)


def test_a_recovery_code_opens_once(alice, app):
    first, again = half_way(), half_way()
    assert first.post("/login/factor/", {"code": app.codes[0]}).status_code == 302
    assert last_event().detail == {"second_factor": "recovery code"}
    assert again.post("/login/factor/", {"code": app.codes[0]}).status_code == 200
    assert not is_in(again)
    assert "9 left" in Browser(alice).open("/account/").text


def test_codes_cannot_be_guessed(alice, app):
    thief = half_way()
    for number in range(5):
        answer = thief.post("/login/factor/", {"code": f"{number:06}"})
        assert answer.status_code == 200
    assert [event.detail["reason"] for event in failures()] == ["wrong code"] * 5
    answer = thief.post("/login/factor/", {"code": app.codes[0]})
    assert "Too many failed attempts" in answer.content.decode()
    assert not is_in(thief)
    assert not gets_in(), "and the password is guessed no more either"
    honest = half_way(ELSEWHERE)
    assert honest.post("/login/factor/", {"code": app.codes[1]}).status_code == 302


def test_recovery_codes_are_shown_once(alice):
    browser = Browser(alice)
    _, codes = set_up_app(alice, browser)
    assert len(codes) == len(set(codes)) == 10
    page = browser.open("/account/factors/codes/")
    assert not set(codes) & set(page.text.split())
    browser.open("/account/factors/codes/new/")
    new = browser.send("/account/factors/codes/new/").one("pre").text.split()
    assert len(new) == 10 and not set(new) & set(codes)
    assert half_way().post("/login/factor/", {"code": codes[0]}).status_code == 200, "the old ones are void"


def test_a_stolen_database_tells_no_seed_and_no_code(alice):
    browser = Browser(alice)
    prove(browser)
    seed = browser.open("/account/factors/app/").one("code").text
    dump = everything_stored()
    assert "alice" in dump
    assert seed not in dump, "not even while it is set up"
    codes = browser.send("/account/factors/app/", code=code_of(seed)).one("pre").text.split()
    dump = everything_stored()
    for secret in (seed, *codes, browser.client.cookies["brokerd"].value):
        assert secret not in dump
    for event in AuditEvent.objects.all():
        assert seed not in str(event.detail)


def everything_stored() -> str:
    with connection.cursor() as cursor:
        rows = []
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            rows += cursor.fetchall()
    return str(rows)


def test_with_another_secret_key_a_factor_is_unreadable_and_lets_nobody_in(alice, app, settings):
    thief = half_way()
    authenticator = Authenticator.objects.get(type="totp")
    authenticator.data["secret"] = "gAAAAAB" + authenticator.data["secret"][7:][::-1]
    authenticator.save()
    answer = thief.post("/login/factor/", {"code": code_of("")})
    assert "cannot be read any more" in answer.content.decode()
    assert not is_in(thief)


def test_a_stolen_browser_and_the_password_do_not_take_a_factor_away_or_add_one(alice, app):
    stolen = Browser(alice)
    stolen.client.post("/account/reauthenticate/", {"password": PASSWORD})
    for path in (
        "/account/factors/app/remove/",
        "/account/factors/passkeys/add/",
        "/account/factors/codes/",
        "/account/factors/codes/new/",
    ):
        for answer in (stolen.client.get(path), stolen.client.post(path)):
            assert answer.status_code in (302, 403), path
            if answer.status_code == 302:
                assert answer["Location"].startswith("/account/confirm/code/"), path
    assert Authenticator.objects.filter(type="totp").exists()
    stolen.open("/account/confirm/code/?next=/account/factors/app/remove/")
    stolen.send("/account/confirm/code/", code=app.codes[0])
    stolen.send("/account/factors/app/remove/")
    assert not Authenticator.objects.exists(), "the codes go with the last factor"
    assert last_event().detail["done"] == "removed"


@pytest.mark.parametrize("has_app", [False, True])
def test_nor_does_a_stolen_browser_add_a_security_key_of_ssh_which_is_one_as_well(alice, has_app):
    """Nobody can tell whether it is one, or software that says so."""
    stolen = Browser(alice)
    codes = set_up_app(alice)[1] if has_app else []
    line = f"sk-ssh-ed25519@openssh.com {base64.b64encode(SK_KEY).decode()} mine"
    stolen.open("/account/")
    answer = stolen.client.post("/account/keys/", {"line": line, **csrf(stolen)})
    where = "/account/confirm/code/" if has_app else "/account/reauthenticate/"
    assert (answer.status_code, answer["Location"]) == (302, f"{where}?next=%2Faccount%2Fkeys%2F")
    assert not alice.keys.exists()
    stolen.open(answer["Location"])
    stolen.send(where, **({"code": codes[0]} if has_app else {"password": PASSWORD}))
    assert [key.is_security_key for key in alice.keys.all()] == [True], "who is asked goes on where they were"


@committed
def test_factors_are_changed_on_record(alice, app):
    told = [event.detail for event in AuditEvent.objects.filter(event="setting.changed").order_by("sequence")]
    assert {"setting": "person alice", "second_factor": "app", "done": "added"} in told
    assert {"setting": "person alice", "second_factor": "recovery code", "done": "added"} in told


def test_an_admin_helps_who_lost_theirs_and_logs_them_out(alice, admin, app):
    assert WebLogin.objects.filter(person=alice).exists()
    browser = Browser(admin)
    browser.open("/people/")
    page = browser.send(f"/people/{alice.pk}/factors/remove")
    assert page.messages == ["alice has no second factor any more, and is logged out."]
    assert not WebLogin.objects.filter(person=alice).exists()
    assert last_event().detail == {"setting": "person alice", "second_factor": "all", "done": "removed"}
    assert gets_in()
    with pytest.raises(Conflict, match="has no second factor"):
        remove_factors(person=alice, actor=OPERATOR)


NO_PASSKEYS = ["", "{}", "null", "[]", '{"id": "x"}', "no json", '{"response": {"userHandle": 1}}']


@pytest.mark.parametrize("credential", NO_PASSKEYS)
def test_a_passkey_that_is_none_opens_nothing(alice, app, credential):
    stranger = at()
    stranger.get("/login/passkey/", headers={"X-Requested-With": "XMLHttpRequest"})
    assert stranger.post("/login/passkey/", {"credential": credential}).status_code == 302
    assert not is_in(stranger)
    thief = half_way()
    thief.get("/login/factor/")
    assert thief.post("/login/factor/", {"credential": credential}).status_code == 200
    assert not is_in(thief)


def challenge_of(client: Client) -> str:
    return client.session["mfa.webauthn.state"]["challenge"]


@pytest.mark.parametrize(("is_verified", "opens"), [(True, True), (False, False)])
def test_a_passkey_alone_opens_only_with_the_pin_or_finger_of_its_owner(alice, is_verified, opens):
    key, client = SoftKey(alice), at()
    client.get("/login/passkey/", headers={"X-Requested-With": "XMLHttpRequest"})
    client.post("/login/passkey/", {"credential": key.answer(challenge_of(client), is_verified=is_verified)})
    assert is_in(client) is opens


def test_nor_does_it_open_a_disabled_account(alice):
    key, client = SoftKey(alice), at()
    disable_person(person=alice, actor=OPERATOR)
    client.get("/login/passkey/", headers={"X-Requested-With": "XMLHttpRequest"})
    answer = client.post("/login/passkey/", {"credential": key.answer(challenge_of(client), is_verified=True)})
    assert (answer.status_code, answer["Location"]) == (302, "/login/")
    assert last_event().detail == {"reason": "disabled"}


def test_nor_by_a_challenge_that_was_made_for_a_login_with_a_password(alice, bob):
    """Bob has stolen alice's key, and has a password and a key of his own. After a password a touch is enough."""
    stolen, _ = SoftKey(alice), SoftKey(bob)
    thief = half_way_in("bob")
    assert thief.get("/login/factor/").status_code == 200
    challenge = challenge_of(thief)
    session = thief.session
    session["account_login"]["initiated_at"] -= 901  # his login is given up, the challenge is not
    session.save()
    thief.post("/login/passkey/", {"credential": stolen.answer(challenge, is_verified=False)})
    assert not is_in(thief)
    assert last_event().detail == {"reason": "wrong passkey"}


def half_way_in(name: str) -> Client:
    client = at()
    assert log_in(client, name)["Location"] == "/login/factor/"
    return client


def test_only_so_many_passkeys(alice):
    for _ in range(MAX_PASSKEYS):
        Authenticator.objects.create(user=alice, type="webauthn", data={"name": "x", "credential": {}})
    form = AddPasskeyForm({"credential": "{}", "name": "one more"}, user=alice)
    assert not form.is_valid()
    assert "20 passkeys, which is the most" in str(form.errors)


# Where a second factor is required


@pytest.fixture
def web1(db):
    return make_host("web1", online=True)


@pytest.fixture
def granted(alice, web1):
    return create_grant(
        person=alice, host=web1, logins=["root"], capabilities=["terminal", "exec", "forward"], actor=OPERATOR
    )


def open_(alice, proof, host="web1"):
    return open_session(
        person=alice, host_name=host, login="root", node="n1", address=ADDRESS, proof=proof, is_online=lambda _: True
    )


WITHOUT = [Proof(By.LOGIN), BY_TOKEN, Proof(By.KEY)]
WITH = [Proof(By.LOGIN, True), Proof(By.KEY, True)]


@pytest.mark.parametrize("rule", ["host", "group"])
def test_without_a_factor_nothing_opens_where_one_is_required(alice, bob, granted, web1, rule):
    team = Group.objects.create(name="team")
    for proof in WITHOUT:
        assert open_(alice, proof)
    alice.groups.add(team)
    set_second_factor(**({"host": web1} if rule == "host" else {"group": team}), required=True, actor=OPERATOR)
    way = {"name": "web1", "port": 22, "node": "n1", "address": ADDRESS, "is_online": lambda _: True}
    for proof in WITHOUT:
        with pytest.raises(SecondFactorRequired, match="a second factor is required on web1"):
            open_(alice, proof)
        with pytest.raises(SecondFactorRequired):
            open_forward(person=alice, proof=proof, **way)
        assert (last_event().event, last_event().outcome) == ("forward.refused", "refused")
    for proof in WITH:
        assert open_(alice, proof)
        assert open_forward(person=alice, proof=proof, **way)
    if rule == "group":
        alice.groups.clear()
        assert open_(alice, BY_TOKEN), "who is not a member is not asked"
    set_second_factor(**({"host": web1} if rule == "host" else {"group": team}), required=False, actor=OPERATOR)
    assert open_(alice, BY_TOKEN)


def test_the_rule_is_told_only_to_those_who_may_come_in_at_all(alice, charlie, granted, web1):
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    answer = Api(charlie).post("/sessions", {"host": "web1", "login": "root"})
    assert (answer.status_code, "factor" in answer.content.decode()) in [(404, False), (409, False)]


def test_a_rule_is_on_record_and_goes_with_nothing_silently(alice, web1, admin):
    team = Group.objects.create(name="team")
    set_second_factor(group=team, required=True, actor=OPERATOR)
    assert last_event().detail == {"setting": "second factor of group team", "required": True}
    with pytest.raises(Conflict, match="a second factor is required of group team"):
        delete_group(group=team, actor=OPERATOR)
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    assert (last_event().host, last_event().detail["required"]) == ("web1", True)
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    assert SecondFactorRule.objects.count() == 2


def test_admins_only_make_rules(alice, auditor, admin, granted, web1):
    for person, status in ((alice, 403), (auditor, 404)):
        answer = Api(person)("PUT", "/hosts/web1/second-factor", {"required": True})
        assert answer.status_code == status
        assert Browser(person).client.post(f"/approvals/{web1.pk}/factor").status_code == 403
    assert not SecondFactorRule.objects.exists()
    answer = Api(admin)("PUT", "/hosts/web1/second-factor", {"required": True})
    assert (answer.status_code, answer.json()["second_factor"]) == (200, True)
    assert Api(alice).get("/hosts/web1").json()["second_factor"] is True
    Api(admin)("PUT", "/hosts/web1/second-factor", {"required": False})
    assert Api(alice).get("/hosts/web1").json()["second_factor"] is False


def test_by_the_pages(alice, admin, granted, web1):
    team = Group.objects.create(name="team")
    alice.groups.add(team)
    browser = Browser(admin)
    browser.open("/people/")
    browser.send(f"/people/groups/{team.pk}/factor")
    assert "required" in browser.page.text
    assert second_factor.required_of(alice.pk, web1.pk)
    browser.send(f"/people/groups/{team.pk}/factor")
    assert not second_factor.required_of(alice.pk, web1.pk)
    browser.open("/approvals/")
    browser.send(f"/approvals/{web1.pk}/factor")
    assert second_factor.required_of(alice.pk, web1.pk)
    assert "required of you here" in Browser(alice).open("/hosts/web1/").text
    browser.send(f"/approvals/{web1.pk}/factor")
    assert not second_factor.required_of(alice.pk, web1.pk)


@committed
def test_the_terminal_page_leads_through_the_set_up_and_back(alice, granted, web1):
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    browser = Browser(alice)
    wanted = "/hosts/web1/terminal?login=root"
    answer = browser.client.get(wanted)
    assert answer["Location"] == "/account/confirm/?next=%2Fhosts%2Fweb1%2Fterminal%3Flogin%3Droot"
    page = browser.open(answer["Location"])
    assert "A second factor is needed" in page.text
    set_up_app(alice, browser)
    assert browser.client.get("/account/factors/")["Location"] == wanted, "where she wanted to go"
    assert browser.client.get(wanted).status_code == 200
    other = Browser(alice)
    assert other.client.get(wanted).status_code == 302, "another login has confirmed nothing"


def test_who_has_one_confirms_it_and_goes_on(alice, app, granted, web1):
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    browser = Browser(alice)
    wanted = "/hosts/web1/terminal?login=root"
    assert browser.client.get("/account/confirm/?next=" + wanted)["Location"].startswith("/account/confirm/code/?next=")
    browser.open("/account/confirm/code/?next=" + wanted)
    answer = browser.client.post(
        "/account/confirm/code/", {**browser.page.form("/account/confirm/code/").fields, "code": app.codes[0]}
    )
    assert answer["Location"] == wanted
    assert last_event().detail == {"second_factor": "recovery code", "again": True}
    assert browser.client.get(wanted).status_code == 200
    assert browser.client.get("/account/confirm/?next=" + wanted)["Location"] == wanted


def test_rest_says_what_is_missing_by_its_type(alice, granted, web1, monkeypatch):
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    node = SimpleNamespace(node="n1", check_room=lambda _: None, is_online=lambda _: True)
    monkeypatch.setattr("terminals.live._current", node)
    for api in (Api(alice), Api(token=make_token(alice, "sessions"))):
        answer = api.post("/sessions", {"host": "web1", "login": "root"})
        assert answer.status_code == 403
        assert answer.json()["type"] == "/problems/second-factor-required"
        assert "a second factor is required on web1" in answer.json()["detail"]
    assert "an API token cannot give" in answer.json()["detail"]
    assert not Session.objects.exists()


@committed
def test_a_confirmation_that_grew_old_is_not_young_again(alice):
    """Where the clock was set back."""
    browser = Browser(alice)
    set_up_app(alice, browser)
    confirm = "/account/confirm/?next=/sessions/"
    assert browser.client.get(confirm)["Location"] == "/sessions/"
    clock.see(timezone.now() + timedelta(hours=11, minutes=59))
    assert browser.client.get(confirm)["Location"] == "/sessions/"
    clock.see(timezone.now() + timedelta(hours=12))
    WebLogin.objects.update(expire_date=clock.now() + timedelta(hours=1))
    assert browser.client.get(confirm)["Location"].startswith("/account/confirm/code/")


@committed
@pytest.mark.parametrize(("age_s", "holds"), [(0, True), (12 * 3600 - 60, True), (12 * 3600, False), (-60, False)])
def test_a_confirmation_grows_old(alice, age_s, holds):
    browser = Browser(alice)
    set_up_app(alice, browser)
    session = browser.client.session
    session[second_factor.GIVEN] = {"person": alice.pk, "at": time.time() - age_s}
    session.save()
    answer = browser.client.get("/account/confirm/?next=/sessions/")
    assert (answer["Location"] == "/sessions/") is holds


def test_a_factor_that_was_taken_away_proves_nothing(alice, granted, web1):
    browser = Browser(alice)
    set_up_app(alice, browser)
    Authenticator.objects.all().delete()
    set_second_factor(host=web1, required=True, actor=OPERATOR)
    assert browser.client.get("/hosts/web1/terminal?login=root").status_code == 302


@committed
@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_the_confirmation_leads_nobody_elsewhere(alice, target):
    browser = Browser(alice)
    set_up_app(alice, browser)
    assert browser.client.get("/account/confirm/", {"next": target})["Location"] == "/"
    Authenticator.objects.all().delete()
    browser.client.get("/account/confirm/", {"next": target})
    assert browser.client.get("/account/factors/")["Location"] == "/account/#factors"


def test_require_second_factor_costs_nobody_anything_where_none_is(alice, granted, web1):
    for proof in WITHOUT:
        require_second_factor(alice, web1, proof)


# Logins to the portal


def test_a_login_is_over_after_its_twelve_hours_whatever_is_done_in_it(alice):
    """Some pages keep something in the login, which Django takes for a reason to begin the twelve hours anew."""
    browser = at()
    log_in(browser)
    begun = clock.now()
    for hours in (4, 8, 11.9):
        clock.see(begun + timedelta(hours=hours))
        assert browser.get("/account/confirm/?next=/sessions/").status_code == 200
    browser.post(
        "/account/password/",
        {"oldpassword": PASSWORD, "password1": "a wholly new one", "password2": "a wholly new one"},
    )
    assert browser.get("/account/").status_code == 200
    clock.see(begun + timedelta(hours=12))
    assert browser.get("/account/").status_code == 302


def test_ones_logins_are_listed_and_ended_one_by_one(alice, bob):
    mine = Browser(alice)
    phone = Client(REMOTE_ADDR=ELSEWHERE, headers={"User-Agent": "Mozilla/5.0 (Android 14; Mobile) Firefox/128.0"})
    log_in(phone)
    bobs = Browser(bob)
    page = mine.open("/account/")
    rows = page.one("tbody", id="login-rows").text
    assert "Firefox 128 on Android" in rows and ELSEWHERE in rows
    assert rows.count("this one") == 1
    (login,) = WebLogin.objects.filter(address=ELSEWHERE)
    page = mine.send(f"/account/logins/{login.login}/end")
    assert page.messages == ["That browser is logged out, and what was opened from it ends."]
    assert not is_in(phone)
    assert last_event().detail == {"setting": "person alice", "ended_logins": 1, "of": ELSEWHERE}
    bobs_login = WebLogin.objects.get(person=bob)
    assert mine.client.post(f"/account/logins/{bobs_login.login}/end", csrf(mine)).status_code == 404
    assert is_in(bobs.client)


def csrf(browser: Browser) -> dict[str, str]:
    return {"csrfmiddlewaretoken": browser.page.forms[0].fields["csrfmiddlewaretoken"]}


def test_all_others_at_once(alice, bob):
    clients = [at(), at(ELSEWHERE), at(ELSEWHERE)]
    for client in clients:
        log_in(client)
    bobs = Browser(bob)
    mine = Browser(alice)
    mine.open("/account/")
    page = mine.send("/account/logins/end-others")
    assert page.messages == ["3 other browsers are logged out."]
    assert not any(is_in(client) for client in clients)
    assert is_in(bobs.client)


def test_a_browser_that_says_anything_of_itself_harms_no_page(alice):
    evil = Client(REMOTE_ADDR=ELSEWHERE, headers={"User-Agent": "<script>\x1b[2J\u202e" + "x" * 5000})
    log_in(evil)
    assert len(WebLogin.objects.get(address=ELSEWHERE).browser) <= 300
    text = Browser(alice).open("/account/").one("tbody", id="login-rows").text
    assert "<script>" in text and "\x1b" not in text and "\u202e" not in text


def test_changing_the_password_logs_every_other_browser_out(alice):
    mine, other = at(), at(ELSEWHERE)
    log_in(mine)
    log_in(other)
    before = WebLogin.objects.get(address=ADDRESS).login
    mine.post(
        "/account/password/",
        {"oldpassword": PASSWORD, "password1": "a wholly new one", "password2": "a wholly new one"},
    )
    (left,) = WebLogin.objects.filter(person=alice)
    assert left.login == before, "what this browser has open goes on"
    assert mine.get("/account/").status_code == 200
    assert not is_in(other)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (disable_person, "disabled"),
        (partial(set_password, password="a wholly new one"), "the password has changed meanwhile"),
    ],
)
def test_a_login_that_was_half_made_before_is_not_finished_after(alice, app, act, reason):
    thief = half_way()
    act(person=alice, actor=OPERATOR)
    assert thief.post("/login/factor/", {"code": app.codes[0]})["Location"] == "/login/"
    assert last_event().detail == {"reason": reason}
    Person.objects.update(is_active=True)
    assert thief.get("/account/").status_code == 302
    assert not WebLogin.objects.filter(person=alice).exists()


@pytest.mark.parametrize("act", [disable_person, end_logins])
def test_an_admin_ends_them_all(alice, admin, act):
    client = at()
    log_in(client)
    act(person=alice, actor=OPERATOR)
    assert not is_in(client)


def test_a_password_that_an_admin_sets_logs_them_out(alice):
    client = at()
    log_in(client)
    set_password(person=alice, password="a wholly new one", actor=OPERATOR)
    assert not is_in(client)


def test_end_everything_of_this_person_now(alice, bob, admin, granted):
    for way in Session.Way:
        Session.objects.create(person=alice, host=granted.host, login="root", node="n1", address=ADDRESS, way=way)
    Session.objects.create(person=bob, host=granted.host, login="root", node="n1", address=ADDRESS)
    hers, bobs = Browser(alice), Browser(bob)
    browser = Browser(admin)
    assert "3 sessions" in browser.open("/people/").text
    page = browser.send(f"/people/{alice.pk}/end")
    assert page.messages == ["All that alice had open ends, and their browsers are logged out. They may come back."]
    assert not Session.objects.filter(person=alice, ended_at=None).exists()
    assert {row.reason for row in Session.objects.filter(person=alice)} == {"ended by admin"}
    assert not is_in(hers.client)
    assert is_in(bobs.client) and Session.objects.filter(person=bob, ended_at=None).exists()
    assert end_everything(person=alice, reason="again", actor=OPERATOR) == (0, 0)


def test_disabling_and_enabling_on_the_page_of_people(alice, admin):
    browser = Browser(admin)
    browser.open("/people/")
    browser.send(f"/people/{alice.pk}/disable")
    assert not gets_in()
    browser.send(f"/people/{alice.pk}/enable")
    assert gets_in(address=ELSEWHERE)
    page = browser.send(f"/people/{admin.pk}/disable")
    assert page.messages == ["Admin is the only admin; make another one first."]


def test_a_use_is_noted_once_a_minute(alice):
    client = at()
    log_in(client)
    hour_ago = timezone.now() - timedelta(hours=1)
    WebLogin.objects.update(last_used_at=hour_ago)
    client.get("/account/")
    noted = WebLogin.objects.get(person=alice).last_used_at
    assert noted > hour_ago
    client.get("/account/")
    assert WebLogin.objects.get(person=alice).last_used_at == noted


def test_expired_logins_are_forgotten(alice):
    log_in(at())
    WebLogin.objects.update(expire_date=timezone.now())
    log_in(at())
    assert WebLogin.objects.count() == 1
