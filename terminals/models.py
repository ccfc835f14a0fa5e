"""What the broker knows of people: persons, grants, keys, API tokens, sessions, recordings, shares and webhooks.

A live terminal is `session.TerminalSession`; the `Session` row here is what outlives it.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.models import AbstractUser, Group
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from terminals.durations import limit_words
from terminals.limits import GrantLimits
from tunnels.keys import SECURITY_KEY
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


class WebLogin(AbstractBaseSession):
    """A login to the portal, or a visitor's way to one, as `login_store` keeps it: no cookie can be read from it."""

    person = models.ForeignKey(Person, null=True, on_delete=models.CASCADE, related_name="web_logins")
    """None until somebody has logged in."""
    login = models.CharField(max_length=32, default="", blank=True, db_index=True)
    """What it is called for as long as it lives: its key changes, with the cookie, when the password does."""
    address = models.CharField(max_length=45, default="", blank=True)
    browser = models.CharField(max_length=300, default="", blank=True)
    """The User-Agent, safe to show, as the browser sent it when it logged in."""
    started_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-last_used_at"]

    def __str__(self) -> str:
        return f"login of {self.person}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from terminals.login_store import SessionStore

        return SessionStore


class LoginAttempt(models.Model):
    """A failed attempt to prove who one is, or an address from which a person has logged in. See `lockout`."""

    name = models.CharField(max_length=64)
    """As it was given: perhaps nobody's."""
    source = models.CharField(max_length=64)
    """What counts as one address, see `tunnels.throttle.source_of`."""
    at = models.DateTimeField()
    failed = models.BooleanField(default=True)

    class Meta:
        indexes = [models.Index(fields=["name", "at"]), models.Index(fields=["source", "at"])]

    def __str__(self) -> str:
        return f"{self.name} from {self.source}"


class SecondFactorRule(models.Model):
    """A second factor is required of everybody on a host, or of the members of a group everywhere."""

    group = models.OneToOneField(Group, null=True, on_delete=models.CASCADE, related_name="second_factor_rule")
    host = models.OneToOneField(Host, null=True, on_delete=models.CASCADE, related_name="second_factor_rule")
    created_by = models.CharField(max_length=32, default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(host=None, group__isnull=False) | Q(host__isnull=False, group=None),
                name="second_factor_of_one_group_or_host",
            ),
        ]

    def __str__(self) -> str:
        return f"second factor on {self.host}" if self.host else f"second factor of {self.group}"


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
    algorithm = models.CharField(max_length=64)
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
        """As people call it: `ED25519`, `RSA 3072`, `ECDSA 256`, `ED25519 security key`."""
        family = self.algorithm.removeprefix(SECURITY_KEY).removeprefix("ssh-").partition("-")[0].upper()
        name = family if family == "ED25519" else f"{family} {self.bits}"
        return f"{name} security key" if self.is_security_key else name

    @property
    def is_security_key(self) -> bool:
        return self.algorithm.startswith(SECURITY_KEY)


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
    ended_from = models.CharField(max_length=45, default="", blank=True)
    """The address of who ended it."""
    bytes_in = models.PositiveBigIntegerField(default=0)
    bytes_out = models.PositiveBigIntegerField(default=0)

    class Meta:
        ordering = ["-started_at"]
        indexes = [
            models.Index(fields=["ended_at", "-started_at"]),
            models.Index(fields=["-started_at", "id"], name="session_by_start"),
            models.Index(fields=["person", "-started_at", "id"], name="session_of_person_by_start"),
        ]

    def __str__(self) -> str:
        return f"{self.person} on {self.host} as {self.login}"


