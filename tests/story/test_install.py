"""`/install.sh`: served by a real broker, run on machines of their own by the shells and tools that it is for."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.needs import missing, require_program
from tests.story.broker import ROOT, SCALE, Broker, free_port, running, until
from tests.story.machine import Machine
from tests.story.sandbox import DROPBEAR, GUEST, OPENSSH, OURS, UID, Sandbox, sandbox
from tests.story.terminal import shell
from tunnels.install import script

pytestmark = pytest.mark.sshd
SCRIPT = ROOT / "tunnels/install.sh"
Make = Callable[..., Sandbox]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that wants tokens."""
    with running(tmp_path_factory.mktemp("closed") / "data", BROKERD_OPEN_ENROLLMENT="0") as broker:
        yield broker


@pytest.fixture
def box(closed: Broker, tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as held:
        yield lambda **facts: held.enter_context(sandbox(tmp_path, closed, **facts))


def token(broker: Broker, *options: str) -> str:
    return broker.manage("create_enrollment_token", "--name", "rollout", *options).stdout.strip()


async def let_in(made: Sandbox, login: str) -> None:
    """A terminal opens, by certificate: the sandbox's sshd takes no passwords."""
    grant = {"person": "alice", "host": made.name, "logins": [login], "capabilities": ["terminal"]}
    made.broker.api("POST", "/grants", grant, status=201)
    async with shell(made.broker, made.name, login=login) as terminal:
        await terminal.run("id -un; echo $((6 * 7))")
        await terminal.until(login.encode() + b"\r\n42")


def test_root_may_do_it_for_its_own_account(box: Make):
    made = box()
    before = made.files()
    made.install(*made.ways, "--user", BROKERD_TOKEN=token(made.broker, "--auto-approve"))
    made.wait_online()
    assert [path for path in made.files().keys() - before.keys() if path.startswith("etc/")] == []
    made.install("--uninstall", "--user")
    assert made.files() == before


def test_the_tunnel_comes_back(box: Make):
    made = box()
    made.install(*made.ways, user=GUEST, BROKERD_TOKEN=token(made.broker, "--auto-approve"))
    made.wait_online()
    made.run(r"/usr/bin/pkill -f '[s]sh -N .* -R '")  # in its own namespace of processes
    until(lambda: opened(made) == 2, "it is back", 60)
    held = made.run(f"/home/{GUEST}/.config/{OURS}/tunnel", user=GUEST)
    assert "the tunnel is held already, by process" in held
    assert opened(made) == 2


def opened(made: Sandbox) -> int:
    return [event["host"] for event in made.broker.audit("tunnel.opened")].count(made.name)


def settled(files: dict[str, Any]) -> dict[str, Any]:
    """Without what changes while the tunnel runs."""
    return {path: facts for path, facts in files.items() if not path.endswith((f"{OURS}/log", "run/sshd.pid"))}


WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "dash, curl, OpenSSH, no root": ({}, GUEST),
    "BusyBox with its wget, OpenSSH, no root": ({"shell": "busybox", "fetcher": "wget"}, GUEST),
    "dash, GNU wget, dropbear, no root": ({"fetcher": "wget", "client": DROPBEAR}, GUEST),
    "dash, curl, OpenSSH, root, included folder": ({}, "root"),
    "BusyBox with its wget, dropbear, root, no included folder": (
        {"shell": "busybox", "fetcher": "wget", "client": DROPBEAR, "drop_ins": False},
        "root",
    ),
    "dash, curl, dropbear, root": ({"client": DROPBEAR}, "root"),
    "dash, curl, OpenSSH, root, systemd": ({"systemd": True}, "root"),
    "dash, GNU wget, OpenSSH, no root, systemd": ({"systemd": True, "fetcher": "wget"}, GUEST),
}


