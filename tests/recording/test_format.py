"""`terminals.recording.format`: what readers of asciicast v2 rely on, whatever a host prints, and in what pieces."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminals.recording.format import (
    COALESCE_S,
    MAX_LINE,
    Damaged,
    Encoder,
    Event,
    FrameWriter,
    Kind,
    header,
    parse_header,
    parse_line,
    read_frames,
)

PIECES = st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(lambda text: text.encode())))


def encode(*events: Event) -> list[bytes]:
    encoder = Encoder()
    return [*encoder.lines(events), *encoder.rest(events[-1].time if events else 0)]


def output(data: bytes, time: float = 0) -> Event:
    return Event(time, Kind.OUTPUT, data)


def frame(*lines: bytes) -> bytes:
    writer = FrameWriter()
    return writer.add(b"".join(lines)) + writer.finish()


@given(PIECES, st.floats(0, 1))
def test_any_bytes_in_any_pieces(pieces, pause):
    """Valid lines, whose text is that of all the bytes, whether the pieces come in one line or in many."""
    lines = encode(*(output(piece, number * pause) for number, piece in enumerate(pieces)))
    events = [parse_line(line) for line in lines]
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert all(kind == "o" and text for _, kind, text in events)
    assert "".join(text for _, _, text in events) == b"".join(pieces).decode(errors="replace")
    assert [time for time, _, _ in events] == sorted(time for time, _, _ in events)


@given(PIECES)
def test_encoded_in_several_batches(pieces):
    encoder = Encoder()
    lines = [line for piece in pieces for line in encoder.lines([output(piece)])]
    text = "".join(parse_line(line)[2] for line in [*lines, *encoder.rest(0)])
    assert text == b"".join(pieces).decode(errors="replace")


def test_pieces_of_a_moment_are_one_line_and_others_are_not():
    lines = encode(output(b"a"), output(b"b", COALESCE_S), output(b"c", 2 * COALESCE_S), output(b"d" * MAX_LINE, 2))
    assert [parse_line(line)[2] for line in lines] == ["ab", "c", "d" * MAX_LINE]
    long = encode(*(output(b"x" * 1000) for _ in range(1000)))
    assert max(len(parse_line(line)[2]) for line in long) <= MAX_LINE < 1_000_000 / len(long) * 2


def test_sizes_and_marks_stay_where_they_were():
    lines = encode(
        output(b"a"), Event(0, Kind.RESIZE, b"80x24"), output(b"b"), Event(0, Kind.MARK, "böb".encode()), output(b"c")
    )
    assert [json.loads(line)[1:] for line in lines] == [
        ["o", "a"],
        ["r", "80x24"],
        ["o", "b"],
        ["m", "böb"],
        ["o", "c"],
    ]


def test_the_header_says_where_and_nothing_else():
    fields = parse_header(header(cols=80, rows=24, timestamp=1_700_000_000, title="root@wéb1", term="xterm"))
    assert fields == {
        "version": 2,
        "width": 80,
        "height": 24,
        "timestamp": 1_700_000_000,
        "title": "root@wéb1",
        "env": {"TERM": "xterm"},
    }


@pytest.mark.parametrize("line", [b"", b"[]", b'{"version": 1}', b"\xff", b"{"])
def test_what_is_no_header(line):
    with pytest.raises(ValueError):
        parse_header(line)


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'["1", "o", "x"]', b'[1, "o", 2]', b'[1, "o", "x', b"\xff"])
def test_what_is_no_event(line):
    with pytest.raises(ValueError):
        parse_line(line)


# Frames

LINES = [b'[%d.000000, "o", "line %d"]\n' % (number, number) for number in range(20)]


def test_frames_are_found_with_their_places():
    file = frame(*LINES[:5]) + frame(*LINES[5:6]) + frame(*LINES[6:])
    found = list(read_frames(BytesIO(file)))
    assert [one.lines for one in found] == [LINES[:5], LINES[5:6], LINES[6:]]
    assert b"".join(one.stored for one in found) == file and all(one.is_whole for one in found)
    for one in found:
        assert next(read_frames(BytesIO(file), one.offset)) == one


@given(st.integers(0, 10_000))
def test_cut_off_anywhere(cut):
    """What was flushed before is there, to its last whole line."""
    writer = FrameWriter()
    parts = [frame(*LINES[:5]), writer.add(LINES[5]), writer.flush(), writer.add(LINES[6]), writer.flush()]
    file = b"".join(parts)
    cut %= len(file) + 1
    lines = [line for one in read_frames(BytesIO(file[:cut])) for line in one.lines]
    flushed = sum(cut >= len(b"".join(parts[:upto])) for upto in (3, 5))
    whole = 5 if cut >= len(parts[0]) else len(lines)
    assert lines == LINES[: whole + flushed]


def test_another_thing_after_a_good_frame():
    file = frame(*LINES) + b"\0" * 100
    frames = read_frames(BytesIO(file))
    assert next(frames).lines == LINES
    with pytest.raises(Damaged) as damage:
        next(frames)
    assert damage.value.offset == len(frame(*LINES))


def test_an_empty_file_has_no_frames():
    assert list(read_frames(BytesIO(b""))) == []
