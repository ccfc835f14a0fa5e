"""Times as people type them: a duration (`30m`, `8h`, `7d`) or ISO 8601 with its zone. Knows no request."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import forms

from terminals.durations import parse_duration
from terminals.moments import check_moment
from terminals.pages.frame import sentence
from tunnels import clock
from tunnels.errors import Invalid


class DurationField(forms.CharField):
    """Cleans to whole seconds, or to None where it may be left empty and was."""

    def clean(self, value: str | None) -> int | None:
        if not (text := super().clean(value)):
            return None
        if (seconds := parse_duration(text)) is None:
            raise forms.ValidationError("Write a duration such as 30m, 8h or 7d.")
        return seconds


class MomentField(forms.CharField):
    """Cleans to an aware time or None. A duration counts from now: on, or back where the field looks back."""

    def __init__(self, *, looks_back: bool = False, **kwargs: object) -> None:
        super().__init__(required=False, **kwargs)  # type: ignore[arg-type]
        self._sign = -1 if looks_back else 1

    def clean(self, value: str | None) -> datetime | None:
        if not (text := super().clean(value)):
            return None
        try:
            if (seconds := parse_duration(text)) is not None:
                return clock.now() + self._sign * timedelta(seconds=seconds)
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError) as error:
            raise forms.ValidationError("Write a duration such as 8h, or a time such as 2026-01-31T18:00Z.") from error
        try:
            check_moment(moment)
        except Invalid as refused:
            raise forms.ValidationError(sentence(str(refused))) from refused
        return moment
