"""What the broker knows of people: persons, grants, API tokens and the history of terminal sessions.

A live terminal is `session.TerminalSession`; the `Session` row here is what outlives it.
"""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser, Group
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

from terminals.durations import limit_words
from terminals.limits import GrantLimits
from tunnels.models import Host

PERSON_NAME = RegexValidator(
    r"^[a-z0-9][a-z0-9._-]{0,31}\Z", "Lower-case letters, digits, dot, dash and underscore; at most 32 characters."
)
AUDITORS = "auditors"
"""Members of this group read the audit log."""


class Person(AbstractUser):
    """A portal user. `is_superuser` makes an admin, which by itself opens no shell anywhere."""

    username = models.CharField("name", max_length=32, unique=True, validators=[PERSON_NAME])

    class Meta:
        verbose_name_plural = "people"

    @property
    def is_auditor(self) -> bool:
        return self.is_active and self.groups.filter(name=AUDITORS).exists()


class GrantQuerySet(models.QuerySet["Grant"]):
    def standing(self) -> GrantQuerySet:
        """Those not revoked. Time windows and networks are for the rule to judge."""
        return self.filter(revoked_at=None)

    def of(self, person: Person) -> GrantQuerySet:
        """The person's own and those of their groups."""
        return self.standing().filter(Q(person=person) | Q(group__in=person.groups.all())).distinct()


class Grant(models.Model):
    """One person or group may use some logins on some hosts, with capabilities. Never edited: revoked and made anew."""

    person = models.ForeignKey(Person, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    host = models.ForeignKey(Host, null=True, blank=True, on_delete=models.CASCADE, related_name="grants")
    tag_key = models.CharField(max_length=64, default="", blank=True)
    tag_value = models.CharField(max_length=128, default="", blank=True)
    all_hosts = models.BooleanField(default=False)
    logins = models.JSONField()
    capabilities = models.JSONField()
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, blank=True)
    networks = models.JSONField(default=list, blank=True)
    """Client networks (CIDR) from which it holds; empty: from anywhere."""
    grace_s = models.PositiveIntegerField(null=True, blank=True)
    idle_s = models.PositiveIntegerField(null=True, blank=True)
    longest_s = models.PositiveIntegerField(null=True, blank=True)
    """Limits of the terminals that it allows: the shorter of each and the node's setting counts; null: the setting."""
    created_by = models.CharField(max_length=64, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(person=None, group__isnull=False) | Q(person__isnull=False, group=None),
                name="grant_to_one_person_or_group",
            ),
            models.CheckConstraint(
                condition=(
                    Q(host__isnull=False, tag_key="", all_hosts=False)
                    | (Q(host=None, all_hosts=False) & ~Q(tag_key=""))
                    | Q(host=None, tag_key="", all_hosts=True)
                ),
                name="grant_on_host_tag_or_all",
            ),
        ]

    def __str__(self) -> str:
        return f"grant {self.pk}"

    @property
    def limits(self) -> GrantLimits:
        return GrantLimits(self.grace_s, self.idle_s, self.longest_s)

    @property
    def limit_words(self) -> list[str]:
        return limit_words(self.limits)


class Preferences(models.Model):
    """How a person's terminals look and behave. A row of its own: `Person` is read at each request, this is not."""

    person = models.OneToOneField(Person, primary_key=True, on_delete=models.CASCADE, related_name="+")
    values = models.JSONField(default=dict)
    """As `terminals.preferences` stored them, perhaps of another version."""

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of {self.person}"


class ApiToken(models.Model):
    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the secret, which is shown once."""
    scopes = models.JSONField(default=list)
    """Empty: whatever its owner may do, except to make tokens or change the account."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class PersonKey(models.Model):
    """A public key by which the gateway knows a person."""

    # A person who went with their keys would leave the claims on them behind. Nobody is deleted; see `people`.
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="keys")
    algorithm = models.CharField(max_length=32)
    line = models.TextField(unique=True)
    """`ALGORITHM BASE64`, without comment."""
    fingerprint = models.CharField(max_length=64, unique=True)
    """`SHA256:...`, as OpenSSH prints it; claimed in `tunnels.models.KeyClaim`, which hosts' keys are in as well."""
    bits = models.PositiveIntegerField()
    """As `ssh-keygen -l` counts them."""
    comment = models.CharField(max_length=100, default="", blank=True)
    """Safe to show, and nothing but that: what the person's machine called the key."""
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True)
    last_used_address = models.CharField(max_length=45, default="", blank=True)

    class Meta:
        ordering = ["created_at", "id"]

    def __str__(self) -> str:
        return self.fingerprint

    @property
    def kind(self) -> str:
        """As people call it: `ED25519`, `RSA 3072`, `ECDSA 256`."""
        family = self.algorithm.removeprefix("ssh-").partition("-")[0].upper()
        return family if family == "ED25519" else f"{family} {self.bits}"


class Session(models.Model):
    """The row of one terminal session: written at its opening and at its end."""

    class Way(models.TextChoices):
        BROWSER = "browser"
        SSH = "ssh"
        END_TO_END = "end-to-end"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="sessions")
    host = models.ForeignKey(Host, on_delete=models.PROTECT, related_name="sessions")
    login = models.CharField(max_length=64)
    way = models.CharField(max_length=10, choices=Way, default=Way.BROWSER)
    has_terminal = models.BooleanField(default=True)
    """Whether a browser can attach to it: a command without a pty, a transfer or a way to a host shows nothing."""
    node = models.CharField(max_length=32)
    address = models.GenericIPAddressField()
    """Where the person sat when it opened; a grant's networks are judged by it for as long as it lives."""
    grant = models.ForeignKey(Grant, null=True, on_delete=models.SET_NULL)
    """The grant that allowed it at its opening."""
    stated_reason = models.CharField(max_length=200, default="", blank=True)
    """Why the person opened it, in their words."""
    started_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=200, default="", blank=True)
    """Why it ended, for people."""
    ended_by = models.CharField(max_length=32, default="", blank=True)
    """The person who ended it; empty when nobody did. A node that holds a session whose row has ended lets go of it."""
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-started_at"]
        indexes = [models.Index(fields=["ended_at", "-started_at"])]

    def __str__(self) -> str:
        return f"{self.person} on {self.host} as {self.login}"
