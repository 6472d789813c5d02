//! When which core is to be looked at again.

use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;
use tokio::sync::Notify;

/// Something that is to be told when a moment has come.
pub trait Alarm: Send + Sync {
    /// It has.
    fn ring(self: Arc<Self>);
}

/// All alarms of a store. A moment once set is not taken back: who no longer needs it is told
/// for nothing.
#[derive(Default)]
pub struct Timers {
    queue: Mutex<Queue>,
    sooner: Notify,
}

#[derive(Default)]
struct Queue {
    heap: BinaryHeap<Entry>,
    next: u64,
}

struct Entry {
    at: Reverse<(Instant, u64)>,
    whom: Weak<dyn Alarm>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Timers {
    /// Sets an alarm.
    pub fn set(&self, at: Instant, whom: Weak<dyn Alarm>) {
        let mut queue = self.queue.lock();
        queue.next += 1;
        let first = queue.heap.peek().is_none_or(|entry| at < entry.at.0.0);
        let at = Reverse((at, queue.next));
        queue.heap.push(Entry { at, whom });
        drop(queue);
        if first {
            self.sooner.notify_one();
        }
    }

    /// Rings, for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = self.queue.lock().heap.peek().map(|entry| entry.at.0.0);
            match next {
                None => self.sooner.notified().await,
                Some(at) if at <= Instant::now() => self.ring(),
                Some(at) => {
                    let sleep = tokio::time::sleep_until(at.into());
                    tokio::select! {
                        () = sleep => {}
                        () = self.sooner.notified() => {}
                    }
                }
            }
        }
    }

    fn ring(&self) {
        let now = Instant::now();
        let mut due = Vec::new();
        {
            let mut queue = self.queue.lock();
            while queue.heap.peek().is_some_and(|entry| entry.at.0.0 <= now) {
                due.extend(queue.heap.pop().and_then(|entry| entry.whom.upgrade()));
            }
        }
        due.into_iter().for_each(Alarm::ring);
    }
}
