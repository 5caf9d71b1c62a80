//! The venues' bytes: frames, images, REST bodies, trades, and what else comes along.

use std::fmt::Write;

use crate::digits;
use crate::market::Level;
use crate::venue::{Change, Deal, Era, Grid, Listed, Moment, Rule, Version};

/// Lines are for the eye: the bytes have neither their ends nor their indents.
pub fn tight(text: &str) -> String {
    text.lines().map(str::trim_start).collect()
}

impl Grid {
    fn level(&self, out: &mut String, rule: Rule, price: i64, size: i64) {
        match rule {
            Rule::Spot | Rule::Futures => {
                out.push('"');
                digits::fixed(out, price, self.price_places, self.digits.max(self.price_places));
                out.push_str("\",\"");
                digits::fixed(out, size, self.size_places, self.digits.max(self.size_places));
                out.push('"');
            }
            Rule::Okx { .. } => {
                out.push('"');
                digits::trimmed(out, price, self.price_places);
                out.push_str("\",\"");
                digits::trimmed(out, size, self.size_places);
                out.push('"');
            }
            Rule::Deribit => {
                digits::number(out, price, self.price_places, price / 7);
                out.push(',');
                digits::number(out, size, self.size_places, size / 7);
            }
        }
    }
}

/// `[["1","2"],…]` with what the rule puts around and behind the two numbers.
fn side<T: Copy>(
    listed: &Listed,
    levels: &[T],
    before: impl Fn(T) -> &'static str,
    plain: impl Fn(T) -> Level,
) -> String {
    let mut out = String::with_capacity(levels.len() * 32 + 2);
    out.push('[');
    for (at, &level) in levels.iter().enumerate() {
        out.push_str(if at == 0 { "[" } else { ",[" });
        out.push_str(before(level));
        let (price, size) = plain(level);
        listed.grid.level(&mut out, listed.rule, price, size);
        if let Rule::Okx { .. } = listed.rule {
            out.push_str(",\"0\",\"2\"");
        }
        out.push(']');
    }
    out.push(']');
    out
}

fn levels(listed: &Listed, levels: &[Level]) -> String {
    side(listed, levels, |_| "", |level| level)
}

fn changes(listed: &Listed, changes: &[Change]) -> String {
    let action = |change: Change| match (listed.rule, change) {
        (Rule::Deribit, Change { size: 0, .. }) => "\"delete\",",
        (Rule::Deribit, Change { is_new: true, .. }) => "\"new\",",
        (Rule::Deribit, _) => "\"change\",",
        _ => "",
    };
    side(listed, changes, action, |change| (change.price, change.size))
}

/// OKX's checksum of its best 25 levels (PROTOCOLS 2.3), as the signed number that it sends.
fn checksum(grid: Grid, bids: &[Level], asks: &[Level]) -> i32 {
    let mut text = String::new();
    for at in 0..25 {
        for level in [bids.get(at), asks.get(at)].into_iter().flatten() {
            digits::trimmed(&mut text, level.0, grid.price_places);
            text.push(':');
            digits::trimmed(&mut text, level.1, grid.size_places);
            text.push(':');
        }
    }
    text.pop();
    crc32fast::hash(text.as_bytes()) as i32
}

/// What an OKX book's frame says beside its levels.
fn okx_ids(listed: &Listed, era: Era, version: &Version, previous: i64) -> String {
    let mut out = String::new();
    match era {
        Era::Sequenced if version.ts % 2 == 0 => out.push_str(",\"checksum\":0"),
        Era::Both | Era::Checked => {
            let sum = checksum(listed.grid, &version.bids, &version.asks);
            write!(out, ",\"checksum\":{sum}").unwrap();
        }
        _ => {}
    }
    if matches!(era, Era::Sequenced | Era::Both) {
        write!(out, ",\"prevSeqId\":{previous},\"seqId\":{}", version.id).unwrap();
    }
    out
}

