//! Everything but books: trades and their gaps, samples, bars that close, definitions that change.
//!
//! # Promises
//! A trade gap is named with its ids and asked for. What a venue repeats many times a minute is
//! sampled by venue time, and every change of a rate is a row. A bar is published when it is closed
//! and never before.

use serde::{Deserialize, Serialize};

use crate::cover::Cause;
use crate::encode::{Kind, Names, Rows, Stamp};
use crate::event::{Flags, Funding, Kline, RateKind, RatioOf, Ticker, Trade, Update};
use crate::fault::{Fault, FaultKind};
use crate::instrument::Instrument;

use super::{Batch, Last, Request, Session, Slot};

/// Rates and interests: the first of each cell of venue time (CONTRACT 2).
const SAMPLE: u64 = 60_000_000_000;

/// Our clock may be ahead of the venue's by less than this.
const CLOCK_MARGIN: u64 = 60_000_000_000;

/// Bars of so many intervals may be open at once in one instrument: more than any venue has.
const BARS_MAX: usize = 32;

/// What was published last, of what a venue repeats.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Samples {
    forecast: Option<(u64, Box<str>)>,
    /// What the last forecast was for, and the one for another time before it.
    funding_times: (Option<u64>, Option<u64>),
    settled: Option<u64>,
    /// Hours between payments, where the venue says them apart from the rates.
    interval: Option<Box<str>>,
    interest: Option<u64>,
    ticker: Option<u64>,
    /// The id of the newest definition.
    definition: Option<Box<str>>,
    /// The newest bar of each interval where only the next one's coming closes it.
    bars: Vec<Bar>,
}

#[derive(Serialize, Deserialize)]
struct Bar {
    interval: Box<str>,
    open_time: u64,
    rows: Rows,
}

impl Samples {
    /// The connection is new: a bar that was open may have grown unheard, and must not be taken for
    /// closed when the next one comes.
    pub(super) fn reopen(&mut self) {
        self.bars.clear();
    }

    /// Whether these can be samples: what was read back may be damaged.
    pub(super) fn are_sound(&self) -> bool {
        self.bars.len() <= BARS_MAX && self.bars.iter().all(|bar| bar.rows.are_whole())
    }

    /// Is this the first of its cell, or another rate than the last?
    fn takes_forecast(&mut self, rate: &str, time: u64) -> bool {
        let cell = time / SAMPLE;
        let known = matches!(&self.forecast, Some((c, r)) if *c == cell && **r == *rate);
        if !known {
            self.forecast = Some((cell, rate.into()));
        }
        !known
    }
}

/// Names and asks for the trades between two, neither included.
fn missed(at: usize, aggregated: bool, before: Last, next: Last, out: &mut Batch) {
    let (from, to) = (before.0 + 1, next.0 - 1);
    let fault = Fault::new(FaultKind::Gap { expected: from, found: next.0 });
    out.faults.push(fault.about(at, "trade").ids(from, to).times(before.1, next.1));
    out.requests.push(Request::Heal { instrument: at, aggregated, from, to });
}

/// True when `time` lies in another cell than the last, which it replaces.
fn takes(last: &mut Option<u64>, time: u64, every: u64) -> bool {
    let cell = time / every.max(1);
    every == 0 || last.replace(cell) != Some(cell)
}

impl Session {
    #[inline]
    pub(super) fn trade(&mut self, at: usize, trade: &Trade<'_>, stamp: Stamp, out: &mut Batch) {
        self.count("trade");
        let wanted = self.wants(at, Kind::Trade);
        if self.place(at, trade.aggregated, trade.places, wanted, stamp, out) {
            self.count("trade_repeated");
        }
        if wanted {
            self.tell_worth(at, "trade", out);
            self.slots[at].names.trade(&mut out.rows, trade, stamp);
        }
    }

    /// Takes places in the instrument's own count: names and asks for what lies between the last
    /// ones and these. True when they were taken before. `published`: a row is made of them.
    #[inline]
    pub(super) fn place(
        &mut self,
        at: usize,
        aggregated: bool,
        places: Option<(u64, u64)>,
        published: bool,
        stamp: Stamp,
        out: &mut Batch,
    ) -> bool {
        let slot = &mut self.slots[at];
        let (known, last, cover) = if aggregated {
            (&mut slot.first_aggregate, &mut slot.last_aggregate, &mut slot.aggregates)
        } else {
            (&mut slot.first_trade, &mut slot.last_trade, &mut slot.trades)
        };
        // PROTOCOLS 3.2: places count by one per symbol. Fewer is a repetition, which its id will
        // drop; more is a hole.
        if let Some((first, end)) = places {
            match *last {
                Some(before) if first > before.0.saturating_add(1) => {
                    missed(at, aggregated, before, (first, stamp.event), out);
                    cover.end(Cause::Gap, &mut out.covered);
                }
                Some((id, _)) if end <= id => return true,
                Some(_) => {}
                None => *known = Some((first, stamp.event)),
            }
            *last = Some((end, stamp.event));
        }
        let ts_event = stamp.event.unwrap_or(stamp.recv);
        cover.fact(places, ts_event, &mut out.covered);
        if published {
            cover.published();
        }
        self.flush_at = self.flush_at.min(cover.over(self.options.flush_after));
        false
    }

