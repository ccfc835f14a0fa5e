"""The acts of enrollment: a machine asks, an admin (or a token that may) approves or rejects."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from tunnels import keystore
from tunnels.acts import act
from tunnels.audit import Actor, Event, record
from tunnels.errors import Conflict, Invalid, NotAllowed, TooMany
from tunnels.hosts import check_name_free, check_port_free, decide, lock, set_tags
from tunnels.keys import describe, parse_public_key
from tunnels.keystore import Role
from tunnels.models import EnrollmentToken, Host, KeyClaim, State
from tunnels.requests import EnrollmentRequest, parse_pairing, parse_request
from tunnels.rules import MAX_HOST_KEYS
from tunnels.throttle import Throttle, source_of
from tunnels.tokens import redeem, would_approve

MAX_PENDING = 100
"""Requests without a token that may wait at once: each holds a name and a tunnel port."""
MAX_PENDING_OF_SOURCE = 20
"""Of these, from one address."""
CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Without what is read for something else: 0 and O, 1, I and L, U."""
throttle = Throttle(burst=20, refill_s=3)
"""Of requests by address, whichever way they come."""


def request_enrollment(
    *,
    name: str,
    public_key: str,
    host_keys: Sequence[str],
    token: str | None = None,
    login: str | None = None,
    tunnel_port: int | None = None,
    info: dict[str, Any],
    address: str,
) -> tuple[Host, bool]:
    """The enrollment of the machine with this key, and whether it is new.

    A key asks once: asking again answers the same row, whatever has become of it and whatever else is sent along, and
    a token is not used up. One exception: a pending row whose name and host keys are repeated exactly is approved by
    an auto-approving token, so that a machine that asked too early need not make a new key.
    """
    actor = Actor(address=address)
    with act(Event.ENROLLMENT_REFUSED, actor=actor, host=name):
        ports = settings.BROKERD.tunnel_ports
        asked = parse_request(
            name=name,
            public_key=public_key,
            host_keys=host_keys,
            login=login,
            tunnel_port=tunnel_port,
            info=info,
            ports=ports,
        )
        if known := Host.objects.select_for_update().filter(fingerprint=asked.key.fingerprint).first():
            return _ask_again(known, asked, token, actor), False
        used = _admit(asked.name, token, actor)
        host = _store(asked, used, actor, ports)
        # The answer names them all, and it is from the first answer that a machine takes what it relies on.
        host.known_gateway_key = describe(keystore.keys(Role.GATEWAY)[-1]).fingerprint
        host.save(update_fields=["known_gateway_key"])
        if used and used.auto_approve:
            _approve(host, actor, token=used)
        return host, True


def request_pairing(*, name: str, public_key: str, client: str, address: str) -> Host:
    """The enrollment of a machine that has proved over SSH that it holds this key: the same key, the same row.

    As `request_enrollment` without a token, but its host keys are not known before its tunnel is there.
    """
    actor = Actor(address=address)
    with act(Event.ENROLLMENT_REFUSED, actor=actor, host=name):
        asked = parse_pairing(name=name, public_key=public_key, client=client)
        if known := Host.objects.select_for_update().filter(fingerprint=asked.key.fingerprint).first():
            return known
        _admit(asked.name, None, actor)
        code = pairing_code_of(asked.key.fingerprint)
        return _store(asked, None, actor, settings.BROKERD.tunnel_ports, code)


def approve_enrollment(*, host: Host, fingerprint: str, actor: Actor) -> Host:
    """Let the machine in and pin its host keys. `fingerprint` is the one that the approver was shown.

    From pending, or from rejected when its name and tunnel port are still free. Conflict when the key is not the one
    that was shown: it was swapped in between.
    """
    with act(Event.HOST_APPROVED, actor=actor, host=host.name, fingerprint=fingerprint):
        host = lock(host)
        if not fingerprint:
            raise Invalid("fingerprint: name the fingerprint that you approve, as it was shown")
        if fingerprint != host.fingerprint:
            raise Conflict(f"the key of {host.name} is not the one that was shown; look again before approving")
        if host.state == State.REJECTED:
            check_name_free(host.name, host)
            check_port_free(host.tunnel_port, host)
        elif host.state != State.PENDING:
            raise Conflict(f"{host.name} is {host.state} already")
        _approve(host, actor)
        return host


