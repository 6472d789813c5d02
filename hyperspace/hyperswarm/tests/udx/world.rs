//! A network of virtual time between two sides, each with streams on one socket.

use bytes::Bytes;
use hyperswarm::udx::{Config, Happened, Mux, Path, SocketId, Stats, Stream, StreamError};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const A: usize = 0;
pub const B: usize = 1;
/// The one socket of each side.
pub const SOCKET: SocketId = SocketId(0);
/// The number each side gives its first stream.
pub const IDS: [u32; 2] = [1, 2];

pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Numbers that look random (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to before 1.
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// How one way of the network is.
#[derive(Clone, Debug)]
pub struct Link {
    pub delay: Duration,
    /// Added to the delay, up to so much: packets overtake each other.
    pub jitter: Duration,
    /// How many are lost and doubled, of one.
    pub loss: f64,
    pub doubled: f64,
    /// Bytes a second, and how many bytes wait for their turn at most.
    pub rate: u64,
    pub queue: u64,
    /// Larger IP packets do not pass.
    pub mtu: usize,
}

impl Link {
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0.0,
            doubled: 0.0,
            rate: 1_000_000_000,
            queue: 64 << 20,
            mtu: 1500,
        }
    }
}

/// What the network carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    pub at: Duration,
    pub from: usize,
    pub datagram: Vec<u8>,
}

/// Whether a datagram from that side is lost.
pub type Lose = Box<dyn FnMut(usize, &[u8]) -> bool>;

/// When, as which of all, at which side, and what.
type Arrival = (Instant, u64, usize, Vec<u8>);

pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub sides: [Mux; 2],
    pub links: [Link; 2],
    pub random: Random,
    /// All datagrams that were sent, if somebody wants to know.
    pub record: Option<Vec<Carried>>,
    /// Decides of each datagram whether it is lost, in place of chance.
    pub lose: Option<Lose>,
    pub happened: [Happened; 2],
    pub dropped: u64,
    arriving: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    free_at: [Instant; 2],
}

pub fn address(side: usize) -> SocketAddr {
    ([10, 0, 0, 1 + side as u8], 1000).into()
}

impl World {
    /// Two sides with a stream each, that are connected.
    pub fn connected(link: Link, config: Config, seed: u64) -> Self {
        let mut world = Self::new(link, seed);
        for side in [A, B] {
            world.open(side, IDS[side], config.clone());
        }
        for side in [A, B] {
            world.connect(side);
        }
        world
    }

    pub fn new(link: Link, seed: u64) -> Self {
        let start = Instant::now();
        let mut sides = [Mux::new(), Mux::new()];
        sides.iter_mut().for_each(|side| side.add_socket(SOCKET));
        Self {
            start,
            now: start,
            sides,
            links: [link.clone(), link],
            random: Random::new(seed),
            record: None,
            lose: None,
            happened: Default::default(),
            dropped: 0,
            arriving: BinaryHeap::new(),
            order: 0,
            free_at: [start; 2],
        }
    }

    pub fn open(&mut self, side: usize, id: u32, config: Config) {
        self.sides[side].open(self.now, id, Arc::new(config)).expect("its number is free");
    }

    pub fn connect(&mut self, side: usize) {
        let path = Path { socket: SOCKET, remote: address(1 - side), id: IDS[1 - side] };
        let now = self.now;
        self.with(side, |stream| stream.connect(now, path));
    }

    /// Does something to the first stream of a side.
    pub fn with<R>(&mut self, side: usize, change: impl FnOnce(&mut Stream) -> R) -> R {
        self.sides[side].update(IDS[side], change).expect("there is a stream")
    }

    pub fn closed(&self, side: usize) -> Option<Option<StreamError>> {
        self.sides[side].get(IDS[side]).expect("there is a stream").closed()
    }

