//! Bad frames, bad requests and noise: the server lives on, other sessions notice
//! nothing, and memory stays flat. The kinds are in `hostile/kinds.rs`.

#[path = "hostile/kinds.rs"]
mod kinds;

use bytes::{BufMut, Bytes, BytesMut};
use hyperspace_e2e::process::Usage;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::wire::Wire;
use hyperspace_schema::frame::Kind;
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{hypercore, hyperspace};
use kinds::{ASKED, Case, Expect};
use prost::Message;
use std::path::Path;

/// How much a server's memory may grow over a storm, in KiB: what an allocator may
/// keep to itself. A leak of what the storms bring would be several times this.
const FLAT: u64 = 48 * 1024;

/// A session that goes about its own business while others misbehave.
struct Bystander {
    wire: Wire,
    appended: u64,
}

impl Bystander {
    fn new(socket: &Path) -> Self {
        let mut wire = Wire::connect(socket).expect("the server listens");
        let opened = wire.open(0, "bystander").expect("a core of its own");
        Self { wire, appended: opened.length }
    }

    /// Appends and reads back; a panic here means that it was harmed.
    fn check(&mut self, after: &str) {
        let block = format!("block {}", self.appended);
        let append = AppendRequest {
            id: 0,
            blocks: vec![block.clone().into_bytes().into()],
            ..AppendRequest::default()
        };
        let appended = self.wire.call::<hypercore::Append>(&append);
        let appended = appended.unwrap_or_else(|e| panic!("after {after}: the bystander's append: {e:?}"));
        assert_eq!(appended.seq, self.appended, "after {after}");
        let get =
            GetRequest { id: 0, seq: self.appended, resource_id: self.appended, ..GetRequest::default() };
        let got = self.wire.call::<hypercore::Get>(&get);
        let got = got.unwrap_or_else(|e| panic!("after {after}: the bystander's get: {e:?}"));
        assert_eq!(got.block.as_deref(), Some(block.as_bytes()), "after {after}");
        self.appended += 1;
    }
}

/// A session as each bad frame finds it: core 0 is writable and has three blocks,
/// core 1 is somebody else's and empty.
fn victim(socket: &Path) -> Wire {
    let mut wire = Wire::connect(socket).expect("the server listens");
    let opened = wire.open(0, "victim").expect("a writable core");
    if opened.length == 0 {
        let blocks = ["a", "b", "c"].map(Bytes::from).to_vec();
        let append = AppendRequest { id: 0, blocks, ..AppendRequest::default() };
        wire.call::<hypercore::Append>(&append).expect("three blocks");
    }
    let absent = OpenRequest { id: 1, key: Some(vec![7; 32].into()), ..OpenRequest::default() };
    wire.call::<hyperspace_schema::methods::corestore::Open>(&absent).expect("a core of nobody we know");
    wire
}

/// Sends the bytes of `case` on a connection of their own and holds what comes back
/// against what was expected.
fn run(socket: &Path, case: &Case) {
    let name = case.name;
    let mut wire = victim(socket);
    // The server may close the connection while we still write.
    let sent = wire.send(&case.bytes);
    match case.expect {
        Expect::Closed => {
            while let Ok(Some(_)) = wire.receive() {}
            assert!(
                wire.receive().is_ok_and(|frame| frame.is_none()),
                "{name}: the connection should be closed"
            );
            return;
        }
        Expect::Anything => return,
        _ => sent.unwrap_or_else(|e| panic!("{name}: the connection should stay: {e}")),
    }
    if !matches!(case.expect, Expect::Silence) {
        let frame = loop {
            let frame = wire.receive().unwrap_or_else(|e| panic!("{name}: no answer: {e}"));
            let frame = frame.unwrap_or_else(|| panic!("{name}: closed without an answer"));
            if frame.id == ASKED {
                break frame;
            }
        };
        match (case.expect, frame.kind) {
            (Expect::Error(text), Kind::Error) => {
                let error = RpcError::decode(frame.payload).expect("an RPCError");
                let said = format!("{} {}", error.code.unwrap_or_default(), error.message);
                assert!(said.contains(text), "{name}: {said:?} does not say {text:?}");
            }
            (Expect::Answer, Kind::Response) | (Expect::Either, Kind::Response | Kind::Error) => {}
            (expected, kind) => panic!("{name}: {kind:?}, where {expected:?} was expected"),
        }
    }
    // The session is none the worse: its next call is answered, and nothing else is.
    let status = wire.call::<hyperspace::Status>(&Void {});
    status.unwrap_or_else(|e| panic!("{name}: the session's next call: {e:?}"));
}

#[test]
fn every_kind_of_bad_frame_and_request() {
    const ROUNDS: u32 = 30;
    let scratch = Scratch::new();
    let mut server = Server::start(&scratch);
    let mut bystander = Bystander::new(server.socket());
    let cases = kinds::all();
    assert!(cases.len() >= 50, "{} kinds", cases.len());
    for case in &cases {
        run(server.socket(), case);
        assert!(server.alive(), "{}: the server is dead", case.name);
        bystander.check(case.name);
    }
    // The first rounds show the allocator how much it will need.
    let mut before = None;
    for round in 0..ROUNDS {
        if round == ROUNDS / 3 {
            before = Some(settled(&server));
        }
        cases.iter().for_each(|case| run(server.socket(), case));
    }
    bystander.check("all kinds, again and again");
    assert_flat(before.expect("a third of the rounds"), settled(&server), "all kinds, again and again");
}

