//! See `hyperspace_fuzz::udx`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::udx::run(input));
