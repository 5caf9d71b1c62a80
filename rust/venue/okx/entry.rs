//! What one entry of `data` says, be it pushed or asked for: both have the same members.
//!
//! Sources: OKX's API guide v5 ("Order Book Trading › Market Data", "Public Data", "Trading
//! Statistics"); collected in PROTOCOLS 3.1, 4.1–4.6.
//!
//! # Promises
//! Sizes stay in the venue's unit. An entry is read whole or refused.
//!
//! # Not here
//! Which channel or endpoint has which entries: the parent and `answer`. Books: `wire`. What comes
//! as bars: `bar`.

use std::borrow::Cow;

use crate::decimal::shifted;
use crate::event::{
    Event, Flags, Funding, Liquidation, OpenInterest, RateKind, Side, Size, Ticker, Times, Trade,
    TradeId, Update,
};

use super::wire::{Member, Object, Row};

const HOUR: u64 = 3_600_000_000_000;
/// A ten-thousandth of an hour: as fine as an interval of funding is told.
const HOUR_PART: u64 = HOUR / 10_000;

/// What the entries of a message concern, as far as the message or the question says it.
#[derive(Clone)]
pub(super) struct Scope<'f> {
    /// Empty where an entry has to say it.
    pub(super) native: Cow<'f, str>,
    /// About a whole market.
    pub(super) broad: bool,
}

impl<'f> Scope<'f> {
    /// Of one instrument, or of a whole market where there is none.
    pub(super) fn of(native: Cow<'f, str>) -> Scope<'f> {
        Scope { broad: native.is_empty(), native }
    }

    #[must_use]
    pub(super) fn broad(mut self) -> Scope<'f> {
        self.broad = true;
        self
    }

    fn native(&self, entry: &Object<'f>) -> Result<Cow<'f, str>, Box<str>> {
        match entry.at("instId").text()? {
            native if !native.is_empty() => Ok(native),
            _ => self.named(),
        }
    }

    pub(super) fn named(&self) -> Result<Cow<'f, str>, Box<str>> {
        match &*self.native {
            "" => Err("instId is missing".into()),
            _ => Ok(self.native.clone()),
        }
    }

    pub(super) fn event(
        &self,
        native: Cow<'f, str>,
        time: Option<u64>,
        update: Update<'f>,
    ) -> Event<'f> {
        let event = Event::new(native, Times { event: time, sent: None }, update);
        Event { broad: self.broad, ..event }
    }
}

/// Reads an entry and appends what it says.
pub(super) type Read = for<'f> fn(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>>;

/// What all entries say, in their order.
pub(super) fn all<'f>(
    data: &Member<'f>,
    scope: &Scope<'f>,
    read: Read,
) -> Result<Vec<Event<'f>>, Box<str>> {
    let entries = data.elements()?;
    let mut out = Vec::with_capacity(entries.len());
    for raw in entries {
        read(&Object::read(raw)?, scope, &mut out)?;
    }
    Ok(out)
}

/// What all entries say that are arrays, in their order.
pub(super) fn rows<'f>(
    data: &Member<'f>,
    mut read: impl FnMut(&Row<'f>) -> Result<Event<'f>, Box<str>>,
) -> Result<Vec<Event<'f>>, Box<str>> {
    data.elements()?.into_iter().map(|raw| read(&Row::read(raw)?)).collect()
}

/// `trades-all`: one match (PROTOCOLS 3.1). Its id is its place in the instrument's count, 3.2.
pub(super) fn trade<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let id = entry.at("tradeId").integer()?;
    push_trade(entry, scope, out, Merge { places: Some((id, id)), ..Merge::default() })
}

/// As `trade`, asked for after it was missed. Replies have no merged trades.
pub(super) fn healed_trade<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let id = entry.at("tradeId").integer()?;
    let merge = Merge { places: Some((id, id)), flags: Flags::HEALED, aggregated: false };
    push_trade(entry, scope, out, merge)
}

/// `trades`: those of one taker order at one price. The id is the last one, `count` says how many
/// there are. Frames of earlier years have no count: which ids are in them is not known then.
pub(super) fn merged_trade<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let id = entry.at("tradeId").integer()?;
    let count = entry.at("count");
    let first = |count: u64| id.checked_sub(count.checked_sub(1)?);
    let places = match count.maybe_integer()? {
        Some(merged) => match first(merged) {
            Some(first) => Some((first, id)),
            None => return Err(count.wrong("a number of trades up to tradeId")),
        },
        None => None,
    };
    push_trade(entry, scope, out, Merge { places, flags: Flags::NONE, aggregated: true })
}

