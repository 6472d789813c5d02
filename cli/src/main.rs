//! The `hyperdrive` binary.
fn main() {}