@pytest.mark.parametrize(("facts", "user"), WAYS.values(), ids=WAYS)
async def test_a_machine_becomes_a_host_and_is_none_again(box: Make, facts: dict[str, Any], user: str):
    made = box(**facts)
    before = made.files()
    secret = token(made.broker, "--auto-approve")
    with made.watched() as commands:
        printed = made.install(*made.ways, user=user, BROKERD_TOKEN=secret)
        made.wait_online()
    assert f"Approved: {made.name} is a host of {made.broker.url}." in printed
    commands |= set(made.calls.read_text().splitlines())
    assert [command for command in commands if command.startswith("mktemp")], "short commands are seen as well"
    assert [command for command in commands if "-R " in command], "the tunnel is seen"
    assert not [command for command in commands if secret in command or "Bearer" in command]
    assert not [command for command in commands if re.search("StrictHostKeyChecking=(no|off|accept)", command)]
    assert not [path for path, (_, _, content) in made.files().items() if secret.encode() in content]
    await let_in(made, user)

    after = made.files()
    again = made.install(*made.ways, user=user)
    assert "use the key that is in" in again
    assert settled(made.files()) == settled(after)
    assert [event["host"] for event in made.broker.audit("enrollment.requested")].count(made.name) == 1
    assert opened(made) == 1, "it was not cut"

    printed = made.install("--uninstall", user=user)
    made.wait_online(False)
    assert made.files() == before
    assert f"removed {'/etc' if user == 'root' else f'/home/{GUEST}/.config'}/{OURS}" in printed
    assert "Nothing to take away" in made.install("--uninstall", user=user)


# Before and while it waits


@pytest.mark.parametrize(
    ("facts", "user", "shown"),
    [
        ({}, GUEST, ["cert-authority ssh-ed25519 CA-KEY", "-R TUNNEL-PORT:127.0.0.1:"]),
        ({}, "root", [f"TrustedUserCAKeys /etc/{OURS}/ca.pub", f"su -s /bin/sh {OURS} -c 'exec "]),
        ({"systemd": True, "drop_ins": False}, "root", ["# brokerd: begin", "Restart=always", f"User={OURS}"]),
        (
            {"shell": "busybox", "fetcher": "wget", "client": DROPBEAR},
            GUEST,
            ["-K 10", "GATEWAY ssh-ed25519 GATEWAY-KEY"],
        ),
    ],
)
def test_a_dry_run_shows_every_file_and_changes_nothing(box: Make, facts: dict[str, Any], user: str, shown: list[str]):
    made = box(**facts)
    before = made.files()
    printed = made.install(*made.ways, "--dry-run", user=user, BROKERD_TOKEN="bet_nobodys")
    assert made.files() == before
    assert printed.endswith("Nothing was changed.\n")
    for text in [*shown, "ExitOnForwardFailure=yes", made.broker.url]:
        assert text in printed
    assert made.name not in [event["host"] for event in made.broker.audit("enrollment.requested")]
    assert made.name not in [event["host"] for event in made.broker.audit("enrollment.refused")]


@pytest.mark.parametrize(
    "facts", [{}, {"fetcher": "wget"}, {"shell": "busybox", "fetcher": "wget"}], ids=["curl", "wget", "BusyBox' wget"]
)
def test_it_waits_for_the_approval(box: Make, facts: dict[str, Any]):
    made = box(**facts)
    running = made.start_command(made.command(*made.ways), GUEST, {"BROKERD_TOKEN": token(made.broker)})
    waiting = until(lambda: pending(made), "it asks")
    made.broker.api("POST", f"/hosts/{made.name}/approve", {"fingerprint": waiting["fingerprint"]})
    printed = running.communicate(timeout=60 * SCALE)[0]
    assert running.returncode == 0, printed
    made.wait_online()
    assert waiting["fingerprint"] in printed
    assert waiting["code"] in printed
    assert f"{made.broker.url}/approvals/" in printed
    assert "Bearer" not in made.calls.read_text(), "the secret by which it asks is nobody else's"


def test_it_need_not_wait(box: Make):
    made = box()
    printed = made.install(*made.ways, "--no-wait", user=GUEST, BROKERD_TOKEN=token(made.broker))
    waiting = pending(made)
    assert waiting["code"] in printed
    assert "comes up when the host is approved" in printed
    made.broker.api("POST", f"/hosts/{made.name}/approve", {"fingerprint": waiting["fingerprint"]})
    made.wait_online()


def test_a_rejected_machine_is_told(box: Make):
    made = box()
    made.install(*made.ways, "--no-wait", user=GUEST, BROKERD_TOKEN=token(made.broker))
    made.broker.api("POST", f"/hosts/{made.name}/reject", {})
    assert f"the enrollment of {made.name} was rejected" in made.install(*made.ways, user=GUEST, check=False)


