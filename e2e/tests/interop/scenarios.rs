//! What is done with one core between a writer and a reader.

use crate::side::{Digest, Kind, Side, block};
use anyhow::{Context, bail, ensure};
use hyperspace_e2e::random::Random;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Download,
    Sparse,
    Tail,
    Seek,
    Reconnect,
    Rewrite,
}

impl Scenario {
    pub const ALL: [Self; 6] =
        [Self::Download, Self::Sparse, Self::Tail, Self::Seek, Self::Reconnect, Self::Rewrite];
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Download => "full download",
            Self::Sparse => "500 sparse gets",
            Self::Tail => "live tail",
            Self::Seek => "byte seeks",
            Self::Reconnect => "reconnects",
            Self::Rewrite => "rewritten",
        })
    }
}

/// No scenario takes so long, on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// Blocks of a full download.
const FULL: u64 = 3000;
/// Blocks of a core of which some are read.
const SPARSE: u64 = 5000;
/// How many those are.
const GETS: u64 = 500;
/// Byte offsets that are looked for.
const SEEKS: u64 = 200;
/// The most blocks that a reader may have asked for and not got yet.
const IN_FLIGHT: u64 = 512;

/// A writer and a reader that are connected, perhaps by way of a third.
pub struct Pair<'a> {
    pub writer: &'a Side,
    /// Has all that the writer has, and gives it to the reader.
    pub relay: Option<&'a Side>,
    pub reader: &'a Side,
    /// Who called, of the reader and whom it is connected with, and where.
    pub caller: &'a Side,
    pub port: u16,
}

