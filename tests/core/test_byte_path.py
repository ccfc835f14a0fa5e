"""What the byte path leaves out of its libraries: frames of our own, and no SSH packet that says nothing."""

from __future__ import annotations

from weakref import ref

import pytest
from websockets.frames import Frame, Opcode

from brokerd.wire import frame
from tunnels.algorithms import ENCRYPTION, MSG_IGNORE, send_no_ignore


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
@pytest.mark.parametrize("is_text", [True, False])
def test_a_frame_is_what_another_implementation_makes(size, is_text):
    payload = b"x" * size
    assert frame(payload, is_text=is_text) == Frame(Opcode.TEXT if is_text else Opcode.BINARY, payload).serialize(
        mask=False
    )


class Connection:
    def __init__(self) -> None:
        self.sent = []

    def send_packet(self, kind, *parts, handler=None) -> None:
        self.sent.append((kind, parts, handler))


def test_ignore_packets_are_not_sent_and_all_others_are():
    connection = Connection()
    send_no_ignore(connection)
    connection.send_packet(MSG_IGNORE, b"")
    connection.send_packet(94, b"a", b"b", handler="channel")
    assert connection.sent == [(94, (b"a", b"b"), "channel")]


def test_a_connection_goes_as_soon_as_nobody_holds_it():
    connection = Connection()
    send_no_ignore(connection)
    gone = ref(connection)
    del connection
    assert gone() is None


def test_no_cipher_is_offered_that_would_need_them():
    assert not [name for name in ENCRYPTION if "cbc" in name]
