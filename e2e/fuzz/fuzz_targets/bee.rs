//! See `hyperspace_fuzz::bee`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::bee::run(input));
