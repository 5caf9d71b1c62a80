"""What the operator decides: one frozen model per section, read once at start.

Values come, strongest first, from ``--set KEY=VALUE``, the environment (``MARKETPRISM_NATS_URL``,
``MARKETPRISM_<SECTION>__<KEY>``), the YAML file, and the defaults below. A key nobody knows is an
error that names it, because a mistyped key that is ignored is a setting that silently is not there.
How that is read, and what is told of it, is in ``settings``.

Not here: how a venue is asked (``venues``), and anything a process learns while it runs.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from urllib.parse import quote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from . import filters
from .api_settings import Api
from .members_settings import Members
from .scheduler_settings import Scheduler
from .settings import forms
from .settings.amounts import Seconds
from .settings.exposure import Exposed, open_doors, readable
from .settings.forms import nats_login, proxy_url
from .settings.mistakes import ConfigError, Mistake, origin, without_passwords, without_secrets
from .settings.moments import moment
from .settings.reading import Loaded, read
from .settings.sources import Variable

__all__ = [
    "ConfigError",
    "Proxy",
    "Seconds",
    "Settings",
    "Tls",
    "chosen_file",
    "data_types",
    "load",
    "loaded",
    "moment",
    "nats_login",
    "parts_of",
    "proxy_url",
    "without_passwords",
    "without_secrets",
]

_DATABASE = r"^[A-Za-z_]\w*$"


ProxyUrl = Annotated[str, AfterValidator(forms.proxy_url)]
HttpUrl = Annotated[str, AfterValidator(forms.http_url)]
Symbol = Annotated[str, AfterValidator(forms.symbol)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hosts(_Section):
    """Where a venue listens when it is not where its documents say: a regional, test or simulated
    host. Of several for ``rest`` the one that answers best is asked."""

    ws: Annotated[str, AfterValidator(forms.ws_url)]
    rest: HttpUrl | Annotated[tuple[HttpUrl, ...], Field(min_length=1, max_length=10)]


# Of a section with a URL: where its password is kept apart, a variable or a file of its owner.
PasswordVariable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None


class Proxy(_Section):
    """By which proxy a venue is reached. ``enabled`` false: by none, whatever else is said. For
    wss and https ``https_proxy`` comes first, then ``socks_proxy``, then ``http_proxy``; for ws and
    http the first and the last change places. ``no_proxy`` are hosts and their domains."""

    enabled: bool = True
    http_proxy: ProxyUrl | None = Field(None, repr=False)
    https_proxy: ProxyUrl | None = Field(None, repr=False)
    socks_proxy: ProxyUrl | None = Field(None, repr=False)
    no_proxy: tuple[str, ...] = ()
    password_env: PasswordVariable = None
    password_file: Path | None = None


class Tls(_Section):
    """``ca_file``: certificates in PEM that are trusted beside the machine's own. ``verify`` false
    lets anybody in between change what is collected; it is warned of and counted."""

    verify: bool = True
    ca_file: Path | None = None


# What there is to collect of an instrument (CONTRACT 1): the market data, and what is opt-in.
_Usual = Literal[
    "orderbook",
    "trade",
    "funding_rate",
    "open_interest",
    "liquidation",
    "lsr_top_position",
    "lsr_all_account",
    "volatility_index",
]
_OptIn = Literal["orderbook_delta", "kline", "ticker"]
DataType = Literal[_Usual, _OptIn]
_MARKET_DATA: tuple[DataType, ...] = get_args(_Usual)
_OPT_IN: tuple[DataType, ...] = get_args(_OptIn)


def data_types() -> tuple[str, ...]:
    """Every data type of an instrument that can be collected."""
    return (*_MARKET_DATA, *_OPT_IN)


# Bars that at least one venue has, as rows name them: 1m is a minute, 1M a month.
# fmt: off
Interval = Literal[
    "1s", "1m", "3m", "5m", "10m", "15m", "30m", "1h", "2h", "3h", "4h", "6h", "8h",
    "12h", "1d", "2d", "3d", "5d", "1w", "1M", "3M",
]
# fmt: on


_TETHER = ("BTC-USDT", "ETH-USDT")
# What is taken of an exchange where nothing is named or chosen: what is traded most of it.
_SYMBOLS = {
    "binance_spot": _TETHER,
    "binance_derivatives": _TETHER,
    "okx_spot": _TETHER,
    "okx_derivatives": _TETHER,
    "deribit_derivatives": ("BTC-USD", "ETH-USD"),
    "deribit_spot": ("BTC-USDC", "ETH-USDC"),
}


# Other places of a venue, by exchange; the URLs are the venues' own knowledge.
SITES: dict[str, tuple[str, ...]] = {
    "binance_spot": ("data-only", "test"),
    "binance_derivatives": ("test",),
    "okx_spot": ("eea", "us", "test"),
    "okx_derivatives": ("eea", "us", "test"),
    "deribit_derivatives": ("test",),
    "deribit_spot": ("test",),
}


class Exchange(_Section):
    """One section of a venue and what to take from it. ``patterns`` are of symbols, as a shell has
    them: ``*-USDT``; every traded instrument that fits one is taken beside ``symbols``. ``top``
    takes only so many of them, or of all, the most traded in 24 hours first. Of ``data_types`` a
    venue takes what it has; ``klines`` are the intervals of bars, if ``kline`` is among them.
    ``rotate`` is the age at which a connection is replaced, the next one opened first: Binance ends
    them at 24 hours. ``legs: 2`` opens every connection twice: what one misses the other has, and
    all is stored once. ``site`` is another place of the venue: Binance has ``data-only`` (spot) and
    ``test``, OKX ``eea``, ``us`` and ``test``, Deribit ``test``."""

    exchange: Literal[
        "binance_spot",
        "binance_derivatives",
        "okx_spot",
        "okx_derivatives",
        "deribit_derivatives",
        "deribit_spot",
    ]
    symbols: tuple[Symbol, ...] = ()
    patterns: tuple[str, ...] = ()
    top: int | None = Field(None, ge=1, le=2000)
    data_types: tuple[DataType, ...] = Field(_MARKET_DATA, min_length=1)
    klines: tuple[Interval, ...] = Field(("1m",), min_length=1)
    rotate: Seconds = Field(23 * 3600.0, gt=0)
    legs: Literal[1, 2] = 1
    site: Literal["data-only", "test", "eea", "us"] | None = None
    hosts: Hosts | None = None
    proxy: Proxy | None = None
    tls: Tls | None = None

    @field_validator("site")
    @classmethod
    def _is_there(cls, site: str | None, said: ValidationInfo) -> str | None:
        """Whether the venue has such a place. Raises ``ValueError``."""
        exchange = said.data.get("exchange")
        if site and exchange and site not in SITES[exchange]:
            raise ValueError(f"expected for {exchange} one of {', '.join(SITES[exchange])}")
        return site

    @property
    def chosen(self) -> tuple[str, ...]:
        """Patterns of what is taken beside them."""
        return self.patterns or (("*",) if self.top else ())

    @property
    def named(self) -> tuple[str, ...]:
        """The symbols asked for by name: none by themselves where others are chosen."""
        return self.symbols if self.symbols or self.chosen else _SYMBOLS[self.exchange]


class Snapshot(_Section):
    """The published book images. Cells of ``every`` are multiples of it, in venue time."""

    every: Seconds = Field(1.0, gt=0)
    flush_after: Seconds = 1.0
    depth: int = Field(400, ge=1, le=5000)
    depth_max: int = Field(5000, ge=1, le=5000)

    @model_validator(mode="after")
    def _has_what_it_shows(self) -> Self:
        """No more is published than kept. Raises ``ValueError``."""
        if self.depth > self.depth_max:
            raise ValueError(
                f"depth is {self.depth} and depth_max {self.depth_max}: no more levels can be "
                "published than are kept; lower depth or raise depth_max"
            )
        return self


class MarketData(_Section):
    """Bounds of the stream of everything but order books."""

    max_bytes: ByteSize = ByteSize(2 * 1024**3)
    max_age: Seconds = 48 * 3600.0
    duplicate_window: Seconds = 120.0


class OrderbookSnap(_Section):
    """Bounds of the order books' stream: apart, so that books never crowd out trades."""

    max_bytes: ByteSize = ByteSize(5 * 1024**3)
    max_age: Seconds = 24 * 3600.0
    duplicate_window: Seconds = 60.0


