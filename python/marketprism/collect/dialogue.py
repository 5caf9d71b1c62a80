"""What is asked of a venue on an open socket, and what of it is not answered yet.

A socket is told what it is to carry when it is opened, and later of channels that join or part.
Each is answered in its time, by name or by the number of the request, as the venue does it.

Not here: sending (``feed``), and what an answer looks like (``venues``).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from types import ModuleType

from ..venues import FIRST_NUMBER, Answer, Channel, Connection, Requests

__all__ = ["Dialogue"]


class Dialogue:
    """Of one socket. ``unanswered``: channels whose answer is awaited, by name. ``open``: all that
    was wanted when the socket was opened is asked for, so what comes later is asked for by
    itself."""

    def __init__(self, venue: ModuleType) -> None:
        self.unanswered: dict[str, Channel] = {}
        self.open = False
        self._venue = venue
        self._joining: dict[int, Sequence[Channel]] = {}
        self._parting: dict[int, Sequence[Channel]] = {}
        self._leaving: set[str] = set()
        self._left = asyncio.Event()
        self._late: dict[str, Channel] = {}
        self._numbers = itertools.count(FIRST_NUMBER)

    @property
    def waits(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self.unanswered or self._leaving)

    def begin(self, channels: Sequence[Channel]) -> None:
        """A socket is opened for these channels."""
        self._joining.clear()
        self._late.clear()
        self.unanswered = {channel.name: channel for channel in channels}

    def end(self) -> None:
        """It is closed: whoever waits for an answer has one."""
        self.open = False
        self._parting.clear()
        self._leaving = set()
        self._left.set()

    def join(self, channels: Sequence[Channel]) -> bytes:
        """What is to be said so that these channels join."""
        number = next(self._numbers)
        self._joining[number] = tuple(channels)
        self.unanswered |= {channel.name: channel for channel in channels}
        payload: bytes = self._venue.join(channels, number)
        return payload

    def part(self, channels: Sequence[Channel]) -> bytes:
        """What is to be said so that these channels part."""
        number = next(self._numbers)
        self._parting[number] = tuple(channels)
        self._leaving |= {channel.name for channel in channels}
        self._left.clear()
        payload: bytes = self._venue.part(channels, number)
        return payload

    async def parted(self, patience: float) -> None:
        """Returns once all that part are left, or after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._left.wait()
        self._parting.clear()
        self._leaving = set()

    def give_up(self) -> list[Channel]:
        """Awaits no answer any more: the channels that had none. One that comes all the same is
        taken."""
        given_up = list(self.unanswered.values())
        self._late |= self.unanswered
        self.unanswered.clear()
        return given_up

    def taken(self, answer: Answer) -> list[Channel]:
        """The channels that the venue says it took, each once, be it late."""
        found = (self.unanswered.pop(n, None) or self._late.pop(n, None) for n in answer.taken)
        return [channel for channel in found if channel]

    def hear(self, frame: bytes, connection: Connection) -> Answer | None:
        """What a frame says of channels; None where it is about something else."""
        asked = Requests(self._joining, self._parting)
        answer: Answer | None = self._venue.answer(frame, connection, asked)
        if answer is not None:
            self._leaving.difference_update(answer.left)
            if not self._leaving:
                self._left.set()
        return answer