#[derive(Default)]
struct Merge {
    places: Option<(u64, u64)>,
    flags: Flags,
    aggregated: bool,
}

fn push_trade<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
    merge: Merge,
) -> Result<(), Box<str>> {
    // 0 is a normal order, 1 one of the Enhanced Liquidity Program.
    let is_elp = entry.at("source").text()? == "1";
    let trade = Trade {
        id: TradeId::Number(entry.at("tradeId").integer()?),
        places: merge.places,
        placed_apart: false,
        aggregated: merge.aggregated,
        merged: merge.places.filter(|_| merge.aggregated),
        price: entry.at("px").decimal()?,
        quantity: entry.at("sz").size()?,
        quantity_without_rpi: None,
        side: side(entry.at("side"))?,
        flags: merge.flags.with_if(Flags::ELP, is_elp),
    };
    let time = entry.at("ts").time()?;
    out.push(scope.event(scope.native(entry)?, Some(time), Update::Trade(trade)));
    Ok(())
}

fn side(member: Member<'_>) -> Result<Side, Box<str>> {
    match &*member.text()? {
        "buy" => Ok(Side::Buy),
        "sell" => Ok(Side::Sell),
        "" => Err(member.missing()),
        _ => Err(member.wrong("buy or sell")),
    }
}

/// `bbo-tbt`: the best level of each side, an empty one left out.
pub(super) fn best<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let (best_ask_price, best_ask_quantity) = best_level(entry.at("asks"))?.unzip();
    let (best_bid_price, best_bid_quantity) = best_level(entry.at("bids"))?.unzip();
    let ticker = Ticker {
        raw: Cow::Borrowed(entry.raw),
        best_ask_price,
        best_ask_quantity,
        best_bid_price,
        best_bid_quantity,
        ..Ticker::default()
    };
    push_ticker(entry, scope, out, ticker)
}

type Level<'f> = (Cow<'f, str>, Cow<'f, str>);

fn best_level(side: Member<'_>) -> Result<Option<Level<'_>>, Box<str>> {
    let Some(raw) = side.elements()?.first().copied() else { return Ok(None) };
    let level = Row::read(raw)?;
    Ok(Some((level.at(0, "price").decimal()?, level.at(1, "size").size()?)))
}

/// `tickers`. The volumes mean different things (PROTOCOLS 4.1): spot `vol24h` is base and
/// `volCcy24h` quote; of a contract `vol24h` is contracts and `volCcy24h` base.
pub(super) fn ticker<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let is_spot = match &*entry.at("instType").text()? {
        "SPOT" | "MARGIN" => true,
        "" => is_spot(&scope.native(entry)?),
        _ => false,
    };
    let (count, currency) = (entry.at("vol24h").maybe()?, entry.at("volCcy24h").maybe()?);
    let (volume_24h, quote_volume_24h) = match is_spot {
        true => (count.map(Size::Plain), currency.map(Size::Plain)),
        false => (currency.map(Size::Plain), count.map(Size::Native)),
    };
    let ticker = Ticker {
        raw: Cow::Borrowed(entry.raw),
        last_price: entry.at("last").maybe()?,
        last_quantity: entry.at("lastSz").maybe()?,
        best_bid_price: entry.at("bidPx").nonzero()?,
        best_bid_quantity: entry.at("bidSz").nonzero()?,
        best_ask_price: entry.at("askPx").nonzero()?,
        best_ask_quantity: entry.at("askSz").nonzero()?,
        open_24h: entry.at("open24h").maybe()?,
        high_24h: entry.at("high24h").maybe()?,
        low_24h: entry.at("low24h").maybe()?,
        volume_24h,
        quote_volume_24h,
        ..Ticker::default()
    };
    push_ticker(entry, scope, out, ticker)
}

pub(super) fn mark_price<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let ticker = Ticker {
        raw: Cow::Borrowed(entry.raw),
        mark_price: Some(entry.at("markPx").decimal()?),
        ..Ticker::default()
    };
    push_ticker(entry, scope, out, ticker)
}

