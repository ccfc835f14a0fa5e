"""The list of hosts, one host, and the terminal's page: what each person finds there."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from terminals.grants import create_grant
from terminals.models import Grant
from terminals.preferences import TerminalPreferences, set_preferences
from tests.pages.helpers import Browser, Page
from tests.people.helpers import make_host, make_tunnel
from tunnels.audit import OPERATOR
from tunnels.models import Host, State, Tunnel


def names(page: Page) -> list[str]:
    return [link.text for link in page.all("a", **{"class": "main"})]


def doors(page: Page) -> list[tuple[str, str]]:
    """Logins on offer, and where each leads."""
    return [(tag.text, tag.attrs.get("href", "")) for tag in page.tags if "door" in tag.attrs.get("class", "").split()]


def test_three_people(alice, bob, charlie, alices, bobs, new1):
    assert names(Browser(alice).open("/")) == ["web1"]
    assert names(Browser(bob).open("/")) == ["db1"]
    assert names(Browser(charlie).open("/")) == []


def test_a_row_leads_into_a_terminal(alice, web1, alices):
    page = Browser(alice).open("/")
    assert page.one("a", **{"class": "main"}).attrs["href"] == "/hosts/web1/terminal?login=root"
    assert doors(page) == [("root", "/hosts/web1/terminal?login=root")]
    row = page.one("tbody").text
    for fact in ("online", "site=berlin", "terminal"):
        assert fact in row
    assert [chip.text for chip in page.all("button", **{"class": "chip"})] == ["site=berlin"]


def test_the_row_of_a_host_that_is_away_leads_to_its_page(bob, db1, bobs):
    make_tunnel(db1, closed="agent said goodbye")
    page = Browser(bob).open("/")
    assert page.one("a", **{"class": "main"}).attrs["href"] == "/hosts/db1/"
    assert doors(page) == [("guest", "")]
    assert "agent said goodbye" in page.one("tbody").text
    assert page.one("tbody").text.count("offline") == 1


def test_a_dead_link_is_offline(alice, web1, alices):
    Tunnel.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert "no sign of life" in Browser(alice).open("/").one("tbody").text


def test_the_default_login_comes_first_and_only_where_granted(alice, web1, alices):
    create_grant(person=alice, host=web1, logins=["admin", "zoe"], actor=OPERATOR)
    create_grant(person=alice, host=web1, logins=["ftp"], capabilities=["sftp"], actor=OPERATOR)
    browser = Browser(alice)
    assert [login for login, _ in doors(browser.open("/"))] == ["root", "admin", "ftp", "zoe"]
    assert dict(doors(browser.page))["ftp"] == "", "no terminal there"
    Host.objects.filter(pk=web1.pk).update(login="zoe")
    assert doors(browser.open("/"))[0][0] == "zoe"
    assert browser.open("/hosts/web1/terminal").one("body").attrs["data-login"] == "zoe"
    Host.objects.filter(pk=web1.pk).update(login="nobody")
    assert doors(browser.open("/"))[0][0] == "admin"
    assert browser.open("/hosts/web1/terminal?login=root").one("body").attrs["data-login"] == "root"


def test_capabilities_without_a_terminal(bob, web1):
    create_grant(person=bob, host=web1, logins=["root"], capabilities=["sftp"], actor=OPERATOR)
    page = Browser(bob).open("/")
    assert doors(page) == [("root", "")]
    assert "sftp" in page.one("tbody").text
    page = Browser(bob).open("/hosts/web1/terminal")
    assert page.status == 403
    assert "No grant gives you a terminal on web1." in page.text


def test_a_host_in_detail(alice, web1, alices):
    Host.objects.filter(pk=web1.pk).update(info={"hostname": "web1.example", "os": "Debian 12", "arch": ""})
    page = Browser(alice).open("/hosts/web1/")
    assert page.one("h1").text == "web1"
    for fact in ("web1.example", "Debian 12", web1.fingerprint, str(web1.tunnel_port), "none pinned", "site=berlin"):
        assert fact in page.text
    assert "Arch" not in page.text, "nothing is said about it"
    assert [tag.attrs["href"] for tag in page.all("a", **{"class": "button"})] == ["/hosts/web1/terminal?login=root"]
    rights = page.one("tbody").text
    assert str(alices.pk) in rights
    assert "no end" in rights


def commands_under(page: Page, heading: str) -> list[str]:
    """What stands to be copied in the section with this heading."""
    section = next(tag for tag in page.all("section") if heading in tag.text)
    return [tag.text for tag in page.all("pre") if tag.text in section.text]


def test_commands_name_the_real_addresses(alice, alices, web1, settings):
    page = Browser(alice).open("/hosts/web1/")
    tunnel, agent = commands_under(page, "On the machine itself")
    gateway = settings.BROKERD.gateway_address
    assert tunnel.startswith(f"ssh -N -R {web1.tunnel_port}:localhost:22 -p {gateway.port} ")
    assert tunnel.endswith(f" web1@{gateway.host}")
    assert agent == f"brokerd-agent --broker {settings.BROKERD.portal_url} --name web1"


def test_only_the_grants_that_hold_here_and_now_are_shown(alice, web1, alices):
    later = timezone.now() + timedelta(days=1)
    create_grant(person=alice, host=web1, logins=["later"], valid_from=later, actor=OPERATOR)
    create_grant(person=alice, host=web1, logins=["elsewhere"], networks=["10.0.0.0/8"], actor=OPERATOR)
    page = Browser(alice).open("/hosts/web1/")
    assert "later" not in page.one("tbody").text
    assert "elsewhere" not in page.text


def test_a_revoked_grant_takes_the_host_away(alice, alices):
    browser = Browser(alice)
    assert names(browser.open("/")) == ["web1"]
    Grant.objects.update(revoked_at=timezone.now())
    assert names(browser.open("/")) == []
    assert browser.open("/hosts/web1/").status == 404


class TestEmptyPortal:
    def commands(self, page: Page) -> list[str]:
        return [tag.text for tag in page.all("pre")]

    def test_an_admin_is_given_commands_to_copy(self, admin, settings):
        settings.BROKERD = replace(settings.BROKERD, open_enrollment=True)
        page = Browser(admin).open("/")
        assert page.one("h2").text == "Add the first machine"
        pairing, agent, install, *steps = self.commands(page)
        assert pairing.startswith("ssh -N -R 0:localhost:22 -p 2222 ")
        assert agent == f"brokerd-agent --broker {settings.BROKERD.portal_url}"
        assert install == f"curl -fsS {settings.BROKERD.portal_url}/install.sh | sh"
        assert len(steps) == 5
        assert "TOKEN" not in page.text

    def test_with_closed_enrollment_they_need_a_token(self, admin):
        page = Browser(admin).open("/")
        assert "This broker asks for a token" in page.text
        assert self.commands(page)[0].endswith(" --token TOKEN")
        assert self.commands(page)[1].endswith("/install.sh | BROKERD_TOKEN=TOKEN sh")

    def test_a_machine_that_waits_is_announced(self, admin, new1):
        page = Browser(admin).open("/")
        assert page.one("h2").text == "1 machine waits for you"
        assert "/approvals/" in [link.attrs["href"] for link in page.all("a", **{"class": "button"})]

    def test_an_admin_without_a_grant_is_told_so(self, admin, web1):
        page = Browser(admin).open("/")
        assert "being admin opens no shell" in page.text
        assert not self.commands(page)

    def test_others_learn_whom_to_ask_and_nothing_of_machines(self, alice, admin, web1, new1):
        page = Browser(alice).open("/")
        assert "No host is granted to you yet" in page.text
        assert "admin" in page.one("main").text
        for secret in ("web1", "new1", "brokerd-agent", "/approvals/"):
            assert secret not in page.html


@pytest.mark.parametrize("state", [State.REJECTED, State.REVOKED, State.PENDING])
def test_only_approved_hosts_are_hosts(alice, state):
    make_host("old", state=state)
    create_grant(person=alice, all_hosts=True, logins=["root"], actor=OPERATOR)
    browser = Browser(alice)
    assert names(browser.open("/")) == []
    assert browser.open("/hosts/old/").status == 404


def test_the_terminals_page_has_the_persons_preferences(alice, bob, alices):
    hers = TerminalPreferences(font_family="\"A & B\", 'C'", theme="high-contrast")
    set_preferences(person=alice, preferences=hers)
    set_preferences(person=bob, preferences=TerminalPreferences(font_size=30))
    page = Browser(alice).open("/hosts/web1/terminal")
    data = page.one("script", id="preferences")
    assert data.attrs["type"] == "application/json"
    assert json.loads(data.text) == hers.dict()