fn okx_book(
    listed: &Listed,
    action: &str,
    sides: (&str, &str),
    version: &Version,
    previous: i64,
) -> String {
    let Rule::Okx { window, era } = listed.rule else { unreachable!("only OKX") };
    let channel = if window == 50 { "books50-l2-tbt" } else { "books" };
    let ids = okx_ids(listed, era, version, previous);
    tight(&format!(
        r#"{{"arg":{{"channel":"{channel}","instId":"{}"}},"action":"{action}",
        "data":[{{"asks":{},"bids":{},"ts":"{}"{ids}}}]}}"#,
        listed.native, sides.1, sides.0, version.ts
    ))
}

fn deribit(channel: &str, native: &str, data: &str) -> String {
    tight(&format!(
        r#"{{"jsonrpc":"2.0","method":"subscription",
        "params":{{"channel":"{channel}.{native}.100ms","data":{data}}}}}"#
    ))
}

/// A frame of changes: ids `first` to the version's, behind `previous`.
pub fn delta(
    listed: &Listed,
    first: u64,
    previous: u64,
    version: &Version,
    bids: &[Change],
    asks: &[Change],
) -> String {
    let (bids, asks) = (changes(listed, bids), changes(listed, asks));
    let (native, ts, last) = (&listed.native, version.ts, version.id);
    match listed.rule {
        Rule::Spot => tight(&format!(
            r#"{{"stream":"{}@depth@100ms","data":{{"e":"depthUpdate","E":{ts},"s":"{native}",
            "U":{first},"u":{last},"b":{bids},"a":{asks}}}}}"#,
            native.to_lowercase()
        )),
        Rule::Futures => tight(&format!(
            r#"{{"e":"depthUpdate","E":{},"T":{ts},"s":"{native}","U":{first},"u":{last},
            "pu":{previous},"b":{bids},"a":{asks}}}"#,
            ts + 3
        )),
        Rule::Okx { .. } => okx_book(listed, "update", (&bids, &asks), version, previous as i64),
        Rule::Deribit => deribit(
            "book",
            native,
            &format!(
                r#"{{"type":"change","timestamp":{ts},"instrument_name":"{native}",
                "prev_change_id":{previous},"change_id":{last},"bids":{bids},"asks":{asks}}}"#
            ),
        ),
    }
}

/// The image that OKX and Deribit begin a subscription with.
pub fn image(listed: &Listed, version: &Version) -> String {
    if let Rule::Deribit = listed.rule {
        let new = |levels: &[Level]| side(listed, levels, |_| "\"new\",", |level| level);
        let data = format!(
            r#"{{"type":"snapshot","timestamp":{},"instrument_name":"{}","change_id":{},
            "bids":{},"asks":{}}}"#,
            version.ts,
            listed.native,
            version.id,
            new(&version.bids),
            new(&version.asks)
        );
        return deribit("book", &listed.native, &data);
    }
    let (bids, asks) = (levels(listed, &version.bids), levels(listed, &version.asks));
    okx_book(listed, "snapshot", (&bids, &asks), version, -1)
}

/// A depth body of REST.
pub fn body(listed: &Listed, (id, ts, bids, asks): Moment<'_>) -> String {
    let (bids, asks) = (levels(listed, bids), levels(listed, asks));
    match listed.rule {
        Rule::Spot => format!(r#"{{"lastUpdateId":{id},"bids":{bids},"asks":{asks}}}"#),
        Rule::Futures => {
            format!(r#"{{"lastUpdateId":{id},"E":{ts},"T":{ts},"bids":{bids},"asks":{asks}}}"#)
        }
        Rule::Okx { era, .. } => {
            let numbered = matches!(era, Era::Sequenced | Era::Both);
            let id = if numbered { format!(r#","seqId":{id}"#) } else { String::new() };
            tight(&format!(
                r#"{{"code":"0","msg":"","data":[{{"asks":{asks},"bids":{bids},
                "ts":"{ts}"{id}}}]}}"#
            ))
        }
        Rule::Deribit => tight(&format!(
            r#"{{"jsonrpc":"2.0","result":{{"timestamp":{ts},"instrument_name":"{}",
            "change_id":{id},"bids":{bids},"asks":{asks},"stats":{{"high":1.5}}}},
            "usIn":{ts}000}}"#,
            listed.native
        )),
    }
}