/// What the server uses once every connection that is gone is gone for it too.
fn settled(server: &Server) -> Usage {
    // Sessions end after their socket does: a few round trips give them their turn.
    for _ in 0..50 {
        let mut wire = Wire::connect(server.socket()).expect("the server listens");
        wire.call::<hyperspace::Status>(&Void {}).expect("the server answers");
    }
    server.usage()
}

fn assert_flat(before: Usage, after: Usage, what: &str) {
    println!("{what}: {} -> {} KiB", before.anonymous, after.anonymous);
    assert!(
        after.anonymous <= before.anonymous + FLAT,
        "{what}: memory grew from {} to {} KiB",
        before.anonymous,
        after.anonymous
    );
    assert!(
        after.descriptors <= before.descriptors + 8,
        "{what}: descriptors grew from {} to {}",
        before.descriptors,
        after.descriptors
    );
}

/// Takes a well-formed frame and spoils it, or makes one up.
fn noise(random: &mut Random, seeds: &[Case]) -> Vec<u8> {
    let mut bytes = if random.below(4) == 0 {
        let length = random.below(300) as usize;
        random.bytes(length)
    } else {
        random.pick(seeds).bytes.clone()
    };
    bytes.truncate(4096);
    for _ in 0..random.below(6) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len() as u64) as usize;
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.number() as u8,
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.number() as u8),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

#[test]
fn seeded_noise() {
    const ROUNDS: u64 = 3_000;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_201_122);
    println!("SEED={seed}");
    let scratch = Scratch::new();
    let mut server = Server::start(&scratch);
    let mut bystander = Bystander::new(server.socket());
    let seeds = kinds::all();
    let mut random = Random::new(seed);
    let mut before = None;
    for round in 0..ROUNDS {
        let mut wire = victim(server.socket());
        let pieces = 1 + random.below(8);
        let mut bytes = BytesMut::new();
        (0..pieces).for_each(|_| bytes.put_slice(&noise(&mut random, &seeds)));
        // A `Stop` that noise happens to spell would be obeyed, as it should be.
        if bytes.windows(2).any(|pair| pair == [0x04, 0x02]) {
            continue;
        }
        let _ = wire.send(&bytes);
        if random.below(2) == 0 {
            let _ = wire.finish();
        }
        if round % 100 == 0 {
            assert!(server.alive(), "SEED={seed}, round {round}: the server is dead");
            bystander.check(&format!("noise, SEED={seed}, round {round}"));
        }
        if round == ROUNDS / 3 {
            before = Some(settled(&server));
        }
    }
    bystander.check("all the noise");
    assert_flat(before.expect("a third of the rounds"), settled(&server), "noise");
}

/// A client that asks and asks and never reads must cost neither memory nor anybody
/// else's time.
#[test]
fn a_client_that_never_reads() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch);
    let mut bystander = Bystander::new(server.socket());
    let mut feeder = Wire::connect(server.socket()).expect("the server listens");
    feeder.open(0, "large").expect("a core");
    let block = Bytes::from(vec![1; 1 << 20]);
    let append = AppendRequest { id: 0, blocks: vec![block; 8], ..AppendRequest::default() };
    feeder.call::<hypercore::Append>(&append).expect("8 MiB");
    bystander.check("the feeder");
    let before = settled(&server);

    let greedy: Vec<Wire> = (0..4)
        .map(|_| {
            let mut wire = Wire::connect(server.socket()).expect("the server listens");
            wire.open(0, "large").expect("a core");
            wire.set_write_timeout(std::time::Duration::from_millis(500)).expect("a socket option");
            // 64 MiB asked for by each; the write stops when the server stops reading.
            for resource in 0..64 {
                let get =
                    GetRequest { id: 0, seq: resource % 8, resource_id: resource, ..GetRequest::default() };
                if wire.send(&kinds::request::<hypercore::Get>(resource + 1, &get)).is_err() {
                    break;
                }
            }
            wire
        })
        .collect();
    bystander.check("clients that never read");
    let during = settled(&server);
    println!("{} -> {} KiB while 256 MiB are asked for", before.anonymous, during.anonymous);
    assert!(during.anonymous < before.anonymous + 128 * 1024, "{} KiB", during.anonymous);
    drop(greedy);
    bystander.check("they have left");
    // Events to one who does not read are bounded too.
    let mut deaf = Wire::connect(server.socket()).expect("the server listens");
    deaf.open(0, "bystander").expect("a core");
    let before = settled(&server);
    for _ in 0..5_000 {
        bystander.check("a client that is deaf to events");
    }
    assert_flat(before, settled(&server), "events to a deaf client");
}
