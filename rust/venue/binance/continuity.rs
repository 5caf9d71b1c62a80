//! The two continuity rules, spot and futures, side by side.
//!
//! Sources: Binance's `web-socket-streams.md` (spot), "How to manage a local order book correctly"
//! (USD-M and COIN-M); PROTOCOLS 2.1, 2.2.
//!
//! # Not here
//! What follows from a verdict: `session`.

use crate::event::{Continuity, Cursor, DeltaHead};

/// Spot, "How to manage a local order book correctly": drop `u <= id`; an event applies when
/// `U <= id + 1`; normally `U == previous u + 1`. Demanding `U <= lastUpdateId` of the first event
/// would loop for ever on a quiet book. PROTOCOLS 2.1.
pub fn spot_continuity(cursor: Cursor, delta: DeltaHead) -> Continuity {
    if delta.last <= cursor.last {
        Continuity::Skip
    } else if delta.first <= cursor.last + 1 {
        Continuity::Apply
    } else {
        Continuity::Gap { expected: cursor.last + 1 }
    }
}

/// Futures, same page: drop `u < id`; the first event has `U <= id <= u`; then each `pu` equals the
/// previous `u`. Ids are not contiguous between events, so `U == u + 1` proves nothing here.
///
/// A first event with `pu <= id < U` is right as well: the image was taken after the event before
/// it and before this one. PROTOCOLS 2.2.
pub fn futures_continuity(cursor: Cursor, delta: DeltaHead) -> Continuity {
    let previous = delta.previous.unwrap_or(delta.first.saturating_sub(1));
    if cursor.fresh {
        if delta.last < cursor.last {
            Continuity::Skip
        } else if previous <= cursor.last || delta.first <= cursor.last {
            Continuity::Apply
        } else {
            Continuity::Gap { expected: cursor.last }
        }
    } else if previous == cursor.last {
        Continuity::Apply
    } else if delta.last <= cursor.last {
        Continuity::Skip
    } else {
        Continuity::Gap { expected: cursor.last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cursor(last: u64, fresh: bool) -> Cursor {
        Cursor { last, numbered: true, fresh }
    }

    fn delta(first: u64, last: u64, previous: Option<u64>) -> DeltaHead {
        DeltaHead { first, last, previous, numbered: true, ..DeltaHead::default() }
    }

    #[test]
    fn spot_applies_what_reaches_the_next_id() {
        for (head, verdict) in [
            ((157, 160), Continuity::Skip),
            ((158, 161), Continuity::Apply),
            ((161, 170), Continuity::Apply),
            ((162, 170), Continuity::Gap { expected: 161 }),
        ] {
            assert_eq!(spot_continuity(cursor(160, true), delta(head.0, head.1, None)), verdict);
        }
    }

    #[test]
    fn futures_first_event_may_straddle_touch_or_follow_the_image() {
        let c = cursor(160, true);
        let verdict =
            |first, last, previous| futures_continuity(c, delta(first, last, Some(previous)));
        assert_eq!(verdict(150, 159, 140), Continuity::Skip);
        assert_eq!(verdict(150, 160, 140), Continuity::Apply);
        assert_eq!(verdict(155, 165, 150), Continuity::Apply);
        assert_eq!(verdict(170, 180, 160), Continuity::Apply);
        assert_eq!(verdict(170, 180, 155), Continuity::Apply);
        assert_eq!(verdict(170, 180, 165), Continuity::Gap { expected: 160 });
    }

    #[test]
    fn futures_then_chain_by_pu_alone() {
        let c = cursor(160, false);
        let verdict =
            |first, last, previous| futures_continuity(c, delta(first, last, Some(previous)));
        assert_eq!(verdict(170, 180, 160), Continuity::Apply);
        assert_eq!(verdict(150, 160, 140), Continuity::Skip);
        assert_eq!(verdict(161, 180, 159), Continuity::Gap { expected: 160 });
        assert_eq!(verdict(190, 200, 180), Continuity::Gap { expected: 160 });
    }
}
