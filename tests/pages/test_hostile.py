"""What strangers and people send is text and stays text: no page's tags depend on it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import transaction
from django.utils import timezone

from terminals.models import AUDITORS, ApiToken, Delivery, Grant, Person, PersonKey, Session, Webhook
from tests.pages.helpers import Browser, Page
from tests.pages.test_markup import check_nothing_inline
from tunnels.audit import Actor, Event, record
from tunnels.models import AuditEvent, EnrollmentToken, Host, HostTag, Tunnel

HOSTILE = " ".join(
    [
        "javascript:alert(1)//",
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onfocus='alert(1)' autofocus='",
        "</title></textarea></template><svg/onload=alert(1)>",
        "{{ settings.SECRET_KEY }}{% csrf_token %}",
        "--><iframe srcdoc='x'>",
        "a\u202eb\x1b[31m\r\nc",
    ]
)
PAGES = [
    "/",
    "/hosts/web1/",
    "/hosts/web1/terminal?login=root",
    "/sessions/",
    "/sessions/?all",
    "/sessions/SESSION/",
    "/sessions/PAST/",
    "/approvals/",
    "/approvals/tokens/",
    "/grants/",
    "/grants/explain/?person=alice&host=web1&login=root&capability=terminal",
    "/audit/",
    "/account/",
    "/webhooks/",
    "/webhooks/WEBHOOK/",
]
FORMS = {path: path for path in ("/grants/", "/approvals/tokens/", "/account/", "/webhooks/")}
FORMS |= {"/account/keys/": "/account/"}
"""Where each is sent, and the page that it stands on."""
UNTOUCHED = {"/hosts/web1/terminal?login=root", "/sessions/"}


@pytest.fixture
def browser(alice, portal) -> Browser:
    """alice sees all of it: she is admin and auditor as well."""
    Person.objects.filter(pk=alice.pk).update(is_superuser=True, is_staff=True)
    Group.objects.get_or_create(name=AUDITORS)[0].user_set.add(alice)
    return Browser(alice)


def write_everywhere(word: str, waiting: Host, bob: Person) -> None:
    """Into each text that somebody else than the reader may have chosen, past all checks of the acts."""
    Host.objects.update(info={"hostname": word, word: word}, decided_by=word)
    Host.objects.filter(pk=waiting.pk).update(name=word, login=word, code=word)
    HostTag.objects.filter(key="site").update(value=word)
    Tunnel.objects.update(reason=word, client=word)
    EnrollmentToken.objects.update(name=word, host_name=word, tags={word: word}, created_by=word)
    ApiToken.objects.update(name=word)
    PersonKey.objects.update(comment=word, last_used_at=timezone.now(), last_used_address=word)
    Group.objects.exclude(name=AUDITORS).update(name=word)
    Person.objects.filter(pk=bob.pk).update(username=word)
    Grant.objects.filter(group=None).update(created_by=word)
    Grant.objects.exclude(group=None).update(logins=[word], networks=[word], created_by=word)
    Session.objects.update(stated_reason=word, reason=word, ended_by=word)
    Webhook.objects.update(name=word, url=word, events=[word], created_by=word)
    Delivery.objects.update(event=word, body=word, problem=word)
    AuditEvent._base_manager.update(person=word, host=word, login=word, detail={word: {"list": [word], "n": None}})


def bones(page: Page) -> list[tuple[str, list[str]]]:
    return [(tag.name, sorted(tag.attrs)) for tag in page.tags]


def test_no_tag_depends_on_what_somebody_wrote(browser, portal, new1, bob):
    write_everywhere("word", new1, bob)
    expected = {path: bones(browser.open(portal.path(path))) for path in PAGES}
    write_everywhere(HOSTILE, new1, bob)
    for path in PAGES:
        page = browser.open(portal.path(path))
        assert bones(page) == expected[path], path
        check_nothing_inline(page, nonce="terminal?" in path)
        assert settings.SECRET_KEY not in page.html
        if path not in UNTOUCHED:
            assert "<script>alert(1)</script>" in page.one("body").text, f"{path} shows it as it is"


def test_names_in_an_address_are_text_as_well(browser):
    """They are repeated by no page, and change no page's tags."""
    for path in ("/hosts/{}/", "/hosts/{}/terminal", "/hosts/web1/terminal?login={}", "/sessions/?all&before={}"):
        plain = browser.open(path.format("word"))
        page = browser.open(path.format(quote(HOSTILE, safe="")))
        assert (page.status, bones(page)) == (plain.status, bones(plain))


def test_what_was_typed_into_a_form_comes_back_as_text(browser, alice):
    for path, shown_at in FORMS.items():
        fields = browser.open(shown_at).form(path).fields
        typed = {name: HOSTILE for name in fields if name != "csrfmiddlewaretoken"}
        expected = bones(browser.send(path, **dict.fromkeys(typed, "?" * 500)))
        browser.open(shown_at)
        page = browser.send(path, **typed)
        assert bones(page) == expected
        check_nothing_inline(page)


def test_control_and_direction_characters_are_visible_in_the_audit(browser):
    with transaction.atomic():
        record(Event.PERSON_LOGIN_FAILED, actor=Actor("eve\u202e\x1b[31m"), refused=True, reason="a\u202eb\nc")
    text = browser.open("/audit/").text
    assert "eve<U+202E><U+001B>[31m" in text
    assert "a<U+202E>b<U+000A>c" in text
