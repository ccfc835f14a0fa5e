"""What lies on the disk: who may read it, what is in it, and that it can be saved, brought back and replaced."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import zstandard

from brokerd.backup import BackupError, make_backup, restore_backup
from tests.security.test_audit import writing
from tests.story.broker import PASSWORD, Broker, copy_of_template, running, until
from tests.story.browser import Browser
from tests.story.machine import LOGIN, Machine, machine, terminal_grant
from tests.story.terminal import Terminal, open_socket, request_session

# Saving and bringing back


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Broker:
    """A broker that has run once, with a recording and a file of logs."""
    broker = copy_of_template(tmp_path_factory.mktemp("stopped"))
    broker.start()
    Browser(broker).log_in("alice")
    broker.stop()
    for name in ("recordings/2026/11/one.cast.zst", "recordings/search.sqlite3", "log/broker.log"):
        (broker.data_dir / name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        (broker.data_dir / name).write_text(name)
    return broker


@pytest.fixture(scope="module")
def backup(stopped, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "backup.tar"
    stopped.manage("backup", str(path))
    return path


@pytest.fixture
def saved(backup, tmp_path) -> Path:
    """One to do to it what should not be done."""
    return Path(shutil.copy(backup, tmp_path / "backup.tar"))


@pytest.fixture
def empty(tmp_path) -> Broker:
    (tmp_path / "empty").mkdir(mode=0o700)
    return Broker(tmp_path / "empty")


def names_in(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return set(tar.getnames())


def refused(broker: Broker, archive: Path) -> str:
    """Why nothing is restored from it; and nothing is."""
    before = sorted(broker.data_dir.iterdir())
    with pytest.raises(BackupError) as error:
        restore_backup(archive, broker.data_dir)
    assert sorted(broker.data_dir.iterdir()) == before
    return str(error.value)


def test_all_that_counts_is_in_a_backup_and_nobody_else_reads_it(stopped, backup):
    assert backup.stat().st_mode & 0o777 == 0o600
    names = names_in(backup)
    wanted = {"manifest.json", "brokerd.sqlite3", "audit.anchor", "secret_key", "keys/user_ca", "keys/gateway_host_key"}
    assert wanted | {"recordings/2026/11/one.cast.zst"} <= names
    assert not {"lock", "log/broker.log", "brokerd.sqlite3-wal", "recordings/search.sqlite3"} & names
    done = stopped.manage("backup", str(backup), check=False)
    assert done.returncode == 1 and "is there already" in done.stderr


def test_without_recordings(stopped, tmp_path):
    stopped.manage("backup", str(tmp_path / "small.tar"), "--without-recordings")
    assert not [name for name in names_in(tmp_path / "small.tar") if name.startswith("recordings")]


def test_a_backup_that_cannot_be_made_leaves_nothing(stopped, tmp_path):
    done = stopped.manage("backup", str(tmp_path / "missing" / "backup.tar"), check=False)
    assert done.returncode == 1 and "no backup was made" in done.stderr
    assert not [path for path in stopped.data_dir.iterdir() if path.name.startswith(".brokerd.sqlite3")]


@pytest.mark.parametrize("name", ["recordings", "keys/user_ca"])
def test_nothing_is_left_out_silently(stopped, tmp_path, name):
    """What a link leads to is elsewhere: a backup without it would be taken for a whole one."""
    copied, target = tmp_path / "copied", tmp_path / "backup.tar"
    shutil.copytree(stopped.data_dir, copied)
    (copied / name).rename(tmp_path / "elsewhere")
    (copied / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupError, match=f"{name} is a symbolic link"):
        make_backup(copied, target, recordings=True)
    assert not target.exists()
    if name == "recordings":
        make_backup(copied, target, recordings=False)


def test_it_comes_back_whole_and_private(stopped, saved, empty):
    printed = empty.manage("restore", str(saved)).stdout
    assert "restored" in printed
    assert "the audit chain holds" in empty.manage("verify_audit").stdout
    for name in ("keys/user_ca", "secret_key", "recordings/2026/11/one.cast.zst"):
        assert (empty.data_dir / name).read_bytes() == (stopped.data_dir / name).read_bytes()
    assert [path for path in walk(empty.data_dir) if path.name.startswith(".restoring")] == []
    assert too_open(empty.data_dir) == []
    exported = [json.loads(line) for line in empty.manage("export_audit").stdout.splitlines()]
    assert [event["event"] for event in exported[-2:]] == ["audit.exported", "setting.changed"]
    assert exported[-1]["detail"]["setting"] == "data directory"


def test_a_login_that_was_ended_since_does_not_live_again(stopped, saved, empty):
    """Nobody knows any more which ones those are."""
    empty.manage("restore", str(saved))
    assert (logins_in(stopped), logins_in(empty)) == (["alice"], [])


def logins_in(broker: Broker) -> list[str]:
    of_whom = "SELECT username FROM terminals_weblogin JOIN terminals_person ON terminals_person.id = person_id"
    with closing(sqlite3.connect(broker.data_dir / "brokerd.sqlite3")) as database:
        return [name for (name,) in database.execute(of_whom)]


def test_nothing_is_put_over_what_is_there(stopped, saved):
    before = (stopped.data_dir / "keys" / "user_ca").read_bytes()
    done = stopped.manage("restore", str(saved), check=False)
    assert done.returncode == 1 and "nothing was restored" in done.stderr and "is not empty" in done.stderr
    assert (stopped.data_dir / "keys" / "user_ca").read_bytes() == before


def test_a_broker_that_runs_is_left_alone(saved, tmp_path):
    with running(tmp_path / "running") as broker:
        done = broker.manage("restore", str(saved), check=False)
        assert done.returncode == 1 and "runs on the data directory" in done.stderr
        second = Broker(broker.data_dir)
        done = second.manage("serve", check=False)
        assert done.returncode == 1 and "already (process " in done.stderr and str(broker.process.pid) in done.stderr
        assert broker.is_ready()


@pytest.mark.parametrize("where", [0.3, 0.6, 0.95])
def test_a_flipped_byte_is_found(saved, empty, where):
    content = bytearray(saved.read_bytes())
    at = int(len(content) * where)
    while content[at] == 0:  # padding between files means nothing
        at += 1
    content[at] ^= 1
    saved.write_bytes(content)
    refused(empty, saved)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.0])
def test_a_file_that_was_cut_short_is_found(saved, empty, kept):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * kept)])
    refused(empty, saved)


def forged(path: Path, *entries: tarfile.TarInfo, content: bytes = b"owned", made: object = 0) -> Path:
    """An archive whose manifest says that all of it is right."""
    names = {entry.name: hashlib.sha256(content).hexdigest() for entry in entries}
    manifest = json.dumps({"kind": "brokerd backup 1", "made": made, "recordings": True, "sha256": names}).encode()
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            entry.size = len(content) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
        last = tarfile.TarInfo("manifest.json")
        last.size = len(manifest)
        tar.addfile(last, io.BytesIO(manifest))
    return path


@pytest.mark.parametrize(
    "name", ["../outside", "keys/../../outside", "/tmp/a-outside", "keys//x", "./keys", "..", "a/./b", "keys/"]
)
def test_no_file_of_an_archive_leaves_the_directory(tmp_path, empty, name):
    refused(empty, forged(tmp_path / "forged.tar", tarfile.TarInfo(name)))
    assert not (tmp_path / "outside").exists() and not Path("/tmp/a-outside").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_nothing_but_files_comes_out_of_an_archive(tmp_path, empty, kind):
    entry = tarfile.TarInfo("keys")
    entry.type, entry.linkname = kind, str(tmp_path)
    refused(empty, forged(tmp_path / "forged.tar", entry, tarfile.TarInfo("keys/user_ca")))
    assert not (tmp_path / "user_ca").exists()


@pytest.mark.parametrize("made", [None, "yesterday", 10**30])
def test_a_manifest_that_makes_no_sense_is_refused_before_anything_counts(stopped, empty, tmp_path, made):
    archive = forged(tmp_path / "f.tar", tarfile.TarInfo("brokerd.sqlite3"), content=database_of(stopped), made=made)
    assert "makes no sense" in refused(empty, archive)


def database_of(broker: Broker) -> bytes:
    return (broker.data_dir / "brokerd.sqlite3").read_bytes()


def test_two_files_of_one_name_are_refused(tmp_path, empty):
    assert "twice" in refused(empty, forged(tmp_path / "f.tar", tarfile.TarInfo("x"), tarfile.TarInfo("x")))


def test_modes_and_owners_are_not_taken_from_an_archive(stopped, saved, empty, tmp_path):
    with tarfile.open(saved) as old, tarfile.open(tmp_path / "open.tar", "w") as new:
        for entry in old:
            content = old.extractfile(entry)
            entry.mode, entry.uid = 0o4777, 4711
            new.addfile(entry, content)
    restore_backup(tmp_path / "open.tar", empty.data_dir)
    assert too_open(empty.data_dir) == []
    assert {path.stat().st_uid for path in walk(empty.data_dir)} == {os.getuid()}


@pytest.fixture
def web9(tmp_path):
    with running(tmp_path / "broker") as broker, machine(tmp_path / "machines", "web9", broker) as made:
        made.bring_up()
        yield made


def test_a_backup_under_load_is_one_moment_and_its_agents_come_back(web9: Machine, tmp_path):
    """While the broker runs and several processes write."""
    broker = web9.broker
    with writing(broker, "one", "two", each=1_000_000) as writers:  # until they are killed
        until(lambda: broker.api("GET", "/audit?person=two&limit=1", person="auditor")["items"], "both write", 60)
        for number in range(2):
            broker.manage("backup", str(tmp_path / f"{number}.tar"))
        assert all(writer.poll() is None for writer in writers), "nobody wrote meanwhile"
    broker.stop()
    web9.stop_agents()
    for number in range(2):
        restored = Broker(
            tmp_path / f"restored{number}", broker.settings, broker.web_port, broker.ssh_port, broker.tokens
        )
        restored.manage("restore", str(tmp_path / f"{number}.tar"))
        assert "the audit chain holds" in restored.manage("verify_audit").stdout
    restored.start()
    try:
        web9.broker = restored
        web9.start_agent()
        web9.wait_online()
    finally:
        restored.stop()


# Who may read it, and what there is to read


def walk(folder: Path) -> list[Path]:
    return [Path(where) / name for where, folders, files in os.walk(folder) for name in (*folders, *files)]


def too_open(folder: Path) -> list[str]:
    """What others could read or write: files that are not 0600, folders that are not 0700."""
    modes = {path: path.stat().st_mode & 0o7777 for path in (folder, *walk(folder))}
    return [f"{path} {mode:o}" for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)]


SECRET_FILES = ("keys", "secret_key")
"""Below the data directory: what is there to hold secrets."""


def is_for_secrets(path: Path, folder: Path) -> bool:
    return path.relative_to(folder).parts[0] in SECRET_FILES


def forms(secret: str) -> Iterator[bytes]:
    """As it is, and as text that somebody meant to hide would still be found."""
    plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield quote(secret, safe="").encode()
    for lead in range(3):  # base64 has another look at each of three places
        yield base64.b64encode(b"x" * lead + plain)[4 if lead else 0 : -4]


def content_of(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix != ".zst":
        return content
    return zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read()


def found_in(folder: Path, secrets: dict[str, str]) -> list[str]:
    """Which secret stands in which file; recordings are unpacked for it."""
    files = [path for path in walk(folder) if path.is_file() and not is_for_secrets(path, folder)]
    held = {path: content_of(path) for path in files}
    return [
        f"{name} in {path.name}"
        for name, secret in secrets.items()
        for path, content in held.items()
        if any(form in content for form in forms(secret))
    ]


@pytest.fixture
def lived_in(tmp_path) -> Iterator[Machine]:
    """A broker with JSON logs and a host on it that asks for passwords."""
    mask = os.umask(0o077)  # as `make run` and the unit have it, for the log that is opened here
    grant = terminal_grant("alice") | {"capabilities": ["terminal", "share"]}
    try:
        with (
            running(tmp_path / "broker", BROKERD_LOG_FORMAT="json") as broker,
            machine(tmp_path / "machines", "asker", broker) as made,
        ):
            made.bring_up(grant, ca=False, password=True)
            yield made
    finally:
        os.umask(mask)


async def planted(asker: Machine) -> dict[str, str]:
    """All kinds of secrets that pass through a broker, each used as it is meant to be."""
    broker = asker.broker
    secrets = {"password": PASSWORD, "API token": broker.tokens["alice"], "poll token": asker.enrollment["poll_token"]}
    browser = await asyncio.to_thread(Browser(broker).log_in, "alice")
    await asyncio.to_thread(browser.submit, "/account/reauthenticate/", password=PASSWORD)
    secrets["cookie"] = browser.cookie.split("brokerd=")[1].split(";")[0]
    page = (await asyncio.to_thread(browser.call, "GET", "/account/factors/app/")).body.decode()
    seed = re.search(r'class="seed">([A-Z2-7]+)<', page)
    assert seed, page
    secrets["seed of a second factor that is set up"] = seed[1]
    secrets["seed of a second factor"] = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXQ"
    printed = broker.do(
        "from allauth.mfa.totp.internal.auth import TOTP",
        "from terminals.models import Person",
        "from terminals.webhooks.acts import create_webhook",
        "from tunnels.audit import OPERATOR",
        f"TOTP.activate(Person.objects.get(username='bob'), '{secrets['seed of a second factor']}')",
        "facts = dict(name='pager', url='https://192.0.2.1/', events=['session.opened'], allows_private=True)",
        "print(create_webhook(**facts, actor=OPERATOR)[1])",
    )
    secrets["webhook secret"] = printed.split()[-1]
    secrets["enrollment token"] = broker.manage(
        "create_enrollment_token", "--name", "t", "--auto-approve"
    ).stdout.strip()
    with machine(asker.folder.parent, "taker", broker) as taker:
        taker.request(token=secrets["enrollment token"])
        secrets["private key of a host"] = body_of(taker.key)
    opened = await request_session(broker, "asker", LOGIN)
    terminal = Terminal(await open_socket(opened["socket"], broker), opened["id"], True)
    secrets["ticket"] = opened["ticket"]
    await terminal.attach(opened["ticket"])
    await terminal.until(b"password: ")
    secrets["password of a host"] = "typed-at-the-prompt-8f3a"
    await terminal.run(secrets["password of a host"])
    await terminal.wait(lambda: terminal.output.count(b"password: ") == 2, "asked again")
    shared = broker.api("POST", f"/sessions/{opened['id']}/shares", {"role": "watcher"}, person="alice", status=201)
    secrets["share secret"] = shared["url"].partition("#")[2]
    asked = broker.api("POST", "/shares/ask", {"secret": secrets["share secret"]}, person="charlie", status=200)
    secrets["key of who asks to join"] = asked["key"]
    await terminal.close()
    for path in (broker.data_dir / "keys").iterdir():
        secrets[f"keys/{path.name}"] = body_of(path)
    secrets["secret key"] = (broker.data_dir / "secret_key").read_text()
    return secrets


def body_of(key: Path) -> str:
    """A line that only the private part of a key file has; in OpenSSH's form of an Ed25519 key that is the fourth."""
    lines = [line for line in key.read_text().splitlines() if "-----" not in line]
    return lines[3] if len(lines) > 3 else lines[0]


