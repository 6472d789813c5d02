//! The protobuf messages of hyperdrive 10, byte for byte as its npm packages
//! write them: fields ascending, and zeros written where Node writes them (which
//! proto3 encoders leave out, hence our own).
//!
//! Decoders take anything: a stranger wrote it.

mod mount;
pub(crate) mod stat;
mod wire;

pub(crate) use mount::MountRecord;
pub(crate) use wire::{read_varint, replace_field, varint};
