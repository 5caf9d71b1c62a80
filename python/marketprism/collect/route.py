"""How a venue is reached: at which hosts, by which proxy, and whom TLS trusts.

The same for WebSocket and REST. The strongest word on a proxy is the exchange's, then the
service's, then the environment's; a wrong one is an error at the start, never a direct connection.

Not here: sockets, and which of several hosts answers best (``rest``).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import lru_cache
from socket import gaierror
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from ..config import ConfigError, Proxy, Tls, proxy_url
from ..venues import equal_urls

__all__ = ["Route", "refusal", "untrusted"]

_SECURE = ("https", "wss")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_CONTEXTS_MAX = 16  # to read the machine's certificates takes a moment, so it is done once
_IN_ENVIRONMENT = ("http", "https", "ws", "wss", "socks", "all")
# What OpenSSL finds wrong with a certificate (X509_V_ERR_*), and what to do about it.
_NOT_YET_VALID, _EXPIRED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 62, 64
_REMEDIES = {
    _NOT_YET_VALID: "is this machine's clock right?",
    _EXPIRED: "is this machine's clock right? else whoever serves it has to renew it",
    _OTHER_HOST: "another answers at this name, or exchanges: hosts has another name than he",
    _OTHER_ADDRESS: "another answers at this address, or exchanges: hosts needs his name",
}
_WHO_SIGNED = "tls.ca_file can name who signed it"


class Route:
    """How one exchange is reached.

    ``places``: the URLs at which a documented URL is asked, all equal. ``levels``: proxies by the
    settings, the strongest first. ``environment``: those of the environment count where no level
    names one; never for loopback. Raises ``ConfigError``.
    """

    def __init__(
        self,
        *levels: Proxy,
        tls: Tls | None = None,
        environment: bool = False,
        places: Callable[[str], tuple[str, ...]] = equal_urls,
    ) -> None:
        self.places = places
        self.tls = _context(tls or Tls())
        self._levels = levels
        self._environment = _from_environment() if environment else {}

    def proxy(self, url: str) -> str | None:
        """The proxy for this URL, ``http://``, ``socks5://`` or ``socks5h://``; None: none."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme in _SECURE
        for level in self._levels:
            if not level.enabled or _bypassed(host, ",".join(level.no_proxy)):
                return None
            named = level.https_proxy, level.socks_proxy, level.http_proxy
            if found := next(filter(None, named if secure else named[::-1]), None):
                return found
        if host in _LOOPBACK or _bypassed(host, self._environment.get("no", "")):
            return None
        names = parts.scheme, "https" if secure else "http", "socks", "all"
        return next((self._environment[n] for n in names if n in self._environment), None)


def refusal(error: Exception) -> tuple[str, str]:
    """The cause of a refusal, as the ledger has it, and a sentence."""
    if isinstance(error, gaierror):
        return "name", error.strerror or str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate", untrusted(error)
    return "connect", str(error) or type(error).__name__


def untrusted(error: ssl.SSLCertVerificationError) -> str:
    """Why a certificate is not trusted, and what to do: nothing is sent to whoever shows it."""
    remedy = _REMEDIES.get(error.verify_code, _WHO_SIGNED)
    return f"its certificate is not trusted: {error.verify_message}; {remedy}"


def _bypassed(host: str, no_proxy: str) -> bool:
    return bool(no_proxy) and bool(proxy_bypass(host, {"no": no_proxy}))


def _from_environment() -> Mapping[str, str]:
    """``https_proxy`` and its like, lower case before upper case."""
    found = getproxies_environment()
    for name in _IN_ENVIRONMENT:
        if name in found:
            try:
                value = found[name]
                found[name] = proxy_url(value if "://" in value else f"http://{value}")
            except ValueError as error:
                raise ConfigError(f"{name}_proxy (from environment): {error}") from None
    return found


@lru_cache(_CONTEXTS_MAX)
def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if tls.ca_file:
        try:
            context.load_verify_locations(tls.ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "no certificates"
            raise ConfigError(
                f"tls.ca_file: {tls.ca_file}: expected certificates in PEM ({reason})"
            ) from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
