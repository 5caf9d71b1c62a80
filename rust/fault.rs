//! What went wrong outside, as data: counted, reported and answered.
//!
//! # Promises
//! A fault carries the numbers; the sentence is rendered last. `label` is a bounded set, fit for a
//! metric; `remedy` is the whole recovery policy on one screen.

use std::fmt;

/// A message larger than this is not read.
pub const FRAME_MAX: usize = 16 << 20;
/// So much of an unreadable message is kept.
const KEPT_MAX: usize = 64 << 10;

/// Where something went wrong and with what. Ids and times are the venue's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// Index into the session's instruments, where the fault concerns one.
    pub instrument: Option<usize>,
    pub data_type: Option<&'static str>,
    pub from_id: Option<u64>,
    pub to_id: Option<u64>,
    pub from_ts: Option<u64>,
    pub to_ts: Option<u64>,
    /// The unreadable frame, for the dead letters.
    pub frame: Option<Box<[u8]>>,
}

#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Not the JSON, or not the fields, that the venue documents.
    Malformed { reason: Box<str> },
    /// A fact whose identity is its time, without one.
    Untimed { reason: Box<str> },
    /// A REST body of which the same is true.
    BodyMalformed { reason: Box<str> },
    /// Readable, but no kind that we know.
    Unknown { what: Box<str> },
    /// A symbol that this connection was not told of.
    UnknownInstrument { native: Box<str> },
    /// The venue answered a subscription or a request with an error.
    Refused { reason: Box<str> },
    /// A size or price that does not fit the book's integers.
    Precision { text: Box<str> },
    /// A delta or trade does not follow the last one.
    Gap { expected: u64, found: u64 },
    /// Ids went back while time went on.
    Reset { last: u64, found: u64 },
    /// The seed is older than the oldest delta that we hold.
    SeedTooOld { seed: u64, oldest: u64 },
    /// A seed body that cannot be used.
    SeedRefused { reason: Box<str> },
    /// More deltas than the buffer holds arrived before a seed.
    BufferFull { frames: usize },
    /// Best bid at or above best ask after a whole frame.
    Crossed { bid: Box<str>, ask: Box<str> },
    /// The venue's checksum of its book is not that of ours.
    Checksum { theirs: u32, ours: u32 },
    /// The venue counts anew and the chain goes on: legal (PROTOCOLS 2.3).
    Renumbered { last: u64, found: u64 },
    /// More bytes than any venue sends.
    TooLarge { bytes: usize },
    /// A broken book is live again.
    Resync { seed: u64 },
    /// No proven level on a side: snapshots are withheld until a seed.
    Horizon { side: &'static str },
    /// A seed proved both sides again.
    HorizonHealed,
    /// A live book's proven window was renewed.
    Reseeded { seed: u64 },
    /// A live book was compared with the venue's own image of the same id.
    Audited { seed: u64, matched: u64, missing: u64, ghost: u64, differing: u64 },
    /// Contracts of unknown worth: native sizes only.
    MultiplierUnknown,
    /// The venue announced that it will close the connection.
    Shutdown,
}

/// What must be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: it is told.
    Note,
    /// The frame is lost; keep it as a dead letter.
    DeadLetter,
    /// The book needs a new seed.
    Reseed,
    /// Open the connection anew.
    Reconnect,
}

