//! All of PyO3: names, types and the GIL. Mapping only; nothing is decided here.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList, PyString};

use crate::decimal;
use crate::encode::{self, Author, Kind, Kinds, LedgerRow, Place, Rows};
use crate::heard::OCTAVES;
use crate::instrument::{self as core_instrument, Section};
use crate::session::{self as core, Options};
use crate::venue;

mod blocks;
mod parts;

#[pyclass(frozen, module = "marketprism._core", name = "Instrument")]
struct Instrument(core_instrument::Instrument);

#[pymethods]
impl Instrument {
    #[getter]
    fn section(&self) -> &'static str {
        self.0.section.name()
    }

    #[getter]
    fn exchange(&self) -> &'static str {
        self.0.exchange()
    }

    #[getter]
    fn market_type(&self) -> &'static str {
        self.0.market_type.name()
    }

    #[getter]
    fn symbol(&self) -> &str {
        &self.0.symbol
    }

    #[getter]
    fn instrument_id(&self) -> &str {
        &self.0.native
    }

    #[getter]
    fn quantity_unit(&self) -> &'static str {
        self.0.unit.name()
    }

    #[getter]
    fn contract_multiplier(&self) -> Option<String> {
        let multiplier = self.0.contract.as_ref()?.multiplier;
        let mut text = Vec::new();
        decimal::write(&mut text, multiplier.mantissa, multiplier.scale, multiplier.digits);
        Some(String::from_utf8(text).expect("digits are ASCII"))
    }

    #[getter]
    fn contract_currency(&self) -> Option<&str> {
        Some(&self.0.contract.as_ref()?.currency)
    }

    #[getter]
    fn base(&self) -> Option<&str> {
        Some(&self.0.listing.as_ref()?.base)
    }

    #[getter]
    fn quote(&self) -> Option<&str> {
        Some(&self.0.listing.as_ref()?.quote)
    }

    #[getter]
    fn settle(&self) -> Option<&str> {
        Some(&self.0.listing.as_ref()?.settle)
    }

    #[getter]
    fn state(&self) -> Option<&str> {
        Some(&self.0.listing.as_ref()?.state)
    }

    #[getter]
    fn tick_size(&self) -> Option<&str> {
        self.0.listing.as_ref()?.tick_size.as_deref()
    }

    #[getter]
    fn lot_size(&self) -> Option<&str> {
        self.0.listing.as_ref()?.lot_size.as_deref()
    }

    #[getter]
    fn expiry(&self) -> Option<u64> {
        self.0.listing.as_ref()?.expiry
    }

    #[getter]
    fn strike(&self) -> Option<&str> {
        self.0.listing.as_ref()?.strike.as_deref()
    }

    fn subject(&self, data_type: &str) -> String {
        encode::subject(&self.0, data_type)
    }

    fn __eq__(&self, other: &Instrument) -> bool {
        self.0 == other.0
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.0.section, &self.0.native).hash(&mut hasher);
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        format!("Instrument({}, {}, {:?})", self.section(), self.market_type(), self.0.native)
    }
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct Message {
    kind: &'static str,
    subject: Py<PyString>,
    message_id: Py<PyString>,
    ts_event: u64,
    payload: Py<PyBytes>,
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct Request {
    kind: &'static str,
    instrument: Option<Py<Instrument>>,
    reason: &'static str,
    aggregated: bool,
    from_id: Option<u64>,
    to_id: Option<u64>,
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct Fault {
    label: &'static str,
    instrument: Option<Py<Instrument>>,
    detail: String,
    data_type: Option<&'static str>,
    from_id: Option<u64>,
    to_id: Option<u64>,
    from_ts: Option<u64>,
    to_ts: Option<u64>,
    frame: Option<Py<PyBytes>>,
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct Covered {
    instrument: Py<Instrument>,
    data_type: &'static str,
    from_id: Option<u64>,
    to_id: Option<u64>,
    from_ts: u64,
    to_ts: u64,
    count: u64,
    cause: &'static str,
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct Batch {
    messages: Py<PyList>,
    requests: Py<PyList>,
    faults: Py<PyList>,
    covered: Py<PyList>,
}

type LevelText = (String, String);

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct BookStatus {
    instrument: Py<Instrument>,
    state: &'static str,
    epoch: u64,
    last_update_id: u64,
    bids: usize,
    asks: usize,
    known_bids: usize,
    known_asks: usize,
    bids_cut: bool,
    asks_cut: bool,
    best_bid: Option<LevelText>,
    best_ask: Option<LevelText>,
}

#[pyclass(frozen, get_all, module = "marketprism._core")]
struct StreamStatus {
    instrument: Py<Instrument>,
    data_type: &'static str,
    facts: u64,
    last_id: Option<u64>,
    last_event: Option<u64>,
    last_recv: u64,
    gap: u64,
    lag_p50: Option<u64>,
    lag_p99: Option<u64>,
}

/// The engine behind a lock: one session a connection, so nobody waits for it.
#[pyclass(frozen, module = "marketprism._core")]
struct Session {
    inner: Mutex<Inner>,
    /// In the session's order; more may join.
    instruments: RwLock<Vec<Py<Instrument>>>,
}

struct Inner {
    session: core::Session,
    /// Subjects are few and repeat: one Python string each, found by where the subject lies. It is
    /// held here, so that nothing else comes to lie there.
    subjects: HashMap<usize, (Arc<str>, Py<PyString>)>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (section, instruments, *, books=Vec::new(), collector="marketprism",
        depth_max=5000, depth_published=400, snapshot_every_ns=1_000_000_000,
        flush_after_ns=1_000_000_000, data_types=None, ticker_every_ns=1_000_000_000,
        second_leg=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        section: &str,
        instruments: Vec<Py<Instrument>>,
        books: Vec<Py<Instrument>>,
        collector: &str,
        depth_max: usize,
        depth_published: usize,
        snapshot_every_ns: u64,
        flush_after_ns: u64,
        data_types: Option<Vec<PyBackedStr>>,
        ticker_every_ns: u64,
        second_leg: bool,
    ) -> PyResult<Session> {
        if depth_max == 0 || depth_published == 0 || snapshot_every_ns == 0 {
            return Err(PyValueError::new_err("depths and snapshot_every_ns are at least 1"));
        }
        let options = Options {
            depth_max,
            depth_published,
            snapshot_every: snapshot_every_ns,
            flush_after: flush_after_ns,
            wanted: wanted(data_types.as_deref())?,
            ticker_every: ticker_every_ns,
            second_leg,
        };
        let section = section_named(section)?;
        let list = instruments.iter().map(|i| i.bind(py).get().0.clone()).collect();
        let books: Vec<Box<str>> =
            books.iter().map(|i| i.bind(py).get().0.native.clone()).collect();
        let session = core::Session::new(section, list, &books, collector, options);
        let inner = Inner { session, subjects: HashMap::new() };
        Ok(Session { inner: Mutex::new(inner), instruments: RwLock::new(instruments) })
    }

    fn state(&self, py: Python<'_>) -> Vec<Py<PyBytes>> {
        let lines = py.detach(|| {
            self.inner.lock().expect("no call panics while it holds the lock").session.state()
        });
        lines.iter().map(|line| PyBytes::new(py, line).unbind()).collect()
    }

    #[staticmethod]
    fn restore(py: Python<'_>, lines: Vec<PyBackedBytes>) -> PyResult<Session> {
        let restored = py.detach(|| core::Session::restore(&lines));
        let session = restored.map_err(PyValueError::new_err)?;
        let named = |i: &core_instrument::Instrument| Py::new(py, Instrument(i.clone()));
        let instruments = session.instruments().map(named).collect::<PyResult<_>>()?;
        let inner = Inner { session, subjects: HashMap::new() };
        Ok(Session { inner: Mutex::new(inner), instruments: RwLock::new(instruments) })
    }

    fn open(&self, py: Python<'_>, now: u64) -> PyResult<Batch> {
        let mut inner = self.lock(py);
        let batch = inner.session.open(now);
        self.batch(py, &mut inner, batch)
    }

    fn close(&self, py: Python<'_>) -> PyResult<Batch> {
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        inner.session.close(&mut batch);
        self.batch(py, &mut inner, batch)
    }

    #[pyo3(signature = (instrument, data_type))]
    fn listen(&self, py: Python<'_>, instrument: &Instrument, data_type: &str) -> PyResult<Batch> {
        let at = self.position(py, instrument)?;
        let kind = kind_named(data_type)?;
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        inner.session.listen(at, kind, &mut batch);
        self.batch(py, &mut inner, batch)
    }

    fn await_image(&self, py: Python<'_>, instrument: &Instrument) -> PyResult<bool> {
        let at = self.position(py, instrument)?;
        Ok(self.lock(py).session.await_image(at))
    }

    #[pyo3(signature = (instrument, data_types=None))]
    fn leave(
        &self,
        py: Python<'_>,
        instrument: &Instrument,
        data_types: Option<Vec<PyBackedStr>>,
    ) -> PyResult<Batch> {
        let at = self.position(py, instrument)?;
        let kinds = data_types.map(|names| wanted(Some(&names))).transpose()?;
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        match kinds {
            Some(kinds) => inner.session.part(at, kinds, &mut batch),
            None => inner.session.leave(at, &mut batch),
        }
        self.batch(py, &mut inner, batch)
    }

    #[pyo3(signature = (instrument, data_types, *, book, now))]
    fn join(
        &self,
        py: Python<'_>,
        instrument: Py<Instrument>,
        data_types: Vec<PyBackedStr>,
        book: bool,
        now: u64,
    ) -> PyResult<()> {
        let kinds = wanted(Some(&data_types))?;
        let core = instrument.bind(py).get().0.clone();
        let mut inner = self.lock(py);
        let at = inner.session.join(core, book, kinds, now);
        let mut known = self.instruments.write().expect("no call panics while it writes");
        if at == known.len() {
            known.push(instrument);
        }
        Ok(())
    }

    fn rest(&self, py: Python<'_>, instrument: &Instrument) -> PyResult<Batch> {
        let at = self.position(py, instrument)?;
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        inner.session.rest(at, &mut batch);
        self.batch(py, &mut inner, batch)
    }

    fn resync(&self, py: Python<'_>, instrument: &Instrument) -> PyResult<(bool, Batch)> {
        let at = self.position(py, instrument)?;
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        let begun = inner.session.resync(at, &mut batch);
        Ok((begun, self.batch(py, &mut inner, batch)?))
    }

    #[pyo3(signature = (instrument, *, trade=None, aggregate=None, book=None))]
    fn resume(
        &self,
        py: Python<'_>,
        instrument: &Instrument,
        trade: Option<(u64, u64)>,
        aggregate: Option<(u64, u64)>,
        book: Option<(u64, u64)>,
    ) -> PyResult<()> {
        let at = self.position(py, instrument)?;
        let last = |known: Option<(u64, u64)>| known.map(|(id, ts)| (id, Some(ts)));
        self.lock(py).session.resume(at, last(trade), last(aggregate), last(book));
        Ok(())
    }

    fn reached(
        &self,
        py: Python<'_>,
        instrument: &Instrument,
    ) -> PyResult<[Option<core::Last>; 3]> {
        let at = self.position(py, instrument)?;
        Ok(self.lock(py).session.reached(at))
    }

    fn follow(
        &self,
        py: Python<'_>,
        instrument: &Instrument,
        reached: [Option<core::Last>; 3],
    ) -> PyResult<Batch> {
        let at = self.position(py, instrument)?;
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        inner.session.follow(at, reached, &mut batch);
        self.batch(py, &mut inner, batch)
    }

    fn receive(
        &self,
        py: Python<'_>,
        frames: Vec<PyBackedBytes>,
        ts_recv: Vec<u64>,
    ) -> PyResult<Batch> {
        if frames.len() != ts_recv.len() {
            return Err(PyValueError::new_err("frames and ts_recv differ in length"));
        }
        let batch = py.detach(|| {
            let mut inner = self.inner.lock().expect("no call panics while it holds the lock");
            let mut batch = core::Batch::default();
            for (frame, ts_recv) in frames.iter().zip(&ts_recv) {
                inner.session.receive(frame, *ts_recv, &mut batch);
            }
            batch
        });
        let mut inner = self.lock(py);
        self.batch(py, &mut inner, batch)
    }

    fn seed(
        &self,
        py: Python<'_>,
        instrument: &Instrument,
        body: PyBackedBytes,
        ts_recv: u64,
    ) -> PyResult<Batch> {
        let at = self.position(py, instrument)?;
        let batch = py.detach(|| {
            let mut inner = self.inner.lock().expect("no call panics while it holds the lock");
            let mut batch = core::Batch::default();
            inner.session.seed(at, &body, ts_recv, &mut batch);
            batch
        });
        let mut inner = self.lock(py);
        self.batch(py, &mut inner, batch)
    }

    fn answer(
        &self,
        py: Python<'_>,
        url: PyBackedStr,
        body: PyBackedBytes,
        ts_recv: u64,
    ) -> PyResult<Batch> {
        let batch = py.detach(|| {
            let mut inner = self.inner.lock().expect("no call panics while it holds the lock");
            let mut batch = core::Batch::default();
            inner.session.answer(&url, &body, ts_recv, &mut batch);
            batch
        });
        let mut inner = self.lock(py);
        self.batch(py, &mut inner, batch)
    }

    fn tick(&self, py: Python<'_>, now: u64) -> PyResult<Batch> {
        let mut inner = self.lock(py);
        let mut batch = core::Batch::default();
        inner.session.tick(now, &mut batch);
        self.batch(py, &mut inner, batch)
    }

    fn top(
        &self,
        py: Python<'_>,
        instrument: &Instrument,
        depth: usize,
    ) -> PyResult<(Vec<LevelText>, Vec<LevelText>)> {
        let at = self.position(py, instrument)?;
        let inner = self.lock(py);
        Ok(inner
            .session
            .life(at)
            .book
            .as_ref()
            .map(|book| book.top_texts(depth))
            .unwrap_or_default())
    }

    fn status(&self, py: Python<'_>) -> Vec<BookStatus> {
        let inner = self.lock(py);
        self.known()
            .iter()
            .enumerate()
            .map(|(at, instrument)| {
                let life = inner.session.life(at);
                let book = life.book.as_ref();
                let known = book.map_or((0, 0), |b| b.known());
                let cut = book.map_or((false, false), |b| b.cut());
                let (mut bids, mut asks) = book.map(|b| b.top_texts(1)).unwrap_or_default();
                BookStatus {
                    instrument: instrument.clone_ref(py),
                    state: life.state.name(),
                    epoch: life.epoch,
                    last_update_id: book.map_or(0, |b| b.cursor.last),
                    bids: book.map_or(0, |b| b.bids.len()),
                    asks: book.map_or(0, |b| b.asks.len()),
                    known_bids: known.0,
                    known_asks: known.1,
                    bids_cut: cut.0,
                    asks_cut: cut.1,
                    best_bid: bids.pop(),
                    best_ask: asks.pop(),
                }
            })
            .collect()
    }

    fn streams(&self, py: Python<'_>, now: u64) -> Vec<StreamStatus> {
        let inner = self.lock(py);
        let mut streams = Vec::new();
        for (at, instrument) in self.known().iter().enumerate() {
            streams.extend(inner.session.heard(at).map(|(kind, heard, last_id)| StreamStatus {
                instrument: instrument.clone_ref(py),
                data_type: kind.name(),
                facts: heard.facts,
                last_id,
                last_event: Some(heard.last_event).filter(|event| *event > 0),
                last_recv: heard.last_recv,
                gap: heard.gap,
                lag_p50: heard.lag(500, now),
                lag_p99: heard.lag(990, now),
            }));
        }
        streams
    }

    fn lags(&self, py: Python<'_>) -> HashMap<&'static str, ([u64; OCTAVES], u64)> {
        self.lock(py).session.lags().map(|(kind, lags)| (kind.name(), lags.below())).collect()
    }

    fn counts(&self, py: Python<'_>) -> HashMap<&'static str, u64> {
        self.lock(py).session.counts().iter().copied().collect()
    }
}

impl Session {
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Inner> {
        self.inner.lock_py_attached(py).expect("no call panics while it holds the lock")
    }

    /// Held for a look and never while Python is called.
    fn known(&self) -> RwLockReadGuard<'_, Vec<Py<Instrument>>> {
        self.instruments.read().expect("no call panics while it writes")
    }

    fn position(&self, py: Python<'_>, instrument: &Instrument) -> PyResult<usize> {
        self.lock(py).session.position(&instrument.0.native).ok_or_else(|| {
            PyValueError::new_err(format!(
                "{} is not an instrument of this session",
                instrument.0.native
            ))
        })
    }

    fn named(&self, py: Python<'_>, at: Option<usize>) -> Option<Py<Instrument>> {
        at.map(|at| self.known()[at].clone_ref(py))
    }

    fn request(&self, py: Python<'_>, request: core::Request) -> Request {
        let about = |kind, at, reason| Request {
            kind,
            instrument: self.named(py, at),
            reason,
            aggregated: false,
            from_id: None,
            to_id: None,
        };
        match request {
            core::Request::Seed { instrument, reason } => about("seed", Some(instrument), reason),
            core::Request::Resubscribe { instrument, reason } => {
                about("resubscribe", Some(instrument), reason)
            }
            core::Request::Heal { instrument, aggregated, from, to } => Request {
                aggregated,
                from_id: Some(from),
                to_id: Some(to),
                ..about("heal", Some(instrument), "gap")
            },
            core::Request::Answer { reason } => about("answer", None, reason),
            core::Request::Reconnect { reason } => about("reconnect", None, reason),
        }
    }

    fn batch(&self, py: Python<'_>, inner: &mut Inner, batch: core::Batch) -> PyResult<Batch> {
        let messages = PyList::empty(py);
        for message in &batch.rows.messages {
            let named = || {
                let name = PyString::new(py, &message.subject).unbind();
                (Arc::clone(&message.subject), name)
            };
            let (_, subject) =
                inner.subjects.entry(message.subject.as_ptr() as usize).or_insert_with(named);
            messages.append(py_message(py, &batch.rows, message, subject.clone_ref(py)))?;
        }
        let requests = PyList::empty(py);
        for request in batch.requests {
            requests.append(self.request(py, request))?;
        }
        let faults = PyList::empty(py);
        for fault in batch.faults {
            faults.append(Fault {
                label: fault.kind.label(),
                instrument: self.named(py, fault.instrument),
                detail: fault.kind.to_string(),
                data_type: fault.data_type,
                from_id: fault.from_id,
                to_id: fault.to_id,
                from_ts: fault.from_ts,
                to_ts: fault.to_ts,
                frame: fault.frame.map(|frame| PyBytes::new(py, &frame).unbind()),
            })?;
        }
        let covered = PyList::empty(py);
        for interval in batch.covered {
            covered.append(Covered {
                instrument: self.known()[interval.instrument].clone_ref(py),
                data_type: interval.data_type,
                from_id: interval.ids.map(|(from, _)| from),
                to_id: interval.ids.map(|(_, to)| to),
                from_ts: interval.from_ts,
                to_ts: interval.to_ts,
                count: interval.count,
                cause: interval.cause.name(),
            })?;
        }
        Ok(Batch {
            messages: messages.unbind(),
            requests: requests.unbind(),
            faults: faults.unbind(),
            covered: covered.unbind(),
        })
    }
}

fn py_message(
    py: Python<'_>,
    rows: &Rows,
    message: &encode::Message,
    subject: Py<PyString>,
) -> Message {
    Message {
        kind: message.kind.name(),
        subject,
        message_id: PyString::new(py, rows.id(message)).unbind(),
        ts_event: message.ts_event,
        payload: PyBytes::new(py, rows.payload(message)).unbind(),
    }
}

fn wanted(data_types: Option<&[PyBackedStr]>) -> PyResult<Kinds> {
    let Some(names) = data_types else { return Ok(encode::USUAL) };
    let kinds = names.iter().map(|name| kind_named(name));
    Ok(Kinds::of(&kinds.collect::<PyResult<Vec<_>>>()?))
}

fn kind_named(name: &str) -> PyResult<Kind> {
    Kind::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        PyValueError::new_err(format!("no data type {name:?}; one of {}", known.join(", ")))
    })
}

fn section_named(name: &str) -> PyResult<Section> {
    Section::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Section::ALL.iter().map(|section| section.name()).collect();
        PyValueError::new_err(format!("no section {name:?}; one of {}", known.join(", ")))
    })
}

#[pyfunction]
fn instruments(py: Python<'_>, section: &str, body: PyBackedBytes) -> PyResult<Vec<Instrument>> {
    let section = section_named(section)?;
    let found = py.detach(|| venue::instruments(section, &body));
    Ok(found
        .map_err(|why| PyValueError::new_err(why.into_string()))?
        .into_iter()
        .map(Instrument)
        .collect())
}

#[pyfunction]
fn guess_instrument(section: &str, instrument_id: &str) -> PyResult<Instrument> {
    venue::guess(section_named(section)?, instrument_id).map(Instrument).ok_or_else(|| {
        PyValueError::new_err(format!(
            "no known quote asset ends {instrument_id:?}; the venue's list is needed"
        ))
    })
}

fn only(py: Python<'_>, rows: &Rows) -> Message {
    let message = &rows.messages[0];
    py_message(py, rows, message, PyString::new(py, &message.subject).unbind())
}

#[pyfunction]
#[pyo3(signature = (event, *, collector, run, n, ts, instrument=None, exchange=None, cause=None,
    detail=None, data_type=None, from_id=None, to_id=None, from_ts=None, to_ts=None, count=None, leg=None))]
