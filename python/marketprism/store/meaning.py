"""What each column means, in a sentence: for ``docs/data.md``, ``/docs`` and ``/api/v1/contract``.

A column means the same in every table unless ``table.column`` is said apart.

Not here: types and identities (``schema``).
"""

from __future__ import annotations

__all__ = ["MEANING", "TABLES_MEAN", "meaning"]

TABLES_MEAN = {
    "orderbook": "An image of a book: the best levels of those that are proven, one each second of "
    "venue time in which the book changed.",
    "trade": "A trade, or on Binance futures an aggregate of trades of one taker at one price.",
    "funding_rate": "What a perpetual will pay by the venue's forecast, and what it paid.",
    "open_interest": "Contracts that are open.",
    "liquidation": "A position that the venue closed by force.",
    "lsr_top_position": "How the positions of the largest traders are divided into long and short.",
    "lsr_all_account": "How many accounts are long for each that is short.",
    "volatility_index": "The venue's index of implied volatility (DVOL): bars, and ticks of it.",
    "ledger": "What a collector wrote down of itself and its streams: starts, gaps, what was "
    "healed or lost, and each minute what is covered.",
    "dead_letter": "What could not be read or stored, as it came, and why.",
    "instrument": "The venue's definition of an instrument. A row is written when it differs from "
    "the newest that is stored.",
    "orderbook_delta": "A change of a book, as the venue sent it.",
    "kline": "A closed bar, as the venue makes it.",
    "ticker": "The venue's summary: last price, best bid and ask, 24 hours, greeks of options.",
}