    /// Trades until `before` were heard by somebody else.
    pub(super) fn follow_trades(
        &mut self,
        at: usize,
        aggregated: bool,
        before: Last,
        out: &mut Batch,
    ) {
        let slot = &mut self.slots[at];
        let (first, last) = if aggregated {
            (&mut slot.first_aggregate, &mut slot.last_aggregate)
        } else {
            (&mut slot.first_trade, &mut slot.last_trade)
        };
        match first.take() {
            Some(first) if first.0 > before.0.saturating_add(1) => {
                missed(at, aggregated, before, first, out);
            }
            _ => *last = last.or(Some(before)),
        }
    }

    /// A trade that was missed and asked for: the same row as a live one, and flagged.
    pub(super) fn healed(&mut self, at: usize, trade: &Trade<'_>, stamp: Stamp, out: &mut Batch) {
        self.count("trade_healed");
        if self.wants(at, Kind::Trade) {
            self.tell_worth(at, "trade", out);
            let trade = Trade { flags: trade.flags.with(Flags::HEALED), ..trade.clone() };
            self.slots[at].names.trade(&mut out.rows, &trade, stamp);
        }
    }

    /// Says once that sizes of this instrument cannot be valued.
    fn tell_worth(&mut self, at: usize, data_type: &'static str, out: &mut Batch) {
        let slot = &mut self.slots[at];
        if slot.names.worth_unknown() && !slot.worth_told {
            slot.worth_told = true;
            out.faults.push(Fault::new(FaultKind::MultiplierUnknown).about(at, data_type));
        }
    }

    /// Any other fact; `polled` ones are as rare as somebody asks.
    pub(super) fn fact(
        &mut self,
        at: usize,
        update: &Update<'_>,
        polled: bool,
        stamp: Stamp,
        out: &mut Batch,
    ) {
        let Some(kind) = kind_of(update) else { return };
        self.count(kind.name());
        if !self.wants(at, kind) {
            return;
        }
        if stamp.event.is_none() && needs_time(update) {
            // Its time is its identity: without one it would be taken for another.
            let reason = format!("{} without the venue's time", kind.name()).into();
            let fault = Fault::new(FaultKind::Untimed { reason }).about(at, kind.name());
            return out.faults.push(fault);
        }
        if sized(update) {
            self.tell_worth(at, kind.name(), out);
        }
        if !polled {
            self.listen(at, kind, out);
        }
        let every = self.options.ticker_every;
        let Slot { names, samples, others, .. } = &mut self.slots[at];
        let rows = &mut out.rows;
        let before = rows.messages.len();
        match update {
            Update::Funding(funding) => fund(names, samples, funding, polled, stamp, rows),
            Update::OpenInterest(interest)
                if polled || takes(&mut samples.interest, stamp.event.unwrap_or(0), SAMPLE) =>
            {
                names.open_interest(rows, interest, stamp);
            }
            Update::Liquidation(forced) => names.liquidation(rows, forced, stamp),
            Update::Ratio(ratio) => names.ratio(rows, ratio, stamp),
            Update::Volatility(index) => names.volatility(rows, index, stamp),
            Update::Kline(kline) => bar(names, samples, kline, polled, stamp, rows),
            Update::Ticker(ticker) => look(names, samples, ticker, every, stamp, rows),
            _ => {}
        }
        let made = rows.messages.len() - before;
        if let Some(cover) = others.iter_mut().find(|cover| cover.data_type() == kind.name()) {
            for _ in 0..if polled { 0 } else { made } {
                cover.published();
            }
        }
    }

    /// Hours between payments of funding: of one instrument, or of all of which nothing else is said.
    pub(super) fn pays_every(&mut self, at: Option<usize>, hours: &str) {
        self.count("funding_interval");
        match at {
            Some(at) => self.slots[at].samples.interval = Some(hours.into()),
            None => {
                for slot in &mut self.slots {
                    slot.samples.interval = Some(hours.into());
                }
            }
        }
    }

    /// What an instrument is from now on: new sizes are valued by it, and a change is a row.
    pub(super) fn listed(
        &mut self,
        at: usize,
        instrument: Instrument,
        stamp: Stamp,
        out: &mut Batch,
    ) {
        self.count("instrument");
        let wanted = self.wants(at, Kind::Instrument);
        let slot = &mut self.slots[at];
        // Names are for a lifetime: a symbol that was given is not taken away by a later list.
        let instrument = Instrument {
            symbol: slot.instrument.symbol.clone(),
            market_type: slot.instrument.market_type,
            ..instrument
        };
        if instrument != slot.instrument {
            let second_leg = self.options.second_leg;
            slot.names = Names::new(&instrument, &self.collector).of_leg(second_leg);
            slot.instrument = instrument;
            slot.worth_told = false;
            let auction = self.in_auction(at);
            if let Some(book) = &mut self.slots[at].life.book {
                book.auction = auction;
            }
        }
        let slot = &mut self.slots[at];
        let mut rows = Rows::default();
        slot.names.definition(&mut rows, &slot.instrument, stamp);
        let id = rows.messages.first().map(|message| rows.id(message));
        if wanted && id != slot.samples.definition.as_deref() {
            out.rows.append(&rows);
            slot.samples.definition = id.map(Into::into);
        }
    }
}