/// `opt-summary`: volatilities as fractions, here percent (PROTOCOLS 4.7). Of the greeks those of
/// Black and Scholes are in US dollars; the others are in coin.
pub(super) fn option_summary<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let ticker = Ticker {
        raw: Cow::Borrowed(entry.raw),
        mark_iv: percent(entry.at("markVol"))?,
        bid_iv: percent(entry.at("bidVol"))?,
        ask_iv: percent(entry.at("askVol"))?,
        delta: entry.at("deltaBS").maybe()?,
        gamma: entry.at("gammaBS").maybe()?,
        theta: entry.at("thetaBS").maybe()?,
        vega: entry.at("vegaBS").maybe()?,
        ..Ticker::default()
    };
    push_ticker(entry, scope, out, ticker)
}

fn percent(fraction: Member<'_>) -> Result<Option<Cow<'_, str>>, Box<str>> {
    let Some(digits) = fraction.maybe()? else { return Ok(None) };
    match shifted(&digits, 2) {
        Some(percent) => Ok(Some(Cow::Owned(percent))),
        None => Err(fraction.wrong("a fraction")),
    }
}

fn push_ticker<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
    ticker: Ticker<'f>,
) -> Result<(), Box<str>> {
    let time = entry.at("ts").time()?;
    let native = scope.native(entry)?;
    out.push(scope.event(native, Some(time), Update::Ticker(Box::new(ticker))));
    Ok(())
}

/// `funding-rate`: the forecast for `fundingTime`, and beside it the rate that was paid last.
pub(super) fn funding<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let native = scope.native(entry)?;
    let time = entry.at("fundingTime").time()?;
    let next = entry.at("nextFundingTime").maybe_time()?;
    let interval = next.and_then(|next| next.checked_sub(time)).filter(|ns| *ns > 0);
    let said = out.len();
    if let Some(rate) = entry.at("fundingRate").maybe()? {
        let forecast = Funding {
            next_time: next,
            premium_index: entry.at("premium").maybe()?,
            interval_hours: interval.and_then(hours),
            ..rate_at(RateKind::Forecast, rate, time)
        };
        let sent = entry.at("ts").maybe_time()?;
        out.push(scope.event(native.clone(), sent, Update::Funding(forecast)));
    }
    let settled = match &*entry.at("settState").text()? {
        "settled" => entry.at("settFundingRate").maybe()?,
        // While `processing` it is the rate of the settlement that is going on.
        _ => None,
    };
    // The venue does not say when the settled rate was paid. It is the settlement before the one
    // that is forecast, and settlements are one interval apart.
    let previous = interval.and_then(|interval| time.checked_sub(interval));
    if let (Some(rate), Some(time)) = (settled, previous) {
        let settled = Update::Funding(rate_at(RateKind::Settled, rate, time));
        out.push(scope.event(native, Some(time), settled));
    }
    if out.len() == said {
        // New contracts: there is a time and no rate yet.
        out.push(Event::general(Update::Ignored("funding_rate_empty")));
    }
    Ok(())
}

/// `funding-rate-history`: what was paid. `fundingRate` is the forecast of then, and the rate that
/// was paid where no other is given.
pub(super) fn settled_funding<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let time = entry.at("fundingTime").time()?;
    let rate = match entry.at("realizedRate").maybe()? {
        Some(rate) => rate,
        None => entry.at("fundingRate").decimal()?,
    };
    let settled = Update::Funding(rate_at(RateKind::Settled, rate, time));
    out.push(scope.event(scope.native(entry)?, Some(time), settled));
    Ok(())
}

fn rate_at(kind: RateKind, rate: Cow<'_, str>, time: u64) -> Funding<'_> {
    Funding {
        kind,
        rate,
        time,
        next_time: None,
        mark_price: None,
        index_price: None,
        premium_index: None,
        interval_hours: None,
    }
}

/// In hours, where four decimals say it exactly.
fn hours<'f>(nanoseconds: u64) -> Option<Cow<'f, str>> {
    let parts = nanoseconds / HOUR_PART;
    if parts * HOUR_PART != nanoseconds {
        return None;
    }
    let (whole, fraction) = (parts / 10_000, format!("{:04}", parts % 10_000));
    Some(match fraction.trim_end_matches('0') {
        "" => Cow::Owned(whole.to_string()),
        fraction => Cow::Owned(format!("{whole}.{fraction}")),
    })
}

/// `open-interest`: contracts, coin and US dollars (PROTOCOLS 4.4).
pub(super) fn open_interest<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let interest = OpenInterest {
        native: Some(entry.at("oi").size()?),
        base: entry.at("oiCcy").maybe()?,
        value: entry.at("oiUsd").maybe()?,
        mark_price: None,
    };
    let time = entry.at("ts").time()?;
    out.push(scope.event(scope.native(entry)?, Some(time), Update::OpenInterest(interest)));
    Ok(())
}

