"""Text frames as bytes, many to one write.

``ServerConnection.send`` costs ten times what a frame does here, which would make the simulator the
slowest part of the chain. Frames are written whole and unfragmented between those that the library
writes itself (acks, pings, closes), so both may use one connection.

Not here: who gets which frame, and when.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from urllib.parse import unquote, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode
from websockets.protocol import State

__all__ = ["ABORT_AFTER", "evict", "reset", "split_target", "text_frame", "write"]

ABORT_AFTER = 2.0  # seconds for a client that does not read to take note of its eviction


def text_frame(payload: bytes) -> bytes:
    """One unmasked, final text frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def write(connection: ServerConnection, frames: list[bytes]) -> bool:
    """Hand frames to the transport and empty the list; False, and nothing done, if it is closed."""
    if connection.state is not State.OPEN:
        return False
    connection.transport.write(b"".join(frames))
    frames.clear()
    return True


def evict(
    connection: ServerConnection, reason: str, code: int = CloseCode.POLICY_VIOLATION
) -> None:
    """Close on a client that may not be reading: at once, without waiting for its answer."""
    if connection.state is not State.OPEN:
        return
    connection.protocol.send_close(code, reason)
    connection.send_data()
    asyncio.get_running_loop().call_later(ABORT_AFTER, connection.transport.abort)


def reset(connection: ServerConnection) -> None:
    """Hang up with a TCP reset; what waits to be written is lost."""
    transport = connection.transport
    if (raw := transport.get_extra_info("socket")) is not None and not transport.is_closing():
        # A linger of no seconds makes the kernel send RST instead of FIN.
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def split_target(target: str) -> tuple[str, str, str]:
    """``/host:port/path?query``, as our servers are asked, into host, path and query, unquoted."""
    parts = urlsplit(target)
    host, _, path = parts.path.lstrip("/").partition("/")
    return unquote(host), "/" + unquote(path).rstrip("/"), unquote(parts.query)
