//! What disasters have found, each by the shortest way to it.

use marketprism::instrument::Section;
use marketprism::life::State;

use crate::script::{deribit, okx, okx_body, spot, spot_body, spot_trade, Story};

fn spot_story(depth_published: usize) -> Story {
    Story::begin(Section::BinanceSpot, "BTCUSDT", depth_published)
}

#[test]
fn a_seed_from_before_a_reset_is_noticed() {
    let mut story = spot_story(400);
    story.hear(0, &spot(1_000, 1_000, 0, r#"["9","1"]"#));
    // The body was made before the venue began to count anew, and comes after it.
    story.seed(200, &spot_body(1_000, r#"["9","1"]"#));
    for second in 1..=75 {
        story.hear(second * 1_000, &spot(second, second, second * 1_000, r#"["9","2"]"#));
        story.tick(second * 1_000);
    }
    let life = story.session.life(0);
    assert!(story.asked.len() > 1, "{}, and nothing was asked", life.state.name());
}

#[test]
fn a_seed_from_before_a_reset_is_never_joined() {
    let mut story = spot_story(400);
    story.hear(0, &spot(10, 10, 0, r#"["9","1"]"#));
    story.seed(200, &spot_body(10, r#"["9","1"]"#));
    // From 3 on; at 5 the size of 9 becomes 5.
    for id in 3..=11 {
        let bids = if id == 5 { r#"["9","5"]"# } else { r#"["8","1"]"# };
        story.hear(id * 1_000, &spot(id, id, id * 1_000, bids));
    }
    let rows = &story.told.rows;
    let shown = rows.messages.iter().map(|message| rows.payload(message));
    for row in shown.map(String::from_utf8_lossy) {
        assert!(!row.contains(r#"["9","1"]"#), "a size of long ago at id 11: {row}");
    }
}

#[test]
fn a_waiting_delta_from_before_a_reset_spoils_no_seed() {
    let mut story = spot_story(400);
    story.hear(0, &spot(1_000, 1_000, 0, r#"["9","1"]"#));
    for id in 1..=3 {
        story.hear(id * 1_000, &spot(id, id, id * 1_000, r#"["9","2"]"#));
    }
    story.seed(4_000, &spot_body(2, r#"["9","2"]"#));
    assert_eq!((story.session.life(0).state, story.bids()), (State::Live, "9:2".into()));
}

#[test]
fn maintenance_while_a_seed_is_awaited_spoils_no_seed() {
    let mut story = Story::begin(Section::Okx, "BTC-USDT", 400);
    let level = r#"["9","2","0","1"]"#;
    // No image came. The documented chain: 10 to 15, to 3, to 5.
    for (n, (previous, last)) in [(10, 15), (15, 3), (3, 5), (5, 8)].into_iter().enumerate() {
        story.hear(n as u64 * 100, &okx("books", previous, last, n as u64 * 100, level));
    }
    story.seed(1_000, &okx_body(5, level));
    assert_eq!((story.session.life(0).state, story.bids()), (State::Live, "9:2".into()));
}

#[test]
fn renewals_are_no_storm() {
    let mut story = spot_story(4);
    story.hear(0, &spot(1, 1, 0, r#"["5","1"]"#));
    // Five levels, a limit of the venue, are fewer than one and a half times four.
    let five = r#"["9","1"],["8","1"],["7","1"],["6","1"],["5","1"]"#;
    story.seed(1, &spot_body(1, five));
    for second in 1..=60 {
        story.hear(second * 1_000, &spot(second + 1, second + 1, second * 1_000, r#"["9","2"]"#));
        story.seed(second * 1_000 + 500, &spot_body(second + 1, five));
    }
    assert!(story.asked.len() <= 12, "{} requests in a minute", story.asked.len());
}

#[test]
fn renewals_are_paced_by_the_time_that_it_is() {
    let mut story = spot_story(4);
    story.hear(0, &spot(1, 1, 0, r#"["5","1"]"#));
    let five = r#"["9","1"],["8","1"],["7","1"],["6","1"],["5","1"]"#;
    story.seed(1, &spot_body(1, five));
    story.hear(2, &spot(2, 2, 2, r#"["9","2"]"#));
    story.seed(3, &spot_body(2, five));
    story.hear(100, &spot(3, 3, 100, r#"["9","3"]"#));
    // The trade's time flushes the book; the delta behind it is in a new cell. Nobody answers.
    story.hear(10_000, &spot_trade(1, 10_000));
    story.hear(10_001, &spot(4, 4, 10_001, r#"["9","4"]"#));
    let late = story.asked.iter().filter(|(ms, _)| *ms >= 10_000).count();
    assert!(late <= 1, "{:?}", story.asked);
}

#[test]
fn an_image_over_a_live_book_ends_the_evidence() {
    let mut story = Story::begin(Section::Deribit, "BTC-PERPETUAL", 400);
    story.hear(0, &deribit(None, 10, 0, 1));
    story.hear(100, &deribit(Some(10), 12, 100, 2));
    // The engine asked twice; between the first image and the second, 12 to 14 was missed.
    story.hear(300, &deribit(None, 14, 300, 4));
    story.hear(400, &deribit(Some(14), 16, 400, 5));
    story.close();
    let ids: Vec<_> = story.told.covered.iter().filter_map(|covered| covered.ids).collect();
    assert_eq!(ids, [(10, 12), (14, 16)]);
}

#[test]
fn a_seed_claims_no_more_than_the_stream_keeps() {
    let mut story = Story::begin(Section::Okx, "BTC-USDT", 400);
    let channel = "books50-l2-tbt";
    story.hear(0, &okx(channel, 10, 12, 0, r#"["9","1","0","1"]"#));
    let bids: Vec<String> = (0..60)
        .map(|n| format!(r#"["{}.{:02}","1","0","1"]"#, 9 - n / 100, 99 - n % 100))
        .collect();
    story.seed(100, &okx_body(12, &bids.join(",")));
    story.hear(200, &okx(channel, 12, 14, 200, r#"["9.99","2","0","1"]"#));
    let book = story.session.life(0).book.as_ref().expect("seeded");
    assert!(book.known().0 <= 50, "{} bids are said to be known", book.known().0);
}
