"""`terminals.protocol`: a closed set of messages; everything else is `BadMessage` and nothing else."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.protocol import Ack, Attach, BadMessage, Close, Message, Ping, Resize, control, parse

ATTACH = {"type": "attach", "ticket": "t", "cols": 80, "rows": 24, "output_offset": None, "input_offset": 5}

GOOD = [
    (ATTACH, Attach("t", 80, 24, None, 5)),
    ({**ATTACH, "output_offset": 0}, Attach("t", 80, 24, 0, 5)),
    ({"type": "attach", "ticket": "", "cols": 1, "rows": 1000}, Attach("", 1, 1000, None, None)),
    ({"type": "ack", "offset": 0}, Ack(0)),
    ({"type": "ack", "offset": 2**53 - 1}, Ack(2**53 - 1)),
    ({"type": "resize", "cols": 1000, "rows": 1}, Resize(1000, 1)),
    ({"type": "ping", "t": 12.5}, Ping(12.5)),
    ({"type": "ping", "t": -3, "unknown": "fields are left alone"}, Ping(-3)),
]

BAD = [
    "",
    "{",
    "[]",
    "null",
    '"attach"',
    "[" * 100_000,
    "1" * 5000,
    "{}",
    '{"type":null}',
    '{"type":["attach"]}',
    '{"type":"exit"}',
    '{"type":"attached"}',
    '{"type":"ATTACH"}',
    *(
        json.dumps({name: value for name, value in ATTACH.items() if name != gone})
        for gone in ("ticket", "cols", "rows")
    ),
    *(json.dumps({**ATTACH, "ticket": ticket}) for ticket in (None, 1, "x" * 201, "\ud800", "\x00", ["t"])),
    *(json.dumps({**ATTACH, "cols": cols}) for cols in (0, -1, 1001, 80.0, "80", True, None)),
    *(json.dumps({**ATTACH, "output_offset": offset}) for offset in (-1, 2**53, 1.5, "0", True, [])),
    *(json.dumps({"type": "ack", "offset": offset}) for offset in (None, -1, 2**53, 0.0, False, "1")),
    '{"type":"ack"}',
    '{"type":"resize","cols":80}',
    '{"type":"ping"}',
    *(f'{{"type":"ping","t":{t}}}' for t in ("NaN", "Infinity", "-Infinity", "1e999", "true", '"1"', "9" * 400)),
]


@pytest.mark.parametrize(("fields", "message"), GOOD)
def test_good(fields, message):
    assert parse(json.dumps(fields)) == message


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
def test_bad(text):
    with pytest.raises(BadMessage):
        parse(text)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
KINDS = st.sampled_from(["attach", "ack", "resize", "ping", "exit", "", "interrupt"])
NAMES = st.sampled_from(["ticket", "cols", "rows", "output_offset", "input_offset", "offset", "t"])


@given(st.one_of(JSON, st.builds(lambda kind, rest: {**rest, "type": kind}, KINDS, st.dictionaries(NAMES, JSON))))
def test_any_json_is_a_message_or_bad(value):
    parse_or_refuse(json.dumps(value))


@given(st.text())
def test_any_text_is_a_message_or_bad(text):
    parse_or_refuse(text)


def parse_or_refuse(text: str) -> None:
    try:
        message = parse(text)
    except BadMessage as refusal:
        assert str(refusal).isprintable()
    else:
        assert isinstance(message, Message)


@given(st.dictionaries(NAMES, JSON))
def test_a_control_message_is_one_line_of_json(fields):
    text = control("notice", **fields)
    assert json.loads(text)["type"] == "notice" and "\n" not in text


def test_close_codes_are_those_of_the_interface():
    assert {code.value for code in Close} <= {
        1000, 4400, 4401, 4403, 4404, 4408, 4409, 4410, 4411, 4412, 4413, 4414, 4500, 4503
    }  # fmt: skip
