"""A WebSocket that gives its messages away the moment they are read.

Not here: who takes them (``feed``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.protocol import CONNECTING, Event

__all__ = ["Socket"]

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
# First byte of a frame that is a whole message: FIN, no extension, text or binary (RFC 6455 5.2).
_WHOLE = (0x81, 0x82)
# Second byte: below this a length, then one of 2 or of 8 bytes follows. A server masks nothing.
_SHORT_MAX, _OF_TWO, _OF_EIGHT = 125, 126, 127
_HEAD_END = b"\r\n\r\n"


class Socket(ClientConnection):
    """Gives a message that is one frame to ``take`` the moment it is read.

    Such a frame is cut out of what the transport brings here; everything else goes through the
    library, one frame at a time: handshake, control frames, messages in several frames (and every
    one after those, so that none overtakes another), and what no venue may send, which ends the
    connection as the library does. A frame costs 0.6 us so, and 5 us where the library parses it
    in a generator and queues it for an awaiting reader (``benches/stages.py``).
    """

    def __init__(self, *args: Any, take: Callable[[bytes], None], **options: Any) -> None:
        super().__init__(*args, **options)
        self._take = take
        self._whole = True
        self._by_library = self.protocol.max_message_size is None
        self._left = bytearray()  # the beginning of a frame; never more than one and what came last
        self._needed = 0  # bytes that it has when it is whole, as far as that is known
        self._head = b""  # the last bytes of an unfinished answer to the handshake

    def data_received(self, data: bytes) -> None:
        """What the transport read, cut wherever it may be."""
        if self.protocol.state is CONNECTING:
            before = len(self._head)
            end = (self._head + data).find(_HEAD_END)
            if end < 0:
                self._head = (self._head + data)[-len(_HEAD_END) + 1 :]
                super().data_received(data)
                return
            answered = end + len(_HEAD_END) - before
            super().data_received(data[:answered])
            data = data[answered:]
            # An answer that is no consent has a body, and the library reads on.
            self._by_library |= self.protocol.state is CONNECTING
        if self._by_library:
            if data:
                super().data_received(data)
            return
        if self._left:
            self._left += data
            if len(self._left) < self._needed:
                return
            data, self._left = bytes(self._left), bytearray()
        self._cut(data)

    def _cut(self, data: bytes) -> None:
        """One frame after another; the beginning of the next one is kept."""
        at, end, self._needed = 0, len(data), 2
        protocol, most = self.protocol, self.protocol.max_message_size or 0
        while end - at >= 2 and not self._by_library:
            begin, size = at + 2, data[at + 1]
            if _SHORT_MAX < size <= _OF_EIGHT:
                begin += 2 if size == _OF_TWO else 8
                size = int.from_bytes(data[at + 2 : begin], "big")
            if begin > end:
                self._needed = begin - at
                break
            stop = begin + size
            if data[at + 1] > _OF_EIGHT or size > most:
                # Masked, or too large: the library ends the connection.
                self._by_library, stop = True, end
            elif stop > end:
                self._needed = stop - at
                break
            if data[at] in _WHOLE and self._whole and not self._by_library:
                self._take(data[begin:stop])
            else:
                super().data_received(data[at:stop])
                # What comes after the end is nobody's.
                self._by_library |= bool(protocol.close_rcvd or protocol.parser_exc)
            at = stop
        if self._by_library:
            super().data_received(data[at:])
        else:
            self._left += data[at:]

    def process_event(self, event: Event) -> None:
        """A frame, or the answer to the handshake."""
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            super().process_event(event)
        elif self._whole and event.fin and event.opcode is not Opcode.CONT:
            self._take(bytes(event.data))
        else:
            self._whole = False
            super().process_event(event)
