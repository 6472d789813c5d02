//! A bounded queue from the connection's reader to one task of the program.

use parking_lot::Mutex;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Messages and events that wait for a slow reader; of more, the oldest are dropped
/// and counted.
pub const QUEUE: usize = 1024;

pub(crate) struct Queue<T>(Mutex<Inner<T>>);

struct Inner<T> {
    items: VecDeque<T>,
    missed: u64,
    waker: Option<Waker>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner { items: VecDeque::new(), missed: 0, waker: None }))
    }
}

impl<T> Queue<T> {
    /// Adds an item, in place of the oldest if it is full.
    pub fn put(&self, item: T) {
        let waker = {
            let mut inner = self.0.lock();
            if inner.items.len() >= QUEUE {
                inner.items.pop_front();
                inner.missed += 1;
            }
            inner.items.push_back(item);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The oldest item.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        let mut inner = self.0.lock();
        match inner.items.pop_front() {
            Some(item) => Poll::Ready(item),
            None => {
                inner.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// How many were dropped.
    pub fn missed(&self) -> u64 {
        self.0.lock().missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_newest() {
        let queue = Queue::default();
        for n in 0..QUEUE + 10 {
            queue.put(n);
        }
        assert_eq!(std::future::poll_fn(|context| queue.poll(context)).await, 10);
        assert_eq!(queue.missed(), 10);
    }
}
