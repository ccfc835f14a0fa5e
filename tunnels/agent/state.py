"""The agent's state directory: its keys, what it knows of its broker, and the lock that keeps a second agent out.

Everything in it is 0600 in a directory 0700 and is written atomically. Knows nothing of HTTP or tunnels.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh


class StateError(Exception):
    """The state directory cannot be used; the message says what to do."""


class InUse(StateError):
    """Another agent has it."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where the tunnel goes, and the host keys (OpenSSH lines) that prove it."""

    host: str
    port: int
    host_keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broker:
    """The content of `broker.json`: this machine's enrollment, and the keys pinned at first contact."""

    url: str
    id: str
    name: str
    state: str
    tunnel_port: int
    ca_public_key: str
    gateway: Gateway
    pinned: str
    """When the gateway's and the CA's keys were pinned, ISO 8601."""
    next_ca_public_key: str = ""
    """The authority that follows, vouched for by the present one; empty where none was named."""

    @property
    def authorities(self) -> list[str]:
        """Whose certificates count."""
        return [self.ca_public_key, *([self.next_ca_public_key] if self.next_ca_public_key else [])]


class State:
    """One state directory, held for as long as this object lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None

    def __enter__(self) -> State:
        """Makes the directory where it is missing and takes the lock. StateError when it cannot be ours."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._release()
            raise InUse(f"another agent uses {self.folder}; stop it, or give this one its own --state") from error
        except OSError as error:
            self._release()
            raise StateError(f"cannot use {self.folder}: {error.strerror}") from error
        return self

    def __exit__(self, *_exc: object) -> None:
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def has_key(self) -> bool:
        return (self.folder / "key").exists()

    def key(self) -> asyncssh.SSHKey:
        """The key that this machine is known by at the broker; made at first use."""
        return self._private_key("key")

    def host_key(self) -> asyncssh.SSHKey:
        """The host key of the login shell's SSH server; made at first use."""
        return self._private_key("host_key")

    def _private_key(self, name: str) -> asyncssh.SSHKey:
        path = self.folder / name
        try:
            if not path.exists():
                self._write(name, asyncssh.generate_private_key("ssh-ed25519").export_private_key("openssh"))
            if path.stat().st_mode & 0o077:
                raise StateError(f"{path} can be read by others: delete it and enroll anew, or chmod 600 if none did")
            return asyncssh.import_private_key(path.read_bytes())
        except OSError as error:
            raise StateError(f"cannot use {path}: {error.strerror}") from error
        except (asyncssh.KeyImportError, ValueError) as error:
            raise StateError(f"{path} is damaged: delete it and enroll anew") from error

    def broker(self) -> Broker | None:
        """What is known of the broker; None before the first enrollment."""
        path = self.folder / "broker.json"
        try:
            return _broker_from(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{path} is damaged: delete it to pin the broker's keys anew") from error

    def save_broker(self, broker: Broker) -> None:
        try:
            self._write("broker.json", json.dumps(asdict(broker), indent=1).encode() + b"\n")
        except OSError as error:
            raise StateError(f"cannot write {self.folder / 'broker.json'}: {error.strerror}") from error

    def note(self, tunnel: str, text: str) -> None:
        """How the tunnel is, `up` or `down`, for `doctor`, which does not disturb a running agent by asking."""
        content = {"tunnel": tunnel, "text": text, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        with suppress(OSError):  # a full disk is no reason to let go of the tunnel
            self._write("status.json", json.dumps(content).encode() + b"\n")

    def noted(self) -> dict[str, str] | None:
        """What the last agent noted; None where nothing can be read."""
        try:
            content = json.loads((self.folder / "status.json").read_bytes())
            return {key: str(content[key]) for key in ("tunnel", "text", "since")}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, name: str, content: bytes) -> None:
        """Atomically and durably: a machine that loses power here has either the old file or the new one."""
        draft = self.folder / f".{name}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.folder / name)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def _broker_from(content: dict[str, Any]) -> Broker:
    gateway = content["gateway"]
    keys = tuple(str(line) for line in gateway["host_keys"])
    coming = str(content.get("next_ca_public_key", ""))
    for line in (*keys, content["ca_public_key"], *([coming] if coming else [])):
        asyncssh.import_public_key(line)
    return Broker(
        url=str(content["url"]),
        id=str(content["id"]),
        name=str(content["name"]),
        state=str(content["state"]),
        tunnel_port=int(content["tunnel_port"]),
        ca_public_key=str(content["ca_public_key"]),
        gateway=Gateway(str(gateway["host"]), int(gateway["port"]), keys),
        pinned=str(content["pinned"]),
        next_ca_public_key=coming,
    )
