"""A person's client made with Paramiko, as a program of its own: Debian's Python runs it, not ours.

Runs the command with our stdin, copies the file to FILE.there on the host and from there to FILE.back, and ends as the
command did.
"""

import sys
from pathlib import Path

import paramiko


def connect(address: tuple[str, int], username: str, sock: paramiko.Channel | None = None) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.load_host_keys(known_hosts)  # another key is refused: that is Paramiko's default policy
    host, port = address
    client.connect(
        host, port, username=username, key_filename=key, sock=sock, allow_agent=False, look_for_keys=False, timeout=20
    )
    return client


way, port, login, host, key, known_hosts, command, file = sys.argv[1:]
gateway = ("127.0.0.1", int(port))
if way == "brokered":
    client = connect(gateway, f"{login}@{host}")
else:
    jump = connect(gateway, "alice")
    there = (host, 22)
    client = connect(there, login, jump.get_transport().open_channel("direct-tcpip", there, ("127.0.0.1", 0)))

stdin, stdout, _ = client.exec_command(command)
stdin.write(sys.stdin.buffer.read())
stdin.channel.shutdown_write()
sys.stdout.buffer.write(stdout.read())
with client.open_sftp() as sftp:
    sftp.put(file, f"{file}.there")
    sftp.get(f"{file}.there", str(Path(file).with_suffix(".back")))
sys.exit(stdout.channel.recv_exit_status())
