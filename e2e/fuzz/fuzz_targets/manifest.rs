//! See `hyperspace_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::manifest::run(input));
