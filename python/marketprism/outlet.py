"""The way of facts out of a process: a publisher with its spool.

Not here: what either does (``collect``).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from .collect.publish import Publisher, PublishError
from .collect.record import Unpublished
from .collect.spool import Spool, SpoolError
from .config import Settings
from .directory import RunError
from .disk import bounds

__all__ = ["opened"]


async def opened(
    settings: Settings, nats_url: str, directory: Path, stack: contextlib.AsyncExitStack
) -> Publisher:
    """Connects; the spool is kept in ``directory``. ``stack`` closes both. Without a URL nothing is
    published. Raises ``RunError``."""
    bound = bounds(settings)["spool"]
    power = settings.durability == "power"
    spool = Spool(directory / "spool.sqlite", bytes_max=bound, durable=power)
    if not nats_url:
        return Unpublished(settings.nats, nats_url, spool)
    publisher = Publisher(settings.nats, nats_url, spool, power=power)
    try:
        await spool.open()
        await spool.requeue_copies()
        await publisher.connect()
    except (PublishError, SpoolError) as error:
        await spool.close()
        raise RunError(str(error)) from error
    stack.push_async_callback(publisher.close)
    return publisher
