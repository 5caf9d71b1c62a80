//! What a seed decides before anything happens: the venue, its instruments and how they behave, the
//! options of the engine, and what will go wrong.

use marketprism::encode::{Kind, Kinds};
use marketprism::instrument::Section;
use marketprism::session::Options;

use crate::draw::Draw;
use crate::market::{Market, Temper};
use crate::venue::{Era, Grid, Listed, Plant, Rule};
use crate::wire::{Faults, Trouble, MILLISECOND};

#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub faults: Faults,
    pub plant: Option<Plant>,
    /// Only instruments of this rule, else whichever is drawn.
    pub rule: Option<Rule>,
    pub verbose: bool,
}

impl Plan {
    pub fn of(seed: u64) -> Plan {
        let faults = Faults::drawn(&mut Draw::new(seed ^ 0x5EED));
        Plan { seed, faults, plant: None, rule: None, verbose: false }
    }

    /// The same with as few troubles as still do the same.
    pub fn smallest(&self, still_fails: impl Fn(&Plan) -> bool) -> Plan {
        let mut smallest = self.clone();
        for trouble in Trouble::ALL {
            if smallest.faults.chance(*trouble) > 0.0 {
                let faults = smallest.faults.clone().with(*trouble, 0.0);
                let without = Plan { faults, ..smallest.clone() };
                if still_fails(&without) {
                    smallest = without;
                }
            }
        }
        smallest
    }
}

/// How fast an instrument is, in nanoseconds and chances.
#[derive(Clone, Copy)]
pub struct Pace {
    pub every: u64,
    pub idle: f64,
    pub trades: f64,
}

impl Pace {
    pub fn drawn(draw: &mut Draw) -> Pace {
        Pace {
            every: draw.pick(&[50, 100, 200, 200, 400, 800]) * MILLISECOND,
            idle: draw.pick(&[0.0, 0.0, 0.0, 0.3, 0.9]),
            trades: draw.pick(&[0.0, 0.2, 0.5]),
        }
    }
}

/// The checksum of 25 levels is all that shows a loss.
pub fn is_only_checked(rule: Rule) -> bool {
    matches!(rule, Rule::Okx { era: Era::Checked, .. })
}

/// One venue, several instruments; OKX may have instruments of any era.
pub fn rules(draw: &mut Draw, only: Option<Rule>) -> Vec<Rule> {
    let count = draw.between(1, 4);
    let venue = draw.below(4);
    let rule = |draw: &mut Draw| match venue {
        0 => Rule::Spot,
        1 => Rule::Futures,
        2 => Rule::Okx {
            window: draw.pick(&[50, 50, 400]),
            era: draw.pick(&[Era::Sequenced, Era::Sequenced, Era::Both, Era::Checked, Era::Bare]),
        },
        _ => Rule::Deribit,
    };
    (0..count).map(|_| rule(draw)).map(|drawn| only.unwrap_or(drawn)).collect()
}

pub fn options(draw: &mut Draw, rules: &[Rule], plant: Option<Plant>) -> Options {
    let mut options = Options {
        depth_max: draw.pick(&[5_000, 5_000, 5_000, 60, 30]),
        depth_published: draw.pick(&[400, 50, 20, 20, 5]),
        snapshot_every: draw.pick(&[200, 1_000, 1_000, 5_000]) * MILLISECOND,
        flush_after: draw.pick(&[200, 1_000]) * MILLISECOND,
        wanted: Kinds::of(&[Kind::Orderbook, Kind::OrderbookDelta, Kind::Trade]),
        ..Options::default()
    };
    let is_whole =
        |rule: &Rule| !rule.is_numbered() || matches!(rule, Rule::Okx { era: Era::Both, .. });
    if rules.iter().any(is_whole) {
        // A sum is of 25 levels and must find them; without ids nothing renews what is proven.
        options.depth_max = 5_000;
    }
    if rules.iter().any(|rule| is_only_checked(*rule)) {
        // Behind the 25th level nothing shows a loss.
        options.depth_published = options.depth_published.min(25);
    }
    if plant.is_some() {
        // What is published must show it, not the changes beside it.
        options.wanted = Kinds::of(&[Kind::Orderbook, Kind::Trade]);
    }
    options
}

/// The instruments of one connection.
pub fn listed(draw: &mut Draw, rules: &[Rule]) -> Vec<Listed> {
    let usdm = draw.chance(0.7);
    let (section, natives) = match rules[0] {
        Rule::Spot => (Section::BinanceSpot, ["BTCUSDT", "ETHUSDT", "XRPBTC", "BNBUSDT"]),
        Rule::Futures if usdm => {
            (Section::BinanceUsdm, ["BTCUSDT", "ETHUSDT", "XRPUSDC", "BNBUSDT"])
        }
        Rule::Futures => {
            (Section::BinanceCoinm, ["BTCUSD_PERP", "ETHUSD_PERP", "XRPUSD_PERP", "BNBUSD_PERP"])
        }
        Rule::Okx { .. } => {
            (Section::Okx, ["BTC-USDT", "ETH-USDT-SWAP", "BTC-USD-SWAP", "ETH-BTC"])
        }
        Rule::Deribit => (
            Section::Deribit,
            ["BTC-PERPETUAL", "ETH-PERPETUAL", "SOL_USDC-PERPETUAL", "BTC_USDC-PERPETUAL"],
        ),
    };
    let natives = rules.iter().zip(natives);
    natives.map(|(rule, native)| instrument(draw, *rule, section, native)).collect()
}

fn instrument(draw: &mut Draw, rule: Rule, section: Section, native: &str) -> Listed {
    let levels = match rule.window() {
        400 => draw.pick(&[60, 415]),
        _ => draw.pick(&[2, 15, 60, 60, 120, 250]),
    };
    let grid = Grid {
        price_places: draw.between(0, 8) as u32,
        size_places: draw.between(0, 8) as u32,
        digits: 8,
    };
    let temper = Temper {
        levels,
        near: draw.pick(&[3, 10, 40]),
        far: 0.15,
        restless: draw.pick(&[0.05, 0.3, 0.8]),
        stride: draw.pick(&[1, 3, 10]),
        upwards: draw.pick(&[0.2, 0.45, 0.5, 0.8]),
        changes: draw.pick(&[2, 5, 12]),
        size_max: draw.pick(&[100, 100_000, 1_000_000_000]),
    };
    let tick = draw.pick(&[1, 5, 10, 100]);
    let middle = tick * draw.between(50_000, 10_000_000) as i64;
    let market = Market::new(temper, middle, tick, draw.fork());
    let mut listed = Listed::new(rule, section, native, grid, market, draw.fork());
    listed.limit = limit(draw, rule);
    listed
}

/// How many levels of a side the venue's REST is asked for.
fn limit(draw: &mut Draw, rule: Rule) -> usize {
    match rule {
        Rule::Spot => draw.pick(&[5, 10, 20, 50, 100, 500, 1000, 5000]),
        Rule::Futures => draw.pick(&[5, 10, 20, 50, 100, 500, 1000]),
        Rule::Deribit => draw.pick(&[5, 10, 20, 50, 100, 1000, 10_000]),
        Rule::Okx { window, .. } => window,
    }
}
