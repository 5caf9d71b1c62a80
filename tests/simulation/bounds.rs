//! What waits is bounded, in number and in bytes, and the book is right afterwards.

use marketprism::fault::FaultKind;
use marketprism::instrument::Section;
use marketprism::life::{State, BUFFER_BYTES_MAX, BUFFER_FRAMES_MAX, RENEWAL_MAX};

use crate::script::{spot, spot_body, Story};

fn story(depth_published: usize) -> Story {
    Story::begin(Section::BinanceSpot, "BTCUSDT", depth_published)
}

#[test]
fn deltas_that_wait_are_bounded_in_number() {
    let mut story = story(400);
    let frames = BUFFER_FRAMES_MAX as u64 + 2_000;
    for id in 1..=frames {
        story.hear(id * 10, &spot(id, id, id * 10, r#"["9","1"]"#));
        assert!(story.session.life(0).waiting.len() <= BUFFER_FRAMES_MAX);
    }
    let full = |kind: &FaultKind| matches!(kind, FaultKind::BufferFull { .. });
    assert_eq!(story.told.faults.iter().filter(|fault| full(&fault.kind)).count(), 1);
    // Over a hundred seconds: at once, three times 5 s apart, then after a minute.
    let asked: Vec<u64> = story.asked.iter().map(|(ms, _)| ms / 1_000).collect();
    assert_eq!(asked, [0, 5, 10, 15, 75]);
    // A seed that is older than what is left does not serve; one in between does.
    story.seed(110_000, &spot_body(1_000, r#"["9","5"]"#));
    assert_eq!(story.session.life(0).state, State::Broken);
    assert_eq!(story.session.life(0).waiting.len(), BUFFER_FRAMES_MAX);
    story.seed(111_000, &spot_body(frames - 10, r#"["9","5"]"#));
    assert_eq!(story.session.life(0).state, State::Live);
    assert_eq!(story.bids(), "9:1");
}

#[test]
fn deltas_that_wait_are_bounded_in_bytes() {
    let mut story = story(400);
    let level = r#"["9.00000000","1.00000000"],"#.repeat(10_000);
    let bids = level.trim_end_matches(',');
    let length = spot(1, 1, 1, bids).len();
    for id in 1..=3 * (BUFFER_BYTES_MAX / length) as u64 {
        story.hear(id, &spot(id, id, id, bids));
        assert!((story.session.life(0).waiting.len() - 1) * length <= BUFFER_BYTES_MAX);
    }
    assert!(story.session.life(0).waiting.len() * length > BUFFER_BYTES_MAX / 2);
}

#[test]
fn deltas_that_wait_for_a_renewal_are_bounded() {
    let mut story = story(4);
    story.hear(0, &spot(1, 1, 0, r#"["5","1"]"#));
    // Five levels are a limit of the venue: more may lie behind them.
    let five = r#"["9","1"],["8","1"],["7","1"],["6","1"],["5","1"]"#;
    story.seed(1, &spot_body(1, five));
    for id in 2..BUFFER_FRAMES_MAX as u64 + 2_000 {
        // All at one moment of venue time: the first alone is shown.
        story.hear(1, &spot(id, id, 1, r#"["8","2"]"#));
        let splice = story.session.life(0).splice.as_ref();
        assert!(splice.is_none_or(|splice| splice.waiting.len() <= BUFFER_FRAMES_MAX));
    }
    assert_eq!(story.asked, [(0, "first delta"), (1, "horizon")]);
    assert_eq!(story.session.life(0).state, State::Live);
}

#[test]
fn a_renewal_that_comes_late_finds_the_deltas_it_needs_and_no_others() {
    let mut story = story(4);
    story.hear(0, &spot(1, 1, 0, r#"["5","1"]"#));
    let five = r#"["9","1"],["8","1"],["7","1"],["6","1"],["5","1"]"#;
    story.seed(1, &spot_body(1, five));
    // Ten minutes in a queue, asked for again and again.
    for id in 2..=600 {
        story.hear(id * 1_000, &spot(id, id, id * 1_000, r#"["8","2"]"#));
        let splice = story.session.life(0).splice.as_ref();
        let waiting = splice.map_or(0, |splice| splice.waiting.len() as u64);
        assert!(waiting <= RENEWAL_MAX / 1_000_000_000 + 1);
    }
    assert!(story.asked.iter().filter(|(_, reason)| *reason == "horizon").count() > 5);
    story.seed(600_100, &spot_body(580, five));
    // It proves no more than the book does, and that the book is the venue's.
    let found = |kind: &FaultKind| {
        matches!(kind, FaultKind::Audited { seed: 580, missing: 0, ghost: 0, differing: 0, .. })
    };
    assert_eq!(story.told.faults.iter().filter(|fault| found(&fault.kind)).count(), 1);
    assert_eq!(story.session.life(0).state, State::Live);
    assert_eq!(story.bids(), "9:1 8:2 7:1 6:1 5:1");
}
