"""A JetStream key-value bucket whose values do not last, as every NATS client knows it.

Not here: what a value says, and who writes it (``lease``, ``members``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from marketprism.store.jetstream import Ask, Refused

__all__ = ["NO_STREAM", "OVERTAKEN", "Bucket"]

NO_STREAM = 10059
"""The server's number for a bucket that is not there."""
_NO_MESSAGE = 10037
OVERTAKEN = frozenset({10071, 10164})
"""Its numbers where somebody else wrote in between (the second on clusters)."""


class Bucket(NamedTuple):
    """``seconds``: how long a value lasts after it was written for the last time. All methods raise
    ``Unanswered`` or ``Refused``."""

    name: str
    seconds: float

    @property
    def stream(self) -> str:
        """Where the values are."""
        return f"KV_{self.name}"

    async def make(self, ask: Ask, replicas: int) -> None:
        """Makes it, on so many servers."""
        config: dict[str, Any] = {
            "name": self.stream,
            "subjects": [f"$KV.{self.name}.>"],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 1,
            "max_age": int(self.seconds * 1e9),
            "duplicate_window": int(self.seconds * 1e9),
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "allow_direct": True,
            "num_replicas": replicas,
        }
        await ask(f"$JS.API.STREAM.CREATE.{self.stream}", orjson.dumps(config))

    async def spread(self, ask: Ask, replicas: int) -> bool:
        """Puts one that is there on so many servers, as the streams are; whether it had to."""
        try:
            found = (await ask(f"$JS.API.STREAM.INFO.{self.stream}"))["config"]
        except Refused as refused:
            if refused.code != NO_STREAM:
                raise
            return False
        if found["num_replicas"] == replicas:
            return False
        body = orjson.dumps({**found, "num_replicas": replicas})
        await ask(f"$JS.API.STREAM.UPDATE.{self.stream}", body)
        return True

    async def newest(self, ask: Ask, subject: str) -> dict[str, Any] | None:
        """The newest message of a key; None where there is none."""
        body = orjson.dumps({"last_by_subj": subject})
        try:
            # Asked of the stream's leader: a direct get may be answered by one that lags behind.
            message: dict[str, Any] = (await ask(f"$JS.API.STREAM.MSG.GET.{self.stream}", body))[
                "message"
            ]
        except Refused as refused:
            if refused.code != _NO_MESSAGE:
                raise
            return None
        return message
