"""A stock sshd on a free port of loopback: the distant machine of both sides, and the stock side's server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.story.broker import free_port, until
from tests.story.machine import SSHD, keygen


class Sshd:
    """`with Sshd(...)`: runs while inside."""

    def __init__(self, folder: Path, *, port: int | None = None, client_key: str, ca: str = "") -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        key = folder / "host"
        self.host_key = key.with_suffix(".pub").read_text().strip() if key.exists() else keygen(key)
        (folder / "authorized_keys").write_text(client_key + "\n")
        (folder / "ca.pub").write_text(ca + "\n")
        home = folder / "home"
        home.mkdir(exist_ok=True)
        (home / ".profile").write_text("")
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {key}",
            "PidFile none",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            f"AuthorizedKeysFile {folder / 'authorized_keys'}",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PrintMotd no",
            "PrintLastLog no",
            "MaxStartups 100",
            "Subsystem sftp internal-sftp",
            # Not the person's own home: what stands in its profile may take longer than all that is measured.
            f"SetEnv HOME={home}",
            *([f"TrustedUserCAKeys {folder / 'ca.pub'}"] if ca else []),
        ]
        (folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def __enter__(self) -> Sshd:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (self.folder / "sshd.log").open("ab") as log:
            command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers, f"sshd is up; see {self.folder / 'sshd.log'}")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _answers(self) -> bool:
        scan = ["ssh-keyscan", "-p", str(self.port), "127.0.0.1"]
        return bool(subprocess.run(scan, capture_output=True, check=False).stdout)
