//! deribit: a placeholder.

use crate::event::{Asked, Continuity, Cursor, DeltaHead, Events, ImageHead, Levels};
use crate::instrument::Instrument;

pub fn continuity(_cursor: Cursor, _delta: DeltaHead) -> Continuity {
    Continuity::Skip
}

pub fn decode<'f>(_frame: &'f [u8], _levels: &mut Levels) -> Result<Events<'f>, Box<str>> {
    Err("not yet".into())
}

pub fn decode_seed(_body: &[u8], _levels: &mut Levels) -> Result<ImageHead, Box<str>> {
    Err("not yet".into())
}

pub fn answer<'f>(_asked: &'f Asked, _body: &'f [u8]) -> Result<Events<'f>, Box<str>> {
    Err("not yet".into())
}

pub fn instruments(_body: &[u8]) -> Result<Vec<Instrument>, Box<str>> {
    Err("not yet".into())
}

pub fn guess(_native: &str) -> Option<Instrument> {
    None
}
