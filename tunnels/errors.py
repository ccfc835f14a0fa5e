"""Why an act was refused. Each door maps these to its own language: HTTP status, close code, SSH reason."""

from __future__ import annotations

from collections.abc import Callable


class Refused(Exception):
    """Base of all refusals. `str(refusal)` is for the person who asked: what happened, why, what to do next."""

    def __init__(self, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause or message
        """For the audit, which may say more than the one who asked is told."""
        self.unwritten: list[Callable[[], object]] = []
        """Audit entries of the acts that this refusal went through; `tunnels.acts` writes them."""


class Invalid(Refused):
    """What was sent does not fit; nothing was stored."""


class NotAllowed(Refused):
    """The caller may not do this."""


class NotFound(Refused):
    """There is no such thing, or the caller may not know that there is."""


class Conflict(Refused):
    """It does not fit the present state: a name taken, a host offline, a fingerprint that changed."""


class TooMany(Refused):
    """A limit was reached; `retry_after_s` says when to come back."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(Refused):
    """Something that the broker itself needs is missing for now; `retry_after_s` says when to come back."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DatabaseAway(Unavailable):
    """The database, of all things: so this refusal cannot be on record either."""

    def __init__(self) -> None:
        super().__init__("the broker's database is away; try again in a moment", 5)
