"""User certificates by which the broker logs in to hosts: one fresh key each, for one login, for minutes.

A certificate names the person and the terminal session (key id), opens one login (principal), forwards nothing, and
holds only from the host's own loopback, which is where a tunnel comes out. The private key never leaves memory.
"""

from __future__ import annotations

import time

import asyncssh

from tunnels.keystore import authority_key

VALIDITY_S = 240
CLOCK_SKEW_S = 60
LOOPBACK = ["127.0.0.1/32", "::1/128"]


def issue(
    *, login: str, key_id: str, authority: asyncssh.SSHKey | None = None
) -> tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
    """A new Ed25519 key and its certificate, valid from a minute ago for at most five minutes in all.

    Signed by the authority in force, unless another one is given.
    """
    key = asyncssh.generate_private_key("ssh-ed25519")
    now = int(time.time())
    certificate = (authority or authority_key()).generate_user_certificate(
        key,
        key_id,
        principals=[login],
        valid_after=now - CLOCK_SKEW_S,
        valid_before=now + VALIDITY_S,
        source_address=LOOPBACK,
        permit_x11_forwarding=False,
        permit_agent_forwarding=False,
        permit_port_forwarding=False,
        permit_pty=True,
        permit_user_rc=True,
    )
    return key, certificate
