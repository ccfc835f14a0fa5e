"""How a receiver knows that a message is ours, and new: HMAC-SHA256 over the time and the body, byte for byte. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac

PREFIX = "whsec_"
"""Lets secret scanners and people tell what they have found."""


def derive(key: bytes, webhook_id: str, rotation: int) -> str:
    """The signing secret of a webhook: another one for each webhook and each `rotation`, and none without the key."""
    text = f"brokerd webhook {webhook_id} {rotation}"
    digest = hmac.digest(key, text.encode(), hashlib.sha256)
    return PREFIX + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def sign(secret: str, body: bytes, at: int) -> str:
    """The value of `Brokerd-Signature`; `at` in seconds since 1970."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"
