"""What people call a browser, from what it says of itself. Pure."""

from __future__ import annotations

import re

_BROWSERS = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"\bOPR/(\d+)"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/(\d+)"),
    ("Chromium", r"\b(?:HeadlessChrome|Chromium)/(\d+)"),
    ("Chrome", r"\b(?:Chrome|CriOS)/(\d+)"),
    ("Safari", r"\bVersion/(\d+)[\d.]* .*Safari/"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("ChromeOS", "CrOS"),
    ("macOS", "Mac OS X"),
    ("Linux", "Linux"),
)
MAX_UNKNOWN = 40


def browser_name(user_agent: str) -> str:
    """`Firefox 128 on Linux`; what we do not know is shown as it came, cut short."""
    found = ((name, re.search(pattern, user_agent)) for name, pattern in _BROWSERS)
    browser = next((f"{name} {match[1]}" for name, match in found if match), "")
    system = next((name for name, mark in _SYSTEMS if mark in user_agent), "")
    if not browser:
        return user_agent[:MAX_UNKNOWN] or "unknown browser"
    return f"{browser} on {system}" if system else browser
