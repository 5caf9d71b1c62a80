"""Questions over HTTP, within what a venue allows and never before it wants to be asked again.

Who asks again: ``get`` is one attempt, for whoever asks again by himself (seeds: the engine, with a
pacing of its own); ``ask`` tries as often as the cause of a failure is worth, for what nobody else
repeats (lists of instruments). Neither asks a limit or a host again before its time is over.

Not here: what a body means (the engine), what is left of a limit (``budget``), how a host has done
(``host``) and by which proxy it is reached (``route``).
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError

from ..clock import Clock, SteadyClock
from ..log import logger
from ..metrics import Values
from ..venues import VENUES, Charge, venue_of_rest, venue_of_socket
from .budget import Budget, Closed, Priority, lasting
from .host import Host
from .route import Route, untrusted

__all__ = ["Cause", "Priority", "Rest", "RestError"]

log = logger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=20, connect=5)
_BODY_MAX = 64 * 1024**2
_CONNECTIONS_MAX = 16  # by each proxy, and without one
_BAN_MIN = 120.0  # seconds: the shortest ban of PROTOCOLS 6.1, where a 418 does not say how long
_DELAY_MAX, _DELAY_FACTOR, _JITTER = 60.0, 2.0, 0.1  # FEATURES S0-03
_TAKES_SHARE = 0.125  # of the newest answer in what a venue takes of late

# What the library shows of its TLS, which says nothing to anybody.
_SHOWN = re.compile(r" ssl:(<[^>]*>|\w+)")
_TRANSPORT = (
    aiohttp.ClientError,
    asyncio.IncompleteReadError,
    OSError,
    ProxyConnectionError,
    ProxyError,
    ProxyTimeoutError,
)
_ADVICE = {
    403: "the venue's firewall refuses this address: ask less, or name another host or a proxy "
    "(exchanges: hosts, proxy)",
    451: "the venue does not serve this region: name its regional host or a proxy (exchanges: "
    "hosts, proxy)",
}


class Cause(StrEnum):
    """Why there is no answer, as far as it decides on asking again."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    SERVER = "server"
    FINAL = "final"  # it will be the same again


# FEATURES S0-03: attempts, and seconds after the first.
_POLICIES = {
    Cause.CONNECTION: (5, 2.0),
    Cause.RATE_LIMIT: (3, 5.0),
    Cause.SERVER: (4, 1.0),
    Cause.TIMEOUT: (3, 3.0),
    Cause.FINAL: (1, 0.0),
}


class RestError(Exception):
    """A question that was not answered. ``status`` is 0 where no HTTP answer came, ``left`` the
    seconds before which asking again is of no use."""

    def __init__(
        self, url: str, status: int, reason: str, cause: Cause = Cause.FINAL, left: float = 0.0
    ) -> None:
        super().__init__(f"{url}: {reason}")
        self.status = status
        self.reason = reason
        self.cause = cause
        self.left = left


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def date(self) -> float | None:
        """The host's clock, in whole seconds."""
        return _http_date(self.headers.get("Date", ""))

    def retry_after(self) -> float | None:
        """Seconds; None where nothing usable is said."""
        said = self.headers.get("Retry-After", "").strip()
        if said.isdecimal():
            return float(said)
        at, date = _http_date(said), self.date()
        return None if at is None or date is None else max(0.0, at - date)


def _http_date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None