impl Pair<'_> {
    /// `None`: the writer cannot sign that kind.
    pub async fn run(&self, kind: Kind, scenario: Scenario) -> anyhow::Result<Option<()>> {
        let name = format!("{kind} {scenario}");
        let Some(key) = self.writer.create(kind, &name).await? else { return Ok(None) };
        if let Some(relay) = self.relay {
            relay.open(&key).await.context("the relay")?;
            relay.live(&key).await.context("the relay")?;
        }
        let sides = [Some(self.writer), self.relay, Some(self.reader)].into_iter().flatten();
        let going = self.go(&key, kind, scenario);
        match tokio::time::timeout(LONG, going).await {
            Ok(went) => went?,
            Err(_) => {
                let mut said = format!("not within {LONG:?}");
                for side in sides {
                    let state = tokio::time::timeout(LONG, side.describe(&key)).await;
                    let faults = side.faults().await;
                    said += &format!("\n  {}, {faults:?}", state.unwrap_or("it does not answer".to_owned()));
                }
                bail!(said);
            }
        }
        for side in sides {
            let mut faults = side.faults().await?;
            if scenario == Scenario::Rewrite {
                // Who truncates hypercore 11 while it serves has it break its own streams, also
                // between two of its kind: it looks for tree nodes that are no more.
                faults.retain(|fault| !fault.contains("Expected tree node"));
            }
            ensure!(faults.is_empty(), "{faults:?}");
        }
        Ok(Some(()))
    }

    async fn go(&self, key: &str, kind: Kind, scenario: Scenario) -> anyhow::Result<()> {
        match scenario {
            Scenario::Download => self.download(key).await,
            Scenario::Sparse => self.sparse(key).await,
            Scenario::Tail => self.tail(key, kind).await,
            Scenario::Seek => self.seek(key).await,
            Scenario::Reconnect => self.reconnect(key, kind).await,
            Scenario::Rewrite => self.rewrite(key).await,
        }
    }

    /// Appends what the core begins with, and has the reader open it.
    async fn begin(&self, key: &str, length: u64) -> anyhow::Result<()> {
        self.writer.append(key, 0, length, 0, 500).await.context("appending")?;
        if let Some(relay) = self.relay {
            relay.reach(key, length, 0).await.context("the relay")?;
        }
        self.reader.open(key).await.context("opening")
    }

    async fn ends_with(&self, key: &str, blocks: impl Iterator<Item = bytes::Bytes>) -> anyhow::Result<()> {
        let (mut length, mut byte_length) = (0, 0);
        let blocks = blocks.inspect(|block| {
            length += 1;
            byte_length += block.len() as u64;
        });
        let expected = Digest::of(blocks);
        ensure!(self.reader.digest(key, 0, length).await? == expected, "other blocks came");
        let info = self.reader.info(key).await?;
        ensure!((info.length, info.byte_length) == (length, byte_length), "{info:?}");
        Ok(())
    }

    async fn download(&self, key: &str) -> anyhow::Result<()> {
        self.begin(key, FULL).await?;
        self.reader.download(key, 0, FULL).await?;
        let info = self.reader.info(key).await?;
        ensure!(info.blocks_in <= FULL + IN_FLIGHT, "{info:?}");
        self.ends_with(key, (0..FULL).map(|index| block(index, 0))).await
    }

    async fn sparse(&self, key: &str) -> anyhow::Result<()> {
        self.begin(key, SPARSE).await?;
        let mut random = Random::new(7);
        let mut wanted = BTreeSet::new();
        while (wanted.len() as u64) < GETS {
            wanted.insert(random.below(SPARSE));
        }
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        for at in (1..wanted.len()).rev() {
            wanted.swap(at, random.below(at as u64 + 1) as usize);
        }
        let expected = Digest::of(wanted.iter().map(|&index| block(index, 0)));
        ensure!(self.reader.get(key, &wanted).await? == expected, "other blocks came");
        // And no others. (An upgrade may come without a block.)
        let info = self.reader.info(key).await?;
        ensure!(info.blocks_in <= GETS + 1, "{info:?}");
        Ok(())
    }

    async fn tail(&self, key: &str, kind: Kind) -> anyhow::Result<()> {
        let appends = if is_thorough(kind) { 10_000 } else { 1000 };
        self.begin(key, 0).await?;
        self.reader.live(key).await?;
        let (appended, reached) =
            tokio::join!(self.writer.append(key, 0, appends, 0, 1), self.reader.reach(key, appends, 0));
        appended?;
        reached?;
        self.ends_with(key, (0..appends).map(|index| block(index, 0))).await
    }

    async fn seek(&self, key: &str) -> anyhow::Result<()> {
        self.begin(key, FULL).await?;
        let mut ends = Vec::new();
        let mut byte_length = 0;
        for index in 0..FULL {
            byte_length += block(index, 0).len() as u64;
            ends.push(byte_length);
        }
        let mut random = Random::new(11);
        let mut offsets: Vec<_> = (0..SEEKS).map(|_| random.below(byte_length)).collect();
        // Where blocks meet.
        offsets.extend([0, ends[0] - 1, ends[0], ends[99], byte_length - 1]);
        let expected: Vec<_> = offsets
            .iter()
            .map(|&at| {
                let index = ends.partition_point(|&end| end <= at);
                (index as u64, at - index.checked_sub(1).map_or(0, |before| ends[before]))
            })
            .collect();
        let found = self.reader.seek(key, &offsets).await?;
        for ((at, expected), found) in offsets.iter().zip(expected).zip(found) {
            ensure!(found == expected, "byte {at} is at {expected:?}, not {found:?}");
        }
        Ok(())
    }

    async fn reconnect(&self, key: &str, kind: Kind) -> anyhow::Result<()> {
        let (length, reconnects) = if is_thorough(kind) { (20_000, 20) } else { (5000, 5) };
        self.begin(key, length).await?;
        let going = async {
            for round in 0..reconnects {
                self.reader.more(key, 20).await?;
                let info = self.reader.info(key).await?;
                ensure!(info.blocks_in < length, "complete before it was interrupted {round} times");
                self.caller.disconnect().await?;
                self.caller.connect(self.port).await?;
            }
            Ok(())
        };
        let (downloaded, went) = tokio::join!(self.reader.download(key, 0, length), going);
        went?;
        downloaded?;
        let info = self.reader.info(key).await?;
        ensure!(info.blocks_in <= length + reconnects * IN_FLIGHT, "{info:?}");
        self.ends_with(key, (0..length).map(|index| block(index, 0))).await
    }

    async fn rewrite(&self, key: &str) -> anyhow::Result<()> {
        const KEPT: u64 = 700;
        const REWRITTEN: u64 = FULL + 300;
        self.begin(key, FULL).await?;
        let (live, come) = tokio::join!(self.reader.live(key), self.reader.more(key, 100));
        live?;
        come?;
        self.writer.truncate(key, KEPT).await.context("truncating")?;
        self.writer.append(key, KEPT, REWRITTEN, 1, 100).await.context("appending")?;
        self.reader.reach(key, REWRITTEN, 1).await?;
        let info = self.reader.info(key).await?;
        ensure!(info.fork == 1, "{info:?}");
        self.ends_with(key, (0..REWRITTEN).map(|index| block(index, u64::from(index >= KEPT)))).await
    }
}

/// What takes long is done in full with the usual kind of core; with the others if
/// `HYPERSPACE_INTEROP` says so.
fn is_thorough(kind: Kind) -> bool {
    kind == Kind::V1 || std::env::var("HYPERSPACE_INTEROP").is_ok_and(|how| how == "full")
}
