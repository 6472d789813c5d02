//! What the client writes and how it takes what it reads, against a server played by
//! the test.

#[path = "../common/mod.rs"]
mod common;

mod bytes;
mod calls;
mod handles;
mod reading;
mod rhythm;