def reject_enrollment(*, host: Host, actor: Actor) -> Host:
    """Turn the waiting machine away. Its name and tunnel port are free again; its key stays known as rejected."""
    with act(Event.HOST_REJECTED, actor=actor, host=host.name):
        host = lock(host)
        if host.state != State.PENDING:
            raise Conflict(f"{host.name} is {host.state}: only a waiting enrollment can be rejected")
        decide(host, State.REJECTED, by=actor.person)
        record(Event.HOST_REJECTED, actor=actor, host=host.name, fingerprint=host.fingerprint)
        return host


def give_way(*, fingerprint: str, owner: str, actor: Actor) -> bool:
    """Take back the enrollment with this key that nobody has let in, for the person `owner` whose key it is.

    A public key is no secret: a stranger can enroll with anybody's, and a person can dial with their own by mistake.
    Who was approved once keeps the key for ever. Runs in the transaction of the act that wants it; the claim stays.
    """
    never_let_in = Host.objects.select_for_update().filter(state__in=(State.PENDING, State.REJECTED), token=None)
    host = never_let_in.filter(fingerprint=fingerprint).first()
    if host is None:
        return False
    reason = f"this key belongs to {owner}"
    record(Event.ENROLLMENT_REFUSED, actor=actor, refused=True, host=host.name, fingerprint=fingerprint, reason=reason)
    host.delete()
    return True


def pin_host_keys(*, host: Host, lines: Sequence[str], address: str) -> Host:
    """The host keys of a machine that enrolled without any, as read through its tunnel. The first ones stay."""
    actor = Actor(address=address)
    with act(Event.HOST_KEY_PINNED, actor=actor, host=host.name):
        host = lock(host)
        if host.state != State.APPROVED or host.host_keys:
            raise Conflict(f"{host.name} is {host.state} and has {len(host.host_keys)} host keys: nothing to pin")
        host.host_keys = list(lines[:MAX_HOST_KEYS])
        host.save(update_fields=["host_keys"])
        _record_pinned(host, actor, note="read through the tunnel")
        return host


def take_port(*, host: Host, port: int, address: str) -> Host:
    """The tunnel port that the agent of a host names which has never been there: as REST's `tunnel_port`."""
    actor = Actor(address=address)
    with act(Event.SETTING_CHANGED, actor=actor, host=host.name, setting="tunnel_port", new=port):
        host = lock(host)
        if host.host_keys or hasattr(host, "tunnel"):
            raise Conflict(f"{host.name} has its tunnel port already: {host.tunnel_port}")
        check_port_free(port, host)
        old, host.tunnel_port = host.tunnel_port, port
        host.save(update_fields=["tunnel_port"])
        record(Event.SETTING_CHANGED, actor=actor, host=host.name, setting="tunnel_port", old=old, new=port)
        return host


def poll_token(host: Host) -> str:
    """What the machine shows to learn what became of its request. Derived, so that asking again answers the same."""
    return poll_token_of(str(host.pk))


def poll_token_of(enrollment_id: str) -> str:
    return salted_hmac("tunnels.enrollment.poll", enrollment_id, algorithm="sha256").hexdigest()


def is_poll_token(enrollment_id: str, given: str) -> bool:
    return constant_time_compare(poll_token_of(enrollment_id), given)


