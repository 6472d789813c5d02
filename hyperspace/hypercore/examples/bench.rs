//! How fast is the store? `cargo run --release -p hypercore --example bench [DIR]`
//!
//! Prints one line a row. Numbers of one run on a busy machine mean little; compare medians.

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, GetOptions};
use hypercore::{Corestore, LocalCore, StoreOptions};
use std::time::{Duration, Instant};

const LOCAL: GetOptions = GetOptions::LOCAL;

fn row(name: &str, count: u64, unit: &str, time: Duration) {
    let rate = count as f64 / time.as_secs_f64();
    println!("{name:<44} {rate:>14.0} {unit}/s {:>10.2} µs each", time.as_secs_f64() * 1e6 / count as f64);
}

async fn append(core: &LocalCore, size: usize, batch: usize, batches: u64) -> Duration {
    let blocks: Vec<Bytes> = (0..batch).map(|at| Bytes::from(vec![at as u8; size])).collect();
    let start = Instant::now();
    for _ in 0..batches {
        core.append(blocks.clone(), None).await.expect("append");
    }
    start.elapsed()
}

async fn read(core: &LocalCore, indexes: impl Iterator<Item = u64>) -> Duration {
    let start = Instant::now();
    for index in indexes {
        core.get(index, LOCAL).await.expect("get");
    }
    start.elapsed()
}

/// Numbers that jump about.
fn shuffled(below: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15) % below)
}

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temp = tempfile::tempdir()?;
    let dir = std::env::args().nth(1).map_or_else(|| temp.path().join("store"), Into::into);
    let open = || Corestore::open(&dir, StoreOptions::default());
    let store = open()?;

    let ones = store.open_name("ones")?;
    row("append 100 B one by one", 100_000, "appends", append(&ones, 100, 1, 100_000).await);
    let batches = store.open_name("batches")?;
    row("append 100 B in batches of 1,000", 2_000_000, "blocks", append(&batches, 100, 1000, 2000).await);
    let large = store.open_name("large")?;
    let time = append(&large, 65_536, 16, 1024).await;
    row("append 64 KiB in batches of 16", 1024, "MiB", time);
    let start = Instant::now();
    store.flush().await?;
    row("  and flush", 1, "flushes", start.elapsed());
    let start = Instant::now();
    for _ in 0..200 {
        append(&ones, 100, 1, 1).await;
        ones.flush().await?;
    }
    row("append 100 B and flush", 200, "appends", start.elapsed());

    let start = Instant::now();
    for at in 0..10_000u32 {
        store.open_name(at.to_be_bytes())?;
    }
    row("open 10,000 new named cores", 10_000, "cores", start.elapsed());

    store.settle().await?;
    row("get 64 KiB in order", 1024 * 16, "blocks", read(&large, 0..1024 * 16).await);
    row("get 64 KiB at random", 10_000, "blocks", read(&large, shuffled(1024 * 16, 10_000)).await);
    row("get 100 B in order", 1_000_000, "blocks", read(&batches, 0..1_000_000).await);
    row("get 100 B at random", 100_000, "blocks", read(&batches, shuffled(2_000_000, 100_000)).await);
    row(
        "get 100 B at random (appended one by one)",
        100_000,
        "blocks",
        read(&ones, shuffled(100_000, 100_000)).await,
    );
    row("get 100 B, cached", 1_000_000, "blocks", read(&ones, (0..1_000_000).map(|at| at % 50)).await);
    let start = Instant::now();
    for offset in shuffled(200_000_000, 20_000) {
        batches.seek(offset, LOCAL).await?;
    }
    row("seek in 2,000,000 blocks", 20_000, "seeks", start.elapsed());
    println!("{:<44} {}", "memory", status("VmRSS"));
    println!("{:<44} {}", "peak memory", status("VmHWM"));
    println!("{:<44} {}", "descriptors", std::fs::read_dir("/proc/self/fd")?.count());
    println!("{:<44} {} MiB", "disk", store.stats()?.disk_bytes >> 20);

    store.close().await?;
    drop((store, ones, batches, large));
    let start = Instant::now();
    let store = open()?;
    row("reopen, with 10,003 cores", 1, "opens", start.elapsed());
    let start = Instant::now();
    for at in 0..10_000u32 {
        store.open_name(at.to_be_bytes())?;
    }
    row("open 10,000 known cores", 10_000, "cores", start.elapsed());
    let large = store.open_name("large")?;
    let start = Instant::now();
    large.clear(0, large.length()).await?;
    store.settle().await?;
    row("clear 1 GiB", 1, "clears", start.elapsed());
    println!("{:<44} {} MiB", "disk", store.stats()?.disk_bytes >> 20);
    Ok(())
}
