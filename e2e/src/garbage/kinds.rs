//! What is sent: true datagrams, of npm's peers and of the very processes that get them;
//! mutations of these; and what has brought down other implementations.

use crate::random::Random;
use hyperswarm::dht::message::{Message, Request};
use hyperswarm::hyperdht::{Handshake, Holepunch, Mode, NoisePayload, UdxInfo, command, target_of};
use hyperswarm::noise::{self, Pattern};
use hyperswarm::udx::packet::{Flags, HEADER, Header};
use hyperswarm::{KeyPair, PublicKey};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::SocketAddrV4;

/// Captured from npm's, and written by them: requests and answers of every command, whole
/// connections with handshakes and holepunching, packets of streams.
const VECTORS: [&str; 2] = [
    include_str!("../../../hyperspace/hyperswarm/tests/data/dht-vectors.json"),
    include_str!("../../../hyperspace/hyperswarm/tests/data/udx-vectors.json"),
];

/// H("hyperswarm/dht" as a namespace, command 0): what the handshake of the DHT begins with.
const PROLOGUE: [u8; 32] = [
    0x14, 0xd6, 0xd4, 0xb4, 0x92, 0x14, 0xab, 0x10, 0x33, 0xed, 0x20, 0x49, 0x76, 0xca, 0xa2, 0x58, 0xba,
    0xe9, 0xe1, 0xe8, 0x54, 0x3b, 0x9a, 0xd1, 0xfd, 0x99, 0x6a, 0x91, 0x0b, 0x0c, 0x4e, 0x3a,
];

const MODES: [Mode; 5] =
    [Mode::FromClient, Mode::FromServer, Mode::FromRelay, Mode::FromSecondRelay, Mode::Reply];

/// So many of what came back are remembered, and so many streams.
const HEARD: usize = 256;
const LIVE: usize = 8;

pub(super) struct Kinds {
    random: Random,
    keys: Vec<PublicKey>,
    templates: Vec<Vec<u8>>,
    heard: VecDeque<Vec<u8>>,
    /// Streams that were opened for us.
    live: VecDeque<u32>,
}

fn collect(value: &Value, name: &str, into: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) if name.contains("hex") => {
            let bytes =
                (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok());
            into.extend(bytes.collect::<Option<Vec<u8>>>().filter(|bytes| bytes.len() < 1500));
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, name, into)),
        Value::Object(all) => all.iter().for_each(|(name, value)| collect(value, name, into)),
        _ => {}
    }
}

fn request(key: &PublicKey, tid: u16, command: u64, value: &[u8]) -> Vec<u8> {
    let to = SocketAddrV4::new([127, 0, 0, 1].into(), 1);
    let target = Some(target_of(key));
    Request { tid, to, id: None, token: None, internal: false, command, target, value: Some(value) }.encode()
}

fn first_message(key: &PublicKey) -> Option<(noise::Handshake, Vec<u8>)> {
    let pair = KeyPair::generate().ok()?;
    let mut noise = noise::Handshake::initiator(Pattern::Ik(*key), &pair, &PROLOGUE).ok()?;
    let udx = Some(UdxInfo { version: 1, reusable_socket: false, id: 7, seq: 0 });
    let payload = NoisePayload { udx, secret_stream: Some(1), ..NoisePayload::default() };
    let message = noise.write(&payload.encode()).ok()?;
    Some((noise, message))
}

/// A handshake with the server of that key itself.
pub(super) fn handshake(key: &PublicKey) -> Option<(noise::Handshake, Vec<u8>)> {
    let (noise, message) = first_message(key)?;
    let envelope = Handshake { mode: Mode::FromClient, noise: message, peer: None, relay: None };
    Some((noise, request(key, 1, command::PEER_HANDSHAKE, &envelope.encode())))
}

/// Which stream its answer names, if this is the answer.
pub(super) fn stream_of(noise: &mut noise::Handshake, datagram: &[u8]) -> Option<u32> {
    let Ok(Message::Reply(reply)) = Message::decode(datagram) else { return None };
    let envelope = Handshake::decode(reply.value?).ok()?;
    let payload = noise.read(&envelope.noise).ok()?;
    u32::try_from(NoisePayload::decode(&payload).ok()?.udx?.id).ok()
}

