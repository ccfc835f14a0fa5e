"""Text that the database may hold but nobody may read there: encrypted under a key of the data directory.

For secrets that are needed again as they were, such as the seed of a one-time password. A secret that is only compared
is hashed instead.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings


class Unreadable(ValueError):
    """It was sealed under another secret key, or is not sealed text at all."""


def seal(text: str) -> str:
    """`text`, encrypted and authenticated; ASCII, about 4/3 as long plus 100 characters."""
    return _fernet(settings.SECRET_KEY).encrypt(text.encode()).decode("ascii")


def unseal(sealed: str) -> str:
    """What was given to `seal`. Raises Unreadable."""
    try:
        return _fernet(settings.SECRET_KEY).decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise Unreadable("not sealed by this broker's secret key") from error


@cache
def _fernet(secret_key: str) -> Fernet:
    derived = hashlib.blake2b(secret_key.encode(), digest_size=32, person=b"brokerd sealing").digest()
    return Fernet(base64.urlsafe_b64encode(derived))
