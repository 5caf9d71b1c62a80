//! Rows of single facts: trades, rates, interests, liquidations, bars, tickers, definitions.
//!
//! # Promises
//! Numbers are the venue's own digits; what is derived says so by being derived exactly or not at
//! all (`worth`). An identity is made of what the venue sent: CONTRACT 2.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use crate::decimal::{quotient, write_product, Decimal};
use crate::event::{
    Flags, Funding, Kline, Liquidation, OpenInterest, RateKind, Ratio, RatioOf, Side, Size, Ticker,
    Trade, TradeId, Volatility,
};
use crate::instrument::{Instrument, QuantityUnit};

use super::{
    decimal_text, flags, integer, integer_text, key, member, push_integer, quoted, timeless, Kind,
    Names, Rows, Stamp,
};

const SECOND: u64 = 1_000_000_000;

/// A text member, if there is a value.
fn maybe(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        member(out, name, value);
    }
}

fn maybe_integer(out: &mut Vec<u8>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        integer(out, name, value);
    }
}

/// xxh3-64 in hex: the `h` of CONTRACT 2.
fn hash(text: &[u8]) -> String {
    format!("{:016x}", xxh3_64(text))
}

impl Names {
    /// A trade row. `quantity` is in base units; where the venue counts otherwise, its own size
    /// stands beside it.
    pub fn trade(&self, rows: &mut Rows, trade: &Trade<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        match &trade.id {
            TradeId::Number(id) => integer_text(out, "trade_id", *id),
            TradeId::Text(id) => member(out, "trade_id", id),
        }
        member(out, "price", &trade.price);
        self.trade_sizes(out, trade);
        member(out, "side", trade.side.name());
        out.extend_from_slice(match trade.side {
            Side::Sell => b",\"buyer_is_maker\":true".as_slice(),
            Side::Buy => b",\"buyer_is_maker\":false".as_slice(),
        });
        out.extend_from_slice(if trade.aggregated {
            b",\"aggregated\":1"
        } else {
            b",\"aggregated\":0"
        });
        if let Some((first, last)) = trade.merged {
            integer(out, "first_trade_id", first);
            integer(out, "last_trade_id", last);
            integer(out, "trade_count", (last + 1).saturating_sub(first));
        }
        if let (true, Some((place, _))) = (trade.placed_apart, trade.places) {
            integer(out, "trade_seq", place);
        }
        let told = trade.flags.with_if(Flags::LEG2, self.second_leg);
        flags(out, told.names().chain(timeless(stamp)));
        let end = self.end(rows, Kind::Trade);
        rows.bytes.push(if trade.aggregated { b'a' } else { b't' });
        match &trade.id {
            TradeId::Number(id) => push_integer(&mut rows.bytes, *id),
            TradeId::Text(id) => rows.bytes.extend_from_slice(id.as_bytes()),
        }
        self.finish(rows, Kind::Trade, stamp, start, end);
    }

    #[inline]
    fn trade_sizes(&self, out: &mut Vec<u8>, trade: &Trade<'_>) {
        if self.worth.is_base() {
            member(out, "quantity", &trade.quantity);
            let price = Decimal::parse(trade.price.as_bytes());
            let quantity = Decimal::parse(trade.quantity.as_bytes());
            if let (Some(price), Some(quantity)) = (price, quantity) {
                key(out, "quote_quantity");
                out.push(b'"');
                write_product(out, price, quantity);
                out.push(b'"');
            }
        } else {
            let price = Some(trade.price.as_ref());
            maybe(out, "quantity", self.worth.base(&trade.quantity, price).as_deref());
            maybe(out, "quote_quantity", self.worth.quote(&trade.quantity, price).as_deref());
            self.native(out, "native_quantity", &trade.quantity);
        }
        maybe(out, "quantity_without_rpi", trade.quantity_without_rpi.as_deref());
    }

    /// The venue's own size and what it counts, where that is not the base.
    fn native(&self, out: &mut Vec<u8>, name: &str, size: &str) {
        if self.worth.unit != QuantityUnit::Base {
            member(out, name, size);
            member(out, "quantity_unit", self.worth.unit.name());
        }
    }