class Recording(models.Model):
    """What was recorded of a terminal session: an asciicast v2 file below the data directory, compressed."""

    class State(models.TextChoices):
        RECORDING = "recording"
        SEALED = "sealed"
        FAILED = "failed"
        PRUNED = "pruned"

    session = models.OneToOneField(Session, primary_key=True, on_delete=models.PROTECT, related_name="recording")
    state = models.CharField(max_length=10, choices=State, default=State.RECORDING)
    problem = models.CharField(max_length=200, default="", blank=True)
    """Why it failed, or what is missing in it, for people."""
    sha256 = models.CharField(max_length=64, default="", blank=True)
    """Of the asciicast, as it is downloaded. Stays when the file is pruned."""
    stored_sha256 = models.CharField(max_length=64, default="", blank=True)
    """Of the compressed file."""
    size = models.PositiveBigIntegerField(default=0)
    """Bytes of the asciicast."""
    stored_size = models.PositiveBigIntegerField(default=0)
    """Bytes of the compressed file."""
    duration_s = models.FloatField(default=0)
    sealed_at = models.DateTimeField(null=True)
    pruned_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["state"], condition=Q(state="recording"), name="recording_unsealed")]

    def __str__(self) -> str:
        return f"recording of {self.session_id}"


class Share(models.Model):
    """A way into one live terminal session, which its owner gives: to one person, or as a link to whoever has it."""

    class Role(models.TextChoices):
        DRIVER = "driver"
        WATCHER = "watcher"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="shares")
    person = models.ForeignKey(Person, null=True, on_delete=models.CASCADE, related_name="+")
    """Who alone may use it, without asking; None: whoever has the link asks."""
    role = models.CharField(max_length=7, choices=Role)
    """The most that it gives: a watcher's share never lets anybody type."""
    admits_guests = models.BooleanField(default=False)
    """Whether people without an account may ask as well. They watch."""
    digest = models.CharField(max_length=64, unique=True)
    """SHA-256 of the secret in the link, which is shown once."""
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return f"share of {self.session_id}"


class Webhook(models.Model):
    """An address that is told of events. Its signing secret is not here: it is derived (see `terminals.webhooks`)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=64)
    url = models.URLField(max_length=500)
    events = models.JSONField(default=list)
    """Names of the events that it wants."""
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.CharField(max_length=32, default="", blank=True)
    disabled_at = models.DateTimeField(null=True)
    allows_private = models.BooleanField(default=False)
    """Whether an admin said that it may lead to loopback and private networks, and there without TLS."""
    rotation = models.PositiveIntegerField(default=1)
    """Which signing secret it has: a new one for each number."""
    next_sequence = models.PositiveBigIntegerField(default=1)
    """The audit event from which on it has to be told."""
    presence = models.JSONField(default=dict)
    """Hosts that come and go right now, by name (see `terminals.webhooks.damping`)."""
    missed = models.PositiveIntegerField(default=0)
    """Events since the last delivery was made that were left out, because too many waited. The next one tells it."""

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.name


class Delivery(models.Model):
    """One event for one webhook, until it was delivered or given up. Old ones are dropped."""

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    sequence = models.PositiveBigIntegerField()
    """Of the audit event it tells of. They are sent in the order of their ids: some events are told a while later."""
    event = models.CharField(max_length=32)
    body = models.TextField()
    """The JSON that is sent, byte for byte."""
    created_at = models.DateTimeField(auto_now_add=True)
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    """None once it was delivered or given up."""
    give_up_at = models.DateTimeField()
    """An attempt that fails after this is the last one."""
    delivered_at = models.DateTimeField(null=True)
    status = models.PositiveIntegerField(null=True)
    """HTTP status of the last attempt; None where there was no answer."""
    problem = models.CharField(max_length=200, default="", blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["webhook", "sequence", "event"], name="delivered_once")]
        indexes = [
            models.Index(fields=["webhook", "id"], condition=Q(next_attempt_at__isnull=False), name="delivery_waiting")
        ]
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.event} to {self.webhook}"

    @property
    def state(self) -> str:
        if self.next_attempt_at is not None:
            return "waiting"
        return "delivered" if self.delivered_at else "given up"
