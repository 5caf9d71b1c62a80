"""Addresses of hosts: asked for whenever somebody connects, at nobody else's expense.

The system's resolver takes its time, half a minute where a name server is silent, and cannot be
told to stop. So each question has a thread of its own, one at a time whoever asks: it holds up no
other name, nothing else that waits for a thread, and no end of the program. After three seconds,
and where the answer is bad, the last good addresses are used (serve-stale, RFC 8767): they serve as
long as the venue keeps them, and whether it is the venue is for TLS to say. Good answers are not
kept otherwise: an address that has changed is the next connection's.

``Asking`` has everything that a process connects to go this way: sockets, REST, proxies and NATS.
Of several addresses the next is tried after a quarter of a second, too (Happy Eyeballs, RFC 8305):
one that is dead would else take all the time that there is to connect.

Not here: when to connect again (``feed``).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NamedTuple

from aiohappyeyeballs import start_connection

__all__ = ["Asking", "Names"]

from ..log import logger

log = logger(__name__)

_PATIENCE = 3.0  # seconds of the machine that an answer is waited for
_STALE_MAX = 86_400.0  # seconds that addresses may be used after they were had (RFC 8767, 5)
_KNOWN_MAX = 256  # questions whose addresses are kept, and hosts that trouble is told of
_ASKING_MAX = 64  # questions under way, each a thread
_NEXT_ADDRESS = 0.25  # seconds
_SILENT = "no answer from the name server"

Addresses = list[Any]
"""As ``socket.getaddrinfo`` gives them."""


class _Question(NamedTuple):
    """The arguments of ``getaddrinfo``."""

    host: str
    port: bytes | str | int | None
    family: int
    type: int
    proto: int
    flags: int


class Names:
    """Asks for addresses and remembers the last good ones. ``ask`` is ``socket.getaddrinfo``, which
    may block; ``now`` gives seconds that never jump, and is for tests."""

    def __init__(
        self,
        ask: Callable[..., Any] = socket.getaddrinfo,
        *,
        patience: float = _PATIENCE,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._patience = patience
        self._now = now
        self._known: OrderedDict[_Question, tuple[Addresses, float]] = OrderedDict()
        self._asking: dict[_Question, asyncio.Future[Addresses | OSError]] = {}
        self._wrong: OrderedDict[str, tuple[_Question, str]] = OrderedDict()  # by host
        self.failures: Counter[tuple[str, ...]] = Counter()  # by host

    @property
    def troubles(self) -> list[str]:
        """The hosts whose addresses could not be had when they were asked for last, and why."""
        return [f"{host}: {reason}" for host, (_, reason) in self._wrong.items()]

    async def resolve(self, question: _Question) -> Addresses:
        """The addresses of a host, or the last ones that it had. Raises ``socket.gaierror`` that
        names the host."""
        asking = self._asking.get(question) or self._begin(question)
        answer: Addresses | OSError = socket.gaierror(
            socket.EAI_AGAIN, "too many names are asked for"
        )
        if asking is not None:
            # Whoever else waits for it goes on.
            await asyncio.wait([asking], timeout=self._patience)
            silent = socket.gaierror(socket.EAI_AGAIN, f"{_SILENT} within {self._patience:g} s")
            answer = asking.result() if asking.done() else silent
        if isinstance(answer, list):
            return answer
        reason = answer.strerror or str(answer)
        self.failures[(question.host,)] += 1
        addresses, had = self._known.get(question, ([], 0.0))
        if addresses and self._now() - had < _STALE_MAX:
            self._tell(question, f"{reason}; its last address is used ({addresses[0][4][0]})")
            return addresses
        self._tell(question, reason)
        raise socket.gaierror(answer.errno or socket.EAI_FAIL, f"{question.host}: {reason}")

    async def look(self) -> None:
        """Asks again for what could not be had: nobody may have connected since."""
        questions = [question for question, _ in self._wrong.values()]
        await asyncio.gather(*map(self.resolve, questions), return_exceptions=True)

    def _begin(self, question: _Question) -> asyncio.Future[Addresses | OSError] | None:
        """None where too many are under way."""
        if len(self._asking) >= _ASKING_MAX:
            return None
        loop = asyncio.get_running_loop()
        asking = self._asking[question] = loop.create_future()
        asking.add_done_callback(lambda done: self._answered(question, done.result()))

        def ask() -> None:
            answer: Addresses | OSError
            try:
                answer = self._ask(*question)
            except OSError as error:
                answer = error
            except UnicodeError as error:
                # What cannot be written as a name has no address.
                answer = socket.gaierror(socket.EAI_NONAME, str(error))
            # The program may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(asking.set_result, answer)

        threading.Thread(target=ask, name=f"address of {question.host}", daemon=True).start()
        return asking

    def _answered(self, question: _Question, answer: Addresses | OSError) -> None:
        """Also where nobody has waited for it."""
        del self._asking[question]
        if isinstance(answer, OSError):
            return
        self._known[question] = answer, self._now()
        self._known.move_to_end(question)
        if len(self._known) > _KNOWN_MAX:
            self._known.popitem(last=False)
        if self._wrong.pop(question.host, None):
            log.info("its address is known again", host=question.host)

    def _tell(self, question: _Question, reason: str) -> None:
        before = self._wrong.get(question.host)
        if before is None or before[1] != reason:
            log.warning("its address is not known anew", host=question.host, reason=reason)
        self._wrong[question.host] = question, reason
        if len(self._wrong) > _KNOWN_MAX:
            self._wrong.popitem(last=False)


class Asking(asyncio.AbstractEventLoop):
    """Of an event loop: that it has addresses from ``names`` and tries them side by side. Stands
    before the loop's own class."""

    def __init__(self) -> None:
        super().__init__()
        self.names = Names()

    async def create_connection(
        self,
        protocol_factory: Callable[[], Any],
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> tuple[Any, Any]:
        """As of any loop, whose own race of addresses leaves sockets open when it is cancelled."""
        if host is None or _is_address(host):
            return await super().create_connection(protocol_factory, host, port, **options)
        chosen = {name: options.pop(name, 0) for name in ("family", "proto", "flags")}
        addresses = await self.getaddrinfo(host, port, type=socket.SOCK_STREAM, **chosen)
        sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS)
        if options.get("ssl"):
            options = {"server_hostname": host, **options}
        return await super().create_connection(protocol_factory, sock=sock, **options)

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Addresses:
        """As ``socket.getaddrinfo``. What is no name needs no name server."""
        if not isinstance(host, str) or _is_address(host):
            return await super().getaddrinfo(
                host, port, family=family, type=type, proto=proto, flags=flags
            )
        return await self.names.resolve(_Question(host, port, family, type, proto, flags))


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
