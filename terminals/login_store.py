"""Where portal logins are kept: a store for Django's sessions (`SESSION_ENGINE`) from which no cookie can be read.

Django's own writes the key of a session, which is the cookie, into the table as it is, so that whoever sees a copy of
the database is logged in as everybody. Here the table holds its hash, and the data of the session encrypted: while a
second factor is set up, its seed stands there.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends import db
from django.http import HttpRequest

from terminals.sealing import Unreadable, seal, unseal
from tunnels import clock
from tunnels.text import printable

if TYPE_CHECKING:
    from terminals.models import WebLogin

LOGIN = "login"
"""In the data of a session: what is known of its login, see `note_login`."""
MAX_BROWSER = 300
NOTED_EVERY = timedelta(minutes=1)
"""How often a use is written down; pages that poll must not make the database write each time."""


def stored_key(key: str) -> str:
    """The key of a login in the database, from the cookie: 160 bits of its SHA-256, as many as fit the column."""
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def web_login(request: HttpRequest) -> str | None:
    """The portal login by which a request comes: `WebLogin.login`. None without one."""
    login = request.session.get(LOGIN)
    return login["id"] if login else None


def note_login(request: HttpRequest) -> None:
    """Somebody has just logged in: from where, with what, and what the login is called from now on."""
    request.session[LOGIN] = {
        "id": secrets.token_hex(16),
        "at": clock.now().isoformat(),
        "address": request.META.get("REMOTE_ADDR", ""),
        "browser": printable(request.headers.get("User-Agent", ""), MAX_BROWSER),
    }


def end_all() -> int:
    """Log everybody out; how many logins there were."""
    rows, _ = SessionStore.get_model_class().objects.all().delete()
    return rows


class SessionStore(db.SessionStore):
    """As Django's. `session_key` is the cookie still; only the rows know it by its hash."""

    @classmethod
    def get_model_class(cls) -> type[WebLogin]:
        from terminals.models import WebLogin

        return WebLogin

    def encode(self, session_dict: dict[str, Any]) -> str:
        return seal(json.dumps(session_dict))

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """Empty, thus nobody's, where another secret key was in force when it was written."""
        try:
            decoded: dict[str, Any] = json.loads(unseal(str(session_data)))
        except Unreadable:
            return {}
        return decoded

    def get_expiry_date(self, **kwargs: Any) -> datetime:
        """Counted from the login, whatever is kept in it later; for a visitor from the last change."""
        login = self.get(LOGIN)
        begun = datetime.fromisoformat(login["at"]) if login else clock.now()
        return begun + timedelta(seconds=self.get_expiry_age(**kwargs))

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(stored_key(session_key)))

    async def aexists(self, session_key: str) -> bool:
        return bool(await super().aexists(stored_key(session_key)))

    def create_model_instance(self, data: dict[str, Any]) -> WebLogin:
        return _described(super().create_model_instance(data), data)

    async def acreate_model_instance(self, data: dict[str, Any]) -> WebLogin:
        return _described(await super().acreate_model_instance(data), data)

    def delete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            super().delete(stored_key(key))

    async def adelete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            await super().adelete(stored_key(key))

    def _get_session_from_db(self) -> WebLogin | None:
        row: WebLogin | None = self._rows().first()
        if row is None:
            self._session_key = None
        elif (now := clock.now()) - row.last_used_at >= NOTED_EVERY:
            self.get_model_class().objects.filter(pk=row.pk).update(last_used_at=now)
        return row

    async def _aget_session_from_db(self) -> WebLogin | None:
        row: WebLogin | None = await self._rows().afirst()
        if row is None:
            self._session_key = None
        return row

    def _rows(self) -> Any:
        key = stored_key(self.session_key or "")
        return self.get_model_class().objects.filter(session_key=key, expire_date__gt=clock.now())


def _described(row: Any, data: dict[str, Any]) -> WebLogin:
    row.session_key = stored_key(row.session_key)
    if login := data.get(LOGIN):
        row.person_id = data.get("_auth_user_id")
        row.login, row.started_at = login["id"], datetime.fromisoformat(login["at"])
        row.address, row.browser = login["address"], login["browser"]
    described: WebLogin = row
    return described
