//! Trades, of the stream and of REST, and the liquidations that they say.
//!
//! Sources: Deribit's API description, `public_trade`; collected in PROTOCOLS 3.1 and 4.5.
//!
//! # Promises
//! A trade's own name is its id, unique per currency; its place is `trade_seq`, which the
//! instrument alone counts. Whoever holds all trades holds all liquidations: the venue has no other
//! channel for them.

use std::borrow::Cow;

use serde::Deserialize;

use crate::event::{Event, Flags, Liquidation, Side, Times, Trade, TradeId, Update};
use crate::json::{self, Digits, Object, Scalar};

use super::nanoseconds;
use super::wire;

#[derive(Deserialize)]
struct Entry<'f> {
    #[serde(borrow)]
    instrument_name: Cow<'f, str>,
    #[serde(borrow)]
    trade_id: Name<'f>,
    #[serde(deserialize_with = "json::integer")]
    trade_seq: u64,
    #[serde(deserialize_with = "json::integer")]
    timestamp: u64,
    #[serde(borrow)]
    price: Digits<'f>,
    #[serde(borrow)]
    amount: Digits<'f>,
    #[serde(borrow)]
    direction: Cow<'f, str>,
    #[serde(borrow, default, deserialize_with = "wire::text")]
    liquidation: Cow<'f, str>,
    #[serde(default, deserialize_with = "wire::given")]
    block_trade_id: bool,
    #[serde(default, deserialize_with = "wire::given")]
    block_rfq_id: bool,
    #[serde(default, deserialize_with = "wire::given")]
    combo_id: bool,
    #[serde(default, deserialize_with = "wire::given")]
    combo_trade_id: bool,
}

/// `"ETH-284830839"`, or a number in quotes or not.
struct Name<'f>(Cow<'f, str>);

impl<'de: 'f, 'f> Deserialize<'de> for Name<'f> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Name<'f>, D::Error> {
        use serde::de::Error;
        let value = sonic_rs::LazyValue::deserialize(deserializer)?;
        match json::scalar(value.as_raw_cow()) {
            Scalar::Text(text) if !text.is_empty() => Ok(Name(text)),
            Scalar::Uint(number) => Ok(Name(number.to_string().into())),
            _ => Err(D::Error::custom("trade_id is not a text or a number")),
        }
    }
}

impl<'f> Name<'f> {
    /// A number where the digits can be had back from it.
    fn id(self) -> TradeId<'f> {
        let canonical = self.0 == "0" || !self.0.starts_with(['0', '+']);
        match self.0.parse() {
            Ok(number) if canonical => TradeId::Number(number),
            _ => TradeId::Text(self.0),
        }
    }
}

/// Reads `[{trade},…]`. Each liquidation follows its trade.
pub(super) fn trades<'f>(list: &'f str, broad: bool) -> Result<Vec<Event<'f>>, Box<str>> {
    events(json::read_part(list)?, broad, Flags::NONE)
}

#[derive(Deserialize)]
struct Page<'f> {
    #[serde(borrow)]
    trades: Vec<Object<'f>>,
}

/// Reads `{"trades":[…],"has_more":…}` of REST, whose trades may stand in either order; each
/// instrument's come out in the order of its count.
pub(super) fn healed<'f>(page: &'f str, broad: bool) -> Result<Vec<Event<'f>>, Box<str>> {
    let page: Page = json::object(page)?;
    events(page.trades, broad, Flags::HEALED)
}

