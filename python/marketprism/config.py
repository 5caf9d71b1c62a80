"""What the operator decides: one frozen model per section, read once at start.

Values come, strongest first, from ``--set KEY=VALUE``, the environment (``MARKETPRISM_NATS_URL``,
``MARKETPRISM_<SECTION>__<KEY>``), the YAML file, and the defaults below. A key nobody knows is an
error that names it, because a mistyped key that is ignored is a setting that silently is not there.

Not here: how a venue is asked (``venues``), and anything a process learns while it runs.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

__all__ = [
    "ConfigError",
    "Proxy",
    "Settings",
    "Tls",
    "data_types",
    "load",
    "moment",
    "proxy_url",
    "without_secrets",
]

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*$")
_DATABASE = r"^[A-Za-z_]\w*$"
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class ConfigError(Exception):
    """A setting that cannot be used: names the key, what was found and what is allowed."""


def _duration(value: object) -> object:
    """``250ms``, ``1s``, ``2m``, ``48h``, ``3d`` or a plain number of seconds, as seconds."""
    if isinstance(value, str):
        match = _DURATION.match(value)
        if match:
            return float(match[1]) * _SECONDS[match[2]]
    return value


def moment(text: str, now: int) -> int:
    """``2026-11-22T10:00`` (UTC unless it says otherwise), or ``90m``: so long before ``now``, as
    nanoseconds since 1970. Raises ``ConfigError``."""
    ago = _duration(text)
    if isinstance(ago, float):
        return now - round(ago * 1e9)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r}: expected a time as 2026-11-22T10:00, or so long ago as 90m, 6h, 2d"
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1000) * 1_000_000


Seconds = Annotated[float, BeforeValidator(_duration), Field(ge=0)]


_SECRET = re.compile(r"((?:[\w.]+=)?(?:\w+://)?)\S*@")


def without_secrets(text: str) -> str:
    """The text with whatever stands before an ``@`` of a URL left out."""
    return _SECRET.sub(r"\1***@", text)


def proxy_url(value: str) -> str:
    """The value, if it is a proxy's URL. Raises ``ValueError``, which does not repeat the value: it
    may hold a password."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    known = parts.scheme in ("http", "socks5", "socks5h")
    # A user without a password is understood by one library and refused by the other.
    named = (parts.username is None) == (parts.password is None)
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if not (known and parts.hostname and port and named) or rest:
        raise ValueError(
            "expected a proxy as http://, socks5:// (names are resolved here) or socks5h:// (by "
            "the proxy), then [user:password@]host:port"
        )
    return value.rstrip("/")


