"""A Unix account with a password, for the time of a test."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.needs import missing


@dataclass
class Account:
    login: str
    password: str


@contextmanager
def account() -> Iterator[Account]:
    """Skips the test where no account can be made; a failure with `CI=true`."""
    if os.geteuid() != 0:
        missing("only root can make the Unix account with a password that this test needs")
    made = Account(f"story{secrets.token_hex(4)}", f"secret-{secrets.token_hex(8)}")
    subprocess.run(["useradd", "--no-create-home", "--home", "/tmp", "--shell", "/bin/sh", made.login], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{made.login}:{made.password}\n", text=True, check=True)
        yield made
    finally:
        subprocess.run(["userdel", "--force", made.login], check=True, capture_output=True)
