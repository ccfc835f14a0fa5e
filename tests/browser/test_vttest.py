"""vttest's menus 1 and 2, cursor movements and screen features, in Chromium, screen by screen.

What is left out: xterm.js has no other number of columns than the window's, and shows what blinks without blinking.
"""

from __future__ import annotations

import pytest

from tests.browser.conftest import RESULTS
from tests.browser.desk import Desk, Terminal
from tests.needs import require_program

pytestmark = [pytest.mark.browser, pytest.mark.sshd]
ROWS, COLUMNS = 24, 80
MENU = "Enter choice number (0 - 12):"
LEFT, RIGHT = "IJKLMNOPQRSTUVWXYZ", "ijklmnopqrstuvwxyz"
TEXT = [
    "The screen should be cleared,  and have an unbroken bor-",
    "der of *'s and +'s around the edge,   and exactly in the",
    "middle  there should be a frame of E's around this  text",
    "with  one (1) free position around it.    Push <RETURN> ",
]
STYLES = ("normal", "bold", "underscored", "blinking", "reversed")


def framed(inner: str) -> str:
    return f"*+{inner:^76}+*"


FRAME = [
    "*" * 80,
    "*" + "+" * 78 + "*",
    *[framed("")] * 6,
    framed("E" * 60),
    framed("E" + " " * 58 + "E"),
    *[framed(f"E {line} E") for line in TEXT],
    framed("E" + " " * 58 + "E"),
    framed("E" * 60),
    *[framed("")] * 6,
    "*" + "+" * 78 + "*",
    "*" * 80,
]
AUTOWRAP = [
    "Test of autowrap, mixing control and print characters.",
    "The left/right margins should have letters in order:",
    *[f"{left}{right:>79}" for left, right in zip(LEFT, RIGHT, strict=True)],
    "",
    "Push <RETURN>",
]
CONTROLS = [
    "Test of cursor-control characters inside ESC sequences.",
    "Below should be four identical lines:",
    "",
    *["A B C D E F G H I"] * 4,
    "",
    "Push <RETURN>",
]
ZEROS = [
    "Test of leading zeros in ESC sequences.",
    'Two lines below you should see the sentence "This is a correct sentence".',
    "",
    "This is a correct sentence",
    *[""] * 15,
    "Push <RETURN>",
]
WRAP = [
    *["*" * 80] * 3,
    "",
    "This should be three identical lines of *'s completely filling",
    "the top of the screen without any empty lines between.",
    "(Test of WRAP AROUND mode setting.)",
    "Push <RETURN>",
]
TABS = [
    *["      *" * 1 + "     *" * 12] * 2,
    "",
    "Test of TAB setting/resetting. These two lines",
    "should look the same. Push <RETURN>",
]


def columns(background: str) -> list[str]:
    lines = [f"{' ' * number}This is 80 column mode, {background} background." for number in range(2, 20)]
    return [("1234567890" * 8)[:79], "", *lines[:-1], lines[-1] + "Push <RETURN>"]


def scrolled(kind: str, first: int, last: int) -> list[str]:
    """The newest lines of a region that was scrolled down, and up and down again, below the words."""
    size = last - first + 1
    lines = [f"{kind} scroll down region [{first}..{last}] size {size} Line {29 - place}" for place in range(size - 1)]
    return [*[""] * (first - 1), "Push <RETURN>", *lines]


ORIGIN_BOTTOM = [
    *[""] * 22,
    "This line should be the one above the bottom of the screen. Push <RETURN>",
    "Origin mode test. This line should be at the bottom of the screen.",
]
ORIGIN_TOP = [
    "This line should be at the top of the screen. Push <RETURN>",
    *[""] * 22,
    "Origin mode test. This line should be at the bottom of the screen.",
]


def renditions(background: str) -> list[str]:
    rows = [("", "vanilla", "bold")]
    for name in ("underline", "blink", "underline blink", "negative", "underline negative", "blink negative"):
        rows.append(("     " if name.startswith("underline") else "", name, f"bold {name}"))
    rows.append(("     ", "underline blink negative", "bold underline blink negative"))
    shown = [f"{indent}{left:<39}{right}" for indent, left, right in rows]
    spaced = [line for row in shown for line in (row, "")]
    return [
        " " * 19 + "Graphic rendition test pattern:",
        "",
        "",
        *spaced,
        *[""] * 3,
        f"{background} background. Push <RETURN>",
    ]


def flavours(name: str, character: str) -> str:
    return f"{name + ':':<11}" + "  ".join([character * 10] * len(STYLES))


CURSOR = [
    *["AAAAA"] * 4,
    *[""] * 3,
    "           " + "".join(f"{style:<12}" for style in STYLES).rstrip(),
    "",
    flavours("stars", "*"),
    "",
    flavours("line", "─"),
    "",
    flavours("x'es", "x"),
    "",
    flavours("diamonds", "◆"),
    *[""] * 4,
    "Test of the SAVE/RESTORE CURSOR feature. There should",
    "be ten characters of each flavour, and a rectangle",
    "of 5 x 4 A's filling the top left of the screen.",
    "Push <RETURN>",
]
MENU_1 = [FRAME, FRAME, AUTOWRAP, AUTOWRAP, CONTROLS, ZEROS]
MENU_2 = [
    WRAP,
    TABS,
    *[columns("light")] * 2,
    *[columns("dark")] * 2,
    *[scrolled(kind, *region) for kind in ("Soft", "Jump") for region in ((12, 13), (1, 24))],
    ORIGIN_BOTTOM,
    ORIGIN_TOP,
    renditions("Dark"),
    renditions("Light"),
    CURSOR,
]


def shown(terminal: Terminal) -> list[str]:
    """Lines without the blanks at their ends, and without the empty ones at the end."""
    return terminal.text.rstrip().split("\n")


def is_reversed(terminal: Terminal) -> bool:
    """Whether the background is light, in a dark theme."""
    background = terminal.page.evaluate(
        "getComputedStyle(document.querySelector('.xterm-scrollable-element')).backgroundColor"
    )
    red = int(background.partition("(")[2].split(",")[0])
    return red > 128


def test_menus_1_and_2(desk: Desk) -> None:
    require_program("vttest")
    with desk.context(color_scheme="dark") as context:
        terminal = desk.open(context)
        terminal.fit(ROWS, COLUMNS)
        terminal.run(f"vttest {ROWS}x{COLUMNS}.{COLUMNS}")
        RESULTS.mkdir(exist_ok=True)
        for menu, screens in (("1", MENU_1), ("2", MENU_2)):
            terminal.shows(MENU)
            terminal.run(menu)
            for number, expected in enumerate(screens, start=1):
                terminal.wait(lambda expected=expected: shown(terminal) == expected, f"menu {menu}, screen {number}")
                terminal.page.screenshot(path=RESULTS / f"vttest-{menu}-{number:02}.png")
                is_light = expected in (columns("light"), renditions("Light"))
                terminal.wait(
                    lambda is_light=is_light: is_reversed(terminal) is is_light,
                    f"menu {menu}, screen {number}: reversed is {is_light}",
                )
                terminal.run("")
        terminal.shows(MENU)
        terminal.run("0")
        terminal.at_prompt()