class Streams(_Section):
    MARKET_DATA: MarketData = MarketData()
    ORDERBOOK_SNAP: OrderbookSnap = OrderbookSnap()


class MirrorToCore(_Section):
    """Facts whose subjects fit one of ``filters`` are told a second time by core NATS, on
    ``prefix``.subject, so that ``marketprism latency`` can compare the ways."""

    enabled: bool = False
    filters: tuple[str, ...] = Field(("trade.>", "orderbook.>"), min_length=1, max_length=32)
    prefix: str = Field("core", pattern=r"^[a-z][a-z0-9_-]{0,63}$")

    @field_validator("prefix")
    @classmethod
    def _outside(cls, value: str) -> str:
        if value in (*data_types(), "ledger", "dead_letter", "instrument"):
            raise ValueError("expected a name that begins no subject of a stream")
        return value

    @field_validator("filters")
    @classmethod
    def _subjects(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if not re.fullmatch(r"(?:[^\s.>]+\.)*(?:[^\s.>]+|>)", one):
                raise ValueError(f"{one!r}: expected a subject, as in trade.> or *.okx_spot.>")
        return value


class Nats(_Section):
    """``url`` empty: a nats-server of our own is started under the data directory. How a server at
    ``url`` is, and whether it syncs each write, is asked at ``monitor_url``, its monitoring port.
    ``replicas``: on so many servers of a cluster is each stream. ``control``: what is asked on
    ``marketprism.control`` is answered."""

    url: Annotated[str, AfterValidator(forms.nats_url)] | None = Field(None, repr=False)
    password_env: PasswordVariable = None
    password_file: Path | None = None
    monitor_url: HttpUrl | None = None
    streams: Streams = Streams()
    replicas: int = Field(1, ge=1, le=5)
    publish_window: int = Field(4000, ge=1)
    publish_window_bytes: ByteSize = ByteSize(16 * 1024**2)
    ack_timeout: Seconds = 2.0
    connect_timeout: Seconds = 5.0
    mirror_to_core: MirrorToCore = MirrorToCore()
    control: bool = True


class Spool(_Section):
    """The disk that a collector may use while NATS is away; the smaller of the two bounds holds."""

    bytes_max: ByteSize = ByteSize(20 * 1024**3)
    disk_share_max: float = Field(0.2, gt=0, le=1)


class Journal(_Section):
    """Whether all that is received is kept as it came (``data_dir/journal``), for how long and how
    much of it. ``level`` is Zstandard's."""

    enabled: bool = True
    keep: Seconds = Field(24 * 3600.0, ge=3600)
    max_bytes: ByteSize = Field(ByteSize(10 * 1024**3), ge=1024**2)
    level: int = Field(3, ge=1, le=19)


_ClickHouseUrl = Annotated[str, AfterValidator(forms.clickhouse_url)]
# A number is a token too, and none of it is ever shown.
_Token = Annotated[SecretStr, BeforeValidator(lambda value: str(value) if value else value)]


class ClickHouse(_Section):
    """``url`` empty: an embedded ClickHouse (chDB) under the data directory. ``cluster``: what
    makes tables runs ON CLUSTER of this name; ``replicated``: tables have replicas, named by the
    servers' macros. ``cold_url``: where ``cold_database`` is, if not at ``url``. Readers of the
    embedded one's gateway see the two databases and ``gateway_databases``, and bring the token, if
    there is one."""

    url: _ClickHouseUrl | None = Field(None, repr=False)
    password_env: PasswordVariable = None
    password_file: Path | None = None
    cold_url: _ClickHouseUrl | None = Field(None, repr=False)
    cold_password_env: PasswordVariable = None
    cold_password_file: Path | None = None
    hot_database: str = Field("marketprism_hot", pattern=_DATABASE)
    cold_database: str = Field("marketprism_cold", pattern=_DATABASE)
    cluster: str = Field("", pattern=r"^[\w.{}-]*$")
    replicated: bool = False
    gateway_databases: tuple[str, ...] = ()
    gateway_token: _Token | None = Field(None, repr=False)
    gateway_token_env: str | None = None
    gateway_token_file: Path | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.hot_database == self.cold_database:
            raise ValueError("hot_database and cold_database are the same")
        if self.url is None and (self.cluster or self.replicated):
            raise ValueError("cluster and replicated need url: the embedded engine is one server")
        return self

    def token(self, environ: Mapping[str, str] | None = None) -> str | None:
        """What readers of the gateway must bring, by whichever of the three keys; ``None`` where
        none is said. Raises ``ConfigError``, which does not repeat the token."""
        said = [
            key
            for key in ("gateway_token", "gateway_token_env", "gateway_token_file")
            if getattr(self, key)
        ]
        if not said:
            return None
        if len(said) > 1:
            raise ConfigError(f"clickhouse: {' and '.join(said)}: only one of them may be said")
        key = f"clickhouse.{said[0]}"
        if self.gateway_token:
            token = self.gateway_token.get_secret_value()
        elif self.gateway_token_env:
            key += f": {self.gateway_token_env}"
            token = (os.environ if environ is None else environ).get(self.gateway_token_env, "")
        else:
            assert self.gateway_token_file
            key += f": {self.gateway_token_file}"
            try:
                token = self.gateway_token_file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{key}: cannot be read ({error.__class__.__name__})") from None
        if not (token := token.strip()):
            raise ConfigError(f"{key}: empty or not there; expected the token in it")
        return token


_STORED = (*data_types(), "ledger", "dead_letter", "instrument")
_Part = Annotated[
    str,
    AfterValidator(lambda text: filters.checked(text, _STORED, SITES)),
    WithJsonSchema({"type": "string", "pattern": filters.pattern(_STORED, SITES)}),
]


def parts_of(texts: Sequence[str]) -> tuple[str, ...]:
    """What of the data types is meant by these texts, each once. Raises ``ValueError``."""
    parts = tuple(filters.checked(text, _STORED, SITES) for text in texts)
    filters.disjoint(parts)
    return parts


class Store(_Section):
    """``run``: the collector starts a store of its own. A batch is inserted ``linger`` after the
    one before it (``linger_min`` after a pause), or at ``rows_max`` or ``bytes_max``. A consumer
    begins where ``deliver_policy`` says when it is made; with any other than ``all``, and with a
    ``max_deliver`` other than -1 (no limit), messages may be passed over. Each one has to be
    acknowledged by itself, so there is one ``ack_policy``. ``data_types`` are those that this store
    stores, or parts of them (``filters``), if others store the rest; empty: all."""

    run: bool = True
    data_types: tuple[_Part, ...] = Field((), max_length=100)
    linger: Seconds = 0.25
    linger_min: Seconds = 0.02
    rows_max: int = Field(50_000, ge=1, le=1_000_000)
    bytes_max: ByteSize = ByteSize(24 * 1024**2)
    ack_wait: Seconds = 60.0
    max_ack_pending: int = Field(20_000, ge=1)
    deliver_policy: Literal["all", "new", "last", "last_per_subject"] = "all"
    ack_policy: Literal["explicit"] = "explicit"
    max_deliver: int = Field(-1, ge=-1)

    @field_validator("max_deliver")
    @classmethod
    def _some(cls, value: int) -> int:
        if value == 0:
            raise ValueError("expected -1 (no limit) or 1 and more")
        return value

    @field_validator("data_types")
    @classmethod
    def _apart(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Raises ``ValueError``."""
        filters.disjoint(value)
        return value


class Launcher(_Section):
    """How ``--mode launcher`` watches the collector. A look every ``every``; it is started again,
    after ``cooldown`` at first and 30 s at most, when it has ended, gives no sign of life for
    ``silence``, has more than ``memory_max`` resident, or, with ``restart_on_critical``, calls
    itself unhealthy in three looks; no more than ``restarts_max`` times within an hour."""

    every: Seconds = Field(60.0, gt=0)
    cooldown: Seconds = Field(5.0, gt=0, le=30)
    silence: Seconds = Field(15.0, ge=2)
    memory_max: ByteSize = Field(ByteSize(1400 * 1024**2), ge=1024**2)
    restart_on_critical: bool = True
    restarts_max: int = Field(20, ge=1, le=1000)


class Disk(_Section):
    """The one budget of what journal, spool, NATS, ClickHouse and backups take of the data
    directory's disk: ``max_bytes``, or what they have and all that is free but ``reserve``,
    whichever is less. Each of the four others is the share of it from which something more is given
    up, in this order; trades never are. A look every ``every``."""

    max_bytes: ByteSize | None = Field(None, ge=1024**2)
    reserve: ByteSize = ByteSize(1024**3)
    journals_above: float = Field(0.80, gt=0, le=1)
    backups_above: float = Field(0.85, gt=0, le=1)
    recording_above: float = Field(0.90, gt=0, le=1)
    images_above: float = Field(0.95, gt=0, le=1)
    every: Seconds = Field(10.0, gt=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        """Raises ``ValueError``."""
        levels = (self.journals_above, self.backups_above, self.recording_above, self.images_above)
        if sorted(levels) != [*levels]:
            raise ValueError(
                "expected journals_above, backups_above, recording_above and images_above in "
                "ascending order: what is missed least goes first"
            )
        return self


class Backup(_Section):
    """Copies of the ``databases`` (empty: hot and cold), made by the hot store. ``to`` is a
    directory, best of another disk, or what a server's BACKUP takes: ``Disk('backups')``,
    ``S3('https://…')``. Every ``every`` an increment, every ``full_every`` a full one; what is
    older than ``keep`` goes unless a younger one needs it; every ``prove_every`` the newest is
    restored aside and compared (0: never). ``key_env`` and ``archive_password_env`` name variables
    of the environment, so that no secret is in a file. ``bandwidth`` is bytes a second, 0 for no
    bound."""

    enabled: bool = False
    to: str | None = Field(None, min_length=1)
    databases: tuple[str, ...] = ()
    every: Seconds = Field(3600.0, ge=1)
    full_every: Seconds = Field(7 * 86_400.0, ge=1)
    keep: Seconds = Field(30 * 86_400.0, ge=1)
    prove_every: Seconds = 7 * 86_400.0
    bandwidth: ByteSize = ByteSize(0)
    key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    archive_password_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")

    @model_validator(mode="after")
    def _has_a_place(self) -> Backup:
        if self.enabled and self.to is None:
            raise ValueError("enabled needs `to`: where backups go")
        return self


class Cold(_Section):
    """Whether what is closed is copied into the cold database, and what closed means: a ``window``
    of venue time is over for ``age``, and nothing was inserted into it for ``quiet``, which no
    insert outlives. A look every ``every``; a statement has at most ``rows_max`` rows of
    ``bytes_max`` bytes, a table at most ``step`` seconds until it is the next one's turn."""

    enabled: bool = False
    window: Seconds = Field(3600.0, ge=60, le=86_400)
    age: Seconds = 3600.0
    quiet: Seconds = 600.0
    every: Seconds = Field(60.0, ge=1)
    rows_max: int = Field(200_000, ge=1, le=1_000_000)
    bytes_max: ByteSize = Field(ByteSize(128 * 1024**2), ge=1024**2)
    step: Seconds = Field(20.0, gt=0)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if 86_400 % self.window:
            raise ValueError("window does not divide a day: expected 15m, 1h, 6h or the like")
        return self


class Sim(_Section):
    """The built-in venue's synthetic market; ``seed`` and ``start`` together reproduce a run."""

    seed: int = 1
    start: int | None = Field(
        None,
        description="nanoseconds UTC; empty: now, or where a demo goes on with the market of the "
        "run before",
    )
    symbols: tuple[str, ...] = ("BTC-USDT", "ETH-USDT")
    trades_per_second: float = Field(200.0, gt=0, le=200_000)
    diffs_per_second: float = Field(10.0, gt=0, le=1000)
    venues: tuple[Literal["binance", "binance_coinm", "okx", "deribit"], ...] = Field(
        ("binance", "binance_coinm", "okx", "deribit"), min_length=1
    )
    listed: int = Field(0, ge=0, le=5000, description="symbols beside these that hardly move")
    listed_depth: int = Field(
        40, ge=40, le=8500, description="ticks a side of their books on Binance spot"
    )
    okx_images: bool = Field(True, description="books of OKX begin with an image on the stream")
    connections: int = Field(1, ge=1, le=100, description="sockets that a demo opens a route")


class Limits(_Section):
    """Bounds of what one collector takes on. ``books_max`` books are kept; one of which nothing was
    heard for ``book_inactive`` is let go until something comes. Beyond the other numbers /health
    warns: resident memory as a share of ``launcher.memory_max``, the median time from the venue to
    us, rows a second, and the share of one processor; over ``every``."""

    books_max: int = Field(1000, ge=1, le=100_000)
    book_inactive: Seconds = Field(3600.0, ge=1)
    memory_warning: float = Field(0.8, gt=0, le=1)
    latency_warning: Seconds = Field(0.1, gt=0)
    throughput_warning: float = Field(10.0, ge=0)
    cpu_warning: float = Field(0.8, gt=0)
    every: Seconds = Field(60.0, ge=1)


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class Log(_Section):
    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = "INFO"
    format: Literal["auto", "human", "json"] = "auto"


class Ports(_Section):
    """Where we listen: health pages of the collector and its metrics, the pages of the stores, the
    API, and the embedded servers. ``--ports auto`` and ``--ports BASE`` choose others."""

    health: Port = 8087
    metrics: Port = 9093
    store: Port = 8085
    nats: Port = 4222
    nats_http: Port = 8222
    clickhouse: Port = 8123
    cold: Port = 8086
    api: Port = 8080

    @model_validator(mode="after")
    def _differ(self) -> Self:
        """One listener a port. Raises ``ValueError``."""
        taken: dict[int, str] = {}
        for name, port in self.model_dump().items():
            if (other := taken.setdefault(port, name)) != name:
                raise ValueError(f"{other} and {name} are both {port}; choose another for one")
        return self


def _host() -> str:
    """The host's name, fit for a message id."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "collector"


class Settings(_Section):
    """Everything. ``collector`` names this collector in every row and in its ledger. What is
    acknowledged survives the kill of any ``process``, or a cut of the machine's ``power`` too."""

    collector: str = Field(
        default_factory=_host,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        json_schema_extra={"x-expected": "1 to 64 letters, digits, - and _"},
    )
    data_dir: Path = Path("data")
    listen: Annotated[str, AfterValidator(forms.host)] = "127.0.0.1"
    require_tls: bool = False
    durability: Literal["process", "power"] = "process"
    exchanges: tuple[Exchange, ...] = (
        Exchange(exchange="binance_spot"),
        Exchange(exchange="binance_derivatives"),
        Exchange(exchange="okx_spot"),
        Exchange(exchange="okx_derivatives"),
        Exchange(exchange="deribit_derivatives"),
    )
    proxy: Proxy = Proxy()
    tls: Tls = Tls()
    snapshot: Snapshot = Snapshot()
    nats: Nats = Nats()
    spool: Spool = Spool()
    journal: Journal = Journal()
    clickhouse: ClickHouse = ClickHouse()
    store: Store = Store()
    launcher: Launcher = Launcher()
    members: Members = Members()
    disk: Disk = Disk()
    backup: Backup = Backup()
    cold: Cold = Cold()
    scheduler: Scheduler = Scheduler()
    limits: Limits = Limits()
    sim: Sim = Sim()
    api: Api = Api()
    log: Log = Log()
    ports: Ports = Ports()

    @property
    def data_types(self) -> dict[str, set[str]]:
        """What is collected, by exchange."""
        found: dict[str, set[str]] = {}
        for each in self.exchanges:
            found.setdefault(each.exchange, set()).update(each.data_types)
        return found

    @property
    def opted(self) -> tuple[str, ...]:
        """The opt-in data types that some exchange is asked for: they are stored, too."""
        wanted = set().union(*self.data_types.values())
        return tuple(kind for kind in _OPT_IN if kind in wanted)

    @property
    def unverified(self) -> tuple[str, ...]:
        """The exchanges whose certificates are not checked."""
        return tuple(e.exchange for e in self.exchanges if not (e.tls or self.tls).verify)

    def exposed(self) -> list[Exposed]:
        """What can be read on its way, and by whom, beyond this machine."""
        urls = {"nats.url": self.nats.url, "clickhouse.url": self.clickhouse.url}
        table = self.clickhouse
        token = table.gateway_token or table.gateway_token_env or table.gateway_token_file
        api, gateway = self.api.run and not self.api.tokens, not (table.url or token)
        return [
            *readable({**urls, "clickhouse.cold_url": table.cold_url}),
            *open_doors(self.listen, api=api, gateway=gateway),
        ]


# Names of the environment beside MARKETPRISM_<SECTION>__<KEY>, the weakest first.
_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("NATS_URL", ("nats", "url")),
    ("MARKETPRISM_NATS_SERVERS", ("nats", "url")),
    ("MARKETPRISM_NATS_URL", ("nats", "url")),
    ("CLICKHOUSE_HOST", ("clickhouse", "url")),
    ("MARKETPRISM_CLICKHOUSE_URL", ("clickhouse", "url")),
    ("LOG_LEVEL", ("log", "level")),
    ("MARKETPRISM_LOG_LEVEL", ("log", "level")),
    ("HEALTH_CHECK_PORT", ("ports", "health")),
    ("METRICS_PORT", ("ports", "metrics")),
    ("HOT_STORAGE_HTTP_PORT", ("ports", "store")),
    ("AUTO_RESTART_ON_HEALTH_CRITICAL", ("launcher", "restart_on_critical")),
    ("COLLECTOR_MEMORY_MB", ("launcher", "memory_max")),
    ("COLLECTOR_MON_INTERVAL", ("launcher", "every")),
    ("COLLECTOR_RESTART_COOLDOWN", ("launcher", "cooldown")),
    ("LSR_DELIVER_POLICY", ("store", "deliver_policy")),
    ("LSR_ACK_POLICY", ("store", "ack_policy")),
    ("LSR_ACK_WAIT", ("store", "ack_wait")),
    ("LSR_MAX_ACK_PENDING", ("store", "max_ack_pending")),
    ("LSR_MAX_DELIVER", ("store", "max_deliver")),
)
_PATH_NAME = "MARKETPRISM_CONFIG_PATH"
_BESIDE = Path("config/marketprism.yaml")
# How much is logged where nobody says it.
_ENVIRONMENTS = {"development": "DEBUG", "dev": "DEBUG", "production": "WARNING", "prod": "WARNING"}
# Keys of URLs, which may hold a password.
_URLS = ("url", "cold_url", "https_proxy", "socks_proxy", "http_proxy")


def load(
    path: Path | None = None,
    overrides: list[str] | None = None,
    environ: dict[str, str] | None = None,
) -> Settings:
    """Read the settings. ``overrides`` are ``KEY=VALUE`` with dots in KEY.

    Raises ``ConfigError`` for a file that cannot be read, a key nobody knows or a value that is not
    allowed: all of them at once.
    """
    return loaded(path, overrides, environ).settings


def loaded(
    path: Path | None = None,
    overrides: list[str] | None = None,
    environ: dict[str, str] | None = None,
) -> Loaded[Settings]:
    """The settings, where each came from, and what to warn of. Raises ``ConfigError``."""
    environ = dict(os.environ) if environ is None else environ
    found = read(
        Settings,
        chosen_file(path, environ),
        overrides or [],
        environ,
        further=_further(environ),
        others=(_PATH_NAME,),
        urls=_URLS,
    )
    if found.settings.require_tls and (open_ := found.settings.exposed()):
        there = origin(found.origins, ("require_tls",))
        raise ConfigError(
            mistakes=[Mistake(there, one.key, f"{one.detail}; {one.fix}") for one in open_]
        )
    return found


def chosen_file(
    path: Path | None, environ: Mapping[str, str], *, beside: bool = False
) -> Path | None:
    """The file that is read: the one that is named, else that of the environment, else, where it is
    looked for, the one ``beside`` us: ``config/marketprism.yaml`` in the working directory."""
    if path or environ.get(_PATH_NAME):
        return path or Path(environ[_PATH_NAME])
    return _BESIDE if beside and _BESIDE.is_file() else None


def _further(environ: Mapping[str, str]) -> list[Variable]:
    found = []
    if level := _ENVIRONMENTS.get(environ.get("ENVIRONMENT", "").lower()):
        found = [Variable("ENVIRONMENT", ("log", "level"), True, level)]
    for name, path in _NAMES:
        text = _clickhouse_at(environ) if name == "CLICKHOUSE_HOST" else None
        if name == "COLLECTOR_MEMORY_MB":
            text = f"{environ.get(name, '').strip()}MiB"
        found.append(Variable(name, path, value=text))
    return found


def _clickhouse_at(environ: Mapping[str, str]) -> str:
    """The URL of ``CLICKHOUSE_HOST`` (a host, or host:port), with the user and the password of the
    variables of ClickHouse's own image."""
    host = environ.get("CLICKHOUSE_HOST", "")
    user, password = environ.get("CLICKHOUSE_USER"), environ.get("CLICKHOUSE_PASSWORD")
    who = quote(user, safe="") if user else ""
    if user and password:
        who = f"{who}:{quote(password, safe='')}"
    where = host if re.search(r":\d+$", host) else f"{host}:8123"
    return f"http://{who}{'@' if who else ''}{where}/"
