"""How a person wants their terminals: every choice with its default and its bounds, kept per person.

Not on record in the audit: a size of letters is no fact about access, and the page stores at each turn of a knob. Fonts
end up in style sheets that xterm.js writes, hence the few characters that their names may have.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from ninja import Field, Schema
from pydantic import AfterValidator, ConfigDict, ValidationError

from terminals.models import Person, Preferences

_FONTS = re.compile(r"""[\w \-.,+&'"]*""")


def _fonts(text: str) -> str:
    if not _FONTS.fullmatch(text):
        raise ValueError("names of fonts with commas between them: letters, digits, blanks, quotes and - . + & _ only")
    return text.strip()


class TerminalPreferences(Schema):
    """Strict: `"14"` is no size, and what is not listed here is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    font_family: Annotated[str, Field(max_length=200), AfterValidator(_fonts)] = Field(
        "", description="as in CSS; empty: the built-in ones"
    )
    font_size: int = Field(14, ge=8, le=32, description="pixels")
    line_height: float = Field(1.0, ge=1.0, le=2.0)
    theme: Literal["auto", "dark", "light", "solarized-dark", "solarized-light", "high-contrast"] = "auto"
    cursor_style: Literal["block", "bar", "underline"] = "block"
    cursor_blink: bool = False
    scrollback: int = Field(10_000, ge=0, le=100_000, description="lines")
    copy_on_select: bool = False
    clipboard_write: bool = Field(False, description="programs may write the clipboard (OSC 52)")
    bell: Literal["visual", "sound", "both", "none"] = "visual"
    screen_reader: bool = False
    confirm_paste: bool = True


def default_preferences() -> TerminalPreferences:
    """Of somebody who has chosen nothing."""
    return _understood({})


def preferences_of(person: Person) -> TerminalPreferences:
    """What the person chose. What another version of the broker stored and this one does not know is left out."""
    row = Preferences.objects.filter(person=person).first()
    stored = row.values if row else {}
    known = {name: value for name, value in stored.items() if name in TerminalPreferences.model_fields}
    return _understood(known)


def set_preferences(*, person: Person, preferences: TerminalPreferences) -> None:
    """Replace the whole of them."""
    Preferences.objects.update_or_create(person=person, defaults={"values": preferences.dict()})


def _understood(stored: dict[str, Any]) -> TerminalPreferences:
    try:
        return TerminalPreferences(**stored)
    except ValidationError as error:
        wrong = {str(detail["loc"][0]) for detail in error.errors()}
        return TerminalPreferences(**{name: value for name, value in stored.items() if name not in wrong})