/// `open-interest-history`: `[ts, oi, oiCcy, oiUsd]`.
pub(super) fn open_interest_row<'f>(
    row: &Row<'f>,
    scope: &Scope<'f>,
) -> Result<Event<'f>, Box<str>> {
    let interest = OpenInterest {
        native: Some(row.at(1, "oi").size()?),
        base: row.at(2, "oiCcy").maybe()?,
        value: row.at(3, "oiUsd").maybe()?,
        mark_price: None,
    };
    let time = row.at(0, "ts").time()?;
    Ok(scope.event(scope.named()?, Some(time), Update::OpenInterest(interest)))
}

/// `liquidation-orders`: an entry holds every order of its instrument. Orders stand in no order of
/// time, and the price is that of bankruptcy, not of a trade (PROTOCOLS 4.5).
pub(super) fn liquidations<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let native = scope.native(entry)?;
    for raw in entry.at("details").elements()? {
        push_liquidation(&Object::read(raw)?, native.clone(), scope, out)?;
    }
    Ok(())
}

/// `liquidations`, of recordings: the order is the entry.
pub(super) fn liquidation<'f>(
    entry: &Object<'f>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    push_liquidation(entry, scope.native(entry)?, scope, out)
}

fn push_liquidation<'f>(
    order: &Object<'f>,
    native: Cow<'f, str>,
    scope: &Scope<'f>,
    out: &mut Vec<Event<'f>>,
) -> Result<(), Box<str>> {
    let position = order.at("posSide");
    let time = order.at("ts").time()?;
    let liquidation = Liquidation {
        id: None,
        side: side(order.at("side"))?,
        position_side: match position.maybe_text()? {
            // An account in net mode has one position, of either side.
            Some(side) if side == "net" => None,
            Some(side) if side != "long" && side != "short" => {
                return Err(position.wrong("long, short or net"))
            }
            side => side,
        },
        price: order.at("bkPx").maybe()?,
        average_price: None,
        quantity: order.at("sz").size()?,
        time,
    };
    out.push(scope.event(native, Some(time), Update::Liquidation(liquidation)));
    Ok(())
}