/// A REST body that refuses.
pub fn refusal(rule: Rule) -> &'static str {
    match rule {
        Rule::Spot | Rule::Futures => r#"{"code":-1003,"msg":"Too many requests."}"#,
        Rule::Okx { .. } => r#"{"code":"50011","msg":"Too Many Requests","data":[]}"#,
        Rule::Deribit => r#"{"error":{"code":10028,"message":"too_many_requests"}}"#,
    }
}

/// The venue will close the connection, where it says so.
pub fn shutdown(rule: Rule) -> Option<&'static str> {
    match rule {
        Rule::Spot | Rule::Futures => Some(r#"{"e":"serverShutdown","E":1770123456789}"#),
        Rule::Okx { .. } => Some(r#"{"event":"notice","code":"64008","msg":"soon","connId":"a"}"#),
        Rule::Deribit => None,
    }
}

/// Frames that no book or trade is in.
pub fn noise(at: usize) -> &'static str {
    [
        "pong",
        "{",
        "\u{1}",
        r#"{"e":"somethingNew","E":1770123456789,"s":"BTCUSDT"}"#,
        r#"{"e":"trade","E":1,"T":1,"s":"OTHERUSDT","t":5,"p":"1","q":"1","m":true}"#,
        r#"{"arg":{"channel":"something-new","instId":"BTC-USDT"},"data":[{}]}"#,
        r#"{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":[],"usIn":1}"#,
    ][at]
}

pub const NOISES: usize = 8;

fn text(units: i64, places: u32) -> String {
    let mut out = String::new();
    digits::trimmed(&mut out, units, places);
    out
}

/// One trade as its venue tells it.
fn trade(listed: &Listed, deal: &Deal) -> String {
    let native = &listed.native;
    let price = text(deal.price, listed.grid.price_places);
    let size = text(deal.size, listed.grid.size_places);
    let (last, ts, maker) = (deal.last, deal.ts, !deal.buys);
    let side = if deal.buys { "buy" } else { "sell" };
    match listed.rule {
        Rule::Spot => tight(&format!(
            r#"{{"e":"trade","E":{ts},"s":"{native}","t":{last},"p":"{price}","q":"{size}",
            "T":{ts},"m":{maker},"M":true}}"#
        )),
        Rule::Futures => tight(&format!(
            r#"{{"e":"aggTrade","E":{ts},"s":"{native}","a":{last},"p":"{price}","q":"{size}",
            "f":{},"l":{},"T":{ts},"m":{maker}}}"#,
            last * 2,
            last * 2 + 1
        )),
        Rule::Okx { .. } => {
            let merged = last + 1 - deal.first;
            let count =
                if listed.merges_trades() { format!(r#","count":"{merged}""#) } else { "".into() };
            tight(&format!(
                r#"{{"instId":"{native}","tradeId":"{last}","px":"{price}","sz":"{size}",
                "side":"{side}","ts":"{ts}"{count}}}"#
            ))
        }
        Rule::Deribit => tight(&format!(
            r#"{{"timestamp":{ts},"price":{price},"amount":{size},"direction":"{side}",
            "instrument_name":"{native}","trade_seq":{last},"trade_id":"ETH-{}",
            "tick_direction":2}}"#,
            last * 3
        )),
    }
}

/// A message of trades.
pub fn trades(listed: &Listed, deals: &[Deal]) -> String {
    let entries: Vec<String> = deals.iter().map(|deal| trade(listed, deal)).collect();
    let (native, entries) = (&listed.native, entries.join(","));
    match listed.rule {
        Rule::Spot | Rule::Futures => entries,
        Rule::Okx { .. } => {
            let channel = if listed.merges_trades() { "trades" } else { "trades-all" };
            format!(r#"{{"arg":{{"channel":"{channel}","instId":"{native}"}},"data":[{entries}]}}"#)
        }
        Rule::Deribit => deribit("trades", native, &format!("[{entries}]")),
    }
}
