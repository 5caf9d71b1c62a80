//! Rows of our own: the ledger and the dead letters.
//!
//! # Promises
//! Their identity is who wrote them and a number that counts; nothing of the venue's.
//!
//! # Not here
//! Which rows are due, and the numbers (`collect/ledger.py`).

use crate::instrument::Instrument;

use super::{common, integer, member, push_integer, stamps, Kind, KindNames, Message, Rows, Stamp};

/// Payloads of dead letters are cut to this.
pub const DEAD_LETTER_MAX: usize = 64 << 10;

/// What a ledger row says; absent values are absent keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct LedgerRow<'a> {
    pub event: &'a str,
    pub cause: Option<&'a str>,
    pub detail: Option<&'a str>,
    pub data_type: Option<&'a str>,
    pub from_id: Option<u64>,
    pub to_id: Option<u64>,
    pub from_ts: Option<u64>,
    pub to_ts: Option<u64>,
    pub count: Option<u64>,
    pub leg: Option<&'a str>,
}

/// Who writes a row of our own, and the number that makes its id.
#[derive(Clone, Copy, Debug)]
pub struct Author<'a> {
    pub collector: &'a str,
    /// Start of the run, nanoseconds.
    pub run: u64,
    /// Counts the rows of the run.
    pub n: u64,
    pub ts: u64,
}

/// The place that a row of our own is about; `-` where it is about none.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub exchange: &'a str,
    pub market_type: &'a str,
    pub symbol: &'a str,
    pub instrument_id: &'a str,
}

impl<'a> Place<'a> {
    pub fn of(instrument: &'a Instrument) -> Place<'a> {
        Place {
            exchange: instrument.exchange(),
            market_type: instrument.market_type.name(),
            symbol: &instrument.symbol,
            instrument_id: &instrument.native,
        }
    }

    pub fn exchange(exchange: &'a str) -> Place<'a> {
        Place { exchange, market_type: "-", symbol: "-", instrument_id: "-" }
    }
}

pub fn ledger(rows: &mut Rows, author: Author<'_>, place: Place<'_>, row: LedgerRow<'_>) {
    own(rows, Kind::Ledger, author, place, |out| {
        member(out, "event", row.event);
        for (name, value) in [
            ("cause", row.cause),
            ("detail", row.detail),
            ("data_type", row.data_type),
            ("leg", row.leg),
        ] {
            if let Some(value) = value {
                member(out, name, value);
            }
        }
        for (name, value) in [
            ("from_id", row.from_id),
            ("to_id", row.to_id),
            ("from_ts", row.from_ts),
            ("to_ts", row.to_ts),
            ("count", row.count),
        ] {
            if let Some(value) = value {
                integer(out, name, value);
            }
        }
    });
}

/// `origin` is `frame`, `body` or `row`; `whence` is the URL or stream it came from.
pub fn dead_letter(
    rows: &mut Rows,
    author: Author<'_>,
    place: Place<'_>,
    origin: &str,
    reason: &str,
    whence: &str,
    payload: &[u8],
) {
    let mut cut = payload.len().min(DEAD_LETTER_MAX);
    while cut > 0 && cut < payload.len() && payload[cut] & 0xC0 == 0x80 {
        cut -= 1;
    }
    own(rows, Kind::DeadLetter, author, place, |out| {
        member(out, "origin", origin);
        member(out, "reason", reason);
        member(out, "where", whence);
        member(out, "payload", &String::from_utf8_lossy(&payload[..cut]));
    });
}

fn own(
    rows: &mut Rows,
    kind: Kind,
    author: Author<'_>,
    place: Place<'_>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = rows.at();
    let out = &mut rows.bytes;
    out.extend_from_slice(&common(
        place.exchange,
        place.market_type,
        place.symbol,
        place.instrument_id,
        author.collector,
    ));
    let stamp = Stamp { event: Some(author.ts), sent: None, recv: author.ts };
    stamps(out, stamp);
    integer(out, "run", author.run);
    integer(out, "n", author.n);
    body(out);
    out.push(b'}');
    let end = rows.at();
    let names = KindNames::new(kind, place.exchange, place.market_type, place.symbol);
    rows.bytes.extend_from_slice(&names.id);
    rows.bytes.extend_from_slice(author.collector.as_bytes());
    rows.bytes.push(b':');
    push_integer(&mut rows.bytes, author.run);
    rows.bytes.push(b':');
    push_integer(&mut rows.bytes, author.n);
    let id = (end, rows.at());
    rows.messages.push(Message {
        kind,
        subject: names.subject,
        ts_event: author.ts,
        id,
        payload: (start, end),
    });
}
