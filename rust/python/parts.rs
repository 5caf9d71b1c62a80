//! The parts for people: what a message says as typed objects, and one book on its own.

use std::borrow::Cow;
use std::sync::Mutex;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList};
use pyo3::BoundObject;

use crate::decimal;
use crate::event::{self, Asked, Event, Events, Levels, RateKind, RatioOf, Size, TradeId, Update};
use crate::single::SingleBook;
use crate::venue;

use super::{section_named, Instrument, LevelText};

/// One kind of fact: whose it is, when it was, and what the venue said.
macro_rules! part {
    ($name:ident { $($field:ident: $kind:ty),* $(,)? }) => {
        #[pyclass(frozen, get_all, module = "marketprism._core")]
        pub(super) struct $name {
            instrument_id: String,
            ts_event: Option<u64>,
            ts_sent: Option<u64>,
            $($field: $kind),*
        }

        #[pymethods]
        impl $name {
            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let mut said = Vec::new();
                for name in ["instrument_id", "ts_event", "ts_sent", $(stringify!($field)),*] {
                    let value = slf.getattr(name)?;
                    if !value.is_none() {
                        said.push(format!("{name}={}", value.repr()?));
                    }
                }
                Ok(format!("{}({})", stringify!($name), said.join(", ")))
            }
        }
    };
}

type Text = Option<String>;
type LevelTexts = Vec<LevelText>;

