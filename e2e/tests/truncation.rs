//! A core whose history is rewritten beneath the clients of its server: none of them
//! goes on reading what it kept of the old one.

use bytes::Bytes;
use hypercore::{Corestore as LocalStore, LocalCore};
use hyperspace::{Options, Server};
use hyperspace_api::{Core, CoreEvent, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{ClientOptions, HyperspaceClient, RemoteHypercore};
use hyperspace_e2e::random::Random;
use std::time::Duration;

/// What takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    server: Server<LocalStore>,
    /// The core as the server has it.
    local: LocalCore,
}

impl World {
    async fn new() -> Self {
        let store = LocalStore::memory().expect("a store in memory");
        let local = store.open_name("log").expect("a core in it");
        let server = Server::new(store, Options::default()).await.expect("a server of it");
        Self { server, local }
    }

    /// The core, as a client of its own has it, with a cache.
    async fn client(&self) -> (HyperspaceClient, RemoteHypercore) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        self.server.serve_stream(theirs);
        let client = HyperspaceClient::connect_stream(ours, ClientOptions::default()).await.expect("served");
        let core = client.corestore(None).open(OpenTarget::Name("log".into())).await.expect("the core");
        (client, core)
    }

    fn append(&self, history: u64, count: u64) {
        let first = self.local.length();
        let blocks: Vec<_> = (first..first + count).map(|index| block(history, index)).collect();
        self.local.append_now(&blocks, Some(first)).expect("appended");
    }
}

fn block(history: u64, index: u64) -> Bytes {
    format!("block {index} of history {history}").into()
}

/// Waits until the client has been told of all that has happened.
async fn told(core: &RemoteHypercore, length: u64) {
    let mut events = core.events();
    let telling = async {
        while core.length() != length {
            events.recv().await.expect("an open core");
        }
    };
    tokio::time::timeout(PATIENCE, telling).await.expect("the client is told");
}

/// On one thread the server has no chance to tell of the truncation before the core has
/// grown again: both wait for the client at once.
#[tokio::test(flavor = "current_thread")]
async fn a_truncation_that_growth_follows_at_once_is_noticed() {
    let world = World::new().await;
    world.append(0, 10);
    let (_client, core) = world.client().await;
    assert_eq!(core.get(7, GetOptions::default()).await.expect("it is there"), block(0, 7));
    assert!(core.get_now(7).is_some(), "kept");
    let mut events = core.events();
    world.local.truncate(5, None).expect("truncated");
    world.append(1, 7);
    told(&core, 12).await;
    assert_eq!(core.get(7, GetOptions::default()).await.expect("it is there"), block(1, 7));
    assert_eq!(core.get(3, GetOptions::default()).await.expect("it is there"), block(0, 3));
    assert_eq!(events.recv().await, Ok(CoreEvent::Truncate { length: 5, fork: 0 }));
    assert!(matches!(events.recv().await, Ok(CoreEvent::Append { length: 12, .. })));
}

/// More happens than the server's own queue of events holds.
#[tokio::test(flavor = "current_thread")]
async fn a_truncation_among_events_that_were_lost_is_noticed() {
    let world = World::new().await;
    world.append(0, 10);
    let (_client, core) = world.client().await;
    assert_eq!(core.get(7, GetOptions::default()).await.expect("it is there"), block(0, 7));
    world.local.truncate(5, None).expect("truncated");
    for _ in 0..2000 {
        world.append(1, 1);
    }
    told(&core, 2005).await;
    assert_eq!(core.get(7, GetOptions::default()).await.expect("it is there"), block(1, 7));
    // Growth alone empties no cache, however much of it was lost.
    assert!(core.get_now(7).is_some());
    for _ in 0..2000 {
        world.append(1, 1);
    }
    told(&core, 4005).await;
    assert!(core.get_now(7).is_some());
}

/// An append of the client itself, whose reply may not overtake the truncation before it.
#[tokio::test(flavor = "current_thread")]
async fn the_reply_to_an_append_does_not_hide_a_truncation() {
    let world = World::new().await;
    world.append(0, 10);
    let (_client, core) = world.client().await;
    assert_eq!(core.get(7, GetOptions::default()).await.expect("it is there"), block(0, 7));
    world.local.truncate(5, None).expect("truncated");
    let blocks = (5..12).map(|index| block(1, index)).collect();
    assert_eq!(core.append(blocks, Some(5)).await.expect("appended").length, 12);
    assert_eq!(core.length(), 12);
    assert_eq!(core.get(7, GetOptions::default()).await.expect("it is there"), block(1, 7));
}

/// Several readers, while the core is cut and grows as a seeded die has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_keeps_an_old_history() {
    let world = World::new().await;
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(world.client().await);
    }
    let mut random = Random::new(11);
    // The history that each block is of.
    let mut histories: Vec<u64> = Vec::new();
    for round in 0..300 {
        for _ in 0..1 + random.below(6) {
            if random.below(3) == 0 {
                let length = random.below(histories.len() as u64 + 1);
                world.local.truncate(length, None).expect("truncated");
                histories.truncate(length as usize);
            } else {
                let count = 1 + random.below(30);
                world.append(round, count);
                histories.extend((0..count).map(|_| round));
            }
            // Somebody reads what may go at any moment.
            let (_, core) = &readers[random.below(3) as usize];
            if let Some(last) = histories.len().checked_sub(1) {
                let _ = core.get(last as u64, GetOptions::LOCAL).await;
            }
        }
        // Before this is answered, everybody was told of all that came before; and what
        // they ask from then on is answered after it.
        let (_, writer) = &readers[random.below(3) as usize];
        writer.append(vec![block(round, histories.len() as u64)], None).await.expect("appended");
        histories.push(round);
        for (_, core) in &readers {
            core.info().await.expect("an answer");
            assert_eq!(core.length(), histories.len() as u64);
            for (index, history) in (0..).zip(&histories) {
                let got = core.get(index, GetOptions::LOCAL).await.expect("it is there");
                assert_eq!(got, block(*history, index), "round {round}");
            }
        }
    }
}
