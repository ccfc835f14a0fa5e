"""How each person wants their terminals: theirs alone, whole, and never nonsense."""

from __future__ import annotations

import pytest

from terminals.models import Preferences
from terminals.preferences import TerminalPreferences, preferences_of
from tests.people.helpers import Api, events, make_token

PATH = "/preferences"
DEFAULTS = {
    "font_family": "",
    "font_size": 14,
    "line_height": 1.0,
    "theme": "auto",
    "cursor_style": "block",
    "cursor_blink": False,
    "scrollback": 10_000,
    "copy_on_select": False,
    "clipboard_write": False,
    "bell": "visual",
    "screen_reader": False,
    "confirm_paste": True,
}
CHOSEN = {
    "font_family": "\"Fira Code\", 'M+ 1mn', monospace",
    "font_size": 32,
    "line_height": 1.2,
    "theme": "solarized-dark",
    "cursor_style": "bar",
    "cursor_blink": True,
    "scrollback": 0,
    "copy_on_select": True,
    "clipboard_write": True,
    "bell": "none",
    "screen_reader": True,
    "confirm_paste": False,
}


def put(api: Api, body: object) -> int:
    return api("PUT", PATH, body).status_code


def stored(person) -> dict:
    return Api(person).get(PATH).json()


def test_three_people(alice, bob, charlie, admin):
    assert Api().get(PATH).status_code == 401
    assert put(Api(), CHOSEN) == 401
    answer = Api(alice)("PUT", PATH, CHOSEN)
    assert (answer.status_code, answer.json()) == (200, CHOSEN)
    assert put(Api(bob), {**DEFAULTS, "theme": "light"}) == 200
    assert stored(alice) == CHOSEN
    assert stored(bob) == {**DEFAULTS, "theme": "light"}
    assert stored(charlie) == stored(admin) == DEFAULTS
    assert events() == [], "a size of letters is no fact about access"


def test_put_replaces_the_whole(alice):
    put(Api(alice), CHOSEN)
    assert put(Api(alice), {"font_size": 20}) == 200
    assert stored(alice) == {**DEFAULTS, "font_size": 20}, "what an older page does not know gets its default"
    assert Preferences.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"font_size": 7},
        {"font_size": 33},
        {"font_size": "14"},
        {"font_size": 14.5},
        {"font_size": True},
        {"font_size": None},
        {"line_height": 0.9},
        {"line_height": 2.1},
        {"line_height": float("nan")},
        {"line_height": float("inf")},
        {"theme": "neon"},
        {"theme": ["dark"]},
        {"cursor_style": ""},
        {"cursor_blink": "yes"},
        {"scrollback": -1},
        {"scrollback": 100_001},
        {"scrollback": 10**30},
        {"bell": True},
        {"confirm_paste": 0},
        {"font_family": "x" * 201},
        {"font_family": 5},
        {"unknown": 1},
    ],
)
def test_nonsense_is_refused_and_changes_nothing(alice, change):
    put(Api(alice), CHOSEN)
    assert put(Api(alice), {**DEFAULTS, **change}) == 422
    assert stored(alice) == CHOSEN


@pytest.mark.parametrize(
    "family",
    [
        "x; background: url(//evil.example/)",
        "x} body { display: none",
        "</script><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "/* x */",
        "\\2f\\2f",
        "@import 'x'",
        "a\nb",
        "a\x00b",
        "a\u202eb",
        "a\u200bb",
        "var(--x)",
    ],
)
def test_a_font_cannot_carry_css_or_html(alice, family):
    assert put(Api(alice), {**DEFAULTS, "font_family": family}) == 422
    assert stored(alice) == DEFAULTS


@pytest.mark.parametrize("body", [[], "x", 5, None])
def test_not_even_an_object(alice, body):
    assert put(Api(alice), body) in (400, 422)


def test_a_token_reads_but_does_not_change_the_account(alice, bob):
    put(Api(alice), CHOSEN)
    for scopes in ((), ("sessions",)):
        api = Api(token=make_token(alice, *scopes), csrf=False)
        assert api.get(PATH).json() == CHOSEN
        refused = api("PUT", PATH, DEFAULTS)
        assert refused.status_code == 403
        assert "token" in refused.json()["detail"]
    assert Api(token=make_token(alice, "hosts"), csrf=False).get(PATH).status_code == 403
    assert Api(token=make_token(bob), csrf=False).get(PATH).json() == DEFAULTS
    assert stored(alice) == CHOSEN


def test_another_site_changes_nothing(alice):
    assert put(Api(alice, csrf=False), CHOSEN) == 403
    assert stored(alice) == DEFAULTS


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ({"font_size": 20, "ligatures": True}, {"font_size": 20}),
        ({"font_size": 20, "theme": "neon", "scrollback": 10**9}, {"font_size": 20}),
        ({"line_height": None, "bell": "both"}, {"bell": "both"}),
        ({}, {}),
    ],
)
def test_what_another_version_stored_is_never_an_error(alice, values, kept):
    Preferences.objects.create(person=alice, values=values)
    assert preferences_of(alice) == TerminalPreferences(**kept)
    assert stored(alice) == {**DEFAULTS, **kept}
