//! Tests of the wire format, and what the tests of this module share.

mod vectors;

use serde_json::Value;
use std::net::SocketAddrV4;

pub(crate) fn vectors() -> Value {
    serde_json::from_str(include_str!("../../tests/data/dht-vectors.json")).expect("JSON")
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().expect("a string").as_bytes()).expect("hex")
}

pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("its length")
}

pub(crate) fn address(value: &Value) -> SocketAddrV4 {
    let host = value["host"].as_str().expect("a host").parse().expect("a host");
    SocketAddrV4::new(host, value["port"].as_u64().expect("a port").try_into().expect("a port"))
}

/// A field that may be null.
pub(crate) fn maybe<T>(value: &Value, read: impl FnOnce(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| read(value))
}
