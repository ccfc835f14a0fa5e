"""A browser without a screen: it logs in, opens pages, and sends their forms as they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import cycle
from typing import Any
from urllib.parse import urljoin

from django.test import Client

from terminals.models import Person
from tests.machines import helpers as machines
from tests.people.helpers import ADDRESS
from tunnels.models import Host

_ports = cycle(range(22600, 23100))  # make_host takes those below
VOID = {"meta", "link", "input", "img", "br", "option"}
Attrs = dict[str, str]


def ask(name: str, **changes: Any) -> Host:
    """A machine asks over REST to become a host."""
    return machines.ask(name, tunnel_port=next(_ports), **changes)


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Tag:
    name: str
    attrs: Attrs
    inside: tuple[str, ...]
    text: str = ""


class Page(HTMLParser):
    """Tags in order, each with what it stands in and the text in it, and the forms with what they would send."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.status = answer.status_code
        self.url = answer.request["PATH_INFO"]
        self.html = answer.content.decode()
        self.tags: list[Tag] = []
        self.forms: list[Form] = []
        self._open: list[Tag] = []
        self.feed(self.html)
        assert not self._open, f"left open: {[tag.name for tag in self._open]}"

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        tag = Tag(name, {key: value or "" for key, value in attrs}, tuple(outer.name for outer in self._open))
        self.tags.append(tag)
        if name not in VOID:
            self._open.append(tag)
        if name == "form":
            self.forms.append(Form(tag.attrs.get("action") or self.url, tag.attrs.get("method", "get")))
        elif name in ("input", "option", "textarea") and "form" in tag.inside and "datalist" not in tag.inside:
            self._note_field(tag)

    def handle_startendtag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(name, attrs)
        if name not in VOID:
            self.handle_endtag(name)

    def handle_endtag(self, name: str) -> None:
        if name in VOID:
            return
        tag = self._open.pop()
        assert tag.name == name, f"</{name}> closes <{tag.name} {tag.attrs}>"

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            tag.text += data

    def all(self, *names: str, **attrs: str) -> list[Tag]:
        return [tag for tag in self.tags if tag.name in names and attrs.items() <= tag.attrs.items()]

    def one(self, name: str, **attrs: str) -> Tag:
        (tag,) = self.all(name, **attrs)
        return tag

    @property
    def text(self) -> str:
        return " ".join(self.one("body").text.split())

    @property
    def messages(self) -> list[str]:
        return [tag.text for tag in self.tags if "message" in tag.attrs.get("class", "").split()]

    def form(self, action: str) -> Form:
        (form,) = [form for form in self.forms if form.action == action and form.method == "post"]
        return form

    def _note_field(self, tag: Tag) -> None:
        fields, attrs = self.forms[-1].fields, tag.attrs
        if tag.name == "option":
            select = next(outer for outer in reversed(self._open) if outer.name in ("select", "form"))
            if "selected" in attrs or select.attrs["name"] not in fields:
                fields[select.attrs["name"]] = attrs["value"]
        elif attrs.get("type") != "checkbox" and "name" in attrs:
            fields[attrs["name"]] = attrs.get("value", "")
        elif "checked" in attrs:
            fields.setdefault(attrs["name"], []).append(attrs.get("value", "on"))


class Browser:
    """Sends what the forms of its last page would, CSRF token and all, and follows redirects."""

    def __init__(self, person: Person | None = None) -> None:
        self.client = Client(enforce_csrf_checks=True, REMOTE_ADDR=ADDRESS)
        self.page: Page
        if person:
            self.client.force_login(person)

    def open(self, path: str) -> Page:
        self.page = Page(self.client.get(path))
        return self.page

    def send(self, action: str, *, to: str = "", **changes: Any) -> Page:
        """The form that goes to `action`; `to` is the formaction of another of its buttons. None unticks a box."""
        fields = {**self.page.form(action).fields, **changes}
        sent = {name: value for name, value in fields.items() if value is not None}
        answer = self.client.post(to or action, sent)
        if answer.status_code == 302:
            return self.open(urljoin(action, answer["Location"]))
        self.page = Page(answer)
        return self.page

    def poll(self, path: str, seen: str) -> Any:
        """As htmx asks for a live region."""
        sign = "&" if "?" in path else "?"
        return self.client.get(f"{path}{sign}seen={seen}", headers={"HX-Request": "true"})
