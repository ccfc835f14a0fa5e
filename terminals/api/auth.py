"""Who calls: a portal login (cookie, with CSRF for unsafe methods) or a personal API token. The only way to tell.

    router = Router(auth=callers(Scope.HOSTS))

    @router.get("")
    def list_hosts(request: HttpRequest) -> ...:
        caller = caller_of(request)

A token acts as its owner and never as more: its scopes only narrow. Views are synchronous: finding the caller asks the
database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from ninja.errors import AuthenticationError
from ninja.security import HttpBearer
from ninja.security.session import SessionAuth
from ninja.utils import check_csrf

from terminals.api_tokens import MEANING, Scope, authenticate, fits
from terminals.login_store import web_login
from terminals.models import Person
from terminals.seats import Basis
from terminals.second_factor import BY_TOKEN, Proof, proof_of_login
from tunnels import clock
from tunnels.audit import Actor
from tunnels.errors import NotAllowed


@dataclass(frozen=True, slots=True)
class Caller:
    """An active person, from where, and what their token is limited to (empty: nothing)."""

    person: Person
    address: str
    scopes: frozenset[str] = frozenset()
    token: int | None = None
    """Primary key of the API token, where they came by one."""
    web_login: str | None = None
    """The portal login, where they came by that."""
    proof: Proof = BY_TOKEN
    """Whether they came in with a second factor."""

    @property
    def by_token(self) -> bool:
        return self.token is not None

    @property
    def actor(self) -> Actor:
        return Actor(person=self.person.username, address=self.address)

    @property
    def basis(self) -> Basis:
        """What a place in a terminal rests on that they are given."""
        return Basis(
            person=self.person.pk,
            address=self.address,
            web_login=self.web_login,
            api_token=self.token,
            second_factor=self.proof.holds,
        )

    @property
    def is_admin(self) -> bool:
        return self.person.is_superuser

    def require_scope(self, scope: Scope) -> None:
        if not fits(self.scopes, scope):
            raise NotAllowed(f"this token is not made for {scope}; make one with that scope")

    def require_login(self) -> None:
        """For what changes the account, which no token may."""
        if self.by_token:
            raise NotAllowed("a token may not change the account; log in to the portal")

    def require_admin(self) -> None:
        if not self.is_admin:
            raise NotAllowed("only an admin may do this")

    def require_auditor(self) -> None:
        if not self.person.is_auditor:
            raise NotAllowed("only an auditor may do this")


def caller_of(request: HttpRequest) -> Caller:
    """Whoever passed `callers`. Anything else is a mistake of ours, and fails."""
    caller = getattr(request, "auth", None)
    if not isinstance(caller, Caller):
        raise TypeError("this route has no caller: give its router auth=callers(...)")
    return caller


class ByToken(HttpBearer):
    """`Authorization: Bearer TOKEN`. A header that does not fit is refused, whatever cookie came along."""

    openapi_description = "A personal API token. It may be limited to scopes: " + "; ".join(
        f"`{scope}`: {meaning}" for scope, meaning in MEANING.items()
    )

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Any:
        if "Authorization" not in request.headers:
            return None
        if (caller := super().__call__(request)) is None:
            raise AuthenticationError
        return caller

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        address = request.META["REMOTE_ADDR"]
        found = authenticate(token, clock.now(), address=address)
        if found is None:
            return None
        caller = Caller(found.person, address, frozenset(found.scopes), token=found.pk)
        caller.require_scope(self.scope)
        return caller


class ByLogin(SessionAuth):
    """The portal's cookie. A form or script of another site has it sent along too: hence the CSRF token."""

    def __call__(self, request: HttpRequest) -> Caller | None:
        if not isinstance(request.user, Person) or not request.user.is_active:
            return None
        if check_csrf(request):
            raise NotAllowed("the CSRF token is missing or wrong: send the cookie's value as X-CSRFToken")
        address, login = request.META["REMOTE_ADDR"], web_login(request)
        return Caller(request.user, address, web_login=login, proof=proof_of_login(request))


@dataclass(frozen=True, slots=True)
class Stranger:
    """Somebody without a login, who brings a secret with what they ask."""

    address: str

    @property
    def basis(self) -> Basis:
        return Basis(address=self.address)


def by_nothing(request: HttpRequest) -> Stranger:
    return Stranger(request.META["REMOTE_ADDR"])


def anybody(scope: Scope) -> list[Any]:
    """As `callers`, and strangers as well. A token or cookie that does not fit is refused all the same."""
    return [*callers(scope), by_nothing]


def visitor_of(request: HttpRequest) -> Caller | Stranger:
    """Whoever passed `anybody`."""
    visitor = getattr(request, "auth", None)
    return visitor if isinstance(visitor, Stranger) else caller_of(request)


def callers(scope: Scope) -> list[Any]:
    """For `Router(auth=...)`: a token that is made for `scope`, or a portal login. Anybody else gets 401."""
    return [ByToken(scope), ByLogin()]
