"""Who is told to end has ended, however often it must be said."""

from __future__ import annotations

import asyncio

from marketprism.ending import ended


def test_who_takes_a_cancellation_for_something_else_is_told_again() -> None:
    heard: list[str] = []

    async def deaf(name: str, times: int) -> None:
        """As nats-py does while it flushes."""
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                heard.append(name)
                if heard.count(name) > times:
                    raise

    async def fails() -> None:
        raise ValueError("of its own")

    async def run() -> None:
        tasks = [asyncio.create_task(deaf("hears", 0)), asyncio.create_task(deaf("deaf", 2))]
        tasks.append(asyncio.create_task(fails()))
        await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await ended(tasks)
        assert all(task.done() for task in tasks)

    asyncio.run(run())
    assert (heard.count("hears"), heard.count("deaf")) == (1, 3)