part!(Trade {
    trade_id: String,
    price: String,
    quantity: String,
    side: &'static str,
    aggregated: bool,
    first_trade_id: Option<u64>,
    last_trade_id: Option<u64>,
    trade_seq: Option<u64>,
    flags: Vec<&'static str>,
});
part!(BookDelta {
    first_update_id: Option<u64>,
    last_update_id: Option<u64>,
    prev_update_id: Option<u64>,
    bids: LevelTexts,
    asks: LevelTexts,
});
part!(BookImage { last_update_id: Option<u64>, bids: LevelTexts, asks: LevelTexts });
part!(FundingRate {
    rate_kind: &'static str,
    funding_rate: String,
    funding_time: u64,
    next_funding_time: Option<u64>,
    mark_price: Text,
    index_price: Text,
    premium_index: Text,
    funding_interval_hours: Text,
});
part!(OpenInterest {
    native_open_interest: Text,
    open_interest: Text,
    open_interest_value: Text,
    mark_price: Text,
});
part!(Liquidation {
    liquidation_id: Text,
    side: &'static str,
    position_side: Text,
    price: Text,
    average_price: Text,
    quantity: String,
    liquidation_time: u64,
});
part!(LongShortRatio {
    whose: &'static str,
    period: String,
    long_short_ratio: String,
    long_ratio: Text,
    short_ratio: Text,
});
part!(VolatilityIndex {
    resolution: Text,
    index_value: String,
    open: Text,
    high: Text,
    low: Text,
    underlying_asset: String,
});
part!(Kline {
    interval: String,
    open_time: u64,
    close_time: Option<u64>,
    open: String,
    high: String,
    low: String,
    close: String,
    volume: Text,
    quote_volume: Text,
    native_volume: Text,
    trades: Option<u64>,
    closed: Option<bool>,
});
part!(Ticker {
    update_id: Option<u64>,
    last_price: Text,
    last_quantity: Text,
    best_bid_price: Text,
    best_bid_quantity: Text,
    best_ask_price: Text,
    best_ask_quantity: Text,
    mark_price: Text,
    index_price: Text,
    open_24h: Text,
    high_24h: Text,
    low_24h: Text,
    volume_24h: Text,
    quote_volume_24h: Text,
    native_volume_24h: Text,
    open_interest: Text,
    native_open_interest: Text,
    mark_iv: Text,
    bid_iv: Text,
    ask_iv: Text,
    delta: Text,
    gamma: Text,
    vega: Text,
    theta: Text,
    rho: Text,
});
part!(Control { kind: &'static str, detail: Text });

fn text(value: Option<Cow<'_, str>>) -> Text {
    value.map(Cow::into_owned)
}

/// In base or quote units, and in the instrument's own.
fn amounts(size: Option<Size<'_>>) -> (Text, Text) {
    match size {
        Some(Size::Plain(amount)) => (Some(amount.into_owned()), None),
        Some(Size::Native(amount)) => (None, Some(amount.into_owned())),
        None => (None, None),
    }
}

fn level_texts(side: &[(decimal::Decimal, decimal::Decimal)]) -> LevelTexts {
    let written = |value: decimal::Decimal| {
        let mut out = Vec::new();
        decimal::write(&mut out, value.mantissa, value.scale, value.digits);
        String::from_utf8(out).expect("digits are ASCII")
    };
    side.iter().map(|&(price, size)| (written(price), written(size))).collect()
}

/// Everything that one message says.
#[pyfunction]
#[pyo3(signature = (section, frame, url=None))]
pub(super) fn parse(
    py: Python<'_>,
    section: &str,
    frame: PyBackedBytes,
    url: Option<PyBackedStr>,
) -> PyResult<Py<PyList>> {
    let section = section_named(section)?;
    let mut levels = Levels::default();
    let asked = url.map(|url| Asked::new(&url));
    let events = match &asked {
        Some(asked) => match venue::asks_seed(section, asked) {
            Some(native) => {
                let native = Cow::Owned(native.to_owned());
                venue::decode_seed(section, &frame, &mut levels).map(|head| {
                    Events::One(Event::new(native, event::Times::default(), Update::Image(head)))
                })
            }
            None => venue::answer(section, asked, &frame),
        },
        None => venue::decode(section, &frame, &mut levels),
    };
    let found = PyList::empty(py);
    match events.map_err(|why| PyValueError::new_err(why.into_string()))? {
        Events::One(event) => found.append(object(py, event, &levels)?)?,
        Events::Many(events) => {
            for event in events {
                found.append(object(py, event, &levels)?)?;
            }
        }
    }
    Ok(found.unbind())
}

/// Whose a fact is and when it was.
struct About {
    instrument_id: String,
    ts_event: Option<u64>,
    ts_sent: Option<u64>,
}

/// A part about somebody.
macro_rules! made {
    ($about:ident, $name:ident { $($rest:tt)* }) => {{
        let About { instrument_id, ts_event, ts_sent } = $about;
        $name { instrument_id, ts_event, ts_sent, $($rest)* }
    }};
}

fn object(py: Python<'_>, event: Event<'_>, levels: &Levels) -> PyResult<Py<PyAny>> {
    let Event { native, times, update, .. } = event;
    let about =
        About { instrument_id: native.into_owned(), ts_event: times.event, ts_sent: times.sent };
    match update {
        Update::Delta(head) => {
            let numbered = |id| head.numbered.then_some(id);
            any(
                py,
                made!(
                    about,
                    BookDelta {
                        first_update_id: numbered(head.first),
                        last_update_id: numbered(head.last),
                        prev_update_id: head.previous,
                        bids: level_texts(&levels.bids),
                        asks: level_texts(&levels.asks),
                    }
                ),
            )
        }
        Update::Image(head) => any(
            py,
            made!(
                about,
                BookImage {
                    last_update_id: head.numbered.then_some(head.last),
                    bids: level_texts(&levels.bids),
                    asks: level_texts(&levels.asks),
                }
            ),
        ),
        Update::Trade(trade) => any(py, trade_of(about, trade)),
        Update::Funding(funding) => any(py, funding_of(about, funding)),
        Update::OpenInterest(interest) => any(
            py,
            made!(
                about,
                OpenInterest {
                    native_open_interest: text(interest.native),
                    open_interest: text(interest.base),
                    open_interest_value: text(interest.value),
                    mark_price: text(interest.mark_price),
                }
            ),
        ),
        Update::Liquidation(forced) => any(py, liquidation_of(about, forced)),
        Update::Ratio(ratio) => any(py, ratio_of(about, ratio)),
        Update::Volatility(index) => any(py, volatility_of(about, index)),
        Update::Kline(kline) => any(py, kline_of(about, kline)),
        Update::Ticker(ticker) => any(py, ticker_of(about, *ticker)),
        Update::Listed(instrument) => any(py, Instrument(*instrument)),
        update => any(py, control_of(about, update)),
    }
}

fn any<'py, T: IntoPyObject<'py>>(py: Python<'py>, part: T) -> PyResult<Py<PyAny>>
where
    PyErr: From<T::Error>,
{
    Ok(part.into_pyobject(py)?.into_any().into_bound().unbind())
}

fn trade_of(about: About, trade: event::Trade<'_>) -> Trade {
    made!(
        about,
        Trade {
            trade_id: match trade.id {
                TradeId::Number(id) => id.to_string(),
                TradeId::Text(id) => id.into_owned(),
            },
            price: trade.price.into_owned(),
            quantity: trade.quantity.into_owned(),
            side: trade.side.name(),
            aggregated: trade.aggregated,
            first_trade_id: trade.merged.map(|(first, _)| first),
            last_trade_id: trade.merged.map(|(_, last)| last),
            trade_seq: trade.places.filter(|_| trade.placed_apart).map(|(place, _)| place),
            flags: trade.flags.names().collect(),
        }
    )
}

fn funding_of(about: About, funding: event::Funding<'_>) -> FundingRate {
    made!(
        about,
        FundingRate {
            rate_kind: match funding.kind {
                RateKind::Forecast => "forecast",
                RateKind::Settled => "settled",
            },
            funding_rate: funding.rate.into_owned(),
            funding_time: funding.time,
            next_funding_time: funding.next_time,
            mark_price: text(funding.mark_price),
            index_price: text(funding.index_price),
            premium_index: text(funding.premium_index),
            funding_interval_hours: text(funding.interval_hours),
        }
    )
}

fn liquidation_of(about: About, forced: event::Liquidation<'_>) -> Liquidation {
    made!(
        about,
        Liquidation {
            liquidation_id: forced.id,
            side: forced.side.name(),
            position_side: text(forced.position_side),
            price: text(forced.price),
            average_price: text(forced.average_price),
            quantity: forced.quantity.into_owned(),
            liquidation_time: forced.time,
        }
    )
}

fn ratio_of(about: About, ratio: event::Ratio<'_>) -> LongShortRatio {
    made!(
        about,
        LongShortRatio {
            whose: match ratio.of {
                RatioOf::TopPositions => "top_position",
                RatioOf::AllAccounts => "all_account",
            },
            period: ratio.period.into_owned(),
            long_short_ratio: ratio.long_short.into_owned(),
            long_ratio: text(ratio.long),
            short_ratio: text(ratio.short),
        }
    )
}

fn volatility_of(about: About, index: event::Volatility<'_>) -> VolatilityIndex {
    made!(
        about,
        VolatilityIndex {
            resolution: text(index.resolution),
            index_value: index.value.into_owned(),
            open: text(index.open),
            high: text(index.high),
            low: text(index.low),
            underlying_asset: index.asset.into_owned(),
        }
    )
}

fn kline_of(about: About, kline: event::Kline<'_>) -> Kline {
    let (volume, native_base) = amounts(kline.volume);
    let (quote_volume, native_quote) = amounts(kline.quote_volume);
    made!(
        about,
        Kline {
            interval: kline.interval.into_owned(),
            open_time: kline.open_time,
            close_time: kline.close_time,
            open: kline.open.into_owned(),
            high: kline.high.into_owned(),
            low: kline.low.into_owned(),
            close: kline.close.into_owned(),
            volume,
            quote_volume,
            native_volume: native_base.or(native_quote),
            trades: kline.trades,
            closed: kline.closed,
        }
    )
}

fn control_of(about: About, update: Update<'_>) -> Control {
    let (kind, detail) = match update {
        Update::Ignored(kind) => (kind, None),
        Update::Answered => ("answered", None),
        Update::Asked => ("asked", None),
        Update::FundingInterval(hours) => ("funding_interval", Some(hours.as_ref().into())),
        Update::NoTrade(place) => ("no_trade", Some(place.to_string().into())),
        Update::Refused(why) => ("refused", Some(why)),
        Update::Shutdown => ("shutdown", None),
        Update::Unknown(what) => ("unknown", Some(what)),
        _ => ("other", None),
    };
    made!(about, Control { kind, detail: detail.map(Into::into) })
}

fn ticker_of(about: About, ticker: event::Ticker<'_>) -> Ticker {
    let (volume_24h, native_base) = amounts(ticker.volume_24h);
    let (quote_volume_24h, native_quote) = amounts(ticker.quote_volume_24h);
    made!(
        about,
        Ticker {
            update_id: ticker.update_id,
            last_price: text(ticker.last_price),
            last_quantity: text(ticker.last_quantity),
            best_bid_price: text(ticker.best_bid_price),
            best_bid_quantity: text(ticker.best_bid_quantity),
            best_ask_price: text(ticker.best_ask_price),
            best_ask_quantity: text(ticker.best_ask_quantity),
            mark_price: text(ticker.mark_price),
            index_price: text(ticker.index_price),
            open_24h: text(ticker.open_24h),
            high_24h: text(ticker.high_24h),
            low_24h: text(ticker.low_24h),
            volume_24h,
            quote_volume_24h,
            native_volume_24h: native_base.or(native_quote),
            open_interest: text(ticker.open_interest),
            native_open_interest: text(ticker.native_open_interest),
            mark_iv: text(ticker.mark_iv),
            bid_iv: text(ticker.bid_iv),
            ask_iv: text(ticker.ask_iv),
            delta: text(ticker.delta),
            gamma: text(ticker.gamma),
            vega: text(ticker.vega),
            theta: text(ticker.theta),
            rho: text(ticker.rho),
        }
    )
}

/// One book, alone.
#[pyclass(frozen, module = "marketprism._core")]
pub(super) struct OrderBook(Mutex<SingleBook>);

impl OrderBook {
    fn with<T: Send>(&self, py: Python<'_>, look: impl FnOnce(&mut SingleBook) -> T) -> T {
        look(&mut self.0.lock_py_attached(py).expect("no call panics while it holds the lock"))
    }

    fn side<'py>(&self, py: Python<'py>, bids: bool, depth: usize) -> PyResult<Bound<'py, PyAny>> {
        let bytes: Vec<u8> = self.with(py, |book| {
            book.side(bids, depth)
                .flat_map(|(price, size)| [price.to_ne_bytes(), size.to_ne_bytes()].concat())
                .collect()
        });
        py.import("numpy")?
            .call_method1("frombuffer", (PyBytes::new(py, &bytes), "int64"))?
            .call_method1("reshape", (-1, 2))
    }
}

#[pymethods]
impl OrderBook {
    #[new]
    #[pyo3(signature = (section, *, depth_max=5000))]
    fn new(section: &str, depth_max: usize) -> PyResult<OrderBook> {
        if depth_max == 0 {
            return Err(PyValueError::new_err("depth_max is at least 1"));
        }
        Ok(OrderBook(Mutex::new(SingleBook::new(section_named(section)?, depth_max))))
    }

    fn apply(&self, py: Python<'_>, frame: PyBackedBytes) -> PyResult<&'static str> {
        let verdict = self.with(py, |book| book.apply(&frame));
        verdict.map(|v| v.name()).map_err(|why| PyValueError::new_err(why.into_string()))
    }

    fn seed(&self, py: Python<'_>, body: PyBackedBytes) -> PyResult<&'static str> {
        let verdict = self.with(py, |book| book.seed(&body));
        verdict.map(|v| v.name()).map_err(|why| PyValueError::new_err(why.into_string()))
    }

    #[pyo3(signature = (depth=1))]
    fn top(&self, py: Python<'_>, depth: usize) -> (Vec<LevelText>, Vec<LevelText>) {
        self.with(py, |book| book.book().map(|b| b.top_texts(depth)).unwrap_or_default())
    }

    #[pyo3(signature = (depth=None))]
    fn levels<'py>(
        &self,
        py: Python<'py>,
        depth: Option<usize>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, u8, u8)> {
        let depth = depth.unwrap_or(usize::MAX);
        let (price, size) =
            self.with(py, |book| book.book().map(|b| b.scales()).unwrap_or_default());
        Ok((self.side(py, true, depth)?, self.side(py, false, depth)?, price, size))
    }

    fn checksum(&self, py: Python<'_>) -> Option<i32> {
        self.with(py, |book| book.book().map(|b| b.crc32() as i32))
    }

    #[getter]
    fn live(&self, py: Python<'_>) -> bool {
        self.with(py, |book| book.book().is_some())
    }

    #[getter]
    fn last_update_id(&self, py: Python<'_>) -> Option<u64> {
        let cursor = self.with(py, |book| book.book().map(|b| b.cursor));
        cursor.filter(|cursor| cursor.numbered).map(|cursor| cursor.last)
    }

    /// Levels held per side, and how many of them are known to be complete.
    #[getter]
    fn known(&self, py: Python<'_>) -> (usize, usize) {
        self.with(py, |book| book.book().map(|b| b.known()).unwrap_or_default())
    }
}