/// Spot is `BASE-QUOTE`; whatever else there is has more parts. PROTOCOLS 5.1.
pub(super) fn is_spot(native: &str) -> bool {
    native.split('-').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(read: Read, entry: &'static str) -> Result<Vec<Event<'static>>, Box<str>> {
        let mut out = Vec::new();
        let scope = Scope::of("BTC-USDT-SWAP".into());
        read(&Object::read(entry)?, &scope, &mut out).map(|()| out)
    }

    fn updates(read: Read, entry: &'static str) -> Vec<Update<'static>> {
        said(read, entry).unwrap().into_iter().map(|event| event.update).collect()
    }

    fn the_ticker(read: Read, entry: &'static str) -> Ticker<'static> {
        match updates(read, entry).pop() {
            Some(Update::Ticker(ticker)) => *ticker,
            other => panic!("{other:?}"),
        }
    }

    fn the_trade(read: Read, entry: &'static str) -> Trade<'static> {
        match updates(read, entry).pop() {
            Some(Update::Trade(trade)) => trade,
            other => panic!("{other:?}"),
        }
    }

    const ELP: &str = r#"{"instId":"BTC-USDT","tradeId":"242720720","px":"29963.2","sz":"0.00001",
        "side":"sell","ts":"1654161646974","source":"1","seqId":1234}"#;

    #[test]
    fn one_match_is_its_own_place() {
        let live = the_trade(trade, ELP);
        assert_eq!(live.id, TradeId::Number(242_720_720));
        assert_eq!(live.places, Some((242_720_720, 242_720_720)));
        assert_eq!((live.aggregated, live.merged, live.side), (false, None, Side::Sell));
        assert_eq!((&*live.price, &*live.quantity), ("29963.2", "0.00001"));
        assert_eq!(live.flags, Flags::ELP);
        let healed = the_trade(healed_trade, ELP);
        assert_eq!(healed.flags, Flags::ELP.with(Flags::HEALED));
        assert_eq!(Trade { flags: live.flags, ..healed }, live);
    }

    #[test]
    fn a_merged_trade_holds_the_ids_up_to_its_own_where_they_are_counted() {
        let uncounted = the_trade(merged_trade, ELP);
        assert_eq!((uncounted.aggregated, uncounted.places, uncounted.merged), (true, None, None));
        let count = |text: &'static str| said(merged_trade, text);
        for wrong in [
            r#"{"tradeId":"2","count":"0","px":"1","sz":"1","side":"buy","ts":"1"}"#,
            r#"{"tradeId":"2","count":"4","px":"1","sz":"1","side":"buy","ts":"1"}"#,
        ] {
            assert!(count(wrong).unwrap_err().starts_with("count is "));
        }
        let whole = r#"{"tradeId":"2","count":"3","px":"1","sz":"1","side":"buy","ts":"1"}"#;
        assert_eq!(the_trade(merged_trade, whole).merged, Some((0, 2)));
    }

    #[test]
    fn the_best_levels_are_a_ticker_and_an_empty_side_is_none() {
        let entry = r#"{"asks":[["0.0015","8","0","1"]],"bids":[],"ts":"1654033343415","seqId":3}"#;
        let found = the_ticker(best, entry);
        let wanted = Ticker {
            raw: entry.into(),
            best_ask_price: Some("0.0015".into()),
            best_ask_quantity: Some("8".into()),
            ..Ticker::default()
        };
        assert_eq!(found, wanted);
        assert!(said(best, r#"{"asks":[],"ts":"1"}"#).is_err());
    }

    #[test]
    fn volumes_of_spot_and_of_contracts_change_places() {
        let spot = the_ticker(
            ticker,
            r#"{"instType":"SPOT","instId":"BTC-USDT","last":"9","lastSz":"0.1","askPx":"0",
            "askSz":"0","bidPx":"8","bidSz":"5","open24h":"7","high24h":"10","low24h":"6",
            "volCcy24h":"2222","vol24h":"22","ts":"1597026383085"}"#,
        );
        assert_eq!(spot.volume_24h, Some(Size::Plain("22".into())));
        assert_eq!(spot.quote_volume_24h, Some(Size::Plain("2222".into())));
        assert_eq!((spot.best_ask_price, spot.best_ask_quantity), (None, None));
        assert_eq!(spot.best_bid_price.as_deref(), Some("8"));
        let texts = [&spot.last_price, &spot.open_24h, &spot.high_24h, &spot.low_24h];
        assert_eq!(texts.map(|text| text.as_deref().unwrap()), ["9", "7", "10", "6"]);
        let swap = the_ticker(
            ticker,
            r#"{"instType":"SWAP","bidPx":"","volCcy24h":"22","vol24h":"2222","ts":"1"}"#,
        );
        assert_eq!(swap.volume_24h, Some(Size::Plain("22".into())));
        assert_eq!(swap.quote_volume_24h, Some(Size::Native("2222".into())));
        assert_eq!(swap.best_bid_price, None);
    }

    #[test]
    fn volatilities_become_percent_exactly() {
        let found = the_ticker(
            option_summary,
            r#"{"instId":"ETH-USD-211222-4000-C","delta":"0.19","markVol":"0.7794507758",
            "bidVol":"","askVol":"5","deltaBS":"0.2","gammaBS":"0.001","thetaBS":"-16.4",
            "vegaBS":"0.7","ts":"1640001659301"}"#,
        );
        assert_eq!(found.mark_iv.as_deref(), Some("77.94507758"));
        assert_eq!((found.bid_iv, found.ask_iv.as_deref()), (None, Some("500")));
        assert_eq!((found.delta.as_deref(), found.theta.as_deref()), (Some("0.2"), Some("-16.4")));
        assert_eq!((found.gamma.as_deref(), found.vega.as_deref()), (Some("0.001"), Some("0.7")));
        let infinite = r#"{"instId":"X-Y","markVol":"∞","ts":"1"}"#;
        assert!(said(option_summary, infinite).unwrap_err().starts_with("markVol is "));
    }

    #[test]
    fn a_funding_rate_is_a_forecast_and_the_settlement_before_it() {
        let events = said(
            funding,
            r#"{"instId":"BTC-USD-SWAP","fundingRate":"0.0001875","fundingTime":"1700726400000",
            "nextFundingRate":"","nextFundingTime":"1700755200000","premium":"0.000123",
            "settFundingRate":"0.00016998","settState":"settled","ts":"1700724675402"}"#,
        )
        .unwrap();
        let ms = 1_000_000;
        let forecast = Funding {
            next_time: Some(1_700_755_200_000 * ms),
            premium_index: Some("0.000123".into()),
            interval_hours: Some("8".into()),
            ..rate_at(RateKind::Forecast, "0.0001875".into(), 1_700_726_400_000 * ms)
        };
        let settled = rate_at(RateKind::Settled, "0.00016998".into(), 1_700_697_600_000 * ms);
        assert_eq!(events[0].update, Update::Funding(forecast));
        assert_eq!(events[0].times.event, Some(1_700_724_675_402 * ms));
        assert_eq!(events[1].update, Update::Funding(settled));
        assert_eq!(events[1].times.event, Some(1_700_697_600_000 * ms));
        assert_eq!(events.len(), 2);
    }

    #[test]
    fn nothing_is_settled_while_it_is_going_on_or_without_both_times() {
        let kinds = |entry| {
            let told = updates(funding, entry).into_iter().map(|update| match update {
                Update::Funding(funding) => funding.kind,
                other => panic!("{other:?}"),
            });
            told.collect::<Vec<_>>()
        };
        for entry in [
            r#"{"fundingRate":"1","fundingTime":"8","nextFundingTime":"9","settState":"processing",
            "settFundingRate":"1"}"#,
            r#"{"fundingRate":"1","fundingTime":"8","settState":"settled","settFundingRate":"1"}"#,
            r#"{"fundingRate":"1","fundingTime":"8","nextFundingTime":"9","settState":"settled",
            "settFundingRate":""}"#,
        ] {
            assert_eq!(kinds(entry), [RateKind::Forecast], "{entry}");
        }
        let old = said(funding, r#"{"fundingRate":"1","fundingTime":"8"}"#).unwrap();
        assert_eq!(old[0].times.event, None);
        assert_eq!(
            updates(funding, r#"{"fundingTime":"8","fundingRate":""}"#),
            [Update::Ignored("funding_rate_empty")]
        );
    }

    #[test]
    fn hours_are_told_where_they_are_exact() {
        assert_eq!(hours(8 * HOUR).as_deref(), Some("8"));
        assert_eq!(hours(HOUR / 2).as_deref(), Some("0.5"));
        assert_eq!(hours(HOUR / 10_000).as_deref(), Some("0.0001"));
        assert_eq!(hours(HOUR / 3), None);
    }

    #[test]
    fn open_interest_is_contracts_coin_and_dollars() {
        let wanted = OpenInterest {
            native: Some("2216113.01".into()),
            base: Some("22161.1301".into()),
            value: Some("1939251795.5".into()),
            mark_price: None,
        };
        let entry = r#"{"instId":"X-Y-SWAP","oi":"2216113.01","oiCcy":"22161.1301",
            "oiUsd":"1939251795.5","ts":"1743041250440"}"#;
        assert_eq!(updates(open_interest, entry), [Update::OpenInterest(wanted)]);
    }

    #[test]
    fn every_order_of_a_liquidation_is_one() {
        let events = said(
            liquidations,
            r#"{"instId":"IOST-USDT-SWAP","instFamily":"IOST-USDT","details":[
            {"side":"buy","posSide":"short","bkPx":"0.0078","sz":"13","bkLoss":"0","ts":"2"},
            {"side":"sell","posSide":"net","bkPx":"","sz":"1.5","bkLoss":"0","ts":"1"}]}"#,
        )
        .unwrap();
        let orders: Vec<_> = events
            .iter()
            .map(|event| match &event.update {
                Update::Liquidation(order) => order,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(orders.len(), 2);
        assert_eq!((orders[0].side, orders[0].price.as_deref()), (Side::Buy, Some("0.0078")));
        assert_eq!(
            (orders[0].position_side.as_deref(), orders[0].time),
            (Some("short"), 2_000_000)
        );
        assert_eq!((orders[1].side, &*orders[1].quantity), (Side::Sell, "1.5"));
        assert_eq!((&orders[1].position_side, &orders[1].price), (&None, &None));
        assert_eq!(&*events[1].native, "IOST-USDT-SWAP");
    }
}
