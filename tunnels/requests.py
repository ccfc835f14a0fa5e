"""What a machine asks for when it enrolls, judged before anything is stored. Knows no Django."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tunnels.errors import Invalid
from tunnels.keys import BadKey, PublicKey, parse_public_key
from tunnels.rules import MAX_HOST_KEYS, is_host_name, is_login
from tunnels.text import is_printable, printable

DEFAULT_LOGIN = "root"
MAX_INFO = 8
MAX_INFO_TEXT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentRequest:
    name: str
    key: PublicKey
    host_keys: tuple[PublicKey, ...]
    """Of the machine's own SSH server. Over REST at least one; a terminal is never opened to an unpinned host."""
    login: str
    tunnel_port: int | None
    """The one asked for; None: any."""
    info: dict[str, str]

    @property
    def host_key_lines(self) -> list[str]:
        return [key.line for key in self.host_keys]


def parse_request(
    *,
    name: str,
    public_key: str,
    host_keys: Sequence[str],
    login: str | None,
    tunnel_port: int | None,
    info: Mapping[str, object],
    ports: Collection[int],
) -> EnrollmentRequest:
    """The request in its one form. Invalid says what does not fit, and never repeats a key."""
    key = _key("public_key", public_key)
    return EnrollmentRequest(
        name=checked_name(name),
        key=key,
        host_keys=_host_keys(host_keys, key),
        login=DEFAULT_LOGIN if login is None else checked_login(login),
        tunnel_port=_port(tunnel_port, ports),
        info=_info(info),
    )


def parse_pairing(*, name: str, public_key: str, client: str) -> EnrollmentRequest:
    """What a machine says that comes over SSH alone; `client` is its SSH version string. Invalid as `parse_request`.

    Its host keys are read later, through its tunnel.
    """
    return EnrollmentRequest(
        name=checked_name(name),
        key=_key("public_key", public_key),
        host_keys=(),
        login=DEFAULT_LOGIN,
        tunnel_port=None,
        info={"version": printable(client, MAX_INFO_TEXT)} if client else {},
    )


def checked_name(name: str) -> str:
    if not is_host_name(name):
        raise Invalid(
            f"{printable(name, 63)!r} is not a host name: use 1 to 63 of a-z, 0-9 and -, "
            "not starting or ending with -, and not localhost"
        )
    return name


def checked_login(login: str) -> str:
    if not is_login(login):
        raise Invalid(f"{printable(login, 32)!r} is not a login: name an account of the machine, such as root")
    return login


def _key(field: str, text: str) -> PublicKey:
    try:
        return parse_public_key(text)
    except BadKey as error:
        raise Invalid(f"{field}: {error}") from error


def _host_keys(lines: Sequence[str], agent_key: PublicKey) -> tuple[PublicKey, ...]:
    if not 1 <= len(lines) <= MAX_HOST_KEYS:
        raise Invalid(f"host_keys: send between 1 and {MAX_HOST_KEYS} public host keys of the machine's SSH server")
    keys = tuple(dict.fromkeys(_key("host_keys", line) for line in lines))
    if agent_key in keys:
        raise Invalid("public_key: this is one of the machine's host keys; make a key of its own for the agent")
    return keys


def _port(port: int | None, ports: Collection[int]) -> int | None:
    if port is not None and port not in ports:
        raise Invalid(f"tunnel_port: {port} is not between {min(ports)} and {max(ports)}; leave it out to be given one")
    return port


def _info(info: Mapping[str, object]) -> dict[str, str]:
    if len(info) > MAX_INFO:
        raise Invalid(f"info: at most {MAX_INFO} entries")
    return {_info_text(key): _info_text(value) for key, value in info.items()}


def _info_text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_INFO_TEXT or not is_printable(value):
        raise Invalid(f"info: entries are plain text of at most {MAX_INFO_TEXT} characters, without control characters")
    return value