#[allow(clippy::too_many_arguments)]
fn ledger_message(
    py: Python<'_>,
    event: &str,
    collector: &str,
    run: u64,
    n: u64,
    ts: u64,
    instrument: Option<&Instrument>,
    exchange: Option<&str>,
    cause: Option<&str>,
    detail: Option<&str>,
    data_type: Option<&str>,
    from_id: Option<u64>,
    to_id: Option<u64>,
    from_ts: Option<u64>,
    to_ts: Option<u64>,
    count: Option<u64>,
    leg: Option<&str>,
) -> Message {
    let place = match instrument {
        Some(instrument) => Place::of(&instrument.0),
        None => Place::exchange(exchange.unwrap_or("-")),
    };
    let row =
        LedgerRow { event, cause, detail, data_type, from_id, to_id, from_ts, to_ts, count, leg };
    let mut rows = Rows::default();
    encode::ledger(&mut rows, Author { collector, run, n, ts }, place, row);
    only(py, &rows)
}

#[pyfunction]
#[pyo3(signature = (*, collector, run, n, ts, origin, reason, r#where, payload, exchange=None))]
#[allow(clippy::too_many_arguments)]
fn dead_letter_message(
    py: Python<'_>,
    collector: &str,
    run: u64,
    n: u64,
    ts: u64,
    origin: &str,
    reason: &str,
    r#where: PyBackedStr,
    payload: PyBackedBytes,
    exchange: Option<&str>,
) -> Message {
    let place = Place::exchange(exchange.unwrap_or("-"));
    let author = Author { collector, run, n, ts };
    let mut rows = Rows::default();
    encode::dead_letter(&mut rows, author, place, origin, reason, &r#where, &payload);
    only(py, &rows)
}

#[pymodule(gil_used = false)]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("__version__", env!("CARGO_PKG_VERSION"))?;
    m.add_class::<Instrument>()?;
    m.add_class::<Message>()?;
    m.add_class::<Request>()?;
    m.add_class::<Fault>()?;
    m.add_class::<Covered>()?;
    m.add_class::<Batch>()?;
    m.add_class::<BookStatus>()?;
    m.add_class::<StreamStatus>()?;
    m.add_class::<Session>()?;
    m.add_class::<blocks::Layout>()?;
    m.add_class::<blocks::Block>()?;
    m.add_function(wrap_pyfunction!(instruments, m)?)?;
    m.add_function(wrap_pyfunction!(guess_instrument, m)?)?;
    m.add_function(wrap_pyfunction!(ledger_message, m)?)?;
    m.add_function(wrap_pyfunction!(dead_letter_message, m)?)?;
    m.add_function(wrap_pyfunction!(blocks::py_columns, m)?)?;
    m.add_function(wrap_pyfunction!(blocks::times, m)?)?;
    m.add_function(wrap_pyfunction!(blocks::id_range, m)?)?;
    m.add_function(wrap_pyfunction!(parts::parse, m)?)?;
    m.add_class::<parts::OrderBook>()?;
    m.add_class::<parts::Trade>()?;
    m.add_class::<parts::BookDelta>()?;
    m.add_class::<parts::BookImage>()?;
    m.add_class::<parts::FundingRate>()?;
    m.add_class::<parts::OpenInterest>()?;
    m.add_class::<parts::Liquidation>()?;
    m.add_class::<parts::LongShortRatio>()?;
    m.add_class::<parts::VolatilityIndex>()?;
    m.add_class::<parts::Kline>()?;
    m.add_class::<parts::Ticker>()?;
    m.add_class::<parts::Control>()?;
    Ok(())
}