    /// A funding row.
    pub fn funding(&self, rows: &mut Rows, funding: &Funding<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        let kind = match funding.kind {
            RateKind::Forecast => "forecast",
            RateKind::Settled => "settled",
        };
        member(out, "rate_kind", kind);
        member(out, "funding_rate", &funding.rate);
        integer(out, "funding_time", funding.time);
        maybe_integer(out, "next_funding_time", funding.next_time);
        maybe(out, "mark_price", funding.mark_price.as_deref());
        maybe(out, "index_price", funding.index_price.as_deref());
        maybe(out, "premium_index", funding.premium_index.as_deref());
        maybe(out, "funding_interval_hours", funding.interval_hours.as_deref());
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::FundingRate);
        let time = if self.jitters { funding.time - funding.time % SECOND } else { funding.time };
        rows.bytes.push(kind.as_bytes()[0]);
        push_integer(&mut rows.bytes, time);
        if funding.kind == RateKind::Forecast {
            rows.bytes.push(b':');
            push_integer(&mut rows.bytes, stamp.event.unwrap_or(0));
        }
        self.finish(rows, Kind::FundingRate, stamp, start, end);
    }

    /// An open interest row, in base units and in quote units or USD, as far as either is known.
    pub fn open_interest(&self, rows: &mut Rows, interest: &OpenInterest<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        let native = interest.native.as_deref();
        let mark = interest.mark_price.as_deref();
        let base = interest.base.as_deref().map(Into::into);
        let base = base.or_else(|| self.worth.base(native?, mark));
        maybe(out, "open_interest", base.as_deref());
        let value = interest.value.as_deref().map(str::to_owned);
        let derived = || self.worth.quote(native?, mark).filter(|_| !self.worth.is_base());
        maybe(out, "open_interest_value", value.or_else(derived).as_deref());
        if let Some(native) = native {
            self.native(out, "native_open_interest", native);
        }
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::OpenInterest);
        push_integer(&mut rows.bytes, stamp.event.unwrap_or(0));
        self.finish(rows, Kind::OpenInterest, stamp, start, end);
    }

    /// A liquidation row.
    pub fn liquidation(&self, rows: &mut Rows, forced: &Liquidation<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        let fact = forced.id.clone().unwrap_or_else(|| identity(forced));
        maybe(out, "liquidation_id", forced.id.as_deref());
        member(out, "side", forced.side.name());
        maybe(out, "position_side", forced.position_side.as_deref());
        maybe(out, "price", forced.price.as_deref());
        maybe(out, "average_price", forced.average_price.as_deref());
        let price = forced.average_price.as_deref().or(forced.price.as_deref());
        maybe(out, "quantity", self.worth.base(&forced.quantity, price).as_deref());
        self.native(out, "native_quantity", &forced.quantity);
        maybe(out, "value", self.worth.quote(&forced.quantity, price).as_deref());
        integer(out, "liquidation_time", forced.time);
        member(out, "fact", &fact);
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::Liquidation);
        rows.bytes.extend_from_slice(fact.as_bytes());
        self.finish(rows, Kind::Liquidation, stamp, start, end);
    }

    /// A row of longs to shorts.
    pub fn ratio(&self, rows: &mut Rows, ratio: &Ratio<'_>, stamp: Stamp) {
        let kind = match ratio.of {
            RatioOf::TopPositions => Kind::LsrTopPosition,
            RatioOf::AllAccounts => Kind::LsrAllAccount,
        };
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        member(out, "period", &ratio.period);
        member(out, "long_short_ratio", &ratio.long_short);
        let (long, short) = shares(&ratio.long_short);
        maybe(out, "long_ratio", ratio.long.as_deref().or(long.as_deref()));
        maybe(out, "short_ratio", ratio.short.as_deref().or(short.as_deref()));
        flags(out, timeless(stamp));
        let end = self.end(rows, kind);
        rows.bytes.extend_from_slice(ratio.period.as_bytes());
        rows.bytes.push(b':');
        push_integer(&mut rows.bytes, stamp.event.unwrap_or(0));
        self.finish(rows, kind, stamp, start, end);
    }

    /// A tick or a bar of a volatility index.
    pub fn volatility(&self, rows: &mut Rows, index: &Volatility<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        maybe(out, "resolution", index.resolution.as_deref());
        member(out, "index_value", &index.value);
        maybe(out, "open", index.open.as_deref());
        maybe(out, "high", index.high.as_deref());
        maybe(out, "low", index.low.as_deref());
        member(out, "underlying_asset", &index.asset);
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::VolatilityIndex);
        match &index.resolution {
            Some(resolution) => {
                rows.bytes.extend_from_slice(resolution.as_bytes());
                rows.bytes.push(b':');
            }
            None => rows.bytes.push(b'x'),
        }
        push_integer(&mut rows.bytes, stamp.event.unwrap_or(0));
        self.finish(rows, Kind::VolatilityIndex, stamp, start, end);
    }

    /// A bar.
    pub fn kline(&self, rows: &mut Rows, kline: &Kline<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        member(out, "interval", &kline.interval);
        integer(out, "open_time", kline.open_time);
        maybe_integer(out, "close_time", kline.close_time);
        member(out, "open", &kline.open);
        member(out, "high", &kline.high);
        member(out, "low", &kline.low);
        member(out, "close", &kline.close);
        self.volumes(
            out,
            ("volume", kline.volume.as_ref()),
            ("quote_volume", kline.quote_volume.as_ref()),
        );
        maybe_integer(out, "trades", kline.trades);
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::Kline);
        rows.bytes.extend_from_slice(kline.interval.as_bytes());
        rows.bytes.push(b':');
        push_integer(&mut rows.bytes, kline.open_time);
        self.finish(rows, Kind::Kline, stamp, start, end);
    }

    /// Sums over many prices: a native one has no price to be divided by.
    fn volumes(
        &self,
        out: &mut Vec<u8>,
        base: (&str, Option<&Size<'_>>),
        quote: (&str, Option<&Size<'_>>),
    ) {
        match base.1 {
            Some(Size::Plain(text)) => member(out, base.0, text),
            Some(Size::Native(text)) => maybe(out, base.0, self.worth.base(text, None).as_deref()),
            None => {}
        }
        match quote.1 {
            Some(Size::Plain(text)) => member(out, quote.0, text),
            Some(Size::Native(text)) => {
                maybe(out, quote.0, self.worth.quote(text, None).as_deref());
            }
            None => {}
        }
    }

    /// A ticker row.
    pub fn ticker(&self, rows: &mut Rows, ticker: &Ticker<'_>, stamp: Stamp) {
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        for (price_name, price, size_name, size) in [
            ("last_price", &ticker.last_price, "last_quantity", &ticker.last_quantity),
            (
                "best_bid_price",
                &ticker.best_bid_price,
                "best_bid_quantity",
                &ticker.best_bid_quantity,
            ),
            (
                "best_ask_price",
                &ticker.best_ask_price,
                "best_ask_quantity",
                &ticker.best_ask_quantity,
            ),
        ] {
            let price = price.as_deref();
            maybe(out, price_name, price);
            let size = size.as_deref().and_then(|size| self.worth.base(size, price));
            maybe(out, size_name, size.as_deref());
        }
        for (name, value) in [
            ("mark_price", &ticker.mark_price),
            ("index_price", &ticker.index_price),
            ("open_24h", &ticker.open_24h),
            ("high_24h", &ticker.high_24h),
            ("low_24h", &ticker.low_24h),
            ("mark_iv", &ticker.mark_iv),
            ("bid_iv", &ticker.bid_iv),
            ("ask_iv", &ticker.ask_iv),
            ("delta", &ticker.delta),
            ("gamma", &ticker.gamma),
            ("vega", &ticker.vega),
            ("theta", &ticker.theta),
            ("rho", &ticker.rho),
        ] {
            maybe(out, name, value.as_deref());
        }
        self.volumes(
            out,
            ("volume_24h", ticker.volume_24h.as_ref()),
            ("quote_volume_24h", ticker.quote_volume_24h.as_ref()),
        );
        let native = ticker.native_open_interest.as_deref();
        let interest = native.and_then(|n| self.worth.base(n, ticker.mark_price.as_deref()));
        let interest = ticker.open_interest.as_deref().or(interest.as_deref());
        maybe(out, "open_interest", interest);
        let fact = match ticker.update_id {
            Some(id) => format!("b{id}"),
            None => format!("{}:{}", stamp.event.unwrap_or(0), hash(ticker.raw.as_bytes())),
        };
        member(out, "fact", &fact);
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::Ticker);
        rows.bytes.extend_from_slice(fact.as_bytes());
        self.finish(rows, Kind::Ticker, stamp, start, end);
    }

    /// What the instrument is, as its list says; no row where no list was at hand.
    pub fn definition(&self, rows: &mut Rows, instrument: &Instrument, stamp: Stamp) {
        let Some(listing) = &instrument.listing else { return };
        let start = self.begin(rows, stamp);
        let out = &mut rows.bytes;
        for (name, value) in [
            ("kind", &listing.kind),
            ("state", &listing.state),
            ("base", &listing.base),
            ("quote", &listing.quote),
            ("settle", &listing.settle),
        ] {
            maybe(out, name, Some(value.as_ref()).filter(|value| !value.is_empty()));
        }
        maybe(out, "tick_size", listing.tick_size.as_deref());
        maybe(out, "lot_size", listing.lot_size.as_deref());
        if let Some(contract) = &instrument.contract {
            key(out, "contract_multiplier");
            decimal_text(out, contract.multiplier);
            member(out, "contract_currency", &contract.currency);
        }
        maybe_integer(out, "expiry", listing.expiry);
        maybe(out, "strike", listing.strike.as_deref());
        maybe_integer(out, "valid_from", listing.valid_from);
        member(out, "raw", &listing.raw);
        let fact = hash(&sorted(&listing.raw));
        key(out, "fact");
        quoted(out, fact.as_bytes());
        flags(out, timeless(stamp));
        let end = self.end(rows, Kind::Instrument);
        rows.bytes.extend_from_slice(fact.as_bytes());
        self.finish(rows, Kind::Instrument, stamp, start, end);
    }
}

