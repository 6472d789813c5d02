//! kill -9 of the server at random moments, under appends of four clients at once:
//! what was acknowledged is there, nothing else is, every core opens and verifies.

use bytes::Bytes;
use hyperspace_e2e::binaries;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell;
use hyperspace_e2e::wire::{Failure, Wire};
use hyperspace_schema::messages::{AppendRequest, GetRequest};
use hyperspace_schema::methods::hypercore::{Append, Get};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const KILLS: u32 = 200;
const CLIENTS: u64 = 4;
/// The core that all clients append to; each has one of its own besides.
const SHARED: u64 = CLIENTS;

/// A block that tells who made it, and can be made again to compare.
fn block(client: u64, counter: u64) -> Bytes {
    let mut random = Random::new(client << 40 | counter);
    // Most are small; one in eight is large enough for a segment file.
    let length = if random.below(8) == 0 { 4_000 + random.below(16_000) } else { random.below(400) };
    let mut bytes = [client.to_le_bytes(), counter.to_le_bytes()].concat();
    bytes.extend(random.bytes(length as usize));
    bytes.into()
}

/// Who made this block?
fn maker(block: &[u8]) -> Option<(u64, u64)> {
    let number = |at: usize| Some(u64::from_le_bytes(block.get(at..at + 8)?.try_into().ok()?));
    Some((number(0)?, number(8)?))
}

/// A core's blocks by index: who made each, and which of its maker's it is.
type Blocks = BTreeMap<u64, (u64, u64)>;

/// What the server has acknowledged, by core.
#[derive(Default)]
struct Acknowledged {
    cores: Mutex<BTreeMap<u64, Blocks>>,
}

impl Acknowledged {
    fn note(&self, core: u64, first: u64, client: u64, counters: &[u64]) {
        let mut cores = self.cores.lock().expect("no panic under this lock");
        let blocks = cores.entry(core).or_default();
        for (index, counter) in (first..).zip(counters) {
            let before = blocks.insert(index, (client, *counter));
            assert_eq!(before, None, "block {index} of core {core} was acknowledged twice");
        }
    }
}

/// Appends until the server is gone.
fn appends(socket: &Path, client: u64, counter: &mut u64, acknowledged: &Acknowledged) {
    let Ok(mut wire) = Wire::connect(socket) else { return };
    for core in [client, SHARED] {
        match wire.open(core as u32, &format!("crash-{core}")) {
            Ok(_) => {}
            Err(Failure::Broken(_)) => return,
            Err(e) => panic!("core {core} does not open: {e:?}"),
        }
    }
    loop {
        let core = if counter.is_multiple_of(3) { SHARED } else { client };
        let count = 1 + *counter % 5;
        let counters: Vec<u64> = (*counter..*counter + count).collect();
        // Numbers are never used again: what is not acknowledged may be there all the same.
        *counter += count;
        let blocks = counters.iter().map(|counter| block(client, *counter)).collect();
        let append = AppendRequest { id: core as u32, blocks, ..AppendRequest::default() };
        match wire.call::<Append>(&append) {
            Ok(appended) => acknowledged.note(core, appended.seq, client, &counters),
            Err(Failure::Broken(_)) => return,
            Err(e) => panic!("an append fails: {e:?}"),
        }
    }
}

/// Reads every core from `from` on, and holds it against what was acknowledged.
/// Returns the cores' lengths.
fn check(socket: &Path, from: &[u64], acknowledged: &Acknowledged) -> Vec<u64> {
    let mut wire = Wire::connect(socket).expect("the server listens");
    let cores = acknowledged.cores.lock().expect("no panic under this lock");
    let mut lengths = Vec::new();
    for core in 0..=SHARED {
        let opened = wire.open(core as u32, &format!("crash-{core}")).expect("every core opens");
        let expected = cores.get(&core);
        let last = expected.and_then(|blocks| blocks.last_key_value()).map_or(0, |(last, _)| last + 1);
        assert!(opened.length >= last, "core {core}: {} blocks, {last} acknowledged", opened.length);
        for seq in from[core as usize]..opened.length {
            let get = GetRequest { id: core as u32, seq, wait: Some(false), ..GetRequest::default() };
            let got = wire.call::<Get>(&get).unwrap_or_else(|e| panic!("core {core}, block {seq}: {e:?}"));
            let got = got.block.unwrap_or_default();
            let (client, counter) =
                maker(&got).unwrap_or_else(|| panic!("core {core}, block {seq}: no block of ours"));
            assert!(
                got == block(client, counter),
                "core {core}, block {seq}: its content is not what was appended"
            );
            if let Some(expected) = expected.and_then(|blocks| blocks.get(&seq)) {
                assert_eq!(
                    *expected,
                    (client, counter),
                    "core {core}, block {seq} is another than acknowledged"
                );
            }
        }
        lengths.push(opened.length);
    }
    lengths
}

#[test]
fn killed_at_200_random_moments() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(200);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let scratch = Scratch::new();
    let acknowledged = Acknowledged::default();
    let mut counters = [0; CLIENTS as usize];
    let mut checked = vec![0; CLIENTS as usize + 1];
    for _ in 0..KILLS {
        let server = Server::start(&scratch);
        checked = check(server.socket(), &checked, &acknowledged);
        std::thread::scope(|threads| {
            for (client, counter) in (0..).zip(counters.iter_mut()) {
                let (socket, acknowledged) = (scratch.socket(), &acknowledged);
                threads.spawn(move || appends(&socket, client, counter, acknowledged));
            }
            // A random moment: this is no waiting for something.
            std::thread::sleep(Duration::from_micros(random.below(60_000)));
            server.kill();
        });
    }
    let server = Server::start(&scratch);
    let lengths = check(server.socket(), &[0; CLIENTS as usize + 1], &acknowledged);
    println!("{KILLS} kills; blocks a core: {lengths:?}");
    assert!(lengths.iter().all(|length| *length > 0), "the clients did append");
    assert!(server.stop().success());
    let said = shell::run(
        scratch.command(binaries::hyperspace()).arg("verify").arg("--storage").arg(scratch.storage()),
    );
    println!("{said}");
}
