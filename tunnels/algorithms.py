"""The SSH algorithms that the broker offers, on the gateway and towards hosts.

AES-GCM first: AsyncSSH's chacha20 costs several times as much a packet, and a stock client would choose it. Where both
ends can, an exchange that resists quantum computers is on offer, after curve25519, because old dropbear clients fail
when mlkem leads. No SHA-1, no CBC, no NIST curves; encrypt-and-MAC only towards hosts, and with dropbear's client.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakMethod

from asyncssh.connection import SSHConnection

KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "mlkem768x25519-sha256",
)
ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
MAC = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256")
"""Towards hosts. The last one is for dropbear, which has no other in common with us; OpenSSH names the others first."""
MAC_OF_GATEWAY = MAC[:-1]
MAC_OF_DROPBEAR = MAC[-1]
"""Encrypt-and-MAC, on offer to clients that say they are dropbear: they know neither these nor GCM, and ChaCha20 is
open to Terrapin with those that do not know strict key exchange."""
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)

MSG_IGNORE = 2  # RFC 4253 section 11.2


def suit_dropbear(connection: SSHConnection) -> None:
    """To be called once the client's version line is there, and before our offer is sent.

    The line is part of what the host key signs (RFC 4253 section 8): nobody on the way can forge it.
    """
    if "dropbear" in str(connection.get_extra_info("client_version")):
        connection._mac_algs = [*connection._mac_algs, MAC_OF_DROPBEAR.encode()]


def send_no_ignore(connection: SSHConnection) -> None:
    """Keep AsyncSSH from sending an IGNORE packet ahead of each packet.

    They hide the chained IV of CBC ciphers (RFC 4251 section 9.3.1), none of which is offered above. A key on its way
    through both connections would be four packets and four writes instead of one, a fifth of what it costs the broker.
    """
    send = WeakMethod(connection.send_packet)  # not the method: a connection that holds itself would outlive its end

    def send_packet(kind: int, *parts: bytes, handler: Any = None) -> None:
        if kind != MSG_IGNORE and (method := send()):
            method(kind, *parts, handler=handler)

    connection.send_packet = send_packet  # type: ignore[assignment, method-assign]
