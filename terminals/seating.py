"""Which seat somebody gets in a terminal session: decided here when a ticket is made, from today's facts."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from functools import reduce
from operator import or_

from django.db.models import Q

from terminals import access
from terminals.access import Capability
from terminals.models import Person, Session, Share
from terminals.reachable import decide_access, grants_of, hosts_named_by, person_facts
from terminals.seats import Basis, Seat, Via, owner_seat
from terminals.shares import invitation
from tunnels import clock
from tunnels.errors import Invalid, NotAllowed

_GUEST = re.compile(r"[\w.'-](?:[\w .'-]{0,30}[\w.'-])?")
_BLANK = frozenset("\u115f\u1160\u3164\uffa0")
"""Letters for Unicode, nothing for the eye."""


def find_seat(person: Person, session: Session, *, wants_to_drive: bool, basis: Basis) -> Seat:
    """The owner's, an invited person's or an observer's. NotAllowed, with the reason, for everybody else."""
    if session.person_id == person.pk:
        return owner_seat(person.username, may_drive=wants_to_drive, basis=basis)
    if share := invitation(person, session):
        seat = shared_seat(share, person, basis)
    else:
        decision = decide_access(
            person=person,
            host=session.host,
            login=session.login,
            capability=Capability.OBSERVE,
            address=basis.address,
        )
        if not decision.allowed:
            raise NotAllowed(f"only its owner may attach to this terminal: {decision.reason}")
        seat = Seat(name=person.username, via=Via.OBSERVE, party=f"observer {person.pk}", basis=basis)
    check_may_drive(seat, wants_to_drive)
    return seat


def shared_seat(share: Share, person: Person | None, basis: Basis, *, guest: str = "") -> Seat:
    """Of somebody who came by `share`; `guest` is what one without an account called themself. Guests only watch."""
    # A guest is nobody whom one could know again.
    party = f"share {share.pk} {person.pk}" if person else f"guest {secrets.token_hex(8)}"
    return Seat(
        name=person.username if person else guest,
        via=Via.SHARE,
        may_drive=share.role == Share.Role.DRIVER and person is not None,
        is_guest=person is None,
        party=party,
        basis=replace(basis, person=person.pk if person else None, share=share.pk),
    )


def guest_name(text: str) -> str:
    """What a guest calls themself. Invalid where it is nothing that one could call somebody."""
    name = " ".join(text.split())
    if not _GUEST.fullmatch(name) or not _BLANK.isdisjoint(name):
        raise Invalid("name: say who you are, in letters, digits, spaces and . ' - (at most 32)")
    return name


def check_may_drive(seat: Seat, wants_to_drive: bool) -> None:
    if wants_to_drive and not seat.may_drive:
        raise NotAllowed("you may watch this terminal, not type into it")


def observable(person: Person, address: str) -> Q:
    """The live terminals that the person may watch by their grants, for a query of sessions."""
    facts, place, now = person_facts(person), access.client_address(address), clock.now()
    grants = [
        grant
        for grant in grants_of(person)
        if Capability.OBSERVE in grant.capabilities and access.applies(grant, person=facts, address=place, now=now)
    ]
    nothing = Q(pk__in=())
    named = (Q(host__in=hosts_named_by([grant]), login__in=grant.logins) for grant in grants)
    return Q(ended_at=None, has_terminal=True) & reduce(or_, named, nothing)
