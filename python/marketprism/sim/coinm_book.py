"""A book of a COIN-M perpetual in the bytes that Binance sends for it.

Sources: PROTOCOLS 1.4, 2.2, 5.2 and recorded frames. It is a future as those of USD-M are, but its
sizes are contracts, each worth so many dollars of the coin: 100 of BTC, 10 of any other. Messages
name the pair beside the symbol, and the universe 2.

Not here: streams and requests (``binance``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .binance_book import BinanceBook
from .book import MS, Grid, Made
from .statistics import scaled

__all__ = ["CoinmBook"]

_DOLLARS = {"BTC": 100}  # a contract; 10 of any other
_DOLLARS_ELSE = 10


class CoinmBook(BinanceBook):
    """One perpetual. ``dollars`` is what a contract is worth; a lot is one."""

    universe = 2

    def _grid(self, base: str) -> Grid:
        self.dollars = _DOLLARS.get(base, _DOLLARS_ELSE)
        return Grid(10 if base == "BTC" else 1, "", 0, "", 12, 8)

    def spell(self, units: int) -> str:
        """Whole contracts."""
        return str(units)

    def _price(self, cents: int) -> str:
        """As many digits as the tick has, 0.1 or 0.01."""
        text = super()._price(cents)
        return text[:-1] if self.grid.cents == 10 else text

    def _ladder(self, cents: range) -> Sequence[str]:
        if self.grid.cents != 10:
            return super()._ladder(cents)
        return [self._price(each) for each in cents]

    def _write_heads(self) -> None:
        name, stream = self.name, self.name.lower()
        self.trade_form = (
            f'{{"stream":"{stream}@aggTrade","data":{{"e":"aggTrade","E":%d,"s":"{name}",'
            '"a":%d,"p":"%s","q":"%d","nq":"%d","f":%d,"l":%d,"T":%d,"m":%s,"st":2}}'
        )

    def _trade_frame(
        self, t: int, trade_id: int, price: str, taken: int, fills: tuple[int, int], sell: int
    ) -> bytes:
        ms, maker = t // MS, "true" if sell else "false"
        text = self.trade_form % (ms, trade_id, price, taken, taken, *fills, ms - 1, maker)
        return text.encode()

    def _levels(self, lots: list[int], at: Iterable[int]) -> str:
        prices = self.prices
        return ",".join([f'["{prices[i]}","{lots[i]}"]' for i in at])

    def _coins(self, made: list[Made]) -> tuple[int, int]:
        """Contracts are worth what their dollars buy at the price of each trade."""
        return self._bought_for(self.dollars, made)

    def _whose(self) -> str:
        """Members by which a snapshot names its instrument."""
        return f'"symbol":"{self.name}","pair":"{self.pair}",'

    def day(self) -> dict[str, object]:
        """Its entry of ``ticker/24hr``, with the volume in contracts and in coins; of a made-up
        day, in which only the volume varies."""
        price = self.prices[self.fair]
        return {
            "symbol": self.name,
            "pair": self.pair,
            "priceChange": "0.0",
            "priceChangePercent": "0.000",
            "weightedAvgPrice": scaled(self.cents(self.fair) * 10**6, 8),
            "lastPrice": price,
            "openPrice": price,
            "highPrice": price,
            "lowPrice": price,
            "volume": str(self.turnover // self.dollars),
            "baseVolume": scaled(self.turnover * 10**10 // self.cents(self.fair), 8),
            "count": self.turnover,
        }

    def listing(self) -> dict[str, object]:
        """Its entry of ``symbols`` in an exchangeInfo body."""
        entry = super().listing()
        state = entry.pop("status")
        return {
            **entry,
            "contractStatus": state,
            "contractSize": self.dollars,
            "marginAsset": self.base,
            "pricePrecision": 1 if self.grid.cents == 10 else 2,
            "quantityPrecision": 0,
            "equalQtyPrecision": 4,
        }
