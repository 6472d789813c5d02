//! `bench idle`: a server that announces a hundred topics and has fifty peers, and is asked
//! for nothing.

use crate::Plan;
use crate::samples::{Samples, machine, number, table};
use hyperspace_e2e::idle::Idle;
use hyperspace_e2e::process::processor_time;
use std::time::Duration;
use tokio::runtime::Runtime;

const TOPICS: usize = 100;
const PEERS: usize = 50;
/// What has begun comes to an end in that time.
const SETTLING: Duration = Duration::from_secs(10);
/// How long it is watched.
const IDLE: Duration = Duration::from_secs(30);

const COLUMN: &str = "ours";
const PROCESSOR: &str = "of one processor (%)";
const MEMORY: &str = "memory (MB)";
const PEER_PROCESSOR: &str = "a peer: of one processor (%)";
const PEER_MEMORY: &str = "a peer: memory (MB)";

/// Runs it and prints the table.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    let runtime = Runtime::new()?;
    for turn in 1..=plan.alternations {
        eprintln!("turn {turn} of {}", plan.alternations);
        runtime.block_on(measure(&mut samples))?;
    }
    println!(
        "{TOPICS} topics announced, {PEERS} peers connected, watched for {} s; medians of {}; {}.\n",
        IDLE.as_secs(),
        plan.alternations,
        machine()
    );
    let rows = [PROCESSOR, MEMORY, PEER_PROCESSOR, PEER_MEMORY]
        .map(|row| vec![row.to_owned(), number(samples.median(COLUMN, row))]);
    table(&["an idle server", COLUMN], &rows);
    Ok(())
}

async fn measure(samples: &mut Samples) -> anyhow::Result<()> {
    let mut idle = Idle::start(TOPICS, PEERS).await?;
    eprintln!("{TOPICS} topics are announced, {PEERS} peers connected");
    tokio::time::sleep(SETTLING).await;
    let pids = [idle.server.pid(), idle.peers[0].pid()];
    let before = [processor_time(pids[0])?, processor_time(pids[1])?];
    tokio::time::sleep(IDLE).await;
    let after = [processor_time(pids[0])?, processor_time(pids[1])?];
    let share = |at: usize| (after[at] - before[at]).div_duration_f64(IDLE) * 100.0;
    samples.add(COLUMN, PROCESSOR, share(0));
    samples.add(COLUMN, MEMORY, idle.server.memory());
    samples.add(COLUMN, PEER_PROCESSOR, share(1));
    samples.add(COLUMN, PEER_MEMORY, idle.peers[0].memory());
    idle.check().await
}
