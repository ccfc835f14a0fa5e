"""What the broker knows of people: persons, grants, API tokens and the history of terminal sessions.

A live terminal is `session.TerminalSession`; the `Session` row here is what outlives it.
"""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser, Group
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

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
