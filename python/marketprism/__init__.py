"""MarketPrism: crypto market data that says whether it is right and whether it is all there.

Public: :class:`Session` (bytes in, books and finished rows out) and :func:`instruments`.
Everything else is reached by the commands ``marketprism-collect`` and ``marketprism``.
"""

from marketprism._core import Instrument, Session, __version__, guess_instrument, instruments

__all__ = ["Instrument", "Session", "__version__", "guess_instrument", "instruments"]
