//! What was recorded of npm udx-native: its packets are read, and we answer as it does.

use crate::world::{A, Link, World, ms};
use hyperswarm::udx::packet::{Flags, Header, Packet};
use hyperswarm::udx::{Config, Path, SocketId, Stream, StreamError};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../data/udx-vectors.json")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| number.try_into().ok()).expect("a number")
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(value.as_str().expect("a string").as_bytes()).expect("hex")
}

#[test]
fn packets_are_read_and_written() {
    let vectors = vectors();
    let packets = list(&vectors["packets"]);
    assert!(packets.len() > 50);
    for case in packets {
        let datagram = bytes(&case["hex"]);
        let packet = Packet::decode(&datagram).expect("a packet");
        let header = Header {
            flags: Flags(number(&case["type"]) as u8),
            data_offset: number(&case["data_offset"]) as u8,
            stream_id: number(&case["stream_id"]),
            window: number(&case["rwnd"]),
            seq: number(&case["seq"]),
            ack: number(&case["ack"]),
        };
        assert_eq!(packet.header, header);
        assert_eq!(packet.payload.len() as u32, number(&case["payload_len"]));
        let ranges: Vec<Value> = packet.ranges().map(|(start, end)| Value::from(vec![start, end])).collect();
        assert_eq!(ranges, case["ranges"].as_array().cloned().unwrap_or_default());
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        assert_eq!(encoded, datagram[..20]);
    }
}

/// Our stream in the place of npm's.
struct Replay {
    start: Instant,
    stream: Stream,
    /// What it has sent, and when.
    sent: Vec<(Duration, Vec<u8>)>,
}

impl Replay {
    fn new() -> Self {
        let start = Instant::now();
        let mut stream = Stream::new(Arc::new(Config::default()), start);
        let path = Path { socket: SocketId(0), remote: ([127, 0, 0, 1], 9).into(), id: 2 };
        stream.connect(start, path);
        Self { start, stream, sent: Vec::new() }
    }

    fn transmit(&mut self, at: Duration) {
        let mut buffer = Vec::new();
        while let Some(transmit) = self.stream.poll_transmit(self.start + at, 1, &mut buffer) {
            assert_eq!(transmit.segment, buffer.len());
            self.sent.push((at, std::mem::take(&mut buffer)));
        }
    }

    /// Does what is due up to then.
    fn pass(&mut self, until: Duration) {
        while let Some(due) = self.stream.poll_timeout()
            && due <= self.start + until
        {
            self.stream.handle_timeout(due);
            self.transmit(due - self.start);
        }
    }

    fn happened(&mut self, event: &str) {
        match event.split_once(' ') {
            Some(("data", text)) => {
                let mut read = vec![0; text.len()];
                let count = self.stream.read(&mut read);
                assert_eq!((count, &read[..]), (text.len(), text.as_bytes()));
            }
            Some(("message", text)) => {
                assert_eq!(self.stream.receive_message().as_deref(), Some(text.as_bytes()));
            }
            Some(("error", "ECONNRESET")) => {
                assert_eq!(self.stream.closed(), Some(Some(StreamError::Reset)));
            }
            None if event == "end" => assert!(self.stream.remote_ended() && self.stream.readable() == 0),
            None if event == "close" => assert!(self.stream.closed().is_some()),
            _ => panic!("an event of another kind: {event}"),
        }
    }

    fn run(mut self, steps: &[Value]) {
        for step in steps {
            let at = ms(step["t"].as_u64().expect("a time"));
            if step["from"] == "npm" {
                self.pass(at + ms(5));
                assert!(!self.sent.is_empty(), "we send nothing, at {step}");
                let (when, sent) = self.sent.remove(0);
                assert_eq!(without_window(sent), without_window(bytes(&step["hex"])), "at {step}");
                assert!(when.abs_diff(at) <= ms(8), "{when:?}: {step}");
                continue;
            }
            if let Some(event) = step["event"].as_str() {
                // Some are told before what is sent, some after.
                self.happened(event);
                continue;
            }
            self.pass(at);
            assert!(self.sent.is_empty(), "{:?}, before {step}", self.sent);
            if step["from"] == "peer" {
                let datagram = bytes(&step["hex"]);
                if let Some(packet) = Packet::decode(&datagram) {
                    self.stream.handle_packet(self.start + at, &packet);
                }
            } else if let Some(text) = step["write"].as_str() {
                assert_eq!(self.stream.write(text.as_bytes()), text.len());
            } else {
                assert_eq!(step["end"], true);
                self.stream.end();
            }
            self.transmit(at);
        }
        assert!(self.sent.is_empty(), "{:?}", self.sent);
    }
}

/// npm says the same window whatever waits to be read.
fn without_window(mut datagram: Vec<u8>) -> Vec<u8> {
    datagram[8..12].fill(0);
    datagram
}

#[test]
fn we_answer_as_npm_does() {
    let vectors = vectors();
    for (name, steps) in vectors["replays"].as_object().expect("an object") {
        println!("{name}");
        Replay::new().run(list(steps));
    }
}

#[test]
fn we_give_up_when_npm_does() {
    let vectors = vectors();
    let expected: Vec<u64> = list(&vectors["blackhole"]).iter().map(|at| number(at).into()).collect();
    let mut world = World::connected(Link::new(Duration::ZERO), Config::default(), 1);
    world.with(A, |stream| stream.write(b"hello"));
    world.run(ms(100));
    world.lose = Some(Box::new(|_, _| true));
    world.record = Some(Vec::new());
    let begun = world.elapsed();
    world.with(A, |stream| stream.write(b"anybody?"));
    world.run_until(Duration::from_secs(60), |world| world.closed(A).is_some());
    let mut times: Vec<u64> =
        world.record.iter().flatten().map(|sent| (sent.at - begun).as_millis() as u64).collect();
    times.push((world.elapsed() - begun).as_millis() as u64);
    assert_eq!(world.closed(A), Some(Some(StreamError::TimedOut)));
    // Ours probes the tail a little later.
    let near = times.iter().zip(&expected).all(|(ours, npm)| ours.abs_diff(*npm) <= 20);
    assert!(near && times.len() == expected.len(), "{times:?}, {expected:?}");
}
