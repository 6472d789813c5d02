//! See `hyperspace_fuzz::wire`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::wire::run(input));