fn events(list: Vec<Object<'_>>, broad: bool, flags: Flags) -> Result<Vec<Event<'_>>, Box<str>> {
    let entries = list.into_iter().map(|entry| json::object(entry.0));
    let mut entries = entries.collect::<Result<Vec<Entry>, _>>()?;
    if flags == Flags::HEALED {
        entries.sort_by_key(|entry| entry.trade_seq);
    }
    let mut out = Vec::with_capacity(entries.len());
    for entry in entries {
        push(entry, broad, flags, &mut out)?;
    }
    Ok(out)
}

fn push<'f>(
    entry: Entry<'f>,
    broad: bool,
    flags: Flags,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let side = match entry.direction.as_ref() {
        "buy" => Side::Buy,
        "sell" => Side::Sell,
        other => return Err(format!("direction: {other:?} is neither buy nor sell").into()),
    };
    // Of a trade between two that are liquidated, the maker's is the first.
    let (maker, taker) = match entry.liquidation.as_ref() {
        "" => (false, false),
        "M" => (true, false),
        "T" => (false, true),
        "MT" => (true, true),
        other => return Err(format!("liquidation: {other:?} is none of M, T and MT").into()),
    };
    let (price, quantity) = (entry.price.0, entry.amount.0);
    if quantity.starts_with('-') {
        return Err(format!("amount: {quantity} is negative").into());
    }
    let time = nanoseconds(entry.timestamp)?;
    let name = entry.trade_id;
    let forced = |mark: char, side: Side| {
        Update::Liquidation(Liquidation {
            id: Some(format!("{}{mark}", name.0)),
            side,
            position_side: None,
            price: Some(price.clone()),
            average_price: None,
            quantity: quantity.clone(),
            time,
        })
    };
    let maker = maker.then(|| forced('M', side.opposite()));
    let taker = taker.then(|| forced('T', side));
    let liquidated = maker.is_some() || taker.is_some();
    let trade = Update::Trade(Trade {
        id: name.id(),
        places: Some((entry.trade_seq, entry.trade_seq)),
        placed_apart: true,
        aggregated: false,
        merged: None,
        price,
        quantity,
        quantity_without_rpi: None,
        side,
        flags: flags
            .with_if(Flags::LIQUIDATION, liquidated)
            .with_if(Flags::BLOCK, entry.block_trade_id || entry.block_rfq_id)
            .with_if(Flags::COMBO, entry.combo_id || entry.combo_trade_id),
    });
    let times = Times { event: Some(time), sent: None };
    for update in [Some(trade), maker, taker].into_iter().flatten() {
        out.push(Event { native: entry.instrument_name.clone(), times, broad, update });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"trade_seq":5,"trade_id":"66460463","timestamp":1584058044032,
        "price":4469.5,"instrument_name":"BTC-PERPETUAL","direction":"sell","amount":1120"#;

    fn read(more: &str) -> Result<Vec<Event<'static>>, Box<str>> {
        let text: &'static str = Box::leak(format!("[{PLAIN}{more}}}]").into_boxed_str());
        trades(text, false)
    }

    #[test]
    fn a_trade_has_a_name_and_a_place() {
        let found = read("").unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].native, "BTC-PERPETUAL");
        assert_eq!(found[0].times.event, Some(1_584_058_044_032_000_000));
        let Update::Trade(trade) = &found[0].update else { panic!("not a trade") };
        assert_eq!(trade.id, TradeId::Number(66_460_463));
        assert_eq!(
            (trade.places, trade.placed_apart, trade.aggregated),
            (Some((5, 5)), true, false)
        );
        assert_eq!((&*trade.price, &*trade.quantity, trade.side), ("4469.5", "1120", Side::Sell));
        assert_eq!(trade.flags, Flags::NONE);
    }

    #[test]
    fn only_digits_that_print_back_are_a_number() {
        let id = |text: &'static str| Name(text.into()).id();
        assert_eq!(id("39355898"), TradeId::Number(39_355_898));
        assert_eq!(id("0"), TradeId::Number(0));
        for text in ["ETH-284830839", "007", "+7", "-7", "18446744073709551616", "1e3"] {
            assert_eq!(id(text), TradeId::Text(text.into()));
        }
    }

    #[test]
    fn liquidations_follow_their_trade_the_makers_first() {
        let sides = |mark: &str| {
            let found = read(&format!(r#","liquidation":"{mark}""#)).unwrap();
            let Update::Trade(trade) = &found[0].update else { panic!("not a trade") };
            assert_eq!(trade.flags, Flags::LIQUIDATION);
            let forced = found[1..].iter().map(|event| {
                let Update::Liquidation(forced) = &event.update else { panic!("no liquidation") };
                assert_eq!((forced.price.as_deref(), &*forced.quantity), (Some("4469.5"), "1120"));
                assert_eq!(Some(forced.time), event.times.event);
                (forced.id.clone().unwrap(), forced.side)
            });
            forced.collect::<Vec<_>>()
        };
        assert_eq!(sides("T"), [("66460463T".into(), Side::Sell)]);
        assert_eq!(sides("M"), [("66460463M".into(), Side::Buy)]);
        let both = [("66460463M".into(), Side::Buy), ("66460463T".into(), Side::Sell)];
        assert_eq!(sides("MT"), both);
    }

    #[test]
    fn blocks_and_combos_did_not_come_from_this_book() {
        let flags = |more: &str| {
            let found = read(more).unwrap();
            let Update::Trade(trade) = &found[0].update else { panic!("not a trade") };
            trade.flags.names().collect::<Vec<_>>()
        };
        assert_eq!(flags(r#","block_trade_id":"12","combo_id":null"#), ["block"]);
        assert_eq!(flags(r#","block_rfq_id":7"#), ["block"]);
        assert_eq!(flags(r#","combo_id":"BTC-FS-25DEC26_PERP","combo_trade_id":43"#), ["combo"]);
        assert_eq!(flags(r#","combo_trade_id":"43","liquidation":"""#), ["combo"]);
    }

    #[test]
    fn missed_trades_come_in_the_order_of_their_count() {
        let (a, b) = (PLAIN.replace(":5,", ":7,"), PLAIN.replace(":5,", ":6,"));
        let page = format!(r#"{{"trades":[{a}}},{b}}}],"has_more":false}}"#);
        let found = healed(&page, false).unwrap();
        let places = found.iter().map(|event| match &event.update {
            Update::Trade(trade) => (trade.places.unwrap().0, trade.flags),
            _ => panic!("not a trade"),
        });
        assert_eq!(places.collect::<Vec<_>>(), [(6, Flags::HEALED), (7, Flags::HEALED)]);
    }

    #[test]
    fn wrong_trades_are_refused() {
        for more in [r#","liquidation":"X""#, r#","liquidation":1"#, r#","price":1"#] {
            assert!(read(more).is_err(), "{more}");
        }
        for (from, to) in [
            ("sell", "none"),
            ("4469.5", "null"),
            ("1120", "-1120"),
            (r#""66460463""#, r#""""#),
            ("1584058044032", "18446744073709551615"),
            (":5,", ":-5,"),
            ("instrument_name", "name"),
        ] {
            let text = format!("[{}}}]", PLAIN.replace(from, to));
            assert!(trades(&text, false).is_err(), "{text}");
        }
    }
}