/// `h` over the venue's text of time, side, position side, price, average price and size.
fn identity(forced: &Liquidation<'_>) -> String {
    let text = [
        forced.time.to_string().as_str(),
        forced.side.name(),
        forced.position_side.as_deref().unwrap_or(""),
        forced.price.as_deref().unwrap_or(""),
        forced.average_price.as_deref().unwrap_or(""),
        &forced.quantity,
    ]
    .join("|");
    hash(text.as_bytes())
}

/// r = long/short, so long = r/(1+r) and short = 1/(1+r); 18 fraction digits, half to even.
fn shares(ratio: &str) -> (Option<String>, Option<String>) {
    const ONE: Decimal = Decimal { mantissa: 1, scale: 0, digits: 0 };
    let divided = |top: Decimal, ratio: Decimal| {
        let one = ONE.at(ratio.scale)?;
        let sum = Decimal { mantissa: ratio.mantissa.checked_add(one)?, ..ratio };
        String::from_utf8(quotient(top, ONE, sum)?).ok()
    };
    match Decimal::parse(ratio.as_bytes()) {
        Some(ratio) => (divided(ratio, ratio), divided(ONE, ratio)),
        None => (None, None),
    }
}

/// The entry with the keys of its objects sorted, so that their order makes no new fact. Anything
/// that is no object stays as it is.
fn sorted(raw: &str) -> Vec<u8> {
    let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(raw) else {
        return raw.as_bytes().to_vec();
    };
    let mut out = Vec::with_capacity(raw.len());
    out.push(b'{');
    for (name, value) in members {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        out.extend_from_slice(&sorted(value.get()));
        out.push(b',');
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_of_longs_to_shorts_is_no_fraction() {
        let text = |r: &str| {
            let (long, short) = shares(r);
            (long.unwrap(), short.unwrap())
        };
        assert_eq!(text("3"), ("0.75".into(), "0.25".into()));
        assert_eq!(text("1.0"), ("0.5".into(), "0.5".into()));
        assert_eq!(text("0"), ("0".into(), "1".into()));
        assert_eq!(text("1.3781").0, "0.579496236491316597");
    }

    #[test]
    fn an_entry_is_the_same_whatever_the_order_of_its_keys() {
        let one = sorted(r#"{"b":{"y":1,"x":[2,1]},"a":"t"}"#);
        assert_eq!(one, sorted(r#"{"a":"t","b":{"x":[2,1],"y":1}}"#));
        assert_ne!(one, sorted(r#"{"a":"t","b":{"x":[1,2],"y":1}}"#));
    }
}
