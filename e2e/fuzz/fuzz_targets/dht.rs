//! See `hyperspace_fuzz::dht`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::dht::run(input));