def pending(made: Sandbox) -> dict[str, Any]:
    """The fingerprint and the code that the broker has of it."""
    asked = [event for event in made.broker.audit("enrollment.requested") if event["host"] == made.name]
    return asked[0]["detail"] if asked else {}


def test_the_token_may_come_from_a_file(box: Make):
    made = box()
    (made.home / GUEST / "token").write_text(token(made.broker, "--auto-approve") + "\n")
    assert "Approved" in made.install(*made.ways, "--token-file", f"/home/{GUEST}/token", user=GUEST)


def test_the_token_may_be_an_option(box: Make):
    """Others see it in the list of processes, where the shell itself stands, and nowhere else."""
    made = box()
    secret = token(made.broker, "--auto-approve")
    assert "Approved" in made.install(*made.ways, "--token", secret, user=GUEST)
    assert "ssh-keygen" in made.calls.read_text()
    assert secret not in made.calls.read_text()


# What can go wrong


def test_what_goes_wrong_is_said_and_leaves_nothing(box: Make, tmp_path: Path):
    made = box()
    taken = Machine(tmp_path / "taken", f"{made.name}-taken", made.broker)
    taken.request(token=token(made.broker))
    good, before = token(made.broker, "--uses", "9"), made.files()
    named = ["--name", made.name]
    for options, secret, said in [
        ([*named, "--port", str(free_port())], good, "no SSH server answers on port"),
        (made.ways, "", "this broker enrolls machines with a token only"),
        (made.ways, "bet_wrong", "refused: the enrollment token is not valid"),
        (made.ways, 'bet_"}', "that is no enrollment token"),
        (["--name", taken.name, "--port", str(made.port)], good, "another name can be given with --name"),
        (["--name", "No_Name", "--port", str(made.port)], good, "--name: No_Name is not a host name"),
        (["--name", "a\nb", "--port", str(made.port)], good, "is not a host name"),
        ([*named, "--port", "22x"], good, "--port: 22x is not a port"),
        (
            [*made.ways, "--broker", f"https://127.0.0.1:{made.broker.ssh_port}"],
            good,
            "no trustworthy TLS with https://",
        ),
        ([*made.ways, "--broker", f"http://127.0.0.1:{free_port()}"], good, "does not answer: curl: "),
        ([*made.ways, "--broker", "file:///etc"], good, "is not a URL such as"),
        ([*made.ways, "--token-file", "/nowhere"], "", "cannot read /nowhere"),
        ([*made.ways, "--nonsense"], good, "unknown option --nonsense; --help lists them"),
    ]:
        environ = {"BROKERD_TOKEN": secret} if secret else {}
        assert said in made.install(*options, user=GUEST, check=False, **environ)
        assert made.files() == before, said


@pytest.mark.parametrize("fetcher", ["curl", "wget"])
def test_a_broker_that_cannot_prove_itself_learns_no_token(box: Make, fetcher: str, tmp_path: Path):
    made = box(fetcher=fetcher)
    with fake_broker(self_signed(tmp_path)) as (url, answer):
        secret = token(made.broker)
        printed = made.install(*made.ways, "--broker", url, user=GUEST, check=False, BROKERD_TOKEN=secret)
        assert f"no trustworthy TLS with {url}: " in printed
        assert "insecure" not in printed, "no advice to look away"
        assert "asked" not in answer


def test_who_may_not_write_is_told(box: Make):
    made = box()
    (made.home / GUEST).chmod(0o555)
    printed = made.install(*made.ways, user=GUEST, check=False, BROKERD_TOKEN=token(made.broker))
    assert f"cannot make the folder /home/{GUEST}/.config" in printed


def test_busybox_wget_is_not_trusted_with_tls(box: Make):
    """It takes any certificate."""
    made = box(shell="busybox", fetcher="wget")
    printed = made.install(*made.ways, "--broker", "https://127.0.0.1:1", user=GUEST, check=False)
    assert "this wget does not check the broker's certificate" in printed


