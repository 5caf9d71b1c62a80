"""A message for many clients: its bytes on a connection are made once and written to each.

uvicorn makes a frame of a text for each client anew, by three copies of it. What a feed tells goes
to all of its members alike, and nothing in a frame of a server is of one connection: so it carries
its frame along, beside the text that any other server of the application would send.

Not here: who is told what (``feed``), and what comes in (``socket``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State

__all__ = ["Frames", "Shared", "shared"]

_FRAME = "marketprism.frame"


class Shared(NamedTuple):
    """A message as text, and as a frame."""

    text: str
    frame: bytes

    def message(self) -> dict[str, Any]:
        """As the application sends it."""
        return {"type": "websocket.send", "text": self.text, _FRAME: self.frame}


def shared(text: bytes) -> Shared:
    """A message of UTF-8 for several clients."""
    return Shared(text.decode(), Frame(Opcode.TEXT, text).serialize(mask=False))


class Frames(WebSocketsSansIOProtocol):
    """A client's connection from the moment at which it becomes a WebSocket."""

    async def send(self, message: Any) -> None:
        """One message of the application; it waits while the client takes nothing."""
        frame = message.get(_FRAME)
        if frame is not None:
            await self.writable.wait()
            if self._plain():
                self.transport.write(frame)
                return
        await super().send(message)

    def _plain(self) -> bool:
        """Whether frames go out as they are: it is open, and nothing was agreed that changes
        them."""
        opened = self.handshake_complete and self.initial_response is None
        over = self.close_sent or self.disconnected
        return opened and not over and self.conn.state is State.OPEN and not self.conn.extensions
