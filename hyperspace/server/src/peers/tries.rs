//! Answers peers who look something up in a trie that we have: with the blocks, if they ask
//! for those, else by telling which they are.

use bytes::Bytes;
use hypercore::LocalCore;
use hypercore::replication::{Answerer, Replication, Reply};
use hypertrie::hints::{self, Query};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Queries that are answered at a time; what comes while there are so many gets no answer,
/// which costs whoever asked only time.
const AT_ONCE: usize = 32;

/// Blocks of an answer that are sent together, and how long they wait for each other.
const TOGETHER: usize = 16;
const PATIENCE: Duration = Duration::from_millis(3);

/// See the module's text.
struct Tries {
    runtime: Handle,
    places: Arc<Semaphore>,
}

/// Answers from now on. To be called within a tokio runtime.
pub(crate) fn answer(replication: &Replication) {
    let tries = Tries { runtime: Handle::current(), places: Arc::new(Semaphore::new(AT_ONCE)) };
    replication.answer(hints::EXTENSION, Arc::new(tries));
}

/// Blocks that were found and are not sent yet. The first are on their way while others are
/// still looked for; but not each by itself, since TCP counts packets.
struct Gifts<'a> {
    reply: &'a Reply,
    found: Vec<u64>,
    since: Instant,
}

impl Gifts<'_> {
    fn add(&mut self, block: u64) {
        self.found.push(block);
        if self.found.len() >= TOGETHER || self.since.elapsed() > PATIENCE {
            self.send();
        }
    }

    fn send(&mut self) {
        self.reply.give(&self.found);
        self.found.clear();
        self.since = Instant::now();
    }
}

impl Answerer for Tries {
    fn asked(&self, core: &LocalCore, payload: Bytes, reply: Reply) {
        // Answers come by this name, too: they are for whoever has asked.
        let Some(query) = Query::decode(&payload) else { return };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let core = core.clone();
        self.runtime.spawn(async move {
            let _place = place;
            let answered = match hints::asks_for_blocks(&payload).filter(|_| reply.can_give()) {
                Some(near) => {
                    let mut gifts = Gifts { reply: &reply, found: Vec::new(), since: Instant::now() };
                    let answered = hints::answer_by(&core, &query, near, |block| gifts.add(block)).await;
                    gifts.send();
                    answered
                }
                None => hints::answer(&core, &query).await.map(|blocks| {
                    let _all = hints::encode_answer(&blocks).into_iter().all(|message| reply.send(message));
                }),
            };
            if let Err(error) = answered {
                tracing::debug!(peer = %reply.peer().remote_public_key, %error, "a query about a trie");
            }
        });
    }
}
