"""Forms of the Django admin: they judge what was typed with the same rules as the acts, and change nothing."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from terminals.access import Capability
from terminals.grants import grant_row, parse_tag
from terminals.limits import GrantLimits
from terminals.models import Grant, Person
from terminals.pages.times import DurationField
from tunnels.errors import Refused
from tunnels.models import Host


class PasswordField(forms.CharField):
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})


class PersonForm(forms.ModelForm):
    """A new person, or the roles and a new password of one."""

    password = PasswordField(required=False, strip=False)

    class Meta:
        model = Person
        fields = ("username", "is_superuser", "groups")
        labels = {"is_superuser": "admin"}
        help_texts = {
            "is_superuser": "May approve machines, make grants and manage people. Opens no shell by itself.",
            "groups": "Members of auditors read the audit log.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = self.instance.pk is not None
        self.initial.pop("password", None)
        if "password" in self.fields:
            self.fields["password"].help_text = (
                "Empty: stays as it is." if known else "Empty: cannot log in to the portal until one is set."
            )

    def clean_password(self) -> str | None:
        password = self.cleaned_data["password"]
        if password:
            validate_password(password, self.instance)
        return password or None


class WordsField(forms.CharField):
    """Words between blanks, commas or line ends."""

    def to_python(self, value: Any) -> Any:
        return (super().to_python(value) or "").replace(",", " ").split()


class GrantForm(forms.ModelForm):
    host = forms.ModelChoiceField(Host.objects.approved(), required=False)
    tag = forms.CharField(
        required=False, max_length=200, help_text="key=value: all hosts with this tag, later ones too."
    )
    logins = WordsField(initial="root", help_text="Accounts on the host, such as root, pi.")
    capabilities = forms.MultipleChoiceField(
        choices=[(item.value, item.value) for item in Capability],
        initial=[Capability.TERMINAL.value],
        widget=forms.CheckboxSelectMultiple,
    )
    valid_from = forms.SplitDateTimeField(required=False, widget=AdminSplitDateTime, help_text="UTC.")
    valid_until = forms.SplitDateTimeField(required=False, widget=AdminSplitDateTime, help_text="UTC.")
    networks = WordsField(required=False, help_text="Only from these, such as 10.0.0.0/8. Empty: from anywhere.")
    grace_s = DurationField(required=False, label="Grace", help_text="A terminal waits so long for its browser: 5m.")
    idle_s = DurationField(required=False, label="Idle", help_text="It ends when nobody types for so long: 10m.")
    longest_s = DurationField(required=False, label="Longest", help_text="It ends after so long at the latest: 2h.")

    class Meta:
        model = Grant
        fields = ("person", "group", "host", "all_hosts")

    def validate_constraints(self) -> None:
        """What goes together is for `grant_row` to say, in words."""

    def clean(self) -> dict[str, Any]:
        given = {**(super().clean() or {}), **self.cleaned_data}
        if not self.errors:
            try:
                given["tag"] = parse_tag(given["tag"]) if given["tag"] else None
                given["limits"] = GrantLimits(given.pop("grace_s"), given.pop("idle_s"), given.pop("longest_s"))
                grant_row(**given)
            except Refused as refused:
                raise ValidationError(str(refused)) from refused
        return given
