//! What lies between a venue and us, and goes wrong: chances of each trouble, and the way of a
//! frame through them.
//!
//! Unrealistic: a WebSocket neither loses nor doubles a frame, nor changes their order, while it
//! lives; venues and proxies do. A frame that is cut short is cut inside, not at a buffer's end.

use crate::draw::Draw;
use crate::venue::Sent;

pub const MILLISECOND: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MILLISECOND;

macro_rules! troubles {
    ($($(#[doc = $what:literal])+ $name:ident = $max:literal,)+) => {
        /// What may go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Trouble { $($(#[doc = $what])+ $name,)+ }

        impl Trouble {
            pub const ALL: &[Trouble] = &[$(Trouble::$name,)+];
            /// The greatest chance that is drawn.
            const MOST: &[f64] = &[$($max,)+];
        }
    };
}

troubles! {
    // Of each frame.
    /// A frame never comes.
    Drop = 0.05,
    /// A frame comes twice in a row.
    Repeat = 0.1,
    /// A frame comes again when newer ones have come.
    RepeatLate = 0.05,
    /// A frame lacks its end.
    Truncate = 0.03,
    /// A frame, and with it all behind it, is late.
    Stall = 0.03,
    /// A frame that no book or trade is in.
    Noise = 0.05,

    // Of each second of the connection.
    /// Nothing comes for a while, and what was sent is lost.
    Silence = 0.03,
    /// Nothing comes for a while, then everything.
    Hold = 0.03,
    /// The connection is closed and opened again.
    Reconnect = 0.05,
    /// The venue says that it will close the connection.
    Shutdown = 0.01,

    // Of each reconnect.
    /// The new node is some frames behind: it sends again what we have.
    Behind = 0.6,
    /// What was under way on the old connection comes in between.
    Reorder = 0.6,

    // Of each second of an instrument.
    /// The venue counts anew and does not say so.
    Reset = 0.02,
    /// OKX counts anew, and says it by following the last id.
    Maintenance = 0.03,

    // Of each subscription.
    /// The stream does not begin with an image.
    NoImage = 0.4,

    // Of each REST answer.
    /// It never comes.
    SeedNever = 0.4,
    /// The venue refuses.
    SeedRefused = 0.3,
    /// It is of some frames ago.
    SeedStale = 0.5,
    /// It lacks its end.
    SeedTruncated = 0.2,
    /// It takes longer than the engine waits.
    SeedSlow = 0.4,
}

/// The chance of each trouble.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults([f64; Trouble::ALL.len()]);

impl Faults {
    pub fn none() -> Faults {
        Faults([0.0; Trouble::ALL.len()])
    }

    /// Half of all troubles, each between seldom and often.
    pub fn drawn(draw: &mut Draw) -> Faults {
        let mut faults = Faults::none();
        for (at, most) in Trouble::MOST.iter().enumerate() {
            let chance = most * [0.1, 0.3, 1.0][draw.below(3) as usize];
            if draw.chance(0.5) {
                faults.0[at] = chance;
            }
        }
        faults
    }

    pub fn chance(&self, of: Trouble) -> f64 {
        self.0[of as usize]
    }

    pub fn with(mut self, of: Trouble, chance: f64) -> Faults {
        self.0[of as usize] = chance;
        self
    }

    /// `Drop 0.05, Reset 0.02`
    pub fn told(&self) -> String {
        let some = Trouble::ALL.iter().filter(|of| self.chance(**of) > 0.0);
        some.map(|of| format!("{of:?} {}", self.chance(*of))).collect::<Vec<_>>().join(", ")
    }
}

/// Decides what happens. Each trouble has numbers of its own.
pub struct Dice {
    pub faults: Faults,
    /// No trouble any more.
    pub calm: bool,
    draws: Vec<Draw>,
    pub happened: [u64; Trouble::ALL.len()],
}

impl Dice {
    pub fn new(faults: Faults, draw: &mut Draw) -> Dice {
        let draws = Trouble::ALL.iter().map(|_| draw.fork()).collect();
        Dice { faults, calm: false, draws, happened: [0; Trouble::ALL.len()] }
    }

    pub fn happens(&mut self, of: Trouble) -> bool {
        let does = self.draws[of as usize].chance(self.faults.chance(of)) && !self.calm;
        self.happened[of as usize] += u64::from(does);
        does
    }

    /// A number that belongs to a trouble.
    pub fn number(&mut self, of: Trouble, low: u64, high: u64) -> u64 {
        self.draws[of as usize].between(low, high)
    }
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Parcel {
    pub connection: u32,
    pub instrument: usize,
    pub sent: Sent,
    /// It comes whole.
    pub whole: bool,
    /// Newer ones have come before it.
    pub late: bool,
}

/// How a frame may be treated without making a loss that nothing shows.
#[derive(Clone, Copy, Debug)]
pub struct Care {
    pub may_be_lost: bool,
    /// Nothing at all may happen to it.
    pub spared: bool,
}

/// One connection's line.
pub struct Wire {
    /// Nothing arrives before; frames arrive in the order in which they were sent.
    arrived: u64,
    silent_until: u64,
    silence_loses: bool,
    latency: Draw,
}

impl Wire {
    pub fn new(draw: &mut Draw) -> Wire {
        Wire { arrived: 0, silent_until: 0, silence_loses: false, latency: draw.fork() }
    }

    pub fn renew(&mut self) {
        self.arrived = 0;
        self.silent_until = 0;
    }

    pub fn be_silent(&mut self, until: u64, loses: bool) {
        self.silent_until = until;
        self.silence_loses = loses;
    }

    /// When a frame that is sent now arrives, and in which shape: not at all, once, or more often.
    pub fn carry(
        &mut self,
        now: u64,
        parcel: Parcel,
        care: Care,
        dice: &mut Dice,
    ) -> Vec<(u64, Parcel)> {
        let lossy = care.may_be_lost && !care.spared;
        let mut late = now + self.latency.between(1, 40) * MILLISECOND;
        let mut lost = lossy && dice.happens(Trouble::Drop);
        if dice.happens(Trouble::Stall) {
            late += dice.number(Trouble::Stall, 100, 6_000) * MILLISECOND;
        }
        if late < self.silent_until {
            lost |= self.silence_loses && lossy;
            late = self.silent_until;
        }
        self.arrived = self.arrived.max(late);
        if lost {
            return Vec::new();
        }
        let mut out = vec![(self.arrived, parcel)];
        if !care.spared && dice.happens(Trouble::Repeat) {
            out.push(out[0].clone());
        }
        if lossy && dice.happens(Trouble::RepeatLate) {
            let later = dice.number(Trouble::RepeatLate, 100, 4_000) * MILLISECOND;
            out.push((self.arrived + later, Parcel { late: true, ..out[0].1.clone() }));
        }
        if lossy && dice.happens(Trouble::Truncate) {
            let parcel = &mut out[0].1;
            let length = parcel.sent.frame.len() as u64;
            let kept = dice.number(Trouble::Truncate, 0, length - 1) as usize;
            parcel.sent.frame = parcel.sent.frame[..kept].into();
            parcel.whole = false;
        }
        out
    }
}
