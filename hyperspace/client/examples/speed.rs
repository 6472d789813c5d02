//! How fast a server answers this client, row by row:
//! `cargo run --release -p hyperspace-client --example speed [SOCKET-PATH]`.
//!
//! Blocks are read through another connection than the one that appended them, so
//! that none is in the cache already.

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use hyperspace_api::{Core, CoreError, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{ClientOptions, Endpoint, HyperspaceClient, RemoteHypercore};
use std::time::Instant;

const SMALL: u64 = 100_000;
const LARGE: u64 = 2_000;

fn row(what: &str, unit: &str, amount: f64, start: Instant) {
    println!("{what:<50} {:>12.0} {unit}", amount / start.elapsed().as_secs_f64());
}

async fn open(
    endpoint: &Endpoint,
    core: &RemoteHypercore,
    cache: bool,
) -> Result<RemoteHypercore, CoreError> {
    let mut options = ClientOptions::default();
    if !cache {
        options.cache_bytes = 0;
    }
    let client = HyperspaceClient::connect_with(endpoint.clone(), options).await?;
    client.corestore(None).open(OpenTarget::Key(core.key())).await
}

async fn random(core: &RemoteHypercore, count: u64, width: usize) {
    let length = core.length();
    let gets = (0..count).map(|n| {
        let core = core.clone();
        let index = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % length;
        async move { core.get(index, GetOptions::default()).await }
    });
    let failed = stream::iter(gets).buffer_unordered(width).filter(|got| std::future::ready(got.is_err()));
    assert_eq!(failed.count().await, 0);
}

async fn measure(endpoint: Endpoint) -> Result<(), CoreError> {
    let client = HyperspaceClient::connect(endpoint.clone()).await?;
    let store = client.corestore(None);
    let core = store.open(OpenTarget::New).await?;

    let block = Bytes::from(vec![7; 100]);
    let start = Instant::now();
    for _ in 0..SMALL / 5 {
        core.append(vec![block.clone()], None).await?;
    }
    row("append 100 B one by one", "blocks/s", SMALL as f64 / 5.0, start);
    let start = Instant::now();
    for _ in 0..SMALL / 1000 * 5 {
        core.append(vec![block.clone(); 1000], None).await?;
    }
    row("append 100 B in batches of 1,000", "blocks/s", SMALL as f64 * 5.0, start);

    let reader = open(&endpoint, &core, true).await?;
    let start = Instant::now();
    for index in 0..SMALL {
        reader.get(index, GetOptions::default()).await?;
    }
    row("get sequential, one at a time", "blocks/s", SMALL as f64, start);
    let start = Instant::now();
    random(&open(&endpoint, &core, false).await?, SMALL, 1).await;
    row("get random, one at a time, no cache", "blocks/s", SMALL as f64, start);
    let start = Instant::now();
    random(&open(&endpoint, &core, false).await?, SMALL * 4, 64).await;
    row("get random, 64 in flight, no cache", "blocks/s", SMALL as f64 * 4.0, start);

    let large = store.open(OpenTarget::New).await?;
    let block = Bytes::from(vec![7; 65_536]);
    let mib = LARGE as f64 / 16.0;
    let start = Instant::now();
    for _ in 0..LARGE / 16 {
        large.append(vec![block.clone(); 16], None).await?;
    }
    row("append 64 KiB in batches of 16", "MiB/s", mib, start);
    let reader = open(&endpoint, &large, true).await?;
    let start = Instant::now();
    let gets = (0..large.length()).map(|index| reader.get(index, GetOptions::default()));
    assert!(stream::iter(gets).buffered(16).all(|got| std::future::ready(got.is_ok())).await);
    row("read back 64 KiB, 16 in flight", "MiB/s", mib, start);
    let reader = open(&endpoint, &large, true).await?;
    let start = Instant::now();
    for index in 0..large.length() {
        reader.get(index, GetOptions::default()).await?;
    }
    row("read back 64 KiB, one at a time", "MiB/s", mib, start);

    let start = Instant::now();
    let tag = start.elapsed().as_nanos() ^ u128::from(std::process::id());
    for n in 0..1000 {
        store.open(OpenTarget::Name(format!("speed {tag} {n}"))).await?;
    }
    row("open new named cores", "cores/s", 1000.0, start);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let endpoint =
        std::env::args_os().nth(1).map_or_else(Endpoint::default, |path| Endpoint::Unix(path.into()));
    // Not on the main thread, whose futures are woken from another.
    tokio::spawn(measure(endpoint)).await??;
    Ok(())
}