/// What other implementations did not survive, or did not get right.
fn malformed(key: &PublicKey) -> Vec<Vec<u8>> {
    let head = |flags: u8, command: u8| vec![0x03, flags, 9, 9, 127, 0, 0, 1, 1, 0, command];
    let packet = |flags, data_offset, rest: &[u8]| {
        let mut packet = Vec::new();
        Header { flags, data_offset, stream_id: 7, ..Header::default() }.encode(&mut packet);
        packet.extend_from_slice(rest);
        packet
    };
    let long = |mut of: Vec<u8>, length| {
        of.resize(length, 0xff);
        of
    };
    let mut all = vec![
        // An empty datagram, the byte of a holepunch, the first bytes of everything.
        vec![],
        vec![0],
        vec![0x03],
        vec![0x13],
        vec![0xff],
        vec![0xff, 1],
        // An answer that nobody has asked for, and one that is cut.
        vec![0x13, 0, 0xef, 0xbe, 127, 0, 0, 1, 1, 0],
        vec![0x13, 4, 0xef, 0xbe, 127, 0, 0, 1, 1, 0, 0xff],
        // A list and a value that are longer than the datagram, by far.
        [&[0x13, 4, 1, 0, 127, 0, 0, 1, 1, 0][..], &[0xff; 9]].concat(),
        [&[0x13, 16, 1, 0, 127, 0, 0, 1, 1, 0][..], &[0xff; 9]].concat(),
        [&head(16, 8)[..], &[0xfe, 0xff, 0xff, 0xff, 0xff]].concat(),
        // Longer than any datagram of this protocol.
        long(head(16, 9), 9000),
        long(vec![0x13, 16, 1, 0], 60_000),
        // A packet whose data would begin after its end, one that is nothing but padding, one
        // whose ranges are cut, and one that is longer than a path can carry.
        packet(Flags::DATA, 200, b"short"),
        packet(Flags::HEARTBEAT, 255, &[0; 255]),
        packet(Flags::SACK, 0, &[1; 13]),
        packet(Flags::SACK, 255, &[0xff; 254]),
        long(packet(Flags::DATA, 0, b""), 5000),
        vec![0xff; HEADER],
    ];
    // Every command, with nothing that it needs, with a target alone, with a value that says
    // nothing; and some that there are not.
    for number in 0..=20 {
        for internal in [0, 4] {
            all.push(head(internal, number));
            all.push([&head(internal | 8, number)[..], &target_of(key)].concat());
            all.push([&head(internal | 24, number)[..], &target_of(key), &[3, 0xff, 0xff, 0xff]].concat());
            all.push([&head(internal | 26, number)[..11], &[7; 32], &target_of(key), &[1, 0]].concat());
        }
    }
    all
}

impl Kinds {
    pub(super) fn new(seed: u64, keys: Vec<PublicKey>) -> Self {
        let mut templates = Vec::new();
        for vectors in VECTORS {
            let vectors = serde_json::from_str(vectors).expect("the vectors are JSON");
            collect(&vectors, "", &mut templates);
        }
        templates.extend(keys.iter().flat_map(malformed));
        templates.retain(|datagram| (1..1500).contains(&datagram.len()));
        let (heard, live) = (VecDeque::new(), VecDeque::new());
        Self { random: Random::new(seed), keys, templates, heard, live }
    }

    /// What every port gets once, as it is.
    pub(super) fn malformed(&self) -> Vec<Vec<u8>> {
        self.keys.iter().flat_map(malformed).collect()
    }

    /// Something has come back.
    pub(super) fn heard(&mut self, datagram: &[u8]) {
        if self.heard.len() >= HEARD {
            self.heard.pop_front();
        }
        if !datagram.is_empty() {
            self.heard.push_back(datagram.to_vec());
        }
    }

