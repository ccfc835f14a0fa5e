"""Forms of the Django admin: they judge what was typed with the same rules as the acts, and change nothing."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from tunnels.errors import Invalid
from tunnels.models import EnrollmentToken, Host
from tunnels.requests import checked_login, checked_name
from tunnels.tokens import MAX_USES, check_label, checked_tags


class TagsField(forms.CharField):
    """Tags, one `key=value` a line."""

    widget = forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"})

    def to_python(self, value: Any) -> Any:
        lines = [line.strip() for line in (super().to_python(value) or "").splitlines() if line.strip()]
        return _judge(checked_tags, {line.partition("=")[0]: line.partition("=")[2] for line in lines})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(f"{key}={text}" for key, text in value.items()) if isinstance(value, dict) else value


class HostForm(forms.ModelForm):
    """What of a host may be changed by hand; each field has an act."""

    tags = TagsField(required=False, help_text="One key=value a line. Grants by tag follow at once.")

    class Meta:
        model = Host
        fields = ("name", "login")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.fields["tags"].initial = self.instance.tag_map

    def validate_constraints(self) -> None:
        """Whether the name is free is for the act to say, under its lock and in words."""

    def clean_name(self) -> str:
        return str(_judge(checked_name, self.cleaned_data["name"]))

    def clean_login(self) -> str:
        return str(_judge(checked_login, self.cleaned_data["login"]))


class TokenForm(forms.ModelForm):
    expires = forms.ChoiceField(
        label="Valid for",
        initial="1800",
        choices=[("1800", "30 minutes"), ("28800", "8 hours"), ("604800", "7 days"), ("2592000", "30 days")],
    )
    tags = TagsField(required=False, help_text="For the machines that it enrolls; one key=value a line.")
    uses = forms.IntegerField(min_value=1, max_value=MAX_USES, initial=1, help_text="How many machines it may enroll.")

    class Meta:
        model = EnrollmentToken
        fields = ("name", "host_name", "uses", "auto_approve")
        help_texts = {
            "name": "What it is for.",
            "host_name": "If set, the only name that it may enroll.",
            "auto_approve": "Machines that bring it are approved without anybody looking at their key.",
        }

    def clean_name(self) -> str:
        _judge(check_label, self.cleaned_data["name"])
        return str(self.cleaned_data["name"])

    def clean_host_name(self) -> str:
        name = self.cleaned_data["host_name"]
        return str(_judge(checked_name, name)) if name else ""


def _judge(rule: Any, value: Any) -> Any:
    try:
        return rule(value)
    except Invalid as error:
        raise ValidationError(str(error)) from error
