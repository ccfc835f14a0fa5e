"""A person's browser as far as HTTP goes: cookies, the login form, CSRF."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from tests.story.broker import PASSWORD, Answer, Broker


class Browser:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._jar: SimpleCookie = SimpleCookie()

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={morsel.value}" for name, morsel in self._jar.items())

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """With the cookies, and for unsafe methods the CSRF token and the Origin, as a page of the portal has it."""
        if self.cookie:
            headers["Cookie"] = self.cookie
        if method not in ("GET", "HEAD") and "brokerd_csrf" in self._jar:
            headers |= {"X-CSRFToken": self._jar["brokerd_csrf"].value, "Origin": self._broker.url}
        answer = self._broker.call(method, path, body, **headers)
        for line in answer.headers.get_all("Set-Cookie", []):
            self._jar.load(line)
        return answer

    def submit(self, path: str, **fields: str) -> Answer:
        """A form, posted."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.call("POST", path, urlencode(fields).encode(), **form)

    def log_in(self, person: str) -> Browser:
        self.call("GET", "/login/")
        answer = self.submit("/login/", login=person, password=PASSWORD)
        assert answer.status == 302, answer.body
        return self
