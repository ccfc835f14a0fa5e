"""The signing secrets: derived from a key file, so that the database alone signs nothing."""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path

from django.conf import settings

from terminals.models import Webhook
from terminals.webhooks.signing import derive
from tunnels.files import private_file

KEY_FILE = "webhook_key"


def secret_of(webhook: Webhook) -> str:
    return derive(_key(settings.BROKERD.data_dir), str(webhook.pk), webhook.rotation)


@cache
def _key(data_dir: Path) -> bytes:
    """Made at its first use. Another key, and no receiver believes us any more until it is given a new secret."""
    folder = data_dir / "keys"
    folder.mkdir(mode=0o700, exist_ok=True)
    return private_file(folder / KEY_FILE, lambda: secrets.token_hex(32).encode())