def test_busybox_wget_knows_why_it_was_refused(box: Make):
    """It shows no body of a refusal: the status has to do."""
    made = box(shell="busybox", fetcher="wget")
    printed = made.install(*made.ways, user=GUEST, check=False, BROKERD_TOKEN="bet_wrong")
    assert "refused: the token is not valid" in printed


@pytest.mark.parametrize("drop_ins", [True, False])
def test_an_sshd_that_refuses_gets_its_configuration_back(box: Make, drop_ins: bool):
    made = box(drop_ins=drop_ins)
    (made.bin / "sshd").write_text(
        '#!/bin/sh\n[ "$1" != -t ] || { echo "line 1: no" >&2; exit 1; }\nexec /usr/sbin/sshd "$@"\n'
    )
    (made.bin / "sshd").chmod(0o755)
    before = {path: facts for path, facts in made.files().items() if path.startswith("etc/ssh")}
    printed = made.install(*made.ways, check=False, BROKERD_TOKEN=token(made.broker, "--auto-approve"))
    assert "the old one is back: line 1: no" in printed
    assert {path: facts for path, facts in made.files().items() if path.startswith("etc/ssh")} == before


async def test_an_authority_that_is_trusted_already_stays_so(box: Make):
    made = box()
    others = made.etc / "ssh/others.pub"
    others.write_text(made.host_key + "\n")
    with (made.etc / "ssh/sshd_config.d/others.conf").open("w") as config:
        config.write("TrustedUserCAKeys /etc/ssh/others.pub\n")
    made.run("kill -HUP $(cat /run/sshd.pid)")
    made.install(*made.ways, BROKERD_TOKEN=token(made.broker, "--auto-approve"))
    made.wait_online()
    await let_in(made, "root")
    assert others.read_text().endswith(f"# brokerd: end\n{made.host_key}\n")
    made.install("--uninstall")
    assert others.read_text() == made.host_key + "\n"


def test_other_keys_of_the_account_stay(box: Make):
    made = box()
    keys = made.home / GUEST / ".ssh/authorized_keys"
    keys.parent.mkdir(mode=0o700)
    keys.write_text(made.host_key)  # no line's end
    for path in (keys.parent, keys):
        os.chown(path, UID, UID)
    made.install(*made.ways, user=GUEST, BROKERD_TOKEN=token(made.broker, "--auto-approve"))
    first, ours = keys.read_text().splitlines()
    assert first == made.host_key
    assert re.fullmatch(rf"cert-authority ssh-ed25519 \S+ {OURS}", ours)
    made.install("--uninstall", user=GUEST)
    assert keys.read_text() == made.host_key + "\n"


@pytest.mark.parametrize("client", [OPENSSH, DROPBEAR], ids=["OpenSSH", "dropbear"])
def test_a_gateway_with_another_key_gets_no_tunnel(box: Make, client: tuple[str, ...]):
    made = box(client=client)
    made.install(*made.ways, "--no-wait", user=GUEST, BROKERD_TOKEN=token(made.broker))
    folder = made.home / GUEST / ".config" / OURS
    known = next(folder.rglob("known_hosts"))
    before = known.read_text()
    known.write_text(before.replace(before.split()[2], made.host_key.split()[1]))
    tunnel = next(line for line in (folder / "tunnel").read_text().splitlines() if " -R " in line)
    printed = made.run(tunnel.strip().removesuffix("&"), user=GUEST, check=False)
    assert re.search("host key (verification failed|mismatch)", printed, re.IGNORECASE), printed
    assert known.read_text() != before


HOSTILE = {
    "name": ["../../x", "a b", "a\nUser=root", "$(touch /tmp/x)"],
    "gateway.host": ["-oProxyCommand=touch /tmp/x", "a b", "h\nExecStart=/x", "`x`", ""],
    "gateway.port": ["22 -o X", "0", "70000", None],
    "gateway.host_keys": [["x y"], [], ["ssh-ed25519 AAAA\nevil ssh-ed25519 AAAA"]],
    "tunnel_port": ["0:x:1 -o X", "-1"],
    "ca_public_key": ["ssh-ed25519 AAAA\nssh-ed25519 BBBB", 'ssh-ed25519 "AAAA', "from=x ssh-ed25519 AAAA"],
    "poll_token": ['x"\nurl = "http://elsewhere', ""],
    "state": ["approved; x", ""],
}


