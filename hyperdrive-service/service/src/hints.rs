//! Tells the peers of a drive what is looked for in its index: a walk through an index that
//! is elsewhere costs a few round trips, then, and not one for each step. What they answer is
//! the blocks, which our server stores; those that only tell which they are are asked for them.

use hyperdrive::trie::hints::{self, EXTENSION, Hints, Query, decode_answer};
use hyperspace_api::{Core, CoreError};
use hyperspace_client::{DownloadRange, RemoteHypercore};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Queries that wait to be sent; more are not asked.
const WAITING: usize = 64;
/// Answers whose blocks are being fetched; the oldest are given up for newer ones.
const FETCHED: usize = 128;
/// Blocks of one download: the server asks for so many of a list at a time.
const BLOCKS: usize = 64;
/// Blocks that are not asked for, but looked for next: so many are taken with the first
/// answer, and twice as many with each one of a listing, as far as the peers go. A line that
/// was idle is slow at first, and what comes later has to wait for all of them.
const NEAR: usize = 32;
/// After so long without a query the line is taken to be idle.
const IDLE: Duration = Duration::from_secs(1);
/// How long peers have to send what they told of.
const PATIENCE: Duration = Duration::from_secs(30);

/// The hints of one core. Dropped, it asks no more.
#[derive(Debug)]
struct CoreHints {
    queries: mpsc::Sender<Query>,
    _task: AbortOnDropHandle<()>,
}

/// The hints of `core`. To be called within a tokio runtime.
pub(crate) fn of_core(core: &RemoteHypercore) -> Arc<dyn Hints> {
    let (queries, asked) = mpsc::channel(WAITING);
    let task = tokio::spawn(run(core.clone(), asked));
    Arc::new(CoreHints { queries, _task: AbortOnDropHandle::new(task) })
}

impl Hints for CoreHints {
    fn ask(&self, query: Query) {
        // With so much to ask already, it would come too late.
        let _ = self.queries.try_send(query);
    }
}

/// How much is looked for at once.
struct Near {
    blocks: usize,
    last: Instant,
}

impl Near {
    /// How many blocks are to come along with what `query` asks for.
    fn of(&mut self, query: &Query) -> usize {
        if self.last.elapsed() > IDLE {
            self.blocks = NEAR;
        }
        self.last = Instant::now();
        if query.list.is_none() || query.head == hints::NEWEST {
            return NEAR;
        }
        let blocks = self.blocks;
        self.blocks = (2 * blocks).min(hints::NEAR);
        blocks
    }
}

/// Asks, and fetches, until nobody can ask any more.
async fn run(core: RemoteHypercore, mut asked: mpsc::Receiver<Query>) {
    // Registered when there is something to ask: most drives are looked into never.
    let Some(mut next) = asked.recv().await else { return };
    let mut extension = match core.register_extension(EXTENSION).await {
        Ok(extension) => extension,
        Err(error) => return tracing::debug!(%error, "no hints for this drive"),
    };
    let mut fetched = VecDeque::new();
    let mut near = Near { blocks: NEAR, last: Instant::now() };
    loop {
        let near = near.of(&next);
        tracing::debug!(?next, near, "asking peers");
        if let Err(error) = extension.broadcast(next.encode_for_blocks(near)).await {
            tracing::debug!(%error, "a hint was not asked for");
        }
        next = loop {
            tokio::select! {
                query = asked.recv() => match query {
                    Some(query) => break query,
                    None => return,
                },
                answer = extension.recv() => {
                    if let Some(blocks) = decode_answer(&answer.data) {
                        tracing::debug!(blocks = blocks.len(), "peers told of blocks");
                        fetched.extend(fetch(&core, blocks));
                        while fetched.len() > FETCHED {
                            fetched.pop_front();
                        }
                    }
                }
            }
        };
    }
}

/// Fetches blocks. Those that there are not are left out: they would be waited for.
fn fetch(core: &RemoteHypercore, mut blocks: Vec<u64>) -> Vec<AbortOnDropHandle<()>> {
    let length = core.length();
    blocks.retain(|block| *block < length);
    let fetch = |blocks: &[u64]| {
        let (core, range) = (core.clone(), DownloadRange::of(blocks.to_vec()));
        AbortOnDropHandle::new(tokio::spawn(async move {
            // Whoever needs one of them asks for it as well.
            let _: Result<Result<(), CoreError>, _> =
                tokio::time::timeout(PATIENCE, core.download_range(range)).await;
        }))
    };
    blocks.chunks(BLOCKS).map(fetch).collect()
}
