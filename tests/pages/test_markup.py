"""What every page owes its readers: a title, landmarks, a name for all that can be used, and nothing inline."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from tests.pages.helpers import Browser, Page, Tag

PAGES = [
    ("admin", "/"),
    ("alice", "/"),
    ("charlie", "/"),
    ("alice", "/hosts/web1/"),
    ("bob", "/hosts/db1/"),
    ("admin", "/approvals/"),
    ("admin", "/approvals/tokens/"),
    ("admin", "/grants/"),
    ("admin", "/grants/explain/"),
    ("admin", "/grants/explain/?person=alice&host=web1&login=root&capability=terminal"),
    ("admin", "/webhooks/"),
    ("admin", "/webhooks/WEBHOOK/"),
    ("auditor", "/audit/"),
    ("auditor", "/audit/?since=nonsense"),
    ("alice", "/sessions/"),
    ("admin", "/sessions/?all"),
    ("auditor", "/sessions/?all&since=nonsense"),
    ("auditor", "/sessions/?all&q=word"),
    ("alice", "/sessions/SESSION/"),
    ("alice", "/sessions/PAST/"),
    ("alice", "/account/"),
    ("alice", "/account/password/"),
    ("alice", "/account/reauthenticate/"),
    ("anonymous", "/login/"),
    ("charlie", "/audit/"),
    ("charlie", "/hosts/nowhere/"),
    ("anonymous", "/nowhere/"),
]
FORMS = [
    ("admin", "/approvals/tokens/", {"name": "office"}),
    ("admin", "/approvals/tokens/", {"name": ""}),
    ("admin", "/grants/", {"person": "nobody", "logins": ""}),
    ("admin", "/webhooks/", {"name": "chat", "url": "https://chat.example/x"}),
    ("admin", "/webhooks/", {"name": "", "url": "http://chat.example/x"}),
    ("alice", "/account/", {"name": "script"}),
    ("alice", "/account/", {"name": ""}),
    ("alice", "/account/keys/", {"line": "nonsense"}),
    ("alice", "/account/password/", {}),
]
SHOWN_AT = {"/account/keys/": "/account/"}
"""Forms that stand on another page than the one they go to."""
CONTROLS = ("input", "select", "textarea")
INLINE = {"style", "srcdoc", "nonce"}
LINKS = re.compile(r"/(?!/)|\?|#")


@pytest.fixture(params=[*PAGES, *FORMS], ids=lambda case: " ".join(map(str, case)))
def page(request, portal) -> Page:
    who, path, *fields = request.param
    browser = Browser(None if who == "anonymous" else request.getfixturevalue(who))
    shown = browser.open(portal.path(SHOWN_AT.get(path, path)))
    return browser.send(path, **fields[0]) if fields else shown


@pytest.fixture
def terminal(alice, portal) -> Page:
    return Browser(alice).open("/hosts/web1/terminal?login=root")


def test_every_page_is_accessible_and_inert(page):
    """One pass over each page: the checks are many and quick, the page is what takes time."""
    check_head(page)
    check_landmarks(page)
    check_names(page)
    check_references(page)
    check_tables(page)
    check_forms(page)
    check_nothing_inline(page)
    assert not re.search(r" [,.;:](\s|$)", page.one("main").text), "a template ends with a line break"


def test_the_terminal_page_as_well(terminal):
    assert terminal.one("title").text == "web1"
    assert len(terminal.all("main")) == len(terminal.all("h1")) == 1
    check_names(terminal)
    check_references(terminal)
    check_nothing_inline(terminal, nonce=True)


def test_titles_tell_pages_apart(alice, admin, auditor, portal):
    """The bar of tabs and the history show nothing else."""
    people = {"alice": alice, "admin": admin, "auditor": auditor}
    paths = {path.partition("?")[0]: who for who, path in PAGES if who in people}
    titles = [Browser(people[who]).open(portal.path(path)).one("title").text for path, who in paths.items()]
    same = {title for title, count in Counter(titles).items() if count > 1}
    assert same == {"Session on web1 · brokerd"}, "two sessions on one host"


def test_no_page_runs_what_it_was_not_shipped_with(alice, portal):
    for path in ("/", "/hosts/web1/terminal", "/login/", "/nowhere/"):
        policy = Browser(alice).client.get(path)["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy


def check_head(page: Page) -> None:
    title = page.one("title").text
    assert re.fullmatch(r"\S.* · brokerd", title)
    assert page.one("html").attrs["lang"] == "en"
    assert page.one("link", rel="icon").attrs["href"].startswith("/static/icon")
    assert page.html.lower().startswith("<!doctype html>")


def check_landmarks(page: Page) -> None:
    assert len(page.all("main")) == len(page.all("h1")) == 1
    assert page.one("a", **{"class": "skip"}).attrs["href"] == "#content"
    assert page.one("main").attrs["id"] == "content"
    for tag in page.all("nav", "section"):
        assert is_named(tag), tag
    if page.forms and any(form.action == "/logout/" for form in page.forms):
        assert "header" in page.one("nav", **{"aria-label": "Portal"}).inside
    levels = [int(tag.name[1]) for tag in page.all("h1", "h2", "h3", "h4")]
    assert all(below - above <= 1 for above, below in zip([0, *levels], levels, strict=False)), levels


def check_names(page: Page) -> None:
    labelled = {tag.attrs["for"] for tag in page.all("label") if "for" in tag.attrs and tag.text.strip()}
    for tag in page.all(*CONTROLS):
        if tag.attrs.get("type") != "hidden":
            assert is_named(tag) or "label" in tag.inside or tag.attrs.get("id") in labelled, tag
    for tag in page.all("button", "a", "summary", "legend", "th"):
        assert is_named(tag) or tag.text.strip(), tag
    assert all("alt" in tag.attrs for tag in page.all("img"))


def is_named(tag: Tag) -> bool:
    return bool(tag.attrs.get("aria-label") or tag.attrs.get("aria-labelledby") or tag.attrs.get("title"))


def check_references(page: Page) -> None:
    ids = [tag.attrs["id"] for tag in page.tags if "id" in tag.attrs]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    for tag in page.tags:
        for attribute in ("for", "list", "aria-labelledby", "aria-describedby"):
            assert set(tag.attrs.get(attribute, "").split()) <= set(ids), (tag, attribute)


def check_tables(page: Page) -> None:
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(tag.attrs.get("scope") in ("col", "row") for tag in page.all("th"))


def check_forms(page: Page) -> None:
    for form in page.forms:
        assert form.action.startswith("/")
        assert ("csrfmiddlewaretoken" in form.fields) == (form.method == "post"), form


def check_nothing_inline(page: Page, *, nonce: bool = False) -> None:
    assert not page.all("style", "iframe", "object", "embed", "base")
    for tag in page.tags:
        inline = {name for name in tag.attrs if name in INLINE or name.startswith("on")}
        assert inline <= ({"nonce"} if nonce and tag.name == "script" else set()), tag
        for attribute in ("href", "src", "action", "formaction", "hx-get"):
            assert LINKS.match(tag.attrs.get(attribute, "/")), tag
    for tag in page.all("script"):
        if tag.attrs.get("type") == "application/json":
            json.loads(tag.text)  # data, which runs nothing
            continue
        assert tag.attrs["src"].startswith("/static/")
        assert not tag.text.strip()
