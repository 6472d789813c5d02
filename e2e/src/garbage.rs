//! Garbage: strangers send random and mutated datagrams to every port of real processes, a
//! server that serves a peer and a node of the DHT that relays for two others, and to the
//! sockets of a peer behind a firewall, while what these transfer goes on.
//!
//! [`run`] is what both `scripts/bench garbage`, with a million datagrams, and a test, with
//! fewer, do. It fails if a process ends, if one grows by more than [`MOST_GROWTH`], or if a
//! transfer stands still.

mod kinds;
mod ports;
mod stranger;
mod transfers;

use crate::dht::Dht;
use crate::process::{PATIENCE, Process};
use crate::{binaries, process::Usage};
use anyhow::{Context, ensure};
use hyperswarm::KeyPair;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use stranger::{Stranger, Target};
use transfers::{Echoed, Served};

/// By so much each process may have grown in the end, in KiB: tables and queues may be as
/// full as they get.
pub const MOST_GROWTH: u64 = 48 << 10;

/// In so many parts of the time, each transfer has to come on.
const PARTS: u64 = 4;

/// After so long, nothing has to do with the garbage any more; after little of it, it is looked
/// sooner.
const SETTLING: Duration = Duration::from_secs(12);

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Sent to all ports together.
    pub datagrams: u64,
    /// Streams that strangers have had opened, and whose packets were among it.
    pub streams: u64,
    /// The number of ports that they were sent to, over time.
    pub ports: usize,
    /// Of these, thrown away by the kernel: nobody was there to take them in time.
    pub dropped: u64,
    /// Bytes of the garbage, and of what came back.
    pub bytes: (u64, u64),
    /// How long it took.
    pub time: Duration,
    /// From the server to its peer: bytes a second, before and meanwhile.
    pub served: (f64, f64),
    /// By way of the relay, and back: likewise.
    pub relayed: (f64, f64),
    /// And over a socket that was opened for one connection.
    pub punched: (f64, f64),
    /// What each process uses: before, and afterwards.
    pub usage: Vec<(&'static str, Usage, Usage)>,
}

/// Bytes a second since that was asked the last time.
struct Rate {
    bytes: Arc<AtomicU64>,
    last: u64,
    since: Instant,
}

impl Rate {
    fn new(bytes: Arc<AtomicU64>) -> Self {
        let last = bytes.load(Ordering::Relaxed);
        Self { bytes, last, since: Instant::now() }
    }

    fn take(&mut self) -> f64 {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let rate = (bytes - self.last) as f64 / self.since.elapsed().as_secs_f64();
        (self.last, self.since) = (bytes, Instant::now());
        rate
    }
}

/// A node of the DHT that relays, by the key of that pair.
fn relay(dht: &Dht, pair: &KeyPair) -> anyhow::Result<Process> {
    let file = dht.scratch().join("relay");
    std::fs::write(&file, pair.seed()).context("the seed of the relay")?;
    let mut command = dht.scratch().command(binaries::hyperspace());
    command.args(["dht", "--host", "127.0.0.1", "--port", "0", "--bootstrap", dht.bootstrap(), "--relay"]);
    let relay = Process::start(command.arg(&file));
    relay.wait_for_line("Relaying for");
    Ok(relay)
}

/// Sends so many datagrams, at most `rate` a second. On a runtime of several threads.
///
/// # Errors
/// If anything of what is promised above is not so.
pub async fn run(datagrams: u64, rate: u64) -> anyhow::Result<Report> {
    let pair = KeyPair::generate().context("random numbers")?;
    let (dht, mut relay) = tokio::task::block_in_place(|| {
        let dht = Dht::new();
        let relay = relay(&dht, &pair);
        relay.map(|relay| (dht, relay))
    })?;
    // As long as the machine has little to do: what their sockets look like from outside is
    // asked only once.
    let mut punched = Echoed::punched(&dht).await?;
    let mut relayed = Echoed::relayed(&dht, pair.public_key()).await?;
    let mut served = Served::start(&dht).await?;
    let server_key = served.server_key().await?;

    let mut rates = [served.bytes(), relayed.bytes(), punched.bytes()].map(Rate::new);
    let expected = Duration::from_secs_f64(datagrams as f64 / rate as f64);
    tokio::time::sleep(expected.clamp(Duration::from_secs(2), Duration::from_secs(20))).await;
    let before = rates.each_mut().map(Rate::take);
    ensure!(before.iter().all(|rate| *rate > 0.0), "nothing is transferred: {before:?}");
    let pids =
        [("the server", served.server_pid()), ("its peer", served.peer_pid()), ("the relay", relay.pid())];
    let usage = pids.map(|(name, pid)| (name, Usage::of(pid)));

    let targets = vec![
        Target { pid: Some(pids[0].1), ports: Vec::new(), key: server_key },
        Target { pid: Some(pids[2].1), ports: Vec::new(), key: pair.public_key() },
        Target { pid: None, ports: punched.ports(), key: punched.key() },
    ];
    let mut stranger = Stranger::new(targets, rate)?;
    let started = Instant::now();
    stranger = tokio::task::spawn_blocking(move || stranger.send_malformed().map(|()| stranger))
        .await
        .context("the stranger")??;
    for part in 0..PARTS {
        let count = datagrams * (part + 1) / PARTS - datagrams * part / PARTS;
        let sending = tokio::task::spawn_blocking(move || stranger.send(count).map(|()| stranger));
        stranger = sending.await.context("the stranger")??;
        for (which, rate) in ["the server's", "the relay's", "the punched"].into_iter().zip(&rates) {
            let coming = async {
                while rate.bytes.load(Ordering::Relaxed) == rate.last {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::time::timeout(PATIENCE, coming)
                .await
                .with_context(|| format!("{which} transfer stands still"))?;
        }
    }
    let time = started.elapsed();
    let meanwhile = rates.each_mut().map(Rate::take);

    // What the garbage has begun ends by itself, and all goes on as before.
    tokio::time::sleep(expected.min(SETTLING)).await;
    ensure!(
        rates.each_mut().map(Rate::take).iter().all(|rate| *rate > 0.0),
        "nothing is transferred any more"
    );
    served.check()?;
    relayed.check()?;
    punched.check()?;
    ensure!(relay.ended().is_none(), "the relay has ended:\n{}", relay.said());
    let said = [served.said(), relay.said()].join("\n");
    ensure!(!said.contains("panicked"), "somebody has panicked:\n{said}");
    let usage = usage.map(|(name, before)| {
        let pid = pids.iter().find(|(of, _)| *of == name).map_or(0, |(_, pid)| *pid);
        (name, before, Usage::of(pid))
    });
    for (name, before, after) in &usage {
        let grown = after.anonymous.saturating_sub(before.anonymous);
        ensure!(grown <= MOST_GROWTH, "{name} has grown by {grown} KiB: {before:?}, {after:?}");
    }
    Ok(Report {
        datagrams,
        streams: stranger.streams(),
        ports: stranger.ports(),
        dropped: stranger.dropped(),
        bytes: stranger.bytes(),
        time,
        served: (before[0], meanwhile[0]),
        relayed: (before[1], meanwhile[1]),
        punched: (before[2], meanwhile[2]),
        usage: usage.to_vec(),
    })
}