fn fund(
    names: &Names,
    samples: &mut Samples,
    funding: &Funding<'_>,
    polled: bool,
    stamp: Stamp,
    rows: &mut Rows,
) {
    if funding.kind == RateKind::Settled {
        return settle(names, samples, funding, polled, stamp, rows);
    }
    if samples.funding_times.0 != Some(funding.time) {
        samples.funding_times = (Some(funding.time), samples.funding_times.0);
    }
    if samples.takes_forecast(&funding.rate, stamp.event.unwrap_or(stamp.recv)) {
        names.funding(rows, &with_interval(funding, samples), stamp);
    }
}

fn with_interval<'f>(funding: &Funding<'f>, samples: &Samples) -> Funding<'f> {
    let known = || samples.interval.as_deref().map(|hours| hours.to_owned().into());
    let interval_hours = funding.interval_hours.clone().or_else(known);
    Funding { interval_hours, ..funding.clone() }
}

/// A stream repeats what it paid last and does not say when that was: the decoder takes it one
/// interval back, which is wrong when the interval has changed meanwhile. Where we have heard the
/// forecasts, we know what they were for. A history says each once, with its time.
fn settle(
    names: &Names,
    samples: &mut Samples,
    funding: &Funding<'_>,
    polled: bool,
    stamp: Stamp,
    rows: &mut Rows,
) {
    if polled {
        return names.funding(rows, funding, stamp);
    }
    let time = samples.funding_times.1.unwrap_or(funding.time);
    if samples.settled.replace(time) != Some(time) {
        let funding = Funding { time, ..funding.clone() };
        names.funding(rows, &funding, Stamp { event: Some(time), ..stamp });
    }
}

/// A body does not say whether its last bar is closed. It is when it ended well before the body was
/// received; else it is not waited for, because whoever asked asks again.
fn bar(
    names: &Names,
    samples: &mut Samples,
    kline: &Kline<'_>,
    polled: bool,
    stamp: Stamp,
    rows: &mut Rows,
) {
    match kline.closed {
        Some(true) => return names.kline(rows, kline, stamp),
        Some(false) => return,
        None if polled => {
            let ended = kline.close_time.is_some_and(|end| end + CLOCK_MARGIN < stamp.recv);
            if ended {
                names.kline(rows, kline, stamp);
            }
            return;
        }
        None => {}
    }
    let mut newest = Rows::default();
    names.kline(&mut newest, kline, stamp);
    let known = samples.bars.iter().position(|bar| *bar.interval == *kline.interval);
    if let Some(bar) = known.map(|known| &mut samples.bars[known]) {
        if kline.open_time > bar.open_time {
            rows.append(&bar.rows);
        }
        if kline.open_time >= bar.open_time {
            bar.open_time = kline.open_time;
            bar.rows = newest;
        }
    } else if samples.bars.len() < BARS_MAX {
        let interval = kline.interval.as_ref().into();
        samples.bars.push(Bar { interval, open_time: kline.open_time, rows: newest });
    }
}

fn look(
    names: &Names,
    samples: &mut Samples,
    ticker: &Ticker<'_>,
    every: u64,
    stamp: Stamp,
    rows: &mut Rows,
) {
    // Spot's best bid and ask come without a time; ours tells their cells apart, not their ids.
    if takes(&mut samples.ticker, stamp.event.unwrap_or(stamp.recv), every) {
        names.ticker(rows, ticker, stamp);
    }
}

pub(super) fn kind_of(update: &Update<'_>) -> Option<Kind> {
    Some(match update {
        Update::Funding(_) => Kind::FundingRate,
        Update::OpenInterest(_) => Kind::OpenInterest,
        Update::Liquidation(_) => Kind::Liquidation,
        Update::Ratio(ratio) if ratio.of == RatioOf::TopPositions => Kind::LsrTopPosition,
        Update::Ratio(_) => Kind::LsrAllAccount,
        Update::Volatility(_) => Kind::VolatilityIndex,
        Update::Kline(_) => Kind::Kline,
        Update::Ticker(_) => Kind::Ticker,
        _ => return None,
    })
}

/// Kinds whose identity is the venue's time and nothing else.
fn needs_time(update: &Update<'_>) -> bool {
    matches!(update, Update::OpenInterest(_) | Update::Ratio(_) | Update::Volatility(_))
}

/// Has a size that is to be valued.
fn sized(update: &Update<'_>) -> bool {
    match update {
        Update::OpenInterest(interest) => interest.native.is_some(),
        Update::Liquidation(_) => true,
        Update::Ticker(ticker) => {
            ticker.last_quantity.is_some()
                || ticker.best_bid_quantity.is_some()
                || ticker.best_ask_quantity.is_some()
                || ticker.native_open_interest.is_some()
        }
        _ => false,
    }
}
