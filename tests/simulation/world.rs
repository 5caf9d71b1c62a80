//! A run: markets, a wire and one session under a time that is made up, from one seed.
//!
//! First there is trouble, then none. The harness does what the shell does: it brings frames and
//! bodies, calls `tick` once a second, and answers the engine's requests.
//!
//! Unrealistic: one connection, no batches (they are tried afterwards, on the same calls), answers
//! of REST never overtake their question, and a venue that is asked again answers both times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use marketprism::encode::Kind;
use marketprism::instrument::Instrument;
use marketprism::life::{State, RETRY_LATE};
use marketprism::session::{Batch, Request, Session};
use marketprism::venue::guess;

use crate::draw::Draw;
use crate::judge::{Failure, Judge, Law, Tally};
use crate::plan::{self, Pace, Plan};
use crate::spell;
use crate::venue::{Listed, Plant, Rule, Sent};
use crate::wire::{Care, Dice, Parcel, Trouble, Wire, MILLISECOND, SECOND};

const START: u64 = 1_700_000_000 * SECOND;
/// The longest that an answer of REST or a late frame takes while there is trouble.
const LATE: u64 = 10 * SECOND;
/// Once faults stop, every book is live within so many ticks of a second: the engine may have asked
/// an instant before, in vain, and asks every minute; the last late answer is in by then.
pub const LIVE_WITHIN: u64 = RETRY_LATE / SECOND + LATE / SECOND + 5;
/// So many of the cuts between two batches are also one between two sessions.
const RESTORED: f64 = 0.1;
/// So much later every book has published.
const PUBLISHED_WITHIN: u64 = 12;

/// One call of the session, to be made again.
#[derive(Clone)]
enum Call {
    Open,
    Close,
    Frame(Rc<[u8]>),
    Seed(usize, Rc<[u8]>),
    Tick,
}

enum What {
    Move(usize),
    Arrive(Parcel),
    Noise(u32, Rc<[u8]>),
    Answer(usize, Rc<[u8]>),
    Subscribed(usize, u32),
    Open,
    Tick,
}

struct Entry(u64, u64, What);

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// Where an instrument's stream stands.
#[derive(Default)]
struct Line {
    /// Every other move is followed by a frame.
    turn: bool,
    subscribed: bool,
    /// How often ids began anew; after two they would soon be too small.
    resets: u32,
    last_push: u64,
}

pub struct World {
    draw: Draw,
    dice: Dice,
    wire: Wire,
    now: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    queued: u64,
    session: Session,
    make: Box<dyn Fn() -> Session>,
    listed: Vec<Listed>,
    paces: Vec<Pace>,
    lines: Vec<Line>,
    judge: Judge,
    tape: Vec<(u64, Call)>,
    digest: Digest,
    connection: u32,
    connected: bool,
    reorders: bool,
    /// No two calls have the same time.
    called: u64,
    verbose: bool,
    plant: Option<Plant>,
}

/// Hashes of everything that came out, one by one.
#[derive(Default, PartialEq)]
struct Digest {
    rows: Vec<u64>,
    rest: Vec<u64>,
}

fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl Digest {
    fn add(&mut self, batch: &Batch) {
        for message in &batch.rows.messages {
            let (id, payload) = (batch.rows.id(message), batch.rows.payload(message));
            self.rows.push(hash((&message.subject, id, message.ts_event, payload)));
        }
        // One list each: how they are interleaved is a matter of batches.
        self.rest.extend(batch.requests.iter().map(|r| hash(format!("{r:?}"))));
        self.rest.extend(batch.faults.iter().map(|f| hash(format!("{f:?}"))));
        self.rest.extend(batch.covered.iter().map(|c| hash(format!("{c:?}"))));
    }
}

fn call(session: &mut Session, now: u64, call: &Call, batch: &mut Batch) {
    match call {
        Call::Open => {
            let opened = session.open(now);
            batch.rows.append(&opened.rows);
            batch.requests.extend(opened.requests);
            batch.faults.extend(opened.faults);
            batch.covered.extend(opened.covered);
        }
        Call::Close => session.close(batch),
        Call::Frame(frame) => session.receive(frame, now, batch),
        Call::Seed(at, body) => session.seed(*at, body, now, batch),
        Call::Tick => session.tick(now, batch),
    }
}

