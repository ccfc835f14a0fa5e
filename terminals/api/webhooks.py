"""REST for admins: webhooks are listed, added and removed. What became of their deliveries is on the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from pydantic import ConfigDict

from terminals.api.auth import Caller, caller_of, callers
from terminals.api.pages import Paging, page
from terminals.api_tokens import Scope
from terminals.models import Webhook
from terminals.webhooks import acts
from terminals.webhooks.news import Kind
from terminals.webhooks.targets import MAX_URL
from tunnels.acts import check
from tunnels.audit import Event
from tunnels.errors import NotFound

router = Router(tags=["webhooks"], auth=callers(Scope.WEBHOOKS))
Text = Annotated[str, Field(max_length=64)]


class WebhookIn(Schema):
    model_config = ConfigDict(extra="forbid")

    name: Text
    url: str = Field(max_length=MAX_URL)
    events: list[Text] = Field(max_length=len(Kind), description=", ".join(Kind))
    allow_private: bool = Field(False, description="it may lead to private networks, and there to plain http")


class WebhookOut(Schema):
    id: UUID
    name: str
    url: str
    events: list[str]
    allow_private: bool
    enabled: bool
    created: datetime


class MadeOut(WebhookOut):
    secret: str = Field(description="signs what is sent; it is told this once")


class WebhookPage(Schema):
    items: list[WebhookOut]
    next: str | None


@router.get("", response=WebhookPage, summary="List the webhooks")
def list_webhooks(request: HttpRequest, paging: Query[Paging]) -> Any:
    caller_of(request).require_admin()
    return page(Webhook.objects.all(), paging, by=["created_at", "id"], show=_shown)


@router.post("", response={201: MadeOut}, summary="Add a webhook")
def add_webhook(request: HttpRequest, body: WebhookIn) -> Status:
    """It is told of what happens from now on."""
    caller = caller_of(request)
    _require_admin(caller)
    webhook, secret = acts.create_webhook(
        name=body.name, url=body.url, events=body.events, allows_private=body.allow_private, actor=caller.actor
    )
    return Status(201, {**_as_dict(webhook), "secret": secret})


@router.delete("/{uuid:webhook_id}", response={204: None}, summary="Remove a webhook")
def delete_webhook(request: HttpRequest, webhook_id: UUID) -> Status:
    """With what it has not been told yet."""
    caller = caller_of(request)
    _require_admin(caller)
    if (webhook := Webhook.objects.filter(pk=webhook_id).first()) is None:
        raise NotFound("there is no such webhook")
    acts.remove_webhook(webhook=webhook, actor=caller.actor)
    return Status(204, None)


def _require_admin(caller: Caller) -> None:
    with check(Event.SETTING_CHANGED, actor=caller.actor, setting="webhook"):
        caller.require_admin()


def _shown(rows: Sequence[Webhook]) -> list[dict[str, Any]]:
    return [_as_dict(row) for row in rows]


def _as_dict(row: Webhook) -> dict[str, Any]:
    return {
        "id": row.pk,
        "name": row.name,
        "url": row.url,
        "events": row.events,
        "allow_private": row.allows_private,
        "enabled": row.disabled_at is None,
        "created": row.created_at,
    }
