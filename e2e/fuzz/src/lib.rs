//! What is fuzzed: each target takes any bytes, and must neither panic nor believe what is not
//! so. `fuzz_targets` has a program for each; `tests/decoders.rs` of the crate above gives
//! all of them a short seeded input in every run of the tests.

#![allow(missing_docs)]

pub mod bee;
pub mod dht;
pub mod manifest;
pub mod mux;
pub mod proof;
pub mod rpc;
pub mod stream;
pub mod udx;
pub mod wire;

/// A target: its name, what it does with an input, and inputs that mean something.
pub type Target = (&'static str, fn(&[u8]), fn() -> Vec<Vec<u8>>);

/// All there are.
pub const TARGETS: &[Target] = &[
    ("wire", wire::run, wire::samples),
    ("proof", proof::run, proof::samples),
    ("manifest", manifest::run, manifest::samples),
    ("mux", mux::run, mux::samples),
    ("stream", stream::run, stream::samples),
    ("rpc", rpc::run, rpc::samples),
    ("udx", udx::run, udx::samples),
    ("dht", dht::run, dht::samples),
    ("bee", bee::run, bee::samples),
];

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(digit).collect()
}
