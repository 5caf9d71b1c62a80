//! `tests/hostile/encode.rs` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hostile::encode::run(input));