async def test_a_copy_of_the_database_or_of_a_log_holds_no_secret(lived_in):
    """Nor does any other file of the data directory, but those that are there for keys."""
    broker = lived_in.broker
    secrets = await planted(lived_in)
    assert len(secrets) >= 16 and all(len(secret) >= 20 for secret in secrets.values()), secrets
    assert found_in(broker.data_dir, secrets) == [], "while it runs"
    assert (broker.data_dir / "brokerd.sqlite3-wal").stat().st_size, "which stands in the log of the database as well"
    broker.stop()
    assert found_in(broker.data_dir, secrets) == [], "once it has stopped"
    with closing(sqlite3.connect(broker.data_dir / "brokerd.sqlite3")) as database:
        dump = "\n".join(database.iterdump()).encode()
    assert b"alice" in dump
    assert [name for name, secret in secrets.items() if any(form in dump for form in forms(secret))] == []
    planted_there = (broker.data_dir / "planted").write_text(f"x{secrets['cookie']}x")
    assert planted_there and found_in(broker.data_dir, secrets) == ["cookie in planted"], "it would have been found"


async def test_nobody_else_can_read_a_file_of_the_data_directory(lived_in):
    """After a run with all that makes files; while the broker runs, and after it."""
    broker = lived_in.broker
    await planted(lived_in)
    broker.manage("backup", str(broker.data_dir / "backup.tar"))
    broker.manage("rotate_keys", "ca")
    names = {path.name for path in walk(broker.data_dir)}
    assert {"brokerd.sqlite3-wal", "audit.anchor", "user_ca.next", "recordings", "lock", "backup.tar"} <= names
    assert too_open(broker.data_dir) == []
    broker.stop()
    assert too_open(broker.data_dir) == []
