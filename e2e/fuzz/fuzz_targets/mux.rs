//! See `hyperspace_fuzz::mux`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::mux::run(input));
