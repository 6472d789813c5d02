//! See `hyperspace_fuzz::proof`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::proof::run(input));
