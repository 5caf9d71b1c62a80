//! Short stories told by hand: a session, frames of few levels, and what came of them.

use marketprism::encode::{Kind, Kinds};
use marketprism::instrument::Section;
use marketprism::session::{Batch, Options, Request, Session};
use marketprism::venue::guess;

use crate::spell::tight;
use crate::wire::{MILLISECOND, SECOND};

const START: u64 = 1_700_000_000 * SECOND;

/// One instrument on an open connection. Times are milliseconds since then.
pub struct Story {
    pub session: Session,
    /// When a seed was asked for, and why.
    pub asked: Vec<(u64, &'static str)>,
    pub told: Batch,
}

impl Story {
    pub fn begin(section: Section, native: &str, depth_published: usize) -> Story {
        let options = Options {
            depth_published,
            wanted: Kinds::of(&[Kind::Orderbook]),
            ..Options::default()
        };
        let instrument = guess(section, native).expect("a name of the venue");
        let books = [native.into()];
        let mut session = Session::new(section, vec![instrument], &books, "sim", options);
        session.open(START);
        Story { session, asked: Vec::new(), told: Batch::default() }
    }

    fn take(&mut self, ms: u64, batch: Batch) -> Batch {
        for request in &batch.requests {
            if let Request::Seed { reason, .. } | Request::Resubscribe { reason, .. } = request {
                self.asked.push((ms, reason));
            }
        }
        self.told.rows.append(&batch.rows);
        self.told.faults.extend(batch.faults.iter().cloned());
        self.told.covered.extend(batch.covered.iter().cloned());
        batch
    }

    pub fn hear(&mut self, ms: u64, frame: &str) -> Batch {
        let mut batch = Batch::default();
        self.session.receive(frame.as_bytes(), START + ms * MILLISECOND, &mut batch);
        self.take(ms, batch)
    }

    pub fn seed(&mut self, ms: u64, body: &str) -> Batch {
        let mut batch = Batch::default();
        self.session.seed(0, body.as_bytes(), START + ms * MILLISECOND, &mut batch);
        self.take(ms, batch)
    }

    pub fn tick(&mut self, ms: u64) -> Batch {
        let mut batch = Batch::default();
        self.session.tick(START + ms * MILLISECOND, &mut batch);
        self.take(ms, batch)
    }

    pub fn close(&mut self) {
        let mut batch = Batch::default();
        self.session.close(&mut batch);
        self.take(0, batch);
    }

    /// The bids of the engine's book, `9:1 8:1`; empty where it has none.
    pub fn bids(&self) -> String {
        let book = self.session.life(0).book.as_ref();
        let levels = book.map(|book| book.top_texts(usize::MAX).0).unwrap_or_default();
        levels.iter().map(|(price, size)| format!("{price}:{size}")).collect::<Vec<_>>().join(" ")
    }
}

/// Spot: ids `first` to `last`, with these bids.
pub fn spot(first: u64, last: u64, ms: u64, bids: &str) -> String {
    let ms = START / MILLISECOND + ms;
    format!(
        r#"{{"e":"depthUpdate","E":{ms},"s":"BTCUSDT","U":{first},"u":{last},"b":[{bids}],"a":[]}}"#
    )
}

/// Spot: a trade, whose time moves the venue's clock on.
pub fn spot_trade(id: u64, ms: u64) -> String {
    let ms = START / MILLISECOND + ms;
    format!(r#"{{"e":"trade","E":{ms},"s":"BTCUSDT","t":{id},"p":"9","q":"1","T":{ms},"m":true}}"#)
}

/// Spot: a depth body with these bids and one ask.
pub fn spot_body(last: u64, bids: &str) -> String {
    format!(r#"{{"lastUpdateId":{last},"bids":[{bids}],"asks":[["10","1"]]}}"#)
}

/// OKX: an update of bids.
pub fn okx(channel: &str, previous: u64, last: u64, ms: u64, bids: &str) -> String {
    let ms = START / MILLISECOND + ms;
    tight(&format!(
        r#"{{"arg":{{"channel":"{channel}","instId":"BTC-USDT"}},"action":"update",
        "data":[{{"asks":[],"bids":[{bids}],"ts":"{ms}","prevSeqId":{previous},"seqId":{last}}}]}}"#
    ))
}

/// OKX: a depth body with these bids and one ask.
pub fn okx_body(last: u64, bids: &str) -> String {
    tight(&format!(
        r#"{{"code":"0","data":[{{"asks":[["10","1","0","1"]],"bids":[{bids}],
        "ts":"1","seqId":{last}}}]}}"#
    ))
}

/// Deribit: an image with one bid of this size, or a change of it after `previous`.
pub fn deribit(previous: Option<u64>, last: u64, ms: u64, size: u64) -> String {
    let ms = START / MILLISECOND + ms;
    let (kind, action) = match previous {
        Some(previous) => (format!(r#""type":"change","prev_change_id":{previous}"#), "change"),
        None => (r#""type":"snapshot""#.to_owned(), "new"),
    };
    tight(&format!(
        r#"{{"method":"subscription","params":{{"channel":"book.BTC-PERPETUAL.100ms",
        "data":{{{kind},"timestamp":{ms},"instrument_name":"BTC-PERPETUAL","change_id":{last},
        "bids":[["{action}",9,{size}]],"asks":[]}}}}}}"#
    ))
}
