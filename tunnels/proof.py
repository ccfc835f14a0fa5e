"""The moment between a key's proof and the success of the login, which AsyncSSH gives to nobody.

It asks its server about a key before there is a proof, and calls it next when success has been sent; by then a stock
client shows no banner any more (RFC 4252 section 5.4).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from weakref import WeakMethod

import asyncssh


def after_proof(connection: asyncssh.SSHServerConnection, judge: Callable[[], Awaitable[bool]]) -> None:
    """Have `judge`, a bound method, decide about each login whose key has just proved itself.

    It runs in the task of that one try, so that the connection goes on reading: another try cancels it, as does the
    end of the connection.
    """
    # Not the methods: a connection that holds itself would outlive its end.
    validate, judge_ = WeakMethod(connection.validate_public_key), WeakMethod(judge)

    async def validate_public_key(username: str, key_data: bytes, message: bytes, signature: bytes) -> bool:
        valid, decide = validate(), judge_()
        if valid is None or decide is None or not await valid(username, key_data, message, signature):
            return False
        return not message or await decide()

    connection.validate_public_key = validate_public_key  # type: ignore[method-assign, assignment]
