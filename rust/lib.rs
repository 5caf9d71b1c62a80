//! The MarketPrism engine: exchange payloads in; exact books, finished rows, requests and faults out.
//!
//! **Python knows how to ask; Rust knows what was answered. A row is encoded once, here, and nobody
//! opens it in Python.**
//!
//! # The walk of a frame
//! [`session::Session::receive`] → [`venue`] (what the bytes mean, by [`json`], as an [`event`]) →
//! [`venue::continuity`] (does it follow?) → [`book`] and [`ladder`] (exact levels, the window known
//! complete) → [`life`] (is a snapshot due?) → [`encode`] (one JSON row, its subject, the id that
//! names the fact) → [`cover`] (which time is proven?) → [`session::Batch`]; what was [`heard`] when
//! is kept beside it. A REST body goes the same way from [`session::Session::answer`]. The only way back is `Batch::requests`. At the other
//! end of the path the store turns finished rows into a block of [`columns`]. A book without all
//! that is a [`single::SingleBook`].
//!
//! # Rules
//! Prices and sizes are integers at a scale, never floats. Time is an argument. Expected trouble is
//! a [`fault::Fault`] with a remedy. Every buffer has a named bound. The output is a function of the
//! input: no clock, no randomness, no iteration over a hash map.
//!
//! # Not here
//! Sockets, clocks, threads, logs, retries over a network, and Python outside `python.rs`.

#![forbid(unsafe_code)]

pub mod book;
pub mod columns;
pub mod cover;
pub mod decimal;
pub mod encode;
pub mod event;
pub mod fault;
pub mod filed;
pub mod heard;
pub mod instrument;
pub mod json;
pub mod ladder;
pub mod life;
#[cfg(feature = "python")]
mod python;
pub mod session;
pub mod single;
pub mod venue;