    pub fn stats(&self, side: usize) -> Stats {
        self.sides[side].get(IDS[side]).expect("there is a stream").stats()
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Sends a datagram on its way.
    pub fn send(&mut self, from: usize, datagram: Vec<u8>) {
        if let Some(record) = &mut self.record {
            record.push(Carried { at: self.now - self.start, from, datagram: datagram.clone() });
        }
        let size = datagram.len() as u64 + 28;
        let link = self.links[from].clone();
        let lost = match &mut self.lose {
            Some(lose) => lose(from, &datagram),
            None => self.random.part() < link.loss,
        };
        // What waits for its turn fills the queue.
        let waiting = self.free_at[from].saturating_duration_since(self.now);
        let queued = (waiting.as_secs_f64() * link.rate as f64) as u64;
        if size as usize > link.mtu || queued + size > link.queue {
            self.dropped += 1;
            return;
        }
        let takes = Duration::from_secs_f64(size as f64 / link.rate as f64);
        self.free_at[from] = self.free_at[from].max(self.now) + takes;
        if lost {
            self.dropped += 1;
            return;
        }
        let copies = if self.random.part() < link.doubled { 2 } else { 1 };
        for _ in 0..copies {
            let jitter = link.jitter.mul_f64(self.random.part());
            let at = self.free_at[from] + link.delay + jitter;
            self.order += 1;
            self.arriving.push(Reverse((at, self.order, 1 - from, datagram.clone())));
        }
    }

    /// Everything goes out that is to be sent now.
    pub fn transmit(&mut self) {
        for side in [A, B] {
            let mut buffer = Vec::new();
            while let Some(transmit) = self.sides[side].poll_transmit(self.now, SOCKET, 16, &mut buffer) {
                assert_eq!(transmit.remote, address(1 - side));
                for datagram in buffer.chunks(transmit.segment) {
                    self.send(side, datagram.to_vec());
                }
                buffer.clear();
            }
            while self.sides[side].poll_woken().is_some() {}
            while let Some((id, happened)) = self.sides[side].poll() {
                if id == IDS[side] {
                    let all = &mut self.happened[side];
                    all.readable |= happened.readable;
                    all.writable |= happened.writable;
                    all.acknowledged |= happened.acknowledged;
                    all.message |= happened.message;
                    all.remote_changed |= happened.remote_changed;
                    all.connected |= happened.connected;
                    all.closed |= happened.closed;
                }
            }
        }
    }

    /// When the next thing happens.
    fn next(&self) -> Option<Instant> {
        let arrival = self.arriving.peek().map(|Reverse((at, ..))| *at);
        let due = self.sides.iter().filter_map(|side| side.poll_timeout(SOCKET)).min();
        arrival.into_iter().chain(due).min()
    }

    /// Goes on to the next thing that happens, if that is not after `until`.
    pub fn step(&mut self, until: Duration) -> bool {
        self.transmit();
        match self.next() {
            Some(at) if at <= self.start + until => {
                assert!(at >= self.now - ms(1), "time goes backwards");
                self.now = self.now.max(at);
            }
            _ => {
                self.now = self.now.max(self.start + until);
                return false;
            }
        }
        while let Some(Reverse((at, ..))) = self.arriving.peek()
            && *at <= self.now
            && let Some(Reverse((_, _, to, datagram))) = self.arriving.pop()
        {
            self.sides[to].handle_datagram(self.now, SOCKET, address(1 - to), &datagram);
        }
        for side in &mut self.sides {
            side.handle_timeout(self.now, SOCKET);
        }
        self.transmit();
        true
    }

    /// Lets time pass, up to `until` after the start.
    pub fn run(&mut self, until: Duration) {
        while self.step(until) {}
    }

    /// Until `done`; not longer than to `until`.
    pub fn run_until(&mut self, until: Duration, mut done: impl FnMut(&mut Self) -> bool) {
        while !done(self) {
            assert!(
                self.step(until),
                "it is not done in {until:?}: {:?}, {:?}",
                self.stats(A),
                self.stats(B)
            );
        }
    }

    pub fn read_all(&mut self, side: usize) -> Vec<u8> {
        let mut all = vec![0; self.with(side, |stream| stream.readable())];
        let count = self.with(side, |stream| stream.read(&mut all));
        assert_eq!(count, all.len());
        all
    }

    pub fn message(&mut self, side: usize, message: &'static [u8]) {
        self.with(side, |stream| stream.send_message(Bytes::from_static(message))).expect("it fits");
    }
}

/// A number of bytes on their way from one side to the other, and what has come of them.
pub struct Transfer {
    from: usize,
    total: usize,
    written: usize,
    received: usize,
    pub finished: Option<Duration>,
}

/// The byte of a transfer at this place.
fn byte(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

impl Transfer {
    pub fn new(from: usize, total: usize) -> Self {
        Self { from, total, written: 0, received: 0, finished: None }
    }

    /// Writes and reads what can be; ends when all is written. Whether all has come.
    pub fn go_on(&mut self, world: &mut World) -> bool {
        let (from, total) = (self.from, self.total);
        while self.written < total {
            let chunk: Vec<u8> = (self.written..total.min(self.written + 65536)).map(byte).collect();
            let count = world.with(from, |stream| stream.write(&chunk));
            self.written += count;
            if count < chunk.len() {
                break;
            }
        }
        if self.written == total {
            world.with(from, Stream::end);
        }
        for read in world.read_all(1 - from) {
            assert_eq!(read, byte(self.received), "at {}", self.received);
            self.received += 1;
        }
        let ended = world.with(1 - from, |stream| stream.remote_ended());
        if ended && self.finished.is_none() {
            assert_eq!(self.received, total);
            self.finished = Some(world.elapsed());
        }
        self.finished.is_some()
    }
}
