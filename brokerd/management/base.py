"""What the commands share: refusals as one line and exit 1, how hosts are named on a command line, and tables."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from tunnels import clock
from tunnels.anchor import catch_up
from tunnels.errors import NotFound, Refused
from tunnels.models import Host, State


class ActCommand(BaseCommand, ABC):
    """A command that calls acts: `act(**options)` does the work, and a `Refused` out of it becomes the error line."""

    requires_system_checks = []

    @abstractmethod
    def act(self, **options: Any) -> None:
        """The command's work."""

    def handle(self, *args: Any, **options: Any) -> None:
        with suppress(DatabaseError):  # the work itself will say so
            clock.learn()
        try:
            self.act(**options)
        except Refused as refused:
            raise CommandError(str(refused)) from refused
        finally:
            self._anchor()

    def _anchor(self) -> None:
        """What was done is anchored, also where no broker runs that would. That it cannot be changes nothing of it."""
        try:
            problem = catch_up()
        except (OSError, DatabaseError) as error:
            problem = f"it cannot be written: {error}"
        if problem:
            self.stderr.write(f"warning: the anchor of the audit log: {problem}")


def argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse` for argparse's `type=`: its ValueError as the message of the usage error."""
    import argparse

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def tag(text: str) -> tuple[str, str]:
    """`k=v`. ValueError on anything else."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not a tag: write key=value")
    return key, value


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def host_named(name: str, *states: State) -> Host:
    """The host called `name` in the first of `states` that has one; the newest where several were turned away."""
    for state in states:
        if host := Host.objects.filter(name=name, state=state).order_by("-requested_at").first():
            return host
    raise NotFound(f"there is no {' or '.join(states)} host {name}; list_hosts shows all")
