//! See `hyperspace_fuzz::rpc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hyperspace_fuzz::rpc::run(input));