MEANING = {
    # Everybody's.
    "exchange": "Venue and section, as in `binance_spot`.",
    "market_type": "`spot`, `perpetual`, `futures` (which end), `options`.",
    "symbol": "`BASE-QUOTE`, then of what ends `-YYMMDD`, of options `-STRIKE-C` or `-P`.",
    "instrument_id": "The venue's own spelling.",
    "ts_event": "When it happened by the venue's clock: its matching engine's time where that is "
    "sent, else when the venue sent it. Nanoseconds UTC.",
    "ts_sent": "When the venue sent it, where it tells both. Nanoseconds UTC.",
    "ts_recv": "When it left our socket, before anything was read of it. Nanoseconds UTC.",
    "collector": "Who heard it.",
    "v": "Version of the row's shape.",
    "flags": "What is to be known of this row; empty for nearly all.",
    # Added by the store.
    "timestamp": "`ts_event`, else `ts_recv`, to the millisecond: the order of the table.",
    "created_at": "When the store inserted it.",
    "stream": "The JetStream stream it came by, and when that was made.",
    "stream_seq": "Its place there.",
    # Sizes.
    "price": "Quote currency a unit of base, the venue's digits. Of options as the venue quotes.",
    "quantity": "In units of the base currency, whatever the venue counts in; NULL where the "
    "contract's multiplier is not known.",
    "quote_quantity": "Price times size, in the quote currency.",
    "native_quantity": "The size as the venue counts it, where that is not the base currency.",
    "quantity_unit": "What native sizes count: `base`, `contract` or `usd`.",
    "contract_multiplier": "What one contract is worth, in `contract_currency`.",
    "contract_currency": "The currency of `contract_multiplier`: that of the quote where the "
    "contract is inverse.",
    # Trades.
    "trade_id": "The venue's id; of aggregates the aggregate's.",
    "side": "The taker's: `buy` or `sell`.",
    "buyer_is_maker": "The same, as Binance says it.",
    "aggregated": "1: the venue merged several trades.",
    "first_trade_id": "Of an aggregate.",
    "last_trade_id": "Of an aggregate.",
    "trade_count": "Trades of an aggregate.",
    "trade_seq": "Deribit: the place in the instrument's own count.",
    "quantity_without_rpi": "Binance futures: without retail price improvement orders, where that "
    "is another size.",
    # Books.
    "last_update_id": "The venue's id of the newest change in it; NULL where a session has none.",
    "first_update_id": "The venue's first id in it (Binance).",
    "prev_update_id": "The id that it follows (OKX, Deribit, Binance futures).",
    "epoch": "`ts_recv` of the seed with which this life of the book began.",
    "bids": "Price and size, best first, sizes in the venue's unit.",
    "asks": "Price and size, best first, sizes in the venue's unit.",
    "bids_count": "Levels in `bids`.",
    "asks_count": "Levels in `asks`.",
    "best_bid_price": "NULL: that side is empty or unproven.",
    "best_bid_quantity": "Its size.",
    "best_ask_price": "NULL: that side is empty or unproven.",
    "best_ask_quantity": "Its size.",
    "horizon_bid": "Levels are complete down to this price; NULL: to the end.",
    "horizon_ask": "Levels are complete up to this price; NULL: to the end.",
    "known_bids": "Levels within the horizon that the collector holds.",
    "known_asks": "Levels within the horizon that the collector holds.",
    "checksum": "What the venue's checksum said of the book: `valid`, `absent`, `zero`.",
    # Funding.
    "rate_kind": "`forecast`, or `settled`: what was paid.",
    "funding_rate": "A share of the position's value for one interval.",
    "funding_time": "When it is or was paid. Nanoseconds UTC.",
    "next_funding_time": "The payment after that.",
    "mark_price": "The venue's fair price, by which positions are valued.",
    "index_price": "The price of the underlying, over several venues.",
    "premium_index": "How far the contract trades from its index, as the venue computes it.",
    "funding_interval_hours": "The time for which the rate is.",
    # Open interest.
    "open_interest": "In units of the base currency.",
    "open_interest_value": "In the quote currency or US dollars, where the venue says it.",
    "native_open_interest": "As the venue counts it, where that is not the base currency.",
    # Forced orders.
    "liquidation_id": "The venue's, where it has one (Deribit: its trade).",
    "position_side": "`long` or `short`, where the venue says it.",
    "liquidation.side": "The forced order's: `sell` closes a long position.",
    "liquidation.price": "Of the order; OKX: of the bankruptcy.",
    "average_price": "At which it was filled.",
    "value": "Price times size, in the quote currency.",
    "liquidation_time": "By the venue's clock. Nanoseconds UTC.",
    "fact": "What names the row: a hash of the venue's own text, or its id.",
    # Ratios and indices.
    "period": "The time a ratio is of, as in `5m`.",
    "long_short_ratio": "Long divided by short.",
    "long_ratio": "Long, as a share of both.",
    "short_ratio": "Short, as a share of both.",
    "resolution": "Seconds of a bar; NULL: a tick.",
    "index_value": "Percent a year; of a bar its close.",
    "open": "First value of the bar.",
    "high": "Highest value of the bar.",
    "low": "Lowest value of the bar.",
    "close": "Last value of the bar.",
    "underlying_asset": "What the index is of, as in `BTC`.",
    # Bars and tickers.
    "interval": "As in `1m`; `@+08:00`: days of the bar begin at that offset.",
    "open_time": "Its beginning. Nanoseconds UTC.",
    "close_time": "Its last moment. Nanoseconds UTC.",
    "volume": "In units of the base currency.",
    "quote_volume": "In the quote currency.",
    "trades": "How many.",
    "last_price": "Of the newest trade.",
    "last_quantity": "Of the newest trade, in the base currency.",
    "open_24h": "Price 24 hours before.",
    "high_24h": "Of the last 24 hours.",
    "low_24h": "Of the last 24 hours.",
    "volume_24h": "Of the last 24 hours, in the base currency.",
    "quote_volume_24h": "Of the last 24 hours, in the quote currency.",
    "mark_iv": "Implied volatility of the mark price, percent.",
    "bid_iv": "Implied volatility of the best bid, percent.",
    "ask_iv": "Implied volatility of the best ask, percent.",
    "delta": "Greek of an option.",
    "gamma": "Greek of an option.",
    "vega": "Greek of an option.",
    "theta": "Greek of an option.",
    "rho": "Greek of an option.",
    # Instruments.
    "kind": "The venue's word for what it is.",
    "state": "The venue's word for whether it trades.",
    "base": "What is bought and sold.",
    "quote": "What its price counts.",
    "settle": "What it is paid in.",
    "tick_size": "Smallest step of the price.",
    "lot_size": "Smallest step of the size, in the venue's unit.",
    "expiry": "When it ends; NULL: never. Nanoseconds UTC.",
    "strike": "Of an option.",
    "valid_from": "From when this definition holds, where the venue announces it.",
    "raw": "The venue's own entry.",
    # Ours.
    "run": "Start of the collector's run. Nanoseconds UTC.",
    "n": "Counts the rows of the run.",
    "origin": "`frame`, `body` (of REST) or `row`.",
    "reason": "Why it could not be read or stored.",
    "where": "The URL or subject that it came by.",
    "payload": "What came, 64 KiB of it at most.",
    "event": "What happened; more words may be added.",
    "cause": "Why.",
    "detail": "A sentence for people.",
    "data_type": "Of which rows it tells.",
    "from_id": "First id that it is about.",
    "to_id": "Last id that it is about.",
    "from_ts": "From which moment of venue time on, inclusive. Nanoseconds UTC.",
    "to_ts": "Up to which moment of venue time, inclusive. Nanoseconds UTC.",
    "count": "Of what `event` counts: rows, frames, levels.",
    "healed": "How many of them were had again.",
    "leg": "Which of a collector's two connections.",
}


def meaning(data_type: str, column: str) -> str:
    """The sentence for a column of the table of this data type. Raises ``KeyError``."""
    return MEANING.get(f"{data_type}.{column}") or MEANING[column]
