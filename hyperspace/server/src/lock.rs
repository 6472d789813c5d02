//! The advisory lock of a core: at most one session holds it, the others queue.

use hyperspace_api::CoreError;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Which session.
pub(crate) type SessionId = u64;

/// The lock of one core.
#[derive(Clone, Default)]
pub(crate) struct CoreLock(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    holder: Option<SessionId>,
    queue: VecDeque<(SessionId, oneshot::Sender<LockGuard>)>,
    /// At this length the queue is cleared of those who left.
    prune_at: usize,
}

/// Holds a core's lock until dropped: with the session, the handle or at its wish.
pub(crate) struct LockGuard {
    /// `None` once it has been passed on.
    lock: Option<CoreLock>,
}

impl CoreLock {
    /// Waits for the lock, behind everyone who waits already. Dropping the future
    /// leaves the queue.
    pub(crate) async fn acquire(&self, session: SessionId) -> Result<LockGuard, CoreError> {
        let waiting = {
            let mut state = self.0.lock();
            if state.holder.is_none() {
                state.holder = Some(session);
                return Ok(LockGuard { lock: Some(self.clone()) });
            }
            let (send, receive) = oneshot::channel();
            if state.queue.len() >= state.prune_at {
                state.queue.retain(|(_, waiter)| !waiter.is_closed());
                state.prune_at = (2 * state.queue.len()).max(16);
            }
            state.queue.push_back((session, send));
            receive
        };
        // The sender lives in the queue, and the queue as long as `self`.
        waiting.await.map_err(|_| CoreError::Closed)
    }

    /// May `session` release it?
    pub(crate) fn check_release(&self, session: SessionId) -> Result<(), CoreError> {
        match self.0.lock().holder {
            None => Err(CoreError::Invalid("Core is not locked".into())),
            Some(holder) if holder != session => Err(CoreError::Invalid("Core is not locked by you".into())),
            Some(_) => Ok(()),
        }
    }
}

impl LockGuard {
    /// Is this the lock of that core?
    pub(crate) fn is_of(&self, lock: &CoreLock) -> bool {
        self.lock.as_ref().is_some_and(|own| Arc::ptr_eq(&own.0, &lock.0))
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        loop {
            let next = {
                let mut state = lock.0.lock();
                let next = state.queue.pop_front();
                state.holder = next.as_ref().map(|(session, _)| *session);
                next
            };
            let Some((_, waiter)) = next else { return };
            match waiter.send(LockGuard { lock: Some(lock.clone()) }) {
                Ok(()) => return,
                // That waiter has left. Its guard must not pass the lock on by itself:
                // a long queue of such waiters would recurse.
                Err(mut guard) => guard.lock = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn passes_in_order_and_skips_who_left() {
        let lock = CoreLock::default();
        assert!(lock.check_release(1).is_err());
        let first = lock.acquire(1).await.unwrap();
        assert!(first.is_of(&lock) && !first.is_of(&CoreLock::default()));
        assert_eq!(lock.check_release(1), Ok(()));
        assert_eq!(lock.check_release(2), Err(CoreError::Invalid("Core is not locked by you".into())));
        let mut left = Box::pin(lock.acquire(2));
        let mut third = Box::pin(lock.acquire(3));
        let mut fourth = Box::pin(lock.acquire(4));
        for waiter in [&mut left, &mut third, &mut fourth] {
            assert!(waiter.as_mut().now_or_never().is_none());
        }
        drop(left);
        drop(first);
        let third = third.now_or_never().unwrap().unwrap();
        assert_eq!(lock.check_release(3), Ok(()));
        assert!(fourth.as_mut().now_or_never().is_none());
        drop(third);
        // Handed over, but gone before it looked: the lock must not be lost.
        drop(fourth);
        assert!(lock.acquire(5).now_or_never().is_some());
    }

    #[test]
    fn a_hundred_thousand_who_left_do_not_overflow_the_stack() {
        let lock = CoreLock::default();
        let first = lock.acquire(0).now_or_never().unwrap().unwrap();
        let mut waiters: Vec<_> = (0..100_000).map(|i| Box::pin(lock.acquire(i))).collect();
        for waiter in &mut waiters {
            assert!(waiter.as_mut().now_or_never().is_none());
        }
        drop(waiters);
        drop(first);
        assert!(lock.acquire(1).now_or_never().is_some());
    }
}