class Rest:
    """What is shared by all who ask: sessions, each venue's budget, each host's health.

    ``recorded``: the venue is a recording, which has no limits, and nothing more to say when it is
    asked again. ``bans``: a file that keeps what a venue forbids beyond this run. ``clock`` is the
    run's; ``draw`` (in [0, 1)) is for tests.
    """

    def __init__(
        self,
        *,
        recorded: bool = False,
        bans: Path | None = None,
        clock: Clock | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.recorded = recorded
        self._bans_file = bans
        self._clock = clock or SteadyClock()
        self._draw = draw
        self._bans: dict[str, float] = {}
        self._budgets: dict[str, Budget] = {}
        self._hosts: dict[str, Host] = {}
        self._sessions: dict[str | None, aiohttp.ClientSession] = {}  # by proxy
        self._refused: Counter[tuple[str, ...]] = Counter()
        self._takes: dict[str, float] = {}  # by venue
        self.spent: Counter[tuple[str, ...]] = Counter()
        """Units of each limit that our own questions took, since the start."""
        # By documented host, while questions to it fail; a few a venue.
        self._failing: dict[str, str] = {}
        self._sharers = 1

    async def __aenter__(self) -> Rest:
        self._bans = _read_bans(self._bans_file) if self._bans_file else {}
        return self

    async def __aexit__(self, *_: object) -> None:
        for session in self._sessions.values():
            await session.close()

    async def ask(
        self,
        url: str,
        priority: Priority,
        route: Route,
        granted: Callable[[], None] = lambda: None,
    ) -> bytes:
        """The body of the answer to a documented URL, by as many attempts as the cause of each
        failure is worth, further and further apart; ``granted`` is called before each. Raises the
        last ``RestError``."""
        failed: Counter[Cause] = Counter()
        while True:
            try:
                return await self.get(url, priority, route, granted)
            except RestError as error:
                failed[error.cause] += 1
                attempts, base = _POLICIES[error.cause]
                if failed[error.cause] >= attempts or error.left > _DELAY_MAX or self.recorded:
                    raise
                delay = base * _DELAY_FACTOR ** (failed[error.cause] - 1)
                delay = min(delay * (1 + _JITTER * (2 * self._draw() - 1)), _DELAY_MAX)
                delay = max(delay, error.left)
            await self._clock.sleep(delay)

    async def get(
        self,
        url: str,
        priority: Priority,
        route: Route,
        granted: Callable[[], None] = lambda: None,
    ) -> bytes:
        """The body of the answer to a documented URL, by one attempt, once the venue's limits have
        room for it: then ``granted`` is called. Raises ``RestError``."""
        if self.recorded:
            granted()
            return await self._attempt(url, route, Budget(self._clock), ())
        budget, charges = self._budget(url), _charges(url)
        try:
            async with budget.reserve(charges, priority):
                granted()
                self.spent.update({(charge.limit.name,): charge.cost for charge in charges})
                return await self._attempt(url, route, budget, charges)
        except Closed as error:
            raise RestError(url, 429, str(error), Cause.FINAL, error.left) from None

    def share(self, sharers: int) -> None:
        """So many, we among them, ask venues from this address from now on."""
        if sharers != self._sharers:
            self._sharers = sharers
            for budget in self._budgets.values():
                budget.share(sharers)

    def fits(self, url: str, count: int, priority: Priority) -> bool:
        """Whether the venue's limits have room for so many questions like this one now."""
        return self.recorded or self._budget(url).fits(_charges(url), count, priority)

    def forecast(self, questions: Sequence[tuple[str, Priority]]) -> list[float]:
        """Seconds until each of these questions to one venue may be put, in this order; none waits
        for anything but the venue's limits."""
        if self.recorded or not questions:
            return [0.0] * len(questions)
        charged = [(_charges(url), priority) for url, priority in questions]
        return self._budget(questions[0][0]).forecast(charged)

    def lasting(self, url: str, priority: Priority) -> float:
        """Questions like this one a second that the venue's limits bear for good."""
        rates = [lasting(c.limit, priority) / c.cost for c in _charges(url) if c.cost]
        return min(rates, default=math.inf) / self._sharers

    def expect(self, who: str, url: str, priority: Priority, more: bool) -> None:
        """Whether more questions like this one come when earlier ones are answered: what is of
        lower priority is put off for them."""
        if not self.recorded:
            self._budget(url).expect(who, _charges(url) if more else (), priority)

    @property
    def failing(self) -> list[str]:
        """Of each documented host of which the last question got no answer: who was asked, and
        why there is none."""
        return [*self._failing.values()]

    def takes(self, url: str) -> float:
        """Seconds that this venue took of late for an answer; 0 until it has given one."""
        return self._takes.get(venue_of_rest(url), 0.0)

    def _budget(self, url: str) -> Budget:
        return self._budget_of(venue_of_rest(url))

    def _budget_of(self, venue: str) -> Budget:
        if venue not in self._budgets:
            self._budgets[venue] = Budget(self._clock, self._bans)
            self._budgets[venue].share(self._sharers)
        return self._budgets[venue]

    @asynccontextmanager
    async def connecting(self, url: str) -> AsyncIterator[None]:
        """Waits until the venue of a documented socket may be connected to once more, and holds the
        attempt. Raises ``Closed`` where too many wait."""
        if self.recorded:
            yield
            return
        venue = venue_of_socket(url)
        async with self._budget_of(venue).reserve(
            (Charge(VENUES[venue].CONNECTS, 1),), Priority.SEED
        ):
            yield

    def values(self) -> Values:
        """What the metrics page shows of it."""
        now = self._clock.now()
        usage = [each for budget in self._budgets.values() for each in budget.usage().items()]
        waits: Counter[tuple[str, ...]] = Counter()
        for budget in self._budgets.values():
            for priority, n in budget.waits.items():
                waits[(priority.name.lower(),)] += n
        return {
            "marketprism_rest_weight_used": {(name,): used for name, (used, _) in usage},
            "marketprism_rest_weight_limit": {(name,): limit for name, (_, limit) in usage},
            "marketprism_rest_units_total": self.spent,
            "marketprism_rest_waits_total": waits,
            "marketprism_rest_refusals_total": self._refused,
            "marketprism_rest_breaker_open": {
                (host.name,): host.state(now) for host in self._hosts.values()
            },
        }

    async def _attempt(
        self, url: str, route: Route, budget: Budget, charges: tuple[Charge, ...]
    ) -> bytes:
        host, place = self._choose(url, route)
        on_trial = host.open_until > 0
        host.trials += on_trial
        error: RestError | None = None
        try:
            sent = self._clock.now()
            answer = await self._exchange(place, route)
            date = answer.date()
            for charge in charges:
                used = answer.headers.get(charge.header, "")
                if used.isdecimal() and date is not None:
                    budget.tell(charge, int(used), date, sent)
            error = self._judge(url, answer, host, budget, charges)
        except RestError as failure:
            error = failure
        finally:
            host.trials -= on_trial
        if error is None:
            now = self._clock.now()
            host.ended(True, now)
            self._failing.pop(urlsplit(url).netloc, None)
            if not self.recorded:
                before = self._takes.setdefault(venue_of_rest(url), now - sent)
                self._takes[venue_of_rest(url)] = before + (now - sent - before) * _TAKES_SHARE
            return answer.body
        self._refused[host.name, error.cause.value] += 1
        # What the venue says of us, or of the question, is no failure of the host.
        bad = error.status in (0, *_ADVICE) or error.cause is Cause.SERVER
        host.ended(not bad, self._clock.now())
        if bad:
            asked = urlsplit(place).netloc
            self._failing[urlsplit(url).netloc] = f"{asked}: {error.reason}"
        raise error

    def _choose(self, url: str, route: Route) -> tuple[Host, str]:
        """Of the hosts that may be asked now the one with the lowest error rate."""
        now = self._clock.now()
        documented = f"https://{urlsplit(url).netloc}"
        found = []
        for place in route.places(url):
            name = place.removesuffix(url.removeprefix(documented)).removeprefix("https://")
            found.append((self._hosts.setdefault(name, Host(name)), place))
        ready = [each for each in found if not each[0].wait(now)]
        if not ready:
            left = min(host.wait(now) for host, _ in found)
            names = ", ".join(host.name for host, _ in found)
            reason = (
                f"no host may be asked ({names}): each failed or asked to wait, {left:.0f} s left"
            )
            raise RestError(url, 0, reason, Cause.SERVER, left)
        return min(ready, key=lambda each: each[0].error_rate)

    def _judge(
        self, url: str, answer: _Answer, host: Host, budget: Budget, charges: tuple[Charge, ...]
    ) -> RestError | None:
        """Why it is no answer, with what follows for limit or host; None where it is one."""
        status, after = answer.status, answer.retry_after()
        refusal = "" if self.recorded else VENUES[venue_of_rest(url)].refusal(answer.body)
        if status == 200 and not refusal:
            return None
        said = answer.body[:200].decode(errors="replace")
        reason = f"HTTP {status}: {_ADVICE.get(status) or said}"
        if status in (418, 429) or refusal == "rate_limit":
            left = _BAN_MIN if after is None and status == 418 else after
            # A ban is of the IP; else a limit that the question did not burden has room.
            budget.close([c for c in charges if c.cost or status == 418], left)
            self._keep_bans(budget)
            return RestError(url, status, reason, Cause.RATE_LIMIT, left or 0.0)
        if status == 503 and after is not None:
            host.closed_until = self._clock.now() + after
            return RestError(url, status, reason, Cause.SERVER, after)
        cause = Cause.SERVER if status >= 500 or refusal else Cause.FINAL
        return RestError(url, status, reason, cause)

    async def _exchange(self, place: str, route: Route) -> _Answer:
        """Question and answer on the wire. Raises ``RestError`` where none comes."""
        proxy = route.proxy(place)
        try:
            async with self._session(proxy).get(place, ssl=route.tls) as response:
                body = await response.content.read(_BODY_MAX + 1)
                # `read(n)` gives what has arrived; an answer may come in many pieces.
                while not response.content.at_eof() and len(body) <= _BODY_MAX:
                    body += await response.content.read(_BODY_MAX + 1 - len(body))
                answer = _Answer(response.status, response.headers.copy(), body)
        except aiohttp.ClientConnectorCertificateError as error:
            cause = error.certificate_error
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise RestError(place, 0, untrusted(cause)) from error
            raise RestError(place, 0, str(cause)) from error
        except ssl.SSLCertVerificationError as error:
            raise RestError(place, 0, untrusted(error)) from error
        except TimeoutError as error:
            raise RestError(place, 0, "no answer in time", Cause.TIMEOUT) from error
        except _TRANSPORT as error:
            by = "" if proxy is None else f" by the proxy {urlsplit(proxy).hostname}"
            reason = f"{_SHOWN.sub('', str(error)) or type(error).__name__}{by}"
            raise RestError(place, 0, reason, Cause.CONNECTION) from error
        if len(body) > _BODY_MAX:
            raise RestError(place, answer.status, f"more than {_BODY_MAX} bytes")
        return answer

    def _session(self, proxy: str | None) -> aiohttp.ClientSession:
        if proxy not in self._sessions:
            connector: aiohttp.TCPConnector
            if proxy is None:
                # Addresses are the loop's to have and to keep (``names``).
                connector = aiohttp.TCPConnector(
                    limit=_CONNECTIONS_MAX,
                    resolver=aiohttp.ThreadedResolver(),
                    use_dns_cache=False,
                )
            else:
                # The library knows one SOCKS 5; who resolves names is said apart.
                connector = ProxyConnector.from_url(
                    proxy.replace("socks5h://", "socks5://", 1),
                    rdns=not proxy.startswith("socks5://"),
                    limit=_CONNECTIONS_MAX,
                )
            self._sessions[proxy] = aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector)
        return self._sessions[proxy]

    def _keep_bans(self, budget: Budget) -> None:
        now = self._clock.now()
        self._bans = {at: n for at, n in self._bans.items() if n > now} | budget.closed()
        if self._bans_file:
            try:
                draft = self._bans_file.with_suffix(".tmp")
                draft.write_text(json.dumps(self._bans), encoding="utf-8")
                draft.replace(self._bans_file)
            except OSError as error:
                log.warning(
                    "what a venue forbids is not kept", file=str(self._bans_file), reason=str(error)
                )


def _charges(url: str) -> tuple[Charge, ...]:
    charges: tuple[Charge, ...] = VENUES[venue_of_rest(url)].charges(url)
    return charges


def _read_bans(path: Path) -> dict[str, float]:
    """Limits and the seconds since 1970 before which they are closed."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): float(until) for name, until in said.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning(
            "what a venue forbade an earlier run is not known", file=str(path), reason=str(error)
        )
        return {}
