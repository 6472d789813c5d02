//! Addresses of nodes, as they are on the wire, and the ids that follow from them.

use crate::hash::hash;
use compact_encoding::{DecodeError, Reader, Writer};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

/// The id of a node, or what is looked for: a point of the space that nodes share out.
pub type Id = [u8; 32];

/// Bytes of an IPv4 address with its port.
pub const ADDRESS_BYTES: usize = 6;

/// Reads four bytes of host, then the port, little-endian.
pub(crate) fn read_v4(reader: &mut Reader<'_>) -> Result<SocketAddrV4, DecodeError> {
    let host = Ipv4Addr::from(reader.fixed::<4>()?);
    Ok(SocketAddrV4::new(host, reader.uint16()?))
}

/// Writes what [`read_v4`] reads.
pub(crate) fn write_v4(writer: &mut Writer, address: SocketAddrV4) {
    writer.raw(&address.ip().octets()).uint16(address.port());
}

/// Reads sixteen bytes of host, then the port, little-endian.
pub(crate) fn read_v6(reader: &mut Reader<'_>) -> Result<SocketAddrV6, DecodeError> {
    let host = Ipv6Addr::from(reader.fixed::<16>()?);
    Ok(SocketAddrV6::new(host, reader.uint16()?, 0, 0))
}

/// Writes what [`read_v6`] reads.
pub(crate) fn write_v6(writer: &mut Writer, address: SocketAddrV6) {
    writer.raw(&address.ip().octets()).uint16(address.port());
}

/// A list of addresses.
pub(crate) fn read_list(reader: &mut Reader<'_>) -> Result<Vec<SocketAddrV4>, DecodeError> {
    reader.array(ADDRESS_BYTES, read_v4)
}

/// Writes what [`read_list`] reads.
pub(crate) fn write_list(writer: &mut Writer, addresses: &[SocketAddrV4]) {
    writer.array(addresses, |writer, address| write_v4(writer, *address));
}

/// The id of the node that is at this public address: nobody can choose its own.
pub fn node_id(address: SocketAddrV4) -> Id {
    hash(&[&address.ip().octets(), &address.port().to_le_bytes()])
}

/// How far two ids are apart; compares bytewise.
pub(crate) fn distance(a: &Id, b: &Id) -> Id {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// How many leading bits two ids have in common.
pub(crate) fn common_bits(a: &Id, b: &Id) -> usize {
    match a.iter().zip(b).position(|(a, b)| a != b) {
        Some(at) => at * 8 + (a[at] ^ b[at]).leading_zeros() as usize,
        None => 256,
    }
}

/// Is this an address of a private network, of this machine, or of no use at all on the
/// public network?
pub fn is_bogon(address: Ipv4Addr) -> bool {
    is_private(address) || is_reserved(address)
}

/// Private networks, and this machine.
pub fn is_private(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || address.is_loopback() || address.is_link_local() || (a == 100 && b & 0xc0 == 64)
}

/// What no host has: the rest of [`is_bogon`].
pub fn is_reserved(address: Ipv4Addr) -> bool {
    match address.octets() {
        [0, ..] | [192, 0, 0, _] | [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => true,
        [198, b, ..] => b & 0xfe == 18,
        [a, ..] => a >= 224,
    }
}

/// Is it worth sending to an address that `source` has told us of? Whoever is on the
/// public network cannot make us send into private ones.
pub(crate) fn is_plausible(address: SocketAddrV4, source: SocketAddrV4) -> bool {
    let host = *address.ip();
    address.port() != 0
        && !host.is_unspecified()
        && !host.is_multicast()
        && !host.is_broadcast()
        && (!is_private(host) || is_bogon(*source.ip()))
}
