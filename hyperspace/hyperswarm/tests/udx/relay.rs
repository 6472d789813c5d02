//! A third party passes packets on between two streams that know nothing of it.

use crate::world::{SOCKET, address, ms};
use hyperswarm::udx::{Config, Mux, Path, StreamError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// A and B, and R between them: A's stream 1 speaks with R's 11, B's 2 with R's 12.
struct Three {
    now: Instant,
    sides: [Mux; 3],
    under_way: VecDeque<(usize, usize, Vec<u8>)>,
}

const R: usize = 2;

impl Three {
    fn new() -> Self {
        let now = Instant::now();
        let mut three = Self { now, sides: [Mux::new(), Mux::new(), Mux::new()], under_way: VecDeque::new() };
        three.sides.iter_mut().for_each(|side| side.add_socket(SOCKET));
        for (side, id, to, remote_id) in [(0, 1, R, 11), (1, 2, R, 12), (R, 11, 0, 1), (R, 12, 1, 2)] {
            three.sides[side].open(now, id, Arc::new(Config::default())).expect("its number is free");
            let path = Path { socket: SOCKET, remote: address(to), id: remote_id };
            three.sides[side].update(id, |stream| stream.connect(now, path));
        }
        assert!(three.sides[R].relay(11, 12) && three.sides[R].relay(12, 11));
        three
    }

    fn settle(&mut self) {
        loop {
            for side in 0..3 {
                let mut buffer = Vec::new();
                while let Some(transmit) = self.sides[side].poll_transmit(self.now, SOCKET, 8, &mut buffer) {
                    let to = (0..3).find(|to| address(*to) == transmit.remote).expect("one of us");
                    for datagram in buffer.chunks(transmit.segment) {
                        self.under_way.push_back((side, to, datagram.to_vec()));
                    }
                    buffer.clear();
                }
            }
            let Some((from, to, datagram)) = self.under_way.pop_front() else { return };
            self.now += ms(1) / 10;
            self.sides[to].handle_datagram(self.now, SOCKET, address(from), &datagram);
        }
    }

    fn closed(&self, side: usize, id: u32) -> Option<Option<StreamError>> {
        self.sides[side].get(id).expect("it is held").closed()
    }
}

#[test]
fn bytes_and_ends_go_through_a_relay() {
    let mut three = Three::new();
    let bytes: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
    let written = three.sides[0].update(1, |stream| stream.write(&bytes));
    assert_eq!(written, Some(bytes.len()));
    three.sides[0].update(1, |stream| stream.end());
    let mut received = Vec::new();
    for _ in 0..1000 {
        three.settle();
        three.now += ms(1);
        let now = three.now;
        three.sides.iter_mut().for_each(|side| side.handle_timeout(now, SOCKET));
        three.sides[1].update(2, |stream| {
            let mut read = vec![0; stream.readable()];
            stream.read(&mut read);
            received.extend(read);
        });
    }
    assert!(received == bytes);
    assert!(three.sides[1].get(2).expect("it is held").remote_ended());
    // The relay keeps nothing, and sees no end.
    assert_eq!((three.closed(R, 11), three.closed(R, 12)), (None, None));
    assert_eq!(three.sides[R].get(11).expect("it is held").stats().packets, (0, 0));
}

#[test]
fn giving_up_goes_through_a_relay() {
    let mut three = Three::new();
    three.sides[0].destroy(1);
    three.settle();
    assert_eq!(three.closed(1, 2), Some(Some(StreamError::Reset)));
    assert_eq!(three.closed(R, 11), Some(Some(StreamError::Reset)));
    // The other half led to it.
    assert_eq!(three.closed(R, 12), Some(Some(StreamError::RelayClosed)));
}

#[test]
fn a_relay_goes_without_a_word() {
    let mut three = Three::new();
    three.sides[R].destroy(11);
    three.settle();
    assert_eq!(three.closed(R, 11), Some(Some(StreamError::Destroyed)));
    assert_eq!(three.closed(R, 12), Some(Some(StreamError::RelayClosed)));
    assert_eq!((three.closed(0, 1), three.closed(1, 2)), (None, None));
    for id in [11, 12] {
        three.sides[R].release(id);
    }
    assert!(three.sides[R].is_empty());
}
