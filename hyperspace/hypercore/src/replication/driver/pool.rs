//! Threads for what takes long: checking, storing, reading.
//!
//! A [`Task`] is queued when there is something for it to do, runs on one thread at a time,
//! and goes to the end of the queue when it is not done after its turn. There is one queue for
//! all, so that everybody's turn comes.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
/// It is to run again: something came while it ran.
const AGAIN: u8 = 3;

/// Whether a task is queued.
#[derive(Debug, Default)]
pub struct Turn(AtomicU8);

/// Something that is done in turns.
pub trait Task: Send + Sync + 'static {
    /// Its place in the queue.
    fn turn(&self) -> &Turn;

    /// A turn. `true` if there is more to do.
    fn run(self: Arc<Self>) -> bool;
}

/// The threads. Dropped, they end when they have done what they are at.
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<dyn Task>>,
    threads: usize,
    waiting: usize,
    closed: bool,
}

impl Pool {
    /// Up to `most` threads; none is started before it is needed.
    pub fn new(most: usize) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), most: most.max(1) };
        Self { shared: Arc::new(shared) }
    }

    /// Has a task run soon, unless it is going to anyway.
    pub fn wake(&self, task: Arc<dyn Task>) {
        let state = &task.turn().0;
        let mut seen = state.load(Ordering::Acquire);
        loop {
            let next = match seen {
                IDLE => QUEUED,
                RUNNING => AGAIN,
                _ => return,
            };
            match state.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(IDLE) => break,
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
        self.shared.push(task);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.closed = true;
        // A task may hold what holds the pool.
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        self.shared.changed.notify_all();
        drop(queue);
    }
}

impl Shared {
    fn push(self: &Arc<Self>, task: Arc<dyn Task>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.queue.push_back(task);
        if state.waiting > 0 {
            self.changed.notify_one();
        } else if state.threads < self.most {
            let shared = self.clone();
            let thread = std::thread::Builder::new().name("hypercore-work".into());
            match thread.spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                // Those that are there do it.
                Err(error) if state.threads > 0 => tracing::warn!("starting a thread: {error}"),
                Err(error) => tracing::error!("starting a thread: {error}"),
            }
        }
    }

    fn work(self: Arc<Self>) {
        loop {
            let task = {
                let mut state = self.state.lock();
                loop {
                    if state.closed {
                        return;
                    }
                    if let Some(task) = state.queue.pop_front() {
                        break task;
                    }
                    state.waiting += 1;
                    self.changed.wait(&mut state);
                    state.waiting -= 1;
                }
            };
            let turn = &task.turn().0;
            turn.store(RUNNING, Ordering::Release);
            let more = task.clone().run();
            let ended = turn.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if more && ended.is_ok() {
                // Nobody can have queued it in between and it still be idle.
                if turn.compare_exchange(IDLE, QUEUED, Ordering::AcqRel, Ordering::Acquire).is_err() {
                    continue;
                }
            } else if ended.is_ok() {
                continue;
            } else {
                turn.store(QUEUED, Ordering::Release);
            }
            self.push(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::sync::mpsc;

    struct Counter {
        turn: Turn,
        todo: AtomicU64,
        running: AtomicU64,
        done: mpsc::SyncSender<u64>,
    }

    impl Task for Counter {
        fn turn(&self) -> &Turn {
            &self.turn
        }

        fn run(self: Arc<Self>) -> bool {
            assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "one thread at a time");
            let left = self.todo.fetch_sub(1, Ordering::SeqCst) - 1;
            if left == 0 {
                let _ = self.done.send(0);
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            left > 0
        }
    }

    #[test]
    fn a_task_runs_until_it_is_done_and_never_twice_at_once() {
        let pool = Pool::new(4);
        let (done, wait) = mpsc::sync_channel(8);
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                Arc::new(Counter {
                    turn: Turn::default(),
                    todo: AtomicU64::new(1000),
                    running: AtomicU64::new(0),
                    done: done.clone(),
                })
            })
            .collect();
        for task in &tasks {
            pool.wake(task.clone());
        }
        for _ in 0..8 {
            wait.recv().expect("each ends");
        }
        for task in &tasks {
            assert_eq!(task.todo.load(Ordering::SeqCst), 0);
        }
    }
}
