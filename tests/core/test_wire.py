"""`brokerd.wire`: a peer that does not read, or that floods, costs a bounded amount of memory (trap 1)."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from brokerd.wire import MAX_REASON, MAX_UNREAD, MAX_WAITING, BoundedQueue, WebSocketWire, frame
from terminals.protocol import WINDOW, Role
from terminals.seats import owner_seat
from terminals.session import TerminalSession
from terminals.viewer import Viewer
from tests.core.test_session import new_session
from tests.core.waiting import PATIENCE_S


class Transport:
    def __init__(self) -> None:
        self.producer = None
        self.reading = True

    def unregisterProducer(self) -> None:
        self.producer = None

    def registerProducer(self, producer, streaming) -> None:
        assert self.producer is None and streaming
        self.producer = producer

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class Protocol:
    """As much of Autobahn's as the wire uses. `unread` counts what lies in memory."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.transport.producer = "the HTTP channel"
        self.unread = 0
        self.dropped = False
        self.close = None

    def sendMessage(self, payload, is_binary) -> None:
        assert not self.dropped
        self.unread += len(payload)
        if self.unread > 65536:
            self.transport.producer.pauseProducing()

    def sendCloseFrame(self, code, reasonUtf8) -> None:
        self.close = (code, reasonUtf8.decode())

    def dropConnection(self, abort) -> None:
        assert abort
        self.dropped = True

    def read_all(self) -> None:
        self.unread = 0
        self.transport.producer.resumeProducing()


@pytest.fixture
def protocol() -> Protocol:
    return Protocol()


@pytest.fixture
def wire(protocol) -> WebSocketWire:
    return WebSocketWire(protocol)


async def test_a_viewer_that_does_not_read_stops_its_output(protocol, wire):
    session: TerminalSession = new_session()
    liar = Viewer(wire, owner_seat("alice"), Role.DRIVER)
    wire.on_writable = session.flush
    session.attach(liar, cols=80, rows=24, output_offset=None)
    for _ in range(200):
        session.output(bytes(10_000))
        session.flush()
        liar.ack(liar.sent)  # it acknowledges everything, and reads nothing
    assert not wire.writable and not protocol.dropped
    assert protocol.unread < 65536 + 40_000
    before = liar.sent
    protocol.read_all()
    assert before < liar.sent <= before + WINDOW


def test_whatever_else_is_written_the_connection_is_cut_in_the_end(protocol, wire):
    wire.pauseProducing()
    while not protocol.dropped:
        wire.send_text("x" * 1000)
    assert MAX_UNREAD - 2000 < protocol.unread <= MAX_UNREAD
    wire.send_text("nothing any more")
    wire.send_bytes(b"nothing any more")
    assert protocol.unread <= MAX_UNREAD


def test_reading_again_forgives(protocol, wire):
    for _ in range(10):
        wire.pauseProducing()
        wire.send_text("x" * (MAX_UNREAD // 2))
        protocol.read_all()
    assert not protocol.dropped and wire.writable


@pytest.mark.parametrize("code", [1000, 1011, 4411])
def test_a_close_carries_its_code_and_as_much_of_the_reason_as_fits(protocol, wire, code):
    wire.close(code, "€" * 100)
    assert protocol.close == (code, "€" * (MAX_REASON // 3))
    assert len(protocol.close[1].encode()) <= 123


@given(size=st.one_of(st.integers(0, 300), st.sampled_from([65535, 65536, 200_000])), is_text=st.booleans())
def test_a_frame_is_what_a_browser_reads(size, is_text):
    payload = b"x" * size
    reader = StreamReader()
    reader.feed_data(frame(payload, is_text=is_text))
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    read = done.value.value
    assert (read.data, read.fin) == (payload, True)
    assert read.opcode is (Opcode.TEXT if is_text else Opcode.BINARY)
    assert reader.buffer == b"", "nothing is left over"


async def test_reading_stops_while_too_much_waits_and_goes_on_after():
    transport = Transport()
    queue = BoundedQueue(transport)
    for number in range(MAX_WAITING - 1):
        queue.put_nowait({"n": number})
    assert transport.reading
    queue.put_nowait({"n": MAX_WAITING - 1})
    assert not transport.reading
    assert [(await queue.get())["n"] for _ in range(MAX_WAITING)] == list(range(MAX_WAITING))
    assert transport.reading


async def test_the_last_message_of_a_paused_connection_is_taken_as_well():
    """A disconnect is put into the queue however full it is, and a waiting consumer gets it."""
    queue = BoundedQueue(Transport())
    for _ in range(MAX_WAITING + 1):
        queue.put_nowait({"type": "websocket.receive"})
    queue.put_nowait({"type": "websocket.disconnect"})
    got = [await asyncio.wait_for(queue.get(), PATIENCE_S) for _ in range(MAX_WAITING + 2)]
    assert got[-1]["type"] == "websocket.disconnect"
