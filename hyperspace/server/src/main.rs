//! The `hyperspace` binary.
fn main() {}
