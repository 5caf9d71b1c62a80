//! The targets of `tests/hostile`, for cargo-fuzz, and the markets of `tests/simulation`.

#[path = "../hostile/book.rs"]
pub mod book;
#[path = "../hostile/columns.rs"]
pub mod columns;
#[path = "../hostile/decode.rs"]
pub mod decode;
#[path = "../simulation/digits.rs"]
pub mod digits;
#[path = "../hostile/door.rs"]
pub mod door;
#[path = "../simulation/draw.rs"]
pub mod draw;
#[path = "../hostile/encode.rs"]
pub mod encode;
#[path = "../simulation/market.rs"]
pub mod market;
#[path = "../hostile/mutation.rs"]
pub mod mutation;
#[path = "../simulation/spell.rs"]
pub mod spell;
#[path = "../simulation/venue.rs"]
pub mod venue;
