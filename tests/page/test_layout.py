"""`layout.js`: the tree of splits, as a table of calls; run in Chromium, since it is JavaScript, but without a page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Page

from .fake_broker import Broker

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

HALVES = {"axis": "row", "parts": ["a", "b"], "shares": [0.5, 0.5]}
RIGHT_COLUMN = {"axis": "row", "parts": ["a", {"axis": "column", "parts": ["b", "c"], "shares": [0.5, 0.5]}]} | {
    "shares": [0.5, 0.5]
}


class Layout:
    def __init__(self, page: Page, broker: Broker) -> None:
        self.page, self.broker = page, broker

    async def __call__(self, name: str, *arguments: Any) -> Any:
        """What a function of the module answers, as JSON."""
        if self.page.url == "about:blank":
            await self.page.goto(f"{self.broker.url.partition('/hosts')[0]}/static/icon.svg")
        return json.loads(
            await self.page.evaluate(
                """async ([name, values]) => {
                    const module = await import("/static/terminals/layout.js");
                    return JSON.stringify(module[name](...values)) ?? "null";
                }""",
                [name, list(arguments)],
            )
        )


@pytest.fixture
def layout(page: Page, broker: Broker) -> Layout:
    return Layout(page, broker)


async def test_splitting_along_the_same_axis_stays_one_split(layout: Layout) -> None:
    assert await layout("split", "a", "a", "row", "b") == HALVES
    three = await layout("split", HALVES, "b", "row", "c")
    assert (three["parts"], three["shares"]) == (["a", "b", "c"], [0.5, 0.25, 0.25])
    assert await layout("split", HALVES, "b", "column", "c") == RIGHT_COLUMN
    assert await layout("panesOf", RIGHT_COLUMN) == ["a", "b", "c"]


async def test_neighbours_take_the_room_of_what_goes(layout: Layout) -> None:
    assert await layout("remove", "a", "a") is None
    assert await layout("remove", HALVES, "a") == "b"
    assert await layout("remove", RIGHT_COLUMN, "b") == {"axis": "row", "parts": ["a", "c"], "shares": [0.5, 0.5]}
    column = await layout("remove", RIGHT_COLUMN, "a")
    assert column == {"axis": "column", "parts": ["b", "c"], "shares": [0.5, 0.5]}


async def test_what_becomes_nested_in_the_same_axis_is_joined(layout: Layout) -> None:
    inner = {"axis": "row", "parts": ["b", "c"], "shares": [0.5, 0.5]}
    column = {"axis": "column", "parts": [inner, "d"], "shares": [0.5, 0.5]}
    tree = {"axis": "row", "parts": ["a", column], "shares": [0.5, 0.5]}
    joined = await layout("remove", tree, "d")
    assert (joined["parts"], joined["shares"]) == (["a", "b", "c"], [0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("pane", "direction", "expected"),
    [
        ("a", "right", "b"),
        ("a", "left", None),
        ("a", "down", None),
        ("b", "left", "a"),
        ("b", "down", "c"),
        ("c", "up", "b"),
        ("c", "left", "a"),
        ("c", "right", None),
    ],
)
async def test_the_pane_in_a_direction(layout: Layout, pane: str, direction: str, expected: str | None) -> None:
    assert await layout("neighbour", RIGHT_COLUMN, pane, direction) == expected


async def test_a_divider_leaves_something_of_both_sides(layout: Layout) -> None:
    for by, shares in ((0.1, [0.6, 0.4]), (5, [0.95, 0.05]), (-5, [0.05, 0.95])):
        moved = await layout("moveDivider", HALVES, [], 0, by)
        assert moved["shares"] == pytest.approx(shares)
    inner = await layout("moveDivider", RIGHT_COLUMN, [1], 0, 0.25)
    assert inner["parts"][1]["shares"] == pytest.approx([0.75, 0.25])
    assert inner["shares"] == [0.5, 0.5]


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        {},
        "c",
        {"axis": "diagonal", "parts": ["a", "b"], "shares": [0.5, 0.5]},
        {"axis": "row", "parts": ["a", "a"], "shares": [0.5, 0.5]},
        {"axis": "row", "parts": ["a"], "shares": [1]},
        {"axis": "row", "parts": ["a", "b"], "shares": [1]},
        {"axis": "row", "parts": ["a", "b"], "shares": [-1, 2]},
        {"axis": "row", "parts": ["a", "b"], "shares": ["1", None]},
        {"axis": "row", "parts": {"length": 2}, "shares": [0.5, 0.5]},
        {"axis": "row", "parts": ["a", "__proto__"], "shares": [0.5, 0.5]},
    ],
    ids=str,
)
async def test_nonsense_from_outside_is_no_layout(layout: Layout, value: Any) -> None:
    assert await layout("readLayout", value, ["a", "b"]) is None


async def test_a_layout_from_outside_is_taken_as_it_was(layout: Layout) -> None:
    assert await layout("readLayout", RIGHT_COLUMN, ["a", "b", "c"]) == RIGHT_COLUMN
    assert await layout("readLayout", HALVES, ["a", "b", "c"]) is None, "a pane is missing"
