//! `tests/hostile/columns.rs` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    hostile::columns::run(input);
});