impl FaultKind {
    pub fn label(&self) -> &'static str {
        match self {
            FaultKind::Malformed { .. } => "malformed",
            FaultKind::Untimed { .. } => "untimed",
            FaultKind::BodyMalformed { .. } => "body_malformed",
            FaultKind::Unknown { .. } => "unknown",
            FaultKind::UnknownInstrument { .. } => "unknown_instrument",
            FaultKind::Refused { .. } => "refused",
            FaultKind::Precision { .. } => "precision",
            FaultKind::Gap { .. } => "gap",
            FaultKind::Reset { .. } => "reset",
            FaultKind::SeedTooOld { .. } => "seed_too_old",
            FaultKind::SeedRefused { .. } => "seed_refused",
            FaultKind::BufferFull { .. } => "buffer_full",
            FaultKind::Crossed { .. } => "crossed",
            FaultKind::Checksum { .. } => "checksum_mismatch",
            FaultKind::Renumbered { .. } => "renumbered",
            FaultKind::TooLarge { .. } => "too_large",
            FaultKind::Resync { .. } => "resync",
            FaultKind::Horizon { .. } => "horizon",
            FaultKind::HorizonHealed => "horizon_healed",
            FaultKind::Reseeded { .. } => "reseeded",
            FaultKind::Audited { missing: 0, ghost: 0, differing: 0, .. } => "audited",
            FaultKind::Audited { .. } => "audit_failed",
            FaultKind::MultiplierUnknown => "multiplier_unknown",
            FaultKind::Shutdown => "shutdown",
        }
    }

    pub fn remedy(&self) -> Remedy {
        match self {
            FaultKind::Malformed { .. }
            | FaultKind::BodyMalformed { .. }
            | FaultKind::Unknown { .. }
            | FaultKind::TooLarge { .. }
            | FaultKind::UnknownInstrument { .. } => Remedy::DeadLetter,
            FaultKind::Precision { .. }
            | FaultKind::Gap { .. }
            | FaultKind::Reset { .. }
            | FaultKind::SeedTooOld { .. }
            | FaultKind::SeedRefused { .. }
            | FaultKind::BufferFull { .. }
            | FaultKind::Crossed { .. }
            | FaultKind::Checksum { .. }
            | FaultKind::Horizon { .. } => Remedy::Reseed,
            FaultKind::Shutdown => Remedy::Reconnect,
            FaultKind::Refused { .. }
            | FaultKind::Renumbered { .. }
            | FaultKind::Untimed { .. }
            | FaultKind::Resync { .. }
            | FaultKind::HorizonHealed
            | FaultKind::Reseeded { .. }
            | FaultKind::Audited { .. }
            | FaultKind::MultiplierUnknown => Remedy::Note,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Malformed { reason } => write!(f, "cannot be read: {reason}"),
            FaultKind::Untimed { reason } => write!(f, "left out: {reason}"),
            FaultKind::BodyMalformed { reason } => write!(f, "the body cannot be read: {reason}"),
            FaultKind::Unknown { what } => write!(f, "no known kind of message: {what}"),
            FaultKind::UnknownInstrument { native } => {
                write!(f, "{native} is not an instrument of this connection")
            }
            FaultKind::Refused { reason } => write!(f, "the venue refused: {reason}"),
            FaultKind::Precision { text } => {
                write!(f, "{text} has more digits than an exact 64-bit level holds")
            }
            FaultKind::Gap { expected, found } => {
                write!(f, "expected id {expected}, found {found}")
            }
            FaultKind::Reset { last, found } => {
                write!(f, "ids went back from {last} to {found} while time went on")
            }
            FaultKind::SeedTooOld { seed, oldest } => {
                write!(f, "the seed ends at id {seed}, the oldest delta held begins at {oldest}")
            }
            FaultKind::SeedRefused { reason } => write!(f, "the seed cannot be used: {reason}"),
            FaultKind::BufferFull { frames } => {
                write!(f, "more than {frames} deltas arrived before a seed; the oldest was dropped")
            }
            FaultKind::Crossed { bid, ask } => {
                write!(f, "best bid {bid} is not below best ask {ask}")
            }
            FaultKind::Checksum { theirs, ours } => {
                write!(f, "the venue's checksum is {}, ours {}", *theirs as i32, *ours as i32)
            }
            FaultKind::Renumbered { last, found } => {
                write!(f, "the venue counts anew from {found} after {last}; the chain goes on")
            }
            FaultKind::TooLarge { bytes } => {
                write!(f, "{bytes} bytes are more than a message may have ({FRAME_MAX})")
            }
            FaultKind::Resync { seed } => write!(f, "live again from the seed at id {seed}"),
            FaultKind::Horizon { side } => {
                write!(f, "no {side} is inside the proven window; snapshots are withheld")
            }
            FaultKind::HorizonHealed => write!(f, "both sides are proven again"),
            FaultKind::Reseeded { seed } => write!(f, "proven window renewed at id {seed}"),
            FaultKind::Audited { seed, matched, missing, ghost, differing } => write!(
                f,
                "at id {seed} {matched} levels match, {missing} are missing, {ghost} are ghosts, \
                 {differing} differ"
            ),
            FaultKind::MultiplierUnknown => {
                write!(f, "the contract's multiplier is not known; only native sizes are given")
            }
            FaultKind::Shutdown => write!(f, "the venue will close this connection"),
        }
    }
}

impl Fault {
    pub fn new(kind: FaultKind) -> Fault {
        Fault {
            kind,
            instrument: None,
            data_type: None,
            from_id: None,
            to_id: None,
            from_ts: None,
            to_ts: None,
            frame: None,
        }
    }

    pub fn about(mut self, instrument: usize, data_type: &'static str) -> Fault {
        self.instrument = Some(instrument);
        self.data_type = Some(data_type);
        self
    }

    pub fn ids(mut self, from: u64, to: u64) -> Fault {
        self.from_id = Some(from);
        self.to_id = Some(to);
        self
    }

    pub fn times(mut self, from: Option<u64>, to: Option<u64>) -> Fault {
        self.from_ts = from;
        self.to_ts = to;
        self
    }

    pub fn with_frame(mut self, frame: &[u8]) -> Fault {
        self.frame = Some(frame[..frame.len().min(KEPT_MAX)].into());
        self
    }
}
