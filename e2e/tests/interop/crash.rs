//! kill -9 of a reader, again and again while it downloads.

use crate::rust::RustPeer;
use crate::side::{Digest, Kind, Side, block};
use hypercore::LocalCore;
use hyperspace_api::{Core, CoreEvent, Corestore, GetOptions, Key, OpenTarget};
use hyperspace_client::{ClientOptions, Endpoint, HyperspaceClient, RemoteHypercore};
use hyperspace_e2e::binaries;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::broadcast::error::RecvError;

const KILLS: u64 = 50;
const BLOCKS: u64 = 60_000;
/// Blocks of which the reader has to have heard before it is killed.
const HEARD: u64 = 20;
/// Blocks that may be on their way to the reader: those it asks for at a time, and those it
/// has not stored yet.
const IN_FLIGHT: u64 = 2 * 512;

/// Counts the blocks that go out.
struct Uploads(Arc<AtomicU64>);

impl Uploads {
    fn of(core: &LocalCore) -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let mut events = core.events();
        let counter = count.clone();
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(CoreEvent::Upload { .. }) => counter.fetch_add(1, Ordering::Relaxed),
                    // There is nothing but uploads by then.
                    Err(RecvError::Lagged(missed)) => counter.fetch_add(missed, Ordering::Relaxed),
                    Err(RecvError::Closed) => break,
                    Ok(_) => 0,
                };
            }
        });
        Self(count)
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A reader that calls `peer`, and the core there.
async fn start(scratch: &Scratch, peer: &str, key: Key) -> (Server, HyperspaceClient, RemoteHypercore) {
    let server = Server::start_with(scratch, &["--peer", peer]);
    let options = ClientOptions { reconnect: false, cache_bytes: 0, ..ClientOptions::default() };
    let endpoint = Endpoint::Unix(scratch.socket());
    let client = HyperspaceClient::connect_with(endpoint, options).await.expect("it listens");
    let core = client.corestore(None).open(OpenTarget::Key(key)).await.expect("it opens");
    (server, client, core)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_killed_goes_on_where_it_was() {
    let rust = RustPeer::start().await.expect("a server starts");
    let peer = format!("127.0.0.1:{}", rust.listen().await.expect("it listens"));
    let key = rust.create(Kind::V1, "core").await.expect("a core").expect("ours");
    let uploads = Uploads::of(&rust.core(&key).expect("it is open").local);
    let writer = Side::Rust(rust);
    writer.append(&key, 0, BLOCKS, 0, 1000).await.expect("appended");
    let scratch = Scratch::new();
    let parsed: Key = key.parse().expect("a key");
    for round in 0..KILLS {
        let (server, _client, core) = start(&scratch, &peer, parsed).await;
        let mut downloads = core.watch_downloads();
        let download = core.download_range(hyperspace_client::DownloadRange::live(0));
        let heard = async {
            for _ in 0..HEARD {
                downloads.recv().await;
            }
        };
        tokio::select! {
            () = heard => {}
            _ = download => panic!("a live download has ended"),
            () = tokio::time::sleep(hyperspace_e2e::process::PATIENCE) => panic!("nothing comes, round {round}"),
        }
        server.kill();
        let mut verify = scratch.command(binaries::hyperspace());
        let storage = scratch.storage();
        shell::run(verify.arg("verify").arg("--storage").arg(&storage));
    }
    let before = uploads.count();
    assert!(before < BLOCKS, "complete before it was killed so often: {before}");

    let (server, _client, core) = start(&scratch, &peer, parsed).await;
    core.download(0, BLOCKS).await.expect("it downloads");
    let mut digest = Digest::default();
    for index in 0..BLOCKS {
        digest.add(&core.get(index, GetOptions::LOCAL).await.expect("it is here"));
    }
    assert_eq!(digest.end(), Digest::of((0..BLOCKS).map(|index| block(index, 0))));
    let sent = uploads.count();
    println!("{BLOCKS} blocks, {KILLS} kills: {before} blocks went out before the last start, {sent} in all");
    // Everything once, and a second time what was on its way.
    assert!((BLOCKS..=BLOCKS + KILLS * IN_FLIGHT).contains(&sent), "{sent}");
    drop(server);
}
