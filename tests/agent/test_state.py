from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import asyncssh
import pytest

from tunnels.agent.state import Broker, Gateway, State, StateError

from .stand_in import line_of


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def a_broker() -> Broker:
    line = line_of(asyncssh.generate_private_key("ssh-ed25519"))
    return Broker("https://b", "e1", "web1", "approved", 22100, line, Gateway("b", 2222, (line,)), "2026-01-01")


def test_everything_is_private_and_lasts(state_dir: Path) -> None:
    broker = a_broker()
    with State(state_dir) as state:
        key, host_key = line_of(state.key()), line_of(state.host_key())
        assert state.broker() is None
        state.save_broker(broker)
        state.save_broker(dataclasses.replace(broker, state="revoked"))
    assert key != host_key and key.startswith("ssh-ed25519 ")
    assert mode(state_dir) == 0o700
    assert {path.name: mode(path) for path in state_dir.iterdir()} == dict.fromkeys(
        ["key", "host_key", "broker.json", "lock"], 0o600
    )
    with State(state_dir) as state:
        assert (line_of(state.key()), line_of(state.host_key())) == (key, host_key)
        assert state.broker() == dataclasses.replace(broker, state="revoked")


def test_second_agent_is_kept_out_until_the_first_ends(state_dir: Path) -> None:
    with State(state_dir), pytest.raises(StateError, match="another agent uses"), State(state_dir):
        pass
    with State(state_dir):
        pass


def test_unusable_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot use"), State(tmp_path / "file" / "state"):
        pass


def test_damaged_files_say_what_to_do(state_dir: Path) -> None:
    with State(state_dir) as state:
        state.key()
        (state_dir / "key").write_text("nonsense")
        with pytest.raises(StateError, match=r"key is damaged: delete it"):
            state.key()
        for content in ("nonsense", "[]", "{}", json.dumps({**dataclasses.asdict(a_broker()), "ca_public_key": "x"})):
            (state_dir / "broker.json").write_text(content)
            with pytest.raises(StateError, match=r"broker.json is damaged"):
                state.broker()


def test_key_that_others_can_read_is_not_used(state_dir: Path) -> None:
    with State(state_dir) as state:
        state.key()
        (state_dir / "key").chmod(0o644)
        with pytest.raises(StateError, match="can be read by others"):
            state.key()
