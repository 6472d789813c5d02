//! Reading ahead: a program that gets one block after the other finds the next ones
//! in the cache, fetched many at a time.
//!
//! Only what the server holds is fetched (`wait: false`): reading ahead never makes
//! anybody ask the network for what may not be wanted.

use super::CoreState;
use crate::mux::{Completion, Outcome, unshare};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore::Get;
use prost::Message;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Poll, Waker};

/// Sequential readers of one core that are told apart.
const READERS: usize = 4;
/// A reader may skip so many blocks and still be reading on.
const SKIP: u64 = 8;
/// Blocks in sequence before anything is read ahead.
const STREAK: u32 = 2;
/// Blocks read ahead, at first and at most.
const WINDOW: (u64, u64) = (8, 128);
/// Bytes read ahead, at most, a reader.
const BYTES: u64 = 4 << 20;
/// Gets for which nothing is read ahead after a block turned out not to be held.
const PAUSE: u32 = 256;

/// What a core knows of its readers.
#[derive(Default)]
pub(crate) struct Ahead {
    readers: [Reader; READERS],
    clock: u32,
    /// Blocks on their way, and who waits for them.
    pending: HashMap<u64, Vec<Waker>>,
    pause: u32,
    /// A block's size, about.
    size: u64,
}

#[derive(Clone, Copy, Default)]
struct Reader {
    /// The block after the last one it asked for.
    next: u64,
    streak: u32,
    window: u64,
    /// Everything before this was read ahead or asked for.
    until: u64,
    used: u32,
}

impl Ahead {
    /// Block `index` was asked for; which blocks to fetch ahead?
    fn plan(&mut self, index: u64, length: u64, bytes: u64) -> std::ops::Range<u64> {
        self.clock = self.clock.wrapping_add(1);
        let clock = self.clock;
        let known = self.readers.iter_mut().find(|reader| {
            reader.used != 0 && index + 1 >= reader.next && index < reader.next.saturating_add(SKIP)
        });
        let Some(reader) = known else {
            if let Some(oldest) = self.readers.iter_mut().max_by_key(|reader| clock.wrapping_sub(reader.used))
            {
                *oldest = Reader { next: index + 1, until: index + 1, used: clock, ..Reader::default() };
            }
            return 0..0;
        };
        reader.used = clock;
        if index < reader.next {
            return 0..0;
        }
        reader.next = index + 1;
        reader.streak = reader.streak.saturating_add(1);
        if self.pause > 0 {
            self.pause -= 1;
            return 0..0;
        }
        let most = (bytes / self.size.max(1)).clamp(2, WINDOW.1);
        if reader.streak < STREAK || reader.until > reader.next + reader.window / 2 {
            return 0..0;
        }
        reader.window = (reader.window * 2).clamp(WINDOW.0, WINDOW.1).min(most);
        let start = reader.until.max(reader.next);
        let end = (reader.next + reader.window).min(length);
        reader.until = start.max(end);
        start..end
    }
}

/// Tells that block `index` was asked for, and fetches what is likely to be next.
pub(super) fn asked(core: &Arc<CoreState>, index: u64) {
    let cache = &core.client.cache;
    if cache.capacity() == 0 || index == u64::MAX {
        return;
    }
    let length = core.head().length;
    let wanted = {
        let mut ahead = core.ahead.lock();
        let range = ahead.plan(index, length, BYTES.min(cache.capacity() as u64 / 16));
        if range.is_empty() {
            return;
        }
        let cache_id = core.cache_id();
        let wanted: Vec<u64> = range
            .filter(|index| !ahead.pending.contains_key(index) && !cache.contains(cache_id, *index))
            .collect();
        for index in &wanted {
            ahead.pending.insert(*index, Vec::new());
        }
        wanted
    };
    let generation = core.generation();
    let made = core.bound_now().map_or(0, |(session, id)| {
        let requests = wanted.iter().map(|seq| {
            let request = m::GetRequest {
                id,
                seq: *seq,
                resource_id: session.resource(),
                wait: Some(false),
                ..m::GetRequest::default()
            };
            (request, [*seq, generation])
        });
        let to: Weak<CoreState> = Arc::downgrade(core);
        let to: Weak<dyn Completion> = to;
        session.mux.call_later::<Get>(requests, &to)
    });
    for index in &wanted[made..] {
        arrived(core, *index);
    }
}

/// Waits for block `index` if it is on its way; was it?
pub(super) async fn arrival(core: &Arc<CoreState>, index: u64) -> bool {
    let mut waited = false;
    poll_fn(|context| match core.ahead.lock().pending.get_mut(&index) {
        Some(wakers) => {
            waited = true;
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await;
    waited
}

fn arrived(core: &CoreState, index: u64) {
    let wakers = core.ahead.lock().pending.remove(&index);
    for waker in wakers.into_iter().flatten() {
        waker.wake();
    }
}

impl Completion for CoreState {
    fn complete(&self, [index, generation]: [u64; 2], outcome: Outcome) {
        let block = match outcome {
            Outcome::Reply(payload) => m::GetResponse::decode(payload).ok().and_then(|answer| answer.block),
            Outcome::Failed(_) | Outcome::Lost => None,
        };
        match block {
            Some(block) => {
                let block = unshare(block);
                self.keep(generation, index, &block, true);
                let mut ahead = self.ahead.lock();
                let size = block.len() as u64;
                // Large blocks count at once, small ones by and by.
                ahead.size = size.max((ahead.size * 7 + size) / 8);
            }
            None => self.ahead.lock().pause = PAUSE,
        }
        arrived(self, index);
    }
}
