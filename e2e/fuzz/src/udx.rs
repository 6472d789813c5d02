//! UDX: packets of a stranger, to a stream that is there and one that is not.

use hyperswarm::udx::packet::{Flags, Header, Packet};
use hyperswarm::udx::{Config, Mux, Path, SocketId};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SOCKET: SocketId = SocketId(0);

pub fn run(input: &[u8]) {
    if let Some(packet) = Packet::decode(input) {
        let mut again = Vec::new();
        packet.header.encode(&mut again);
        assert_eq!(again, input[..again.len()]);
        assert!(packet.ranges().count() <= input.len());
    }
    let mut now = Instant::now();
    let remote = SocketAddr::from(([10, 0, 0, 1], 7000));
    let mut mux = Mux::new();
    mux.add_socket(SOCKET);
    mux.open(now, 1, Arc::new(Config::default())).expect("the first of its number");
    mux.update(1, |stream| {
        stream.connect(now, Path { socket: SOCKET, remote, id: 2 });
        stream.write(&[7; 5000]);
    });
    let (mut out, mut read) = (Vec::new(), [0; 4096]);
    let mut rest = input;
    while let Some((&length, more)) = rest.split_first() {
        let (datagram, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        mux.handle_datagram(now, SOCKET, remote, datagram);
        now += Duration::from_millis(u64::from(length));
        mux.handle_timeout(now, SOCKET);
        while mux.poll_transmit(now, SOCKET, 4, &mut out).is_some() {
            out.clear();
        }
        while mux.poll().is_some() {}
        mux.update(1, |stream| {
            stream.read(&mut read);
            stream.receive_message();
        });
    }
}

/// Packets of every kind, alone and after another.
pub fn samples() -> Vec<Vec<u8>> {
    let packet = |flags, data_offset, seq, ack, body: &[u8]| {
        let mut packet = Vec::new();
        let header = Header { flags: Flags(flags), data_offset, stream_id: 1, window: 1 << 20, seq, ack };
        header.encode(&mut packet);
        packet.extend_from_slice(body);
        [&[packet.len() as u8], &packet[..]].concat()
    };
    let packets = [
        packet(1, 0, 0, 0, b"data"),
        packet(1, 0, 2, 1, b"later data"),
        packet(3, 0, 1, 2, b"the end"),
        packet(4, 0, 0, 1, b"a message"),
        packet(8, 0, 0, 0, b""),
        packet(16, 8, 1, 0, &[2, 0, 0, 0, 4, 0, 0, 0]),
        packet(1, 100, 1, 0, &[0; 104]),
        packet(32, 0, 0, 3, b""),
    ];
    let unframed = packets.iter().map(|packet| packet[1..].to_vec());
    unframed.chain(packets.iter().cloned()).chain([packets.concat()]).collect()
}