/// The seed and the faults that were needed, told by what was broken.
pub fn run(plan: &Plan) -> Result<Tally, Failure> {
    let mut world = World::new(plan);
    let outcome = world.live();
    let now = world.now;
    match outcome {
        Ok(()) => Ok(world.told()),
        Err((law, text)) => Err(Failure { law, at: now - START, text }),
    }
}

type Step = Result<(), (Law, String)>;

impl World {
    fn new(plan: &Plan) -> World {
        let mut draw = Draw::new(plan.seed);
        let rules = plan::rules(&mut draw.fork(), plan.rule);
        let options = plan::options(&mut draw.fork(), &rules, plan.plant);
        let mut listed = plan::listed(&mut draw.fork(), &rules);
        for listed in &mut listed {
            listed.plant = plan.plant;
            listed.begin(START / MILLISECOND);
        }
        let section = listed[0].section;
        let natives: Vec<String> = listed.iter().map(|listed| listed.native.clone()).collect();
        let make = move || {
            let instruments: Vec<Instrument> =
                natives.iter().map(|n| guess(section, n).expect("a name of the venue")).collect();
            let books: Vec<Box<str>> = natives.iter().map(|n| n.as_str().into()).collect();
            Session::new(section, instruments, &books, "sim", options)
        };
        let mut paced = draw.fork();
        let paces = listed.iter().map(|_| Pace::drawn(&mut paced)).collect();
        let trusted = |rule| if plan::is_only_checked(rule) { 25 } else { usize::MAX };
        let trusted = listed.iter().map(|listed| trusted(listed.rule)).collect();
        let lines = listed.iter().map(|_| Line::default()).collect();
        let spared = (listed.len() > 1 && draw.chance(0.5)).then_some(0);
        World {
            dice: Dice::new(plan.faults.clone(), &mut draw.fork()),
            wire: Wire::new(&mut draw),
            now: START,
            queue: BinaryHeap::new(),
            queued: 0,
            session: make(),
            make: Box::new(make),
            listed,
            paces,
            lines,
            judge: Judge::new(options, trusted, spared),
            tape: Vec::new(),
            digest: Digest::default(),
            connection: 0,
            connected: false,
            reorders: false,
            called: 0,
            verbose: plan.verbose,
            plant: plan.plant,
            draw,
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:9.3}  {}", (self.now - START) as f64 / SECOND as f64, what());
        }
    }

    fn at(&mut self, time: u64, what: What) {
        self.queued += 1;
        self.queue.push(Reverse(Entry(time, self.queued, what)));
    }

    /// Trouble, then none; then the laws that need the whole run.
    fn live(&mut self) -> Step {
        let trouble = self.draw.between(50, 150) * SECOND;
        self.at(START, What::Open);
        self.at(START + SECOND, What::Tick);
        for at in 0..self.listed.len() {
            let first = self.draw.below(self.paces[at].every);
            self.at(START + first, What::Move(at));
        }
        self.until(START + trouble)?;
        self.say(|| "--- no more trouble".into());
        self.calm();
        self.until(START + trouble + LIVE_WITHIN * SECOND)?;
        for at in 0..self.listed.len() {
            let state = self.session.life(at).state;
            if state != State::Live {
                let text = format!("{} is {}", self.listed[at].native, state.name());
                return Err((Law::Liveness, format!("{text} after {LIVE_WITHIN} ticks")));
            }
        }
        let live = self.now;
        self.until(live + PUBLISHED_WITHIN * SECOND)?;
        for at in 0..self.listed.len() {
            if self.judge.published(at) < live {
                let text = format!("{} is live and shows nothing", self.listed[at].native);
                return Err((Law::Liveness, text));
            }
            self.judge.missing_trades(&self.listed[at])?;
        }
        self.again()
    }

    /// No more trouble, and markets in which what is proven lasts from one snapshot to the next.
    fn calm(&mut self) {
        self.dice.calm = true;
        for listed in &mut self.listed {
            listed.market.temper.restless = 0.02;
            listed.market.temper.upwards = 0.5;
            listed.market.temper.changes = 1;
            listed.limit = listed.limit.max(100);
        }
        for pace in &mut self.paces {
            pace.idle = 0.0;
            pace.every = pace.every.max(400 * MILLISECOND);
        }
    }

    fn until(&mut self, end: u64) -> Step {
        while let Some(Reverse(Entry(time, ..))) = self.queue.peek() {
            if *time > end {
                break;
            }
            let Some(Reverse(Entry(time, _, what))) = self.queue.pop() else { break };
            self.now = time;
            self.happen(what)?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, what: What) -> Step {
        match what {
            What::Move(at) => self.moved(at),
            What::Arrive(parcel) => self.arrive(parcel)?,
            What::Noise(connection, frame) => {
                if connection == self.connection && self.connected {
                    self.call(Call::Frame(frame))?;
                }
            }
            What::Answer(at, body) => {
                self.say(|| format!("{} a body of {} bytes", self.listed[at].native, body.len()));
                self.call(Call::Seed(at, body))?;
            }
            What::Subscribed(at, connection) => {
                if connection == self.connection && self.connected {
                    self.subscribed(at);
                }
            }
            What::Open => {
                self.open()?;
            }
            What::Tick => {
                self.at(self.now + SECOND, What::Tick);
                self.call(Call::Tick)?;
                self.judge.look(&self.session, &self.listed, true)?;
                self.trouble()?;
            }
        }
        Ok(())
    }

    /// Brings a call to the session, what comes of it to the judge, and does what is asked for.
    fn call(&mut self, what: Call) -> Step {
        let mut batch = Batch::default();
        let before: Vec<State> =
            (0..self.listed.len()).map(|at| self.session.life(at).state).collect();
        self.called = self.now.max(self.called + 1);
        call(&mut self.session, self.called, &what, &mut batch);
        self.tape.push((self.called, what));
        if self.verbose {
            self.tell(&before, &batch);
        }
        self.digest.add(&batch);
        self.judge.batch(self.now, &batch, &mut self.listed)?;
        self.judge.look(&self.session, &self.listed, false)?;
        for request in &batch.requests {
            self.serve(request)?;
        }
        Ok(())
    }

    fn tell(&self, before: &[State], batch: &Batch) {
        for (at, before) in before.iter().enumerate() {
            let state = self.session.life(at).state;
            if state != *before {
                let native = &self.listed[at].native;
                self.say(|| format!("{native} {} -> {}", before.name(), state.name()));
            }
        }
        for request in &batch.requests {
            self.say(|| format!("{request:?}"));
        }
        for fault in &batch.faults {
            let ids = (fault.from_id, fault.to_id);
            self.say(|| format!("{:?} {} {ids:?}", fault.instrument, fault.kind));
        }
        for message in batch.rows.messages.iter().filter(|m| m.kind == Kind::Orderbook) {
            self.say(|| format!("row {}", batch.rows.id(message)));
        }
    }

    /// The market moves; now and then a frame of the book, or of a trade, leaves the venue.
    fn moved(&mut self, at: usize) {
        let Pace { every, idle, trades } = self.paces[at];
        let Line { turn, last_push, .. } = self.lines[at];
        self.lines[at].turn = !turn;
        self.at(self.now + every, What::Move(at));
        let listed = &mut self.listed[at];
        if !self.draw.chance(idle) {
            for _ in 0..self.draw.between(1, 3) {
                listed.step();
            }
        }
        let ms = self.now / MILLISECOND;
        if turn {
            let sent = match listed.push(ms) {
                None if ms > last_push + 3_000 => listed.keep_alive(ms),
                sent => sent,
            };
            if let Some(sent) = sent {
                self.lines[at].last_push = ms;
                self.send(at, sent);
            }
        }
        if self.draw.chance(trades) {
            let sent = self.listed[at].trade(ms);
            self.send(at, sent);
        }
    }

    fn care(&self, at: usize) -> Care {
        let shows = self.listed[at].rule.shows_loss();
        Care { may_be_lost: shows, spared: self.judge.spared == Some(at) }
    }

    /// Puts a frame on the wire.
    fn send(&mut self, at: usize, sent: Sent) {
        // A trade channel of its own goes on while the book's is subscribed anew.
        if !self.connected || (sent.version.is_some() && !self.lines[at].subscribed) {
            return;
        }
        let connection = self.connection;
        let parcel = Parcel { connection, instrument: at, sent, whole: true, late: false };
        // A trade's loss always shows.
        let mut care = self.care(at);
        care.may_be_lost |= parcel.sent.version.is_none();
        let arrivals = self.wire.carry(self.now, parcel, care, &mut self.dice);
        if arrivals.is_empty() {
            self.say(|| format!("{} a frame is lost", self.listed[at].native));
        }
        for (time, parcel) in arrivals {
            self.at(time, What::Arrive(parcel));
        }
        if self.dice.happens(Trouble::Noise) {
            let which = self.dice.number(Trouble::Noise, 0, spell::NOISES as u64 - 1);
            let noise = spell::noise(which as usize).as_bytes().into();
            self.at(self.now + 50 * MILLISECOND, What::Noise(connection, noise));
        }
    }

    fn arrive(&mut self, parcel: Parcel) -> Step {
        let mut parcel = parcel;
        let (at, old) = (parcel.instrument, parcel.connection != self.connection);
        parcel.late |= old;
        if old || !self.connected {
            // From the connection before: it comes in between, or never.
            let whole_order = self.care(at).may_be_lost && self.judge.spared != Some(at);
            if !(self.reorders && whole_order) {
                return Ok(());
            }
            if !self.connected {
                let later = self.draw.between(400, 3_000) * MILLISECOND;
                self.at(self.now + later, What::Arrive(parcel));
                return Ok(());
            }
        }
        let listed = &mut self.listed[at];
        if parcel.whole {
            if let Some(version) = parcel.sent.version {
                listed.versions[version].heard = true;
            }
            let deals = parcel.sent.deals.clone();
            if !deals.is_empty() {
                listed.first_heard.get_or_insert(deals.start);
            }
            for deal in &mut listed.deals[deals] {
                deal.heard = true;
            }
        }
        if self.verbose {
            let what = match parcel.sent.version.map(|v| &self.listed[at].versions[v]) {
                Some(version) => format!("{} -> {}", version.previous, version.id),
                None => "trades".into(),
            };
            let cut = if parcel.whole { "" } else { ", cut short" };
            self.say(|| format!("{} {what}{cut}", self.listed[at].native));
        }
        self.judge.tally.frames += 1;
        self.call(Call::Frame(parcel.sent.frame))
    }

    fn open(&mut self) -> Step {
        self.connected = true;
        self.connection += 1;
        self.wire.renew();
        self.judge.opened();
        self.say(|| "open".into());
        self.call(Call::Open)?;
        for at in 0..self.listed.len() {
            self.lines[at].subscribed = true;
            let spared = self.judge.spared == Some(at);
            let behind = !spared && self.dice.happens(Trouble::Behind);
            let recent = &self.listed[at].recent;
            let skipped = self.draw.below(recent.len() as u64 + 1) as usize;
            let again: Vec<Sent> =
                if behind { recent.iter().skip(skipped).cloned().collect() } else { Vec::new() };
            let oldest = again.iter().find_map(|sent| sent.version);
            let newest = self.listed[at].versions.len() - 1;
            let of = oldest.map_or(newest, |oldest| oldest.max(1) - 1);
            self.image(at, of);
            for sent in again {
                self.send(at, sent);
            }
        }
        Ok(())
    }

    fn image(&mut self, at: usize, of: usize) {
        if !self.listed[at].rule.sends_images() {
            return;
        }
        let Care { may_be_lost, spared } = self.care(at);
        if may_be_lost && !spared && self.dice.happens(Trouble::NoImage) {
            self.say(|| format!("{} no image", self.listed[at].native));
            return;
        }
        let sent = self.listed[at].image(of);
        self.send(at, sent);
    }

    fn subscribed(&mut self, at: usize) {
        self.lines[at].subscribed = true;
        self.image(at, self.listed[at].versions.len() - 1);
    }

    fn close(&mut self) -> Step {
        if !self.connected {
            return Ok(());
        }
        self.say(|| "close".into());
        self.connected = false;
        self.reorders = self.dice.happens(Trouble::Reorder);
        let later = self.now + self.draw.between(50, 4_000) * MILLISECOND;
        self.at(later, What::Open);
        self.call(Call::Close)
    }

    /// Once a second.
    fn trouble(&mut self) -> Step {
        for at in 0..self.listed.len() {
            self.count_anew(at);
            if self.draw.chance(0.01) {
                // More digits from now on: the book must widen.
                self.listed[at].market.tick = 1;
            }
        }
        if !self.connected {
            return Ok(());
        }
        for (trouble, loses) in [(Trouble::Silence, true), (Trouble::Hold, false)] {
            if self.dice.happens(trouble) {
                let length = self.dice.number(trouble, 500, 9_000) * MILLISECOND;
                self.say(|| format!("silence of {} ms, {trouble:?}", length / MILLISECOND));
                self.wire.be_silent(self.now + length, loses);
            }
        }
        if self.dice.happens(Trouble::Shutdown) {
            if let Some(frame) = spell::shutdown(self.listed[0].rule) {
                return self.call(Call::Frame(frame.as_bytes().into()));
            }
        }
        if self.dice.happens(Trouble::Reconnect) {
            return self.close();
        }
        Ok(())
    }

    fn count_anew(&mut self, at: usize) {
        let rule = self.listed[at].rule;
        if !rule.is_numbered() || self.judge.spared == Some(at) || self.lines[at].resets > 1 {
            return;
        }
        let follows = matches!(rule, Rule::Okx { .. }) && self.dice.happens(Trouble::Maintenance);
        if follows || self.dice.happens(Trouble::Reset) {
            self.say(|| format!("{} counts anew, follows: {follows}", self.listed[at].native));
            self.lines[at].resets += 1;
            self.listed[at].count_anew(follows);
        }
    }

    /// What the shell does about a request.
    fn serve(&mut self, request: &Request) -> Step {
        if self.plant == Some(Plant::NobodyAnswers) {
            return Ok(());
        }
        match *request {
            Request::Seed { instrument, .. } => self.ask_seed(instrument),
            Request::Resubscribe { instrument, .. } if self.connected => {
                self.lines[instrument].subscribed = false;
                let later = self.now + self.draw.between(50, 1_500) * MILLISECOND;
                self.at(later, What::Subscribed(instrument, self.connection));
            }
            Request::Reconnect { .. } => return self.close(),
            _ => {}
        }
        Ok(())
    }

    fn ask_seed(&mut self, at: usize) {
        let troubled = self.judge.spared != Some(at);
        let dice = &mut self.dice;
        if troubled && dice.happens(Trouble::SeedNever) {
            return;
        }
        let mut delay = self.draw.between(50, 1_500) * MILLISECOND;
        if troubled && dice.happens(Trouble::SeedSlow) {
            delay = dice.number(Trouble::SeedSlow, 2_000, LATE / MILLISECOND) * MILLISECOND;
        }
        let listed = &mut self.listed[at];
        let stale = troubled && dice.happens(Trouble::SeedStale);
        let frames = if stale { dice.number(Trouble::SeedStale, 1, 30) } else { 0 };
        let old = listed.older(frames as usize);
        let mut body = listed.body(old);
        if troubled && dice.happens(Trouble::SeedRefused) {
            body = spell::refusal(listed.rule).into();
        }
        if troubled && dice.happens(Trouble::SeedTruncated) {
            let kept = dice.number(Trouble::SeedTruncated, 0, body.len() as u64 - 1);
            body.truncate(kept as usize);
        }
        self.at(self.now + delay, What::Answer(at, body.into()));
    }

    /// The same calls in batches of any size bring the same bytes, and so does a session that is
    /// written and read back between any two of them.
    fn again(&mut self) -> Step {
        let mut session = (self.make)();
        let mut digest = Digest::default();
        let mut batch = Batch::default();
        let mut singles = Vec::new();
        let mut left = self.draw.below(40);
        for (now, what) in &self.tape {
            call(&mut session, *now, what, &mut batch);
            if left == 0 {
                digest.add(&std::mem::take(&mut batch));
                left = self.draw.below(40);
                if self.draw.chance(RESTORED) {
                    session = Session::restore(&session.state())
                        .map_err(|reason| (Law::Determinism, reason))?;
                }
            }
            left = left.saturating_sub(1);
        }
        digest.add(&batch);
        if digest.rows != self.digest.rows {
            let row = digest.rows.iter().zip(&self.digest.rows).position(|(a, b)| a != b);
            let text = format!("row {row:?} is another one in batches");
            return Err((Law::Determinism, text));
        }
        singles.append(&mut self.digest.rest);
        singles.sort_unstable();
        digest.rest.sort_unstable();
        if digest.rest != singles {
            return Err((Law::Determinism, "requests, faults or evidence differ".into()));
        }
        Ok(())
    }

    fn told(self) -> Tally {
        let mut tally = self.judge.tally;
        for (trouble, n) in Trouble::ALL.iter().zip(self.dice.happened) {
            tally.troubles.insert(format!("{trouble:?}"), n);
        }
        tally
    }
}