ProxyUrl = Annotated[str, AfterValidator(proxy_url)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hosts(_Section):
    """Where a venue listens when it is not where its documents say: a regional, test or simulated
    host. Of several for ``rest`` the one that answers best is asked."""

    ws: str
    rest: str | Annotated[tuple[str, ...], Field(min_length=1, max_length=10)]


class Proxy(_Section):
    """By which proxy a venue is reached. ``enabled`` false: by none, whatever else is said. For
    wss and https ``https_proxy`` comes first, then ``socks_proxy``, then ``http_proxy``; for ws and
    http the first and the last change places. ``no_proxy`` are hosts and their domains."""

    enabled: bool = True
    http_proxy: ProxyUrl | None = Field(None, repr=False)
    https_proxy: ProxyUrl | None = Field(None, repr=False)
    socks_proxy: ProxyUrl | None = Field(None, repr=False)
    no_proxy: tuple[str, ...] = ()


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
    symbols: tuple[str, ...] = Field((), description="empty: BTC and ETH")
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

    every: Seconds = 1.0
    flush_after: Seconds = 1.0
    depth: int = Field(400, ge=1, le=5000)
    depth_max: int = Field(5000, ge=1, le=5000)


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


class Nats(_Section):
    """``url`` empty: a nats-server of our own is started under the data directory. Whether a server
    at ``url`` syncs each write is asked at ``monitor_url``, its monitoring port."""

    url: str | None = None
    monitor_url: str | None = None
    streams: Streams = Streams()
    publish_window: int = Field(4000, ge=1)
    publish_window_bytes: ByteSize = ByteSize(16 * 1024**2)
    ack_timeout: Seconds = 2.0
    connect_timeout: Seconds = 5.0


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


# A number is a token too, and none of it is ever shown.
_Token = Annotated[SecretStr, BeforeValidator(lambda value: str(value) if value else value)]


class ClickHouse(_Section):
    """``url`` empty: an embedded ClickHouse (chDB) under the data directory. ``cluster``: what
    makes tables runs ON CLUSTER of this name; ``replicated``: tables have replicas, named by the
    servers' macros. Readers of the embedded one's gateway see the two databases and
    ``gateway_databases``, and bring the token, if there is one."""

    url: str | None = None
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


class Store(_Section):
    """``run``: the collector starts a store of its own. A batch is inserted at ``linger``,
    ``rows_max`` or ``bytes_max``, whichever comes first. A consumer begins where
    ``deliver_policy`` says when it is made; with any other than ``all``, and with a
    ``max_deliver`` other than -1 (no limit), messages may be passed over. Each one has to be
    acknowledged by itself, so there is one ``ack_policy``."""

    run: bool = True
    linger: Seconds = 0.25
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


class Job(_Section):
    """One scheduled question to the venues, every ``interval`` of their time."""

    enabled: bool = True
    interval: Seconds = Field(300.0, ge=1, le=86_400)


class HourlyJob(Job):
    interval: Seconds = Field(3600.0, ge=1, le=86_400)


class MinuteJob(Job):
    interval: Seconds = Field(60.0, ge=1, le=86_400)


class BarsJob(_Section):
    """Without an ``interval`` bars are asked for as they end: every minute to every day."""

    enabled: bool = True
    interval: Seconds | None = Field(None, ge=1, le=86_400)


class WatchJob(Job):
    """``quiet``: so long may go by without a forced order on an exchange."""

    interval: Seconds = Field(60.0, ge=1, le=86_400)
    quiet: Seconds = Field(3600.0, ge=60)


class QualityJob(Job):
    """``deviation``: the share of its index by which a mark price may differ from it."""

    deviation: float = Field(0.02, gt=0, le=1)


class Jobs(_Section):
    """FEATURES S1-08. ``instruments`` are the venues' lists, for what is listed and delisted since;
    ``funding_rate`` is what was paid; ratios are of five minutes; ``kline`` asks for bars that no
    stream brought; ``audit`` compares a live book of each section with the venue's own; ``clock``
    compares our clock with the venues'; ``health`` writes down how the collector is when that has
    changed; ``liquidations`` looks whether forced orders are still told of; ``quality`` compares
    what is stored with itself."""

    funding_rate: HourlyJob = HourlyJob()
    open_interest: Job = Job()
    lsr_top_position: Job = Job()
    lsr_all_account: Job = Job()
    volatility_index: MinuteJob = MinuteJob()
    kline: BarsJob = BarsJob()
    instruments: Job = Job()
    audit: MinuteJob = MinuteJob()
    clock: Job = Job()
    health: Job = Job()
    liquidations: WatchJob = WatchJob()
    quality: QualityJob = QualityJob()


class Scheduler(_Section):
    """When venues are asked for what they do not stream; never where it is not ``enabled``."""

    enabled: bool = True
    jobs: Jobs = Jobs()


class Sim(_Section):
    """The built-in venue's synthetic market; ``seed`` and ``start`` together reproduce a run."""

    seed: int = 1
    start: int | None = Field(None, description="nanoseconds UTC; empty: now")
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


class Log(_Section):
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


def _host() -> str:
    """The host's name, fit for a message id."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64] or "collector"


class Settings(_Section):
    """Everything. ``collector`` names this collector in every row and in its ledger. What is
    acknowledged survives the kill of any ``process``, or a cut of the machine's ``power`` too."""

    collector: str = Field(default_factory=_host, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    data_dir: Path = Path("data")
    listen: str = "127.0.0.1"
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
    scheduler: Scheduler = Scheduler()
    sim: Sim = Sim()
    log: Log = Log()

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


def load(
    path: Path | None = None,
    overrides: list[str] | None = None,
    environ: dict[str, str] | None = None,
) -> Settings:
    """Read the settings. ``overrides`` are ``KEY=VALUE`` with dots in KEY.

    Raises ``ConfigError`` for a file that cannot be read, a key nobody knows or a value that is not
    allowed.
    """
    environ = dict(os.environ) if environ is None else environ
    if path is None and environ.get("MARKETPRISM_CONFIG_PATH"):
        path = Path(environ["MARKETPRISM_CONFIG_PATH"])
    tree = _read(path) if path else {}
    source = str(path) if path else "the defaults"
    for key, value in _from_environment(environ):
        _put(tree, key, value, "the environment")
    for item in overrides or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item!r}: expected KEY=VALUE, as in nats.publish_window=4000")
        if key.strip() == "clickhouse.gateway_token":
            raise ConfigError(
                "--set clickhouse.gateway_token: others see what stands on a command line; name a "
                "file (gateway_token_file) or a variable (gateway_token_env) instead"
            )
        _put(tree, key.strip(), yaml.safe_load(value) if value else value, "--set")
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        shown = without_secrets(repr(first["input"]))
        # A whole section may hold a secret, and is too much to read.
        silent = first["type"] == "extra_forbidden" or isinstance(first["input"], Mapping)
        found = "" if silent else f", found {shown}"
        what = "no such key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"{key} (from {source}, environment or --set): {what}{found}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); name it with --config"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected sections with keys, found {type(tree).__name__}")
    return tree


def _from_environment(environ: dict[str, str]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, key in (
        ("NATS_URL", "nats.url"),
        ("MARKETPRISM_NATS_URL", "nats.url"),
        ("MARKETPRISM_CLICKHOUSE_URL", "clickhouse.url"),
        ("LOG_LEVEL", "log.level"),
        ("MARKETPRISM_LOG_LEVEL", "log.level"),
        ("MARKETPRISM_COLLECTOR", "collector"),
        ("MARKETPRISM_DATA_DIR", "data_dir"),
        ("MARKETPRISM_LISTEN", "listen"),
        ("LSR_DELIVER_POLICY", "store.deliver_policy"),
        ("LSR_ACK_POLICY", "store.ack_policy"),
        ("LSR_ACK_WAIT", "store.ack_wait"),
        ("LSR_MAX_ACK_PENDING", "store.max_ack_pending"),
        ("LSR_MAX_DELIVER", "store.max_deliver"),
    ):
        if environ.get(name):
            found.append((key, environ[name]))
    for name in sorted(environ):
        if name.startswith("MARKETPRISM_") and "__" in name:
            section, _, key = name.removeprefix("MARKETPRISM_").partition("__")
            dotted = f"{section.lower()}.{key.replace('__', '.')}"
            # Stream names are upper case by contract; every other key is lower case.
            parts = [p if p in Streams.model_fields else p.lower() for p in dotted.split(".")]
            found.append((".".join(parts), yaml.safe_load(environ[name])))
    return found


def _put(tree: dict[str, Any], key: str, value: Any, source: str) -> None:
    *parents, last = key.split(".")
    for part in parents:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{key} (from {source}): {part} is a value, not a section")
    tree[last] = value
