from __future__ import annotations

from pathlib import Path

import pytest

from tunnels.agent.__main__ import main
from tunnels.agent.config import Config, Target, UsageError, name_from_hostname, parse_file, read_orders


def read_all(home: Path, *arguments: str, conf: str = "", **environment: str) -> tuple[Config, ...]:
    file = home / ".config" / "brokerd" / "agent.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    if conf:
        file.write_text(conf)
    return read_orders(arguments, {"HOME": str(home), **environment}).agents


def read(home: Path, *arguments: str, conf: str = "", **environment: str) -> Config:
    (config,) = read_all(home, *arguments, conf=conf, **environment)
    return config


def test_defaults(tmp_path: Path) -> None:
    config = read(tmp_path, "--broker", "https://broker.example/", "--name", "web1")
    state = tmp_path / ".local" / "state" / "brokerd-agent"
    assert config == Config("https://broker.example", None, "web1", None, state)


def test_file_gives_all_the_names_of_the_command_line(tmp_path: Path) -> None:
    conf = "# mine\n\nbroker = https://b\ntoken=t = x\nname = web1\nforward = [::1]:22\nstate = /srv/agent\n"
    assert read(tmp_path, conf=conf) == Config("https://b", "t = x", "web1", Target("::1", 22), Path("/srv/agent"))


def test_command_line_wins_then_environment_then_file(tmp_path: Path) -> None:
    conf = "broker = https://file\ntoken = file\nname = file\nlogin-shell = yes\n"
    config = read(tmp_path, "--name", "line", "--forward", "127.0.0.1:22", conf=conf, BROKERD_TOKEN="environment")
    assert (config.broker, config.token, config.name) == ("https://file", "environment", "line")
    assert config.forward == Target("127.0.0.1", 22)
    assert read(tmp_path, "--token", "line", conf=conf, BROKERD_TOKEN="environment").token == "line"
    assert read(tmp_path, "--login-shell", conf=conf.replace("login-shell = yes", "forward = h:1")).forward is None


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*other\.conf"):
        read(tmp_path, "--broker", "https://b", "--config", str(tmp_path / "other.conf"))
    other = tmp_path / "other.conf"
    other.write_text("broker = https://other\nname = other\n")
    assert read(tmp_path, "--config", str(other), "-F", conf="broker = https://default\n").broker == "https://other"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("brokr = https://b", r"agent.conf:2: unknown key 'brokr'; known are authorized-keys, broker, forward"),
        ("broker", r"agent.conf:2: not a `key = value` line"),
        ("broker =", r"agent.conf:2: not a `key = value` line"),
        ("name = a\nname = b", r"agent.conf:3: name is given twice"),
        ("[work", r"agent.conf:2: a section is a name in brackets"),
        ("[../up]", r"agent.conf:2: a section is a name in brackets"),
        ("[a]\n[a]", r"agent.conf:3: section a is there twice"),
    ],
)
def test_bad_lines(line: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_file(f"# comment\n{line}\n", source="agent.conf")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--broker", "ftp://b"],
        ["--broker", "https://"],
        ["--broker", "https://b:notaport"],
        ["--broker", "https://user:pw@b"],
        ["--broker", "https://b?x=1"],
        ["--broker", "https://b", "--name", "Web1"],
        ["--broker", "https://b", "--name", "-web"],
        ["--broker", "https://b", "--name", "x" * 64],
        ["--broker", "https://b", "--forward", "22"],
        ["--broker", "https://b", "--forward", "host:0"],
        ["--broker", "https://b", "--forward", "host:65536"],
        ["--broker", "https://b", "--forward", "host:1", "--login-shell"],
        ["--broker", "https://b", "--nonsense"],
        ["--broker", "https://b", "--forward", "host:1", "--authorized-keys", "keys"],
        ["--brok", "https://b"],
        ["--broker"],
        ["extra"],
    ],
)
def test_bad_arguments_are_one_line_and_exit_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("brokerd-agent: ") and err.count("\n") == 1


SECTIONS = """
name = box
login-shell = yes
[work]
broker = https://work
token = secret-of-work
forward = 127.0.0.1:22
[home]
broker = https://home
name = attic
state = /srv/home
"""


def test_sections_are_agents_with_a_state_of_their_own(tmp_path: Path) -> None:
    base = tmp_path / ".local" / "state" / "brokerd-agent"
    assert read_all(tmp_path, conf=SECTIONS) == (
        Config("https://work", "secret-of-work", "box", Target("127.0.0.1", 22), base / "work", section="work"),
        Config("https://home", None, "attic", None, Path("/srv/home"), section="home"),
    )


def test_one_brokers_token_is_not_for_another(tmp_path: Path) -> None:
    for arguments in (["--token", "t"], ["--name", "n"], ["--state", "s"]):
        with pytest.raises(UsageError, match="is for one broker"):
            read_all(tmp_path, *arguments, conf=SECTIONS)
    with pytest.raises(UsageError, match="BROKERD_TOKEN is for one broker"):
        read_all(tmp_path, conf=SECTIONS, BROKERD_TOKEN="t")
    with pytest.raises(UsageError, match="token stands before the sections"):
        read_all(tmp_path, conf=f"token = t\n{SECTIONS}")


def test_a_broker_on_the_command_line_leaves_the_sections_alone(tmp_path: Path) -> None:
    config = read(tmp_path, "--broker", "https://other", "--token", "t", conf=SECTIONS)
    assert (config.broker, config.token, config.name, config.section) == ("https://other", "t", "box", "")


def test_a_mistake_in_a_section_names_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[work\]: no broker given"):
        read_all(tmp_path, conf="name = box\n[work]\n")


def test_what_is_to_be_done(tmp_path: Path) -> None:
    given = ["--broker", "https://b", "--name", "b"]
    orders = [read_orders([*words, *given], {"HOME": str(tmp_path)}) for words in ([], ["-F"], ["doctor"])]
    assert [(order.command, order.never_die) for order in orders] == [("run", False), ("run", True), ("doctor", False)]


def test_list_of_keys_is_found_from_anywhere(tmp_path: Path) -> None:
    config = read(tmp_path, "--broker", "https://b", "--name", "b", "--authorized-keys", "keys")
    assert config.authorized_keys == Path.cwd() / "keys"


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("web1", "web1"),
        ("Web1.example.com", "web1"),
        ("my_box", "my-box"),
        ("-x-", "x"),
        ("ä1", "1"),
        ("a" * 70, "a" * 63),
    ],
)
def test_name_from_hostname(hostname: str, name: str) -> None:
    assert name_from_hostname(hostname) == name


@pytest.mark.parametrize("hostname", ["", "localhost", "localhost.localdomain", "___"])
def test_no_name_from_hostname(hostname: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        name_from_hostname(hostname)
