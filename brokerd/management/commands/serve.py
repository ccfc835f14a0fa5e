"""`manage.py serve`: the broker alone, portal and SSH gateway in one process, until SIGTERM or SIGINT."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from brokerd.conf import Address, Config, ConfigError, parse_address, prepare_data_dir
from brokerd.lock import only_one
from tunnels.keystore import DamagedKey, Role, keys

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Run the broker: portal and SSH gateway in one process."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--web", metavar="HOST:PORT", help="where the portal listens (BROKERD_WEB_BIND)")
        parser.add_argument("--ssh", metavar="HOST:PORT", help="where the gateway listens (BROKERD_SSH_BIND)")

    def handle(self, *args: Any, web: str | None, ssh: str | None, **options: Any) -> None:
        config = settings.BROKERD
        config = replace(
            config, web_bind=_address("--web", web, config.web_bind), ssh_bind=_address("--ssh", ssh, config.ssh_bind)
        )
        prepare_data_dir(config)
        with only_one(config.data_dir):
            _see_that_database_is_current()
            _apply(config)
            _see_that_keys_are_whole()
            _warn_in_the_clear(config)
            from brokerd.web import start_reactor  # not before it is known that we serve at all

            start_reactor().run_until_complete(_run(config))


def _address(option: str, text: str | None, default: Address) -> Address:
    try:
        return parse_address(text) if text else default
    except ValueError as error:
        raise ConfigError(f"{option}: {error}") from error


def _apply(config: Config) -> None:
    """The options hold for everything that asks the settings."""
    settings.BROKERD = config
    settings.ALLOWED_HOSTS = config.allowed_hosts
    settings.CSRF_TRUSTED_ORIGINS = sorted(config.origins)


def _warn_in_the_clear(config: Config) -> None:
    if config.is_in_the_clear:
        log.warning(
            "passwords and terminals cross the network unencrypted; put a TLS proxy in front (docs/operations.md) and "
            "set BROKERD_PUBLIC_URL=https://...",
            portal=config.portal_url,
        )


def _see_that_database_is_current() -> None:
    try:
        executor = MigrationExecutor(connection)
    except DatabaseError as error:
        name = connection.settings_dict["NAME"]
        raise ConfigError(f"the database {name} cannot be opened ({error}); see that it is there and whole") from error
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise ConfigError("the database is not up to date; run: manage.py migrate")
    connection.close()


def _see_that_keys_are_whole() -> None:
    try:
        for role in Role:
            keys(role)
    except DamagedKey as error:
        raise ConfigError(str(error)) from error


async def _run(config: Config) -> None:
    from brokerd.asgi import application
    from brokerd.node import Node

    await Node(config).run(application)