def _ask_again(host: Host, asked: EnrollmentRequest, token: str | None, actor: Actor) -> Host:
    """A public key is no secret: only a repetition of what waits, never a changed request, is approved by a token."""
    same = host.name == asked.name and host.host_keys == asked.host_key_lines
    if token and same and host.state == State.PENDING and would_approve(secret=token, name=host.name):
        _approve(host, actor, token=redeem(secret=token, name=host.name, actor=actor))
    return host


def _admit(name: str, token: str | None, actor: Actor) -> EnrollmentToken | None:
    if token is not None:
        return redeem(secret=token, name=name, actor=actor)
    if not settings.BROKERD.open_enrollment:
        raise NotAllowed("this broker enrolls machines with a token only; ask whoever looks after it for one")
    waiting = [source_of(at) for at in Host.objects.pending().filter(token=None).values_list("address", flat=True)]
    if len(waiting) >= MAX_PENDING:
        raise TooMany("too many machines are waiting for approval; try again later", retry_after_s=600)
    if waiting.count(source_of(actor.address)) >= MAX_PENDING_OF_SOURCE:
        raise TooMany("too many machines of your address are waiting for approval; try again later", retry_after_s=600)
    return None


def pairing_code_of(fingerprint: str) -> str:
    """The code of a machine that comes over SSH: it is shown before the proof, so it is derived, not looked up."""
    digest = salted_hmac("tunnels.enrollment.code", fingerprint, algorithm="sha256").digest()
    return _code(CODE_ALPHABET[byte % len(CODE_ALPHABET)] for byte in digest)


def _store(asked: EnrollmentRequest, token: EnrollmentToken | None, actor: Actor, ports: range, code: str = "") -> Host:
    check_name_free(asked.name)
    if not KeyClaim.objects.take(asked.key.fingerprint):
        raise Conflict("public_key: this key is in use already; make a key of its own for the agent")
    host = Host.objects.create(
        name=asked.name,
        public_key=asked.key.line,
        fingerprint=asked.key.fingerprint,
        host_keys=asked.host_key_lines,
        login=asked.login,
        tunnel_port=_free_port(asked.tunnel_port, ports),
        code=code or _code(secrets.choice(CODE_ALPHABET) for _ in range(8)),
        info=asked.info,
        address=actor.address,
        token=token,
    )
    if token:
        set_tags(host, token.tags)
    facts = {"fingerprint": host.fingerprint, "code": host.code, "tunnel_port": host.tunnel_port, "info": host.info}
    record(Event.ENROLLMENT_REQUESTED, actor=actor, host=host.name, login=host.login, **facts)
    return host


def _approve(host: Host, actor: Actor, token: EnrollmentToken | None = None) -> None:
    by = f"token {token.name}"[:64] if token else actor.person
    named: dict[str, Any] = {"token": token.name, "token_id": token.pk} if token else {}
    if token and host.token_id != token.pk:
        host.token = token
        host.save(update_fields=["token"])
        set_tags(host, token.tags)
    decide(host, State.APPROVED, by=by)
    record(Event.HOST_APPROVED, actor=actor, host=host.name, fingerprint=host.fingerprint, **named)
    if host.host_keys:
        _record_pinned(host, actor, **named)


def _record_pinned(host: Host, actor: Actor, **more: Any) -> None:
    pinned = [parse_public_key(line).fingerprint for line in host.host_keys]
    record(Event.HOST_KEY_PINNED, actor=actor, host=host.name, fingerprints=pinned, **more)


def _free_port(asked: int | None, ports: range) -> int:
    if asked is not None:
        check_port_free(asked)
        return asked
    taken = set(Host.objects.named().values_list("tunnel_port", flat=True))
    if (port := next((port for port in ports if port not in taken), None)) is None:
        raise Conflict("all tunnel ports are taken; widen BROKERD_TUNNEL_PORTS or revoke hosts that are gone")
    return port


def _code(letters: Iterable[str]) -> str:
    text = "".join(letters)
    return f"{text[:4]}-{text[4:8]}"
