"""What the broker knows of machines: hosts, their tags and tunnels, enrollment tokens, audit events.

Rows hold facts; what may be done with them is in `rules`, what is done in the acts (`enrollment`, `hosts`, `tokens`).
People are named by their name, not by a foreign key: `tunnels` knows nothing of accounts.
"""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now


class State(models.TextChoices):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    REVOKED = "revoked"


class HostQuerySet(models.QuerySet["Host"]):
    def pending(self) -> HostQuerySet:
        return self.filter(state=State.PENDING)

    def approved(self) -> HostQuerySet:
        return self.filter(state=State.APPROVED)

    def named(self) -> HostQuerySet:
        """Those that hold their name and tunnel port: a rejected or revoked one has let go of both."""
        return self.filter(state__in=(State.PENDING, State.APPROVED))

    def with_presence(self) -> HostQuerySet:
        """Adds `online`, decided by the database's clock, and fetches tunnel and tags along."""
        live = Q(tunnel__closed_at=None, tunnel__lease_until__gt=Now())
        online = models.Case(models.When(live, then=True), default=False, output_field=models.BooleanField())
        return self.annotate(online=online).select_related("tunnel").prefetch_related("tags")


class Host(models.Model):
    """A machine from the moment it asks to enroll: one row is both its enrollment and, once approved, the host."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=63)
    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    public_key = models.TextField()
    """The agent's key, an OpenSSH public key line without comment."""
    fingerprint = models.CharField(max_length=64, unique=True)
    """`SHA256:...` of `public_key`: a key asks once, whatever becomes of it."""
    host_keys = models.JSONField(default=list)
    """Public key lines of the host's own SSH server, pinned by approval."""
    login = models.CharField(max_length=64, default="root")
    """The account that a person gets who names none."""
    tunnel_port = models.PositiveIntegerField()
    code = models.CharField(max_length=16)
    """The pairing code that machine and approver both see."""
    info = models.JSONField(default=dict)
    address = models.GenericIPAddressField()
    """Where the request came from."""
    known_authority = models.CharField(max_length=64, default="", blank=True)
    """Fingerprint of the newest certificate authority that the host was seen to trust; see `rotation`."""
    known_gateway_key = models.CharField(max_length=64, default="", blank=True)
    """Fingerprint of the newest key of the gateway that the agent was seen to learn, or was told at first."""
    token = models.ForeignKey("EnrollmentToken", null=True, on_delete=models.SET_NULL, related_name="hosts")
    requested_at = models.DateTimeField(auto_now_add=True)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.CharField(max_length=64, default="", blank=True)

    objects = HostQuerySet.as_manager()

    class Meta:
        ordering = ["name", "requested_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=Q(state__in=["pending", "approved"]), name="host_name_held_once"
            ),
            models.UniqueConstraint(
                fields=["tunnel_port"], condition=Q(state__in=["pending", "approved"]), name="tunnel_port_held_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def tag_map(self) -> dict[str, str]:
        return {tag.key: tag.value for tag in self.tags.all()}


class KeyClaims(models.Manager["KeyClaim"]):
    def take(self, fingerprint: str) -> bool:
        """Claim the key for what the running transaction makes; False where somebody has it.

        Of two transactions that claim the same key at once, the later waits for the first and then learns that it lost.
        """
        return self.get_or_create(fingerprint=fingerprint)[1]


class KeyClaim(models.Model):
    """A public key that opens something here, whoever it belongs to: a host, or a person of an app above.

    The owners have tables of their own, so it takes this one, unique over all of them, for a key never to have two. A
    host that was let in never lets go of its key: revoked, the key still says which machine it was.
    """

    fingerprint = models.CharField(primary_key=True, max_length=64)

    objects = KeyClaims()

    def __str__(self) -> str:
        return self.fingerprint


class HostTag(models.Model):
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="tags")
    key = models.CharField(max_length=64)
    value = models.CharField(max_length=128)

    class Meta:
        ordering = ["key"]
        constraints = [models.UniqueConstraint(fields=["host", "key"], name="one_value_per_tag")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class Tunnel(models.Model):
    """A host's newest tunnel: a lease of the node that holds it. It counts as live until closed or expired."""

    host = models.OneToOneField(Host, on_delete=models.CASCADE, related_name="tunnel")
    node = models.CharField(max_length=32)
    epoch = models.PositiveBigIntegerField(default=1)
    """One more with each new tunnel; writes of an older one no longer match."""
    address = models.GenericIPAddressField()
    client = models.CharField(max_length=128, default="")
    """The agent's SSH version string."""
    opened_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, default="")
    """Why it closed, for people."""

    def __str__(self) -> str:
        return f"{self.host} #{self.epoch}"


class EnrollmentToken(models.Model):
    name = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the secret; the secret itself is shown once and kept nowhere."""
    host_name = models.CharField(max_length=63, default="", blank=True)
    """Where set, the only name that it may enroll."""
    uses = models.PositiveIntegerField(default=1)
    used = models.PositiveIntegerField(default=0)
    expires_at = models.DateTimeField()
    auto_approve = models.BooleanField(default=False)
    tags = models.JSONField(default=dict, blank=True)
    created_by = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.CheckConstraint(condition=Q(used__lte=F("uses")), name="token_not_overused")]

    def __str__(self) -> str:
        return self.name


class AppendOnly(Exception):
    """Somebody tried to change or delete an audit event."""


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are never changed")

    def delete(self) -> NoReturn:
        raise AppendOnly("audit events are never deleted")

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are never changed")


class AuditEvent(models.Model):
    """One fact in the hash chain; written by `tunnels.audit.record` and by nothing else."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    sequence = models.PositiveBigIntegerField(unique=True)
    time = models.DateTimeField(db_index=True)
    event = models.CharField(max_length=32, db_index=True)
    person = models.CharField(max_length=64, default="", db_index=True)
    host = models.CharField(max_length=63, default="", db_index=True)
    login = models.CharField(max_length=64, default="")
    session = models.CharField(max_length=36, default="", db_index=True)
    address = models.CharField(max_length=45, default="")
    outcome = models.CharField(max_length=8)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-sequence"]

    def __str__(self) -> str:
        return f"{self.sequence} {self.event}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnly("audit events are never changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnly("audit events are never deleted")
