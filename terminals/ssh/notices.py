"""Who else is in a terminal, for its owner at a stock client: what has changed, as lines of text. Pure."""

from __future__ import annotations

from typing import Any


class Notices:
    """`page` is where the owner answers."""

    def __init__(self, page: str) -> None:
        self._page = page
        self._here: dict[str, dict[str, Any]] = {}
        self._asking: set[str] = set()

    def of_company(self, message: dict[str, Any]) -> list[str]:
        """For a message `viewers`. The reader's own window and other windows of theirs are no news."""
        here = {item["id"]: item for item in message["items"] if not item["is_owner"]}
        lines = [f"{_name(item)} left" for key, item in self._here.items() if key not in here]
        for key, item in here.items():
            before = self._here.get(key)
            if before is None:
                lines.append(f"{_name(item)} watches" + (" (an observer)" if item["via"] == "observe" else ""))
            elif item["wants"] and not before["wants"]:
                lines.append(f"{_name(item)} asks for the keyboard: {self._page}")
            if item["role"] == "driver" and (before is None or before["role"] != "driver"):
                lines.append(f"{_name(item)} has the keyboard; what you type is dropped. Take it back: {self._page}")
        asking = {item["id"]: item for item in message.get("asking", ())}
        lines += [
            f"{_name(item)} asks to join: {self._page}" for key, item in asking.items() if key not in self._asking
        ]
        self._here, self._asking = here, set(asking)
        return lines


def _name(item: dict[str, Any]) -> str:
    return f"{item['name']} (guest)" if item["is_guest"] else str(item["name"])
