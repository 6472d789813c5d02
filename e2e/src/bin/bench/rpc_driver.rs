//! The rows of `bench rpc`, driven by the Rust client. The same work as
//! `e2e/interop/bench-rpc.js` does; blocks are read by another connection than the one
//! that appended them, so that no cache of the client has them already.

use crate::Plan;
use anyhow::ensure;
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient, RemoteCorestore, RemoteHypercore};
use hyperspace_e2e::random::Random;
use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SMALL: usize = 100;
const LARGE: usize = 64 * 1024;

struct Driver {
    endpoint: Endpoint,
    rows: Map<String, Value>,
}

/// Processor seconds that this process has used.
fn processor_seconds() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0.0 };
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

impl Driver {
    /// A connection with nothing in its cache.
    async fn store(&self) -> anyhow::Result<RemoteCorestore> {
        Ok(HyperspaceClient::connect(self.endpoint.clone()).await?.corestore(None))
    }

    async fn open(&self, name: &str) -> anyhow::Result<RemoteHypercore> {
        Ok(self.store().await?.open(OpenTarget::Name(format!("bench-rust-{name}"))).await?)
    }

    async fn row<T>(
        &mut self,
        name: &str,
        amount: u64,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let (start, used) = (Instant::now(), processor_seconds());
        let done = work.await?;
        let seconds = start.elapsed().as_secs_f64();
        let busy = (processor_seconds() - used) / seconds;
        self.rows.insert(name.to_owned(), json!({"rate": amount as f64 / seconds, "busy": busy}));
        Ok(done)
    }
}

/// Gets `count` blocks of `core`, `width` at a time; `index` says which. Each must be
/// `size` bytes long.
async fn gets(
    core: RemoteHypercore,
    count: u64,
    width: usize,
    size: usize,
    index: impl Fn(u64) -> u64 + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..width)
        .map(|_| {
            let (core, next, index) = (core.clone(), Arc::clone(&next), index.clone());
            tokio::spawn(async move {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return anyhow::Ok(());
                    }
                    let block = core.get(index(i), GetOptions::default()).await?;
                    ensure!(block.len() == size, "block {} has {} bytes", index(i), block.len());
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    Ok(())
}

async fn drive(driver: &mut Driver, plan: Plan) -> anyhow::Result<()> {
    let small = Bytes::from(vec![b'a'; SMALL]);
    let large = Bytes::from(Random::new(1).bytes(LARGE));

    let core = driver.open("single").await?;
    let appends = plan.scaled(20_000);
    driver
        .row("append", appends, async {
            for _ in 0..appends {
                core.append(vec![small.clone()], None).await?;
            }
            Ok(())
        })
        .await?;

    let core = driver.open("batched").await?;
    let batches = plan.scaled(200);
    let blocks = batches * 1000;
    driver
        .row("append_batch", blocks, async {
            for _ in 0..batches {
                core.append(vec![small.clone(); 1000], None).await?;
            }
            Ok(())
        })
        .await?;

    let core = driver.open("large").await?;
    let larges = plan.scaled(256); // MiB: 16 blocks of 64 KiB
    driver
        .row("append_large", larges, async {
            for _ in 0..larges {
                core.append(vec![large.clone(); 16], None).await?;
            }
            Ok(())
        })
        .await?;

    let core = driver.open("large").await?;
    driver.row("read_large", larges, gets(core, larges * 16, 16, LARGE, |i| i)).await?;

    let core = driver.open("batched").await?;
    let count = plan.scaled(20_000).min(blocks);
    driver
        .row("get_sequential", count, async {
            for i in 0..count {
                ensure!(core.get(i, GetOptions::default()).await?.len() == SMALL, "block {i}");
            }
            Ok(())
        })
        .await?;

    let core = driver.open("batched").await?;
    let count = plan.scaled(100_000);
    driver.row("get_random", count, gets(core, count, 64, SMALL, move |i| (i * 7919) % blocks)).await?;

    let store = driver.store().await?;
    let count = plan.scaled(1000);
    driver
        .row("open", count, async {
            let mut kept = Vec::new();
            for i in 0..count {
                kept.push(store.open(OpenTarget::Name(format!("bench-rust-core-{i}"))).await?);
            }
            Ok(kept)
        })
        .await?;
    Ok(())
}

/// Runs the rows against the server at `socket` and prints the report.
pub fn run(socket: PathBuf, plan: Plan) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut driver = Driver { endpoint: Endpoint::Unix(socket), rows: Map::new() };
    runtime.block_on(drive(&mut driver, plan))?;
    println!("{}", Value::Object(driver.rows));
    Ok(())
}
