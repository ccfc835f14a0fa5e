"""The SSH algorithms of both of the agent's connections: towards the gateway, and of the login shell.

AES-GCM first, for AsyncSSH's chacha20 costs several times as much a packet; without CTR no weak MAC can be chosen.
"""

KEX = ("curve25519-sha256", "curve25519-sha256@libssh.org", "mlkem768x25519-sha256")
ENCRYPTION = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com")
