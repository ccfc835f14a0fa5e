"""The portal's forms: they turn text into typed values. Whether an act takes those is the act's to say."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import Group

from terminals.access import Capability
from terminals.api_tokens import MEANING, Scope
from terminals.durations import duration_text
from terminals.grants import parse_tag
from terminals.limits import GrantLimits
from terminals.models import Person, Session
from terminals.pages.times import DurationField, MomentField
from terminals.replay.search import MAX_QUERY
from terminals.session_log import RECORDED
from terminals.webhooks.news import Kind
from terminals.webhooks.targets import MAX_URL
from tunnels.audit import Event
from tunnels.keys import MAX_KEY_LINE, is_private
from tunnels.models import Host

_SEPARATORS = re.compile(r"[\s,]+")
_PLAIN = {"autocapitalize": "none", "autocomplete": "off", "spellcheck": "false"}


def text(**attrs: str) -> forms.TextInput:
    """For names and the like, which no browser should correct."""
    return forms.TextInput(attrs={**_PLAIN, **attrs})


class WordsField(forms.CharField):
    """Several values, with commas or blanks between them."""

    def clean(self, value: str | None) -> list[str]:
        return [word for word in _SEPARATORS.split(super().clean(value)) if word]


class TagsField(forms.CharField):
    """`key=value`, one a line or with commas between them."""

    def clean(self, value: str | None) -> dict[str, str]:
        pairs = [pair.strip().partition("=") for pair in re.split(r"[,\n]", super().clean(value)) if pair.strip()]
        if any(not dash for _, dash, _ in pairs):
            raise forms.ValidationError("Write tags as key=value, with commas between them.")
        return {key.strip(): held.strip() for key, _, held in pairs}


class RowField(forms.CharField):
    """The row that a name means; None when left empty."""

    def __init__(self, model: Any, by: str, what: str, **kwargs: Any) -> None:
        super().__init__(required=False, **kwargs)
        self._model, self._by, self._what = model, by, what

    def clean(self, value: str | None) -> Any:
        if not (name := super().clean(value)):
            return None
        rows = self._model.objects.approved() if self._model is Host else self._model.objects.all()
        if (row := rows.filter(**{self._by: name}).first()) is None:
            raise forms.ValidationError(f"There is no {self._what} of that name.")
        return row


class EnrollmentTokenForm(forms.Form):
    name = forms.CharField(
        max_length=64,
        widget=text(placeholder="Berlin office"),
        help_text="What it is for. People see it, machines do not.",
    )
    host_name = forms.CharField(
        max_length=63,
        required=False,
        label="Host name",
        widget=text(placeholder="any"),
        help_text="The only name that it may enroll.",
    )
    uses = forms.IntegerField(min_value=1, max_value=10_000, initial=1)
    expires = DurationField(initial="30m", widget=text(), help_text="30m, 8h, 7d")
    tags = TagsField(required=False, widget=text(placeholder="site=berlin, kind=pi"))
    auto_approve = forms.BooleanField(
        required=False, label="Approve at once", help_text="Whoever holds the token then gets a machine in unseen."
    )


class GrantForm(forms.Form):
    person = RowField(Person, "username", "person", widget=text(list="people"))
    group = RowField(Group, "name", "group", widget=text(list="groups"))
    host = RowField(Host, "name", "approved host", widget=text(list="hosts"))
    tag = forms.CharField(required=False, max_length=200, widget=text(list="tags", placeholder="site=berlin"))
    all_hosts = forms.BooleanField(required=False, label="All hosts")
    logins = WordsField(widget=text(placeholder="root, pi"))
    capabilities = forms.MultipleChoiceField(
        choices=[(item.value, item.value) for item in Capability],
        initial=[Capability.TERMINAL.value],
        widget=forms.CheckboxSelectMultiple,
    )
    valid_from = MomentField(label="From", widget=text(placeholder="now"))
    valid_until = MomentField(
        label="Until", widget=text(placeholder="for ever"), help_text="8h, 7d or 2026-01-31T18:00Z"
    )
    networks = WordsField(
        required=False,
        label="From networks",
        widget=text(placeholder="anywhere"),
        help_text="10.0.0.0/8, 192.168.1.7/32",
    )
    idle_s = DurationField(
        required=False, label="Idle", widget=text(), help_text="10m: it ends when nobody types for so long."
    )
    longest_s = DurationField(
        required=False, label="Longest", widget=text(), help_text="2h: it ends after so long at the latest."
    )
    grace_s = DurationField(
        required=False, label="Grace", widget=text(), help_text="5m: it waits so long for its browser."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = settings.BROKERD
        holds = {"idle_s": config.idle_timeout_s, "longest_s": config.max_session_s, "grace_s": config.session_grace_s}
        for name, seconds in holds.items():
            self.fields[name].widget.attrs["placeholder"] = duration_text(seconds) if seconds else "none"

    def facts(self) -> dict[str, Any]:
        """What `create_grant` takes. Invalid where the tag is none."""
        given = dict(self.cleaned_data)
        limits = GrantLimits(given.pop("grace_s"), given.pop("idle_s"), given.pop("longest_s"))
        return {**given, "limits": limits, "tag": parse_tag(given["tag"]) if given["tag"] else None}


class ExplainForm(forms.Form):
    person = RowField(Person, "username", "person", widget=text(list="people", required="required"))
    host = RowField(Host, "name", "approved host", widget=text(list="hosts", required="required"))
    login = forms.CharField(max_length=64, widget=text())
    capability = forms.ChoiceField(choices=[(item.value, item.value) for item in Capability])
    address = forms.GenericIPAddressField(required=False, label="From address", widget=text(placeholder="unknown"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        for name in ("person", "host"):
            if name not in self.errors and cleaned.get(name) is None:
                self.add_error(name, "This field is required.")
        return cleaned


class ApiTokenForm(forms.Form):
    name = forms.CharField(max_length=64, widget=text(placeholder="backup script"))
    scopes = forms.MultipleChoiceField(
        required=False,
        choices=[(scope.value, f"{scope}: {MEANING[scope]}") for scope in Scope],
        widget=forms.CheckboxSelectMultiple,
        help_text="None ticked: whatever you may do, except to make tokens or change the account.",
    )
    expires = MomentField(initial="90d", widget=text(placeholder="never"), help_text="8h, 90d or 2026-01-31T18:00Z")


class PublicKeyForm(forms.Form):
    """One key, pasted or as a file; whether it is one is the act's to say."""

    line = forms.CharField(
        required=False,
        label="Public key",
        widget=forms.Textarea(attrs={**_PLAIN, "rows": 3, "placeholder": "ssh-ed25519 AAAA… you@laptop"}),
    )
    file = forms.FileField(
        required=False, allow_empty_file=True, label="Or its file", help_text="Such as ~/.ssh/id_ed25519.pub"
    )

    def clean_file(self) -> str:
        if not (file := self.cleaned_data["file"]):
            return ""
        if file.size > MAX_KEY_LINE:
            raise forms.ValidationError("This file is too large for a public key.")
        return str(file.read().decode("utf-8", "replace"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and bool(cleaned["line"]) == bool(cleaned["file"]):
            both = "Paste the key or choose its file, not both."
            raise forms.ValidationError(both if cleaned["line"] else "Paste a public key, or choose its file.")
        return cleaned

    @property
    def text(self) -> str:
        return str(self.cleaned_data["line"] or self.cleaned_data["file"])

    def forget_private(self) -> None:
        """A form that is shown again repeats what was typed; a private key never."""
        if is_private(self["line"].value() or ""):
            self.data = {}


class WebhookEventsForm(forms.Form):
    events = forms.MultipleChoiceField(
        label="Tell it of",
        choices=[(kind.value, kind.value) for kind in Kind],
        initial=[kind.value for kind in Kind],
        widget=forms.CheckboxSelectMultiple,
    )


class WebhookForm(WebhookEventsForm):
    name = forms.CharField(max_length=64, widget=text(placeholder="chat of the night shift"))
    url = forms.CharField(
        max_length=MAX_URL, label="URL", widget=text(inputmode="url", placeholder="https://chat.example/hooks/…")
    )
    allows_private = forms.BooleanField(
        required=False,
        label="It may lead to private networks and to this machine",
        help_text="And there to plain http. Whoever receives it then stands where the broker stands.",
    )


class SessionFilterForm(forms.Form):
    q = forms.CharField(
        required=False,
        max_length=MAX_QUERY,
        label="Text shown",
        widget=text(type="search", placeholder="in recordings"),
    )
    person = forms.CharField(required=False, max_length=64, widget=text())
    host = forms.CharField(required=False, max_length=63, widget=text())
    way = forms.ChoiceField(required=False, choices=[("", "any"), *((way.value, way.value) for way in Session.Way)])
    recorded = forms.ChoiceField(
        required=False, label="Recording", choices=[("", "any"), *((state, state) for state in RECORDED)]
    )
    since = MomentField(looks_back=True, widget=text(placeholder="7d"))
    until = MomentField(looks_back=True, widget=text(placeholder="now"))


class AuditFilterForm(forms.Form):
    event = forms.ChoiceField(required=False, choices=[("", "any"), *((event.value, event.value) for event in Event)])
    person = forms.CharField(required=False, max_length=64, widget=text())
    host = forms.CharField(required=False, max_length=63, widget=text())
    outcome = forms.ChoiceField(required=False, choices=[("", "any"), ("ok", "ok"), ("refused", "refused")])
    session = forms.UUIDField(required=False, widget=forms.HiddenInput)
    since = MomentField(looks_back=True, widget=text(placeholder="24h"))
    until = MomentField(looks_back=True, widget=text(placeholder="now"))
    before = forms.IntegerField(required=False, min_value=1, widget=forms.HiddenInput)
