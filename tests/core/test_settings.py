"""`brokerd.settings`: what Django is told where its own defaults, or an easy mistake, would hurt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.db import connection, transaction

from tests.people.helpers import make_host
from tunnels.audit import OPERATOR, verify
from tunnels.hosts import change_login
from tunnels.models import AuditEvent, Host


@pytest.mark.django_db
def test_the_embedded_database_loses_nothing_and_does_not_lock_up():
    with connection.cursor() as cursor:
        values = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert values == ["wal", 2]
    assert connection.transaction_mode == "IMMEDIATE"


@pytest.mark.django_db(transaction=True)
def test_ten_writers_at_once_and_none_fails():
    """Deferred transactions failed 917 of 1000 times here (trap 10)."""
    host = make_host("web1")

    def write(number: int) -> None:
        try:
            change_login(host=host, login=f"user{number}", actor=OPERATOR)
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(write, range(50)))
    assert AuditEvent.objects.count() == 50
    assert verify(AuditEvent.objects.order_by("sequence")) is None, "and the chain has no fork"


@pytest.mark.django_db(transaction=True)
def test_a_reader_does_not_wait_for_a_writer():
    def count() -> int:
        try:
            return Host.objects.count()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        make_host("web1")
        assert pool.submit(count).result(timeout=60) == 0


def test_no_wildcards():
    assert settings.ALLOWED_HOSTS and not any(host == "*" or host.startswith(".") for host in settings.ALLOWED_HOSTS)
    assert settings.CSRF_TRUSTED_ORIGINS and not any("*" in origin for origin in settings.CSRF_TRUSTED_ORIGINS)
    assert settings.DEBUG is False


def test_pages_run_no_script_but_ours():
    directives = settings.CONTENT_SECURITY_POLICY["DIRECTIVES"]
    for name in ("default-src", "script-src", "style-src", "object-src", "frame-ancestors", "base-uri"):
        allowed = directives.get(name, directives["default-src"])
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:", "data:"} & set(allowed), name


@pytest.mark.parametrize("kind", ["SESSION", "CSRF"])
def test_cookies_are_not_sent_by_other_sites(kind):
    assert getattr(settings, f"{kind}_COOKIE_SAMESITE") == "Lax"
    assert settings.SESSION_COOKIE_HTTPONLY, "nor are those of a login read by scripts"