@pytest.mark.parametrize("shell", ["dash", "busybox"])
def test_an_answer_that_is_no_answer_does_nothing(box: Make, shell: str):
    made = box(shell=shell)
    with fake_broker() as (url, answer):
        sound = dict(answer)
        before = made.files()
        for path, values in HOSTILE.items():
            for value in values[: 1 if shell == "busybox" else None]:
                answer.clear()
                answer.update(json.loads(json.dumps(sound)))
                outer, _, inner = path.partition(".")
                if inner:
                    answer[outer][inner] = value
                else:
                    answer[outer] = value
                printed = made.install(*made.ways, "--broker", url, user=GUEST, check=False)
                assert f"the answer of {url}" in printed, (path, value)
                assert made.files() == before, (path, value)
        answer.clear()
        answer.update(sound)
        assert "was rejected" in made.install(*made.ways, "--broker", url, user=GUEST, check=False), "all else is sound"


def self_signed(folder: Path) -> ssl.SSLContext:
    """Of a server with a certificate that nobody vouches for."""
    require_program("openssl")
    pem = folder / "self-signed.pem"
    name = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    asked = f"req -x509 -newkey ed25519 -nodes {name} -keyout {pem} -out {pem}"
    subprocess.run(["openssl", *asked.split()], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@contextmanager
def fake_broker(tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Answers every enrollment with a dictionary that the test changes, and adds `asked` to it."""
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    answer: dict[str, Any] = {
        "id": "0b4f9d1e-1111-4222-8333-444455556666",
        "name": "box",
        "state": "rejected",
        "fingerprint": "SHA256:abc",
        "code": "ABCD-EFGH",
        "poll_token": "abc",
        "tunnel_port": 22100,
        "ca_public_key": key,
        "gateway": {"host": "127.0.0.1", "port": 2222, "host_keys": [key]},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(answer).encode()
            answer["asked"] = True
            self.send_response(201)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever).start()
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}", answer
        server.shutdown()


# What is written, and what is served


@pytest.mark.parametrize("user", ["root", GUEST])
def test_systemd_understands_the_unit(box: Make, user: str):
    require_systemd_analyze()
    made = box(systemd=True)
    made.install(*made.ways, user=user, BROKERD_TOKEN=token(made.broker, "--auto-approve"))
    folder = "/etc/systemd/system" if user == "root" else f"/home/{GUEST}/.config/systemd/user"
    unit = f"{folder}/{OURS}.service"
    kind = "" if user == "root" else "--user"
    printed = made.run(f"/usr/bin/systemd-analyze {kind} verify {unit} 2>&1", user=user, XDG_RUNTIME_DIR="/tmp")
    assert OURS not in printed, "what it complains about is other people's"


def require_systemd_analyze() -> None:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze is missing: install the Debian package systemd")


def test_shellcheck_finds_nothing():
    require_program("shellcheck")
    done = subprocess.run(["shellcheck", "-s", "sh", SCRIPT], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_it_never_takes_an_unknown_key():
    text = SCRIPT.read_text()
    assert "StrictHostKeyChecking=yes" in text
    assert re.findall("StrictHostKeyChecking=(?!yes)", text) == []
    assert not re.search(r"dbclient -y|\$program\" -y", text)


def test_the_address_in_it_is_the_brokers_own(closed: Broker):
    answer = closed.call("GET", "/install.sh")
    assert answer.status == 200
    assert f"\nbroker={closed.url}\n" in answer.body.decode()
    assert answer.body.decode().replace(f"broker={closed.url}\n", "broker=''\n") == SCRIPT.read_text()
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert "Set-Cookie" not in answer.headers


def test_a_forged_host_header_changes_nothing_in_it(closed: Broker):
    for name in ("evil.example", "localhost"):
        for header in ("Host", "X-Forwarded-Host"):
            answer = closed.call("GET", "/install.sh", **{header: name})
            assert answer.status == 400 or f"\nbroker={closed.url}\n" in answer.body.decode()
            assert b"evil" not in answer.body
    assert closed.call("POST", "/install.sh", b"").status in (403, 405)


def test_an_address_with_signs_is_quoted():
    assert "\nbroker='https://a$(b)'\n" in script("https://a$(b)")