    /// There is a stream of that number.
    pub(super) fn live(&mut self, stream: u32) {
        if self.live.len() >= LIVE {
            self.live.pop_front();
        }
        self.live.push_back(stream);
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Vec<u8> {
        match self.random.below(64) {
            0..4 => self.noise(),
            4..20 => self.packet(),
            20 => self.dialling(),
            21..24 => self.envelope(),
            24..32 if !self.heard.is_empty() => {
                let at = self.random.below(self.heard.len() as u64) as usize;
                let datagram = self.heard[at].clone();
                self.mutate(datagram)
            }
            _ => {
                let datagram = self.random.pick(&self.templates).clone();
                self.mutate(datagram)
            }
        }
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.random.below(1500) as usize;
        let mut noise = self.random.bytes(length);
        let first = *self.random.pick(&[0x03, 0x13, 0xff, 0x00]);
        if let Some(byte) = noise.first_mut().filter(|byte| **byte < 200) {
            *byte = first;
        }
        noise
    }

    fn mutate(&mut self, mut datagram: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.random.below(4) {
            let at = self.random.below(datagram.len() as u64) as usize;
            datagram[at] = self.random.number() as u8;
        }
        match self.random.below(16) {
            0 | 1 => datagram.truncate(self.random.below(datagram.len() as u64 + 1) as usize),
            2 => {
                let more = self.random.below(100) as usize;
                datagram.extend(self.random.bytes(more));
            }
            _ => {}
        }
        datagram
    }

    /// A packet of a stream, of one that there is if possible: in an order of its own.
    fn packet(&mut self) -> Vec<u8> {
        let near = |random: &mut Random| match random.below(4) {
            0 => random.number() as u32,
            _ => (random.below(64) as u32).wrapping_sub(16),
        };
        let stream_id = match self.live.len() as u64 {
            0 => self.random.number() as u32,
            live => self.live[self.random.below(live) as usize],
        };
        let header = Header {
            flags: Flags(*self.random.pick(&[0, 1, 1, 1, 2, 3, 4, 5, 8, 9, 32, 63, 255])),
            data_offset: if self.random.below(4) == 0 { self.random.number() as u8 } else { 0 },
            stream_id,
            window: if self.random.below(2) == 0 { 4 << 20 } else { self.random.number() as u32 },
            seq: near(&mut self.random),
            ack: near(&mut self.random),
        };
        // Given up, a stream is no more use: seldom.
        let flags = if self.random.below(500) == 0 { Flags::DESTROY } else { Flags(header.flags.0 & !16) };
        let mut packet = Vec::new();
        Header { flags, ..header }.encode(&mut packet);
        let length = self.random.below(1400) as usize;
        packet.extend(self.random.bytes(length));
        packet
    }

    fn stranger(&mut self) -> Option<SocketAddrV4> {
        match self.random.below(3) {
            0 => None,
            // Nobody there is bothered.
            _ => Some(SocketAddrV4::new(
                [127, 0, 2, self.random.number() as u8].into(),
                self.random.number() as u16,
            )),
        }
    }

    /// A true handshake, that comes by whatever way.
    fn dialling(&mut self) -> Vec<u8> {
        let key = *self.random.pick(&self.keys);
        let Some((_, noise)) = first_message(&key) else { return Vec::new() };
        let (mode, peer) = (*self.random.pick(&MODES), self.stranger());
        let relay = self.stranger();
        let tid = self.random.number() as u16;
        request(&key, tid, command::PEER_HANDSHAKE, &Handshake { mode, noise, peer, relay }.encode())
    }

    /// A step of one, or of holepunching, in which nothing is true but the form.
    fn envelope(&mut self) -> Vec<u8> {
        let key = *self.random.pick(&self.keys);
        let (mode, peer, relay) = (*self.random.pick(&MODES), self.stranger(), self.stranger());
        let length = self.random.below(300) as usize;
        let (payload, tid) = (self.random.bytes(length), self.random.number() as u16);
        if self.random.below(2) == 0 {
            let envelope = Handshake { mode, noise: payload, peer, relay };
            request(&key, tid, command::PEER_HANDSHAKE, &envelope.encode())
        } else {
            let envelope = Holepunch { mode, id: self.random.below(20), payload, peer };
            request(&key, tid, command::PEER_HOLEPUNCH, &envelope.encode())
        }
    }
}
