"""`brokerd.logs`: ours and the standard library's come out alike, in the format that was asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import logging, logging.config, structlog
from brokerd.logs import logging_config
logging.config.dictConfig(logging_config({format!r}))
structlog.get_logger("ours").info("terminal ended", session="s1", reason="line one\\nline two \\x1b[31m")
logging.getLogger("theirs").warning("disk %s", "full")
logging.getLogger("asyncssh").info("chatter")
logging.getLogger("daphne").info("chatter")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger("ours").exception("it broke", session="s2")
"""


def lines(log_format: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(format=log_format)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "", "logs go to stderr: stdout is for what commands print"
    assert "chatter" not in done.stderr
    return done.stderr.splitlines()


def test_json_is_one_object_a_line():
    ours, theirs, broken = map(json.loads, lines("json"))
    assert (ours["event"], ours["session"], ours["level"], ours["logger"]) == ("terminal ended", "s1", "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("disk full", "warning", "theirs")
    assert "ZeroDivisionError" in broken["exception"] and broken["session"] == "s2"
    assert all(entry["timestamp"].endswith("Z") for entry in (ours, theirs, broken))


def test_text_is_for_people_and_a_value_cannot_forge_a_line():
    text = lines("text")
    assert "terminal ended" in text[0] and "session=s1" in text[0]
    assert not any(line.startswith("line two") for line in text)
    assert "\x1b" not in "".join(text)
    assert "disk full" in text[1]
    assert any("ZeroDivisionError" in line for line in text)


HOSTILE = """
import logging, logging.config, structlog
from brokerd.logs import logging_config
logging.config.dictConfig(logging_config({format!r}))
evil = "x\\n2026-01-01T00:00:00Z [info] forged\\r\\x1b[2J\\u202e\\u2028\\x85"
structlog.get_logger("ours").info(evil, value=evil, values=[evil])
logging.getLogger("theirs").warning("name: %s", evil)
try:
    raise ValueError(evil)
except ValueError:
    structlog.get_logger("ours").exception("it broke", value=evil)
    logging.getLogger("theirs").exception("as well: %s", evil)
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_that_was_sent_forges_an_entry_or_reaches_the_terminal(log_format):
    """In a value, a message, or an exception; also from libraries that know nothing of this."""
    done = subprocess.run([sys.executable, "-c", HOSTILE.format(format=log_format)], capture_output=True, check=True)
    text = done.stderr.decode()
    assert not set("\x1b\r\u202e\u2028\x85") & set(text)
    entries = [line for line in text.split("\n") if line and not line.startswith("  ")]
    assert len(entries) == 4, entries
    assert not any(line.startswith("2026-01-01") for line in entries)
    assert text.count("forged") == 8, "each is there to be seen"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_errors_of_other_libraries_are_heard(log_format):
    from brokerd.logs import logging_config

    levels = {name: logger["level"] for name, logger in logging_config(log_format)["loggers"].items()}
    assert set(levels.values()) <= {"WARNING", "ERROR"}
