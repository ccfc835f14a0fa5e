"""The SSH algorithms that the broker offers, on the gateway and towards hosts.

AES-GCM first: AsyncSSH's chacha20 costs several times as much a packet, and a stock client would choose it. Where both
ends can, an exchange that resists quantum computers is on offer, after curve25519, because old dropbear clients fail
when mlkem leads. No SHA-1, no CBC, no NIST curves, no encrypt-and-MAC.
"""

KEX = (
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "mlkem768x25519-sha256",
)
ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes256-ctr", "aes128-ctr")
MAC = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
SIGNATURES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
