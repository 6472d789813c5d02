//! The threads that sessions run on: each with an event loop of its own, so that a
//! session's reads and writes wake no thread but its own.
//!
//! On a runtime that moves tasks between threads, a request costs a wake-up more (the
//! thread that watches the sockets wakes the one that runs the session), and those are
//! what a small request's time consists of.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// The threads. They end when this is dropped, with all that runs on them.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    end: CancellationToken,
}

struct Worker {
    runtime: Handle,
    /// Sessions that run on it.
    load: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts a thread for each processor.
    pub(crate) fn start() -> io::Result<Self> {
        let end = CancellationToken::new();
        let count = thread::available_parallelism().map_or(1, usize::from);
        let workers = (0..count)
            .map(|number| {
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let handle = runtime.handle().clone();
                let end = end.clone();
                thread::Builder::new()
                    .name(format!("sessions-{number}"))
                    .spawn(move || runtime.block_on(end.cancelled()))?;
                Ok(Worker { runtime: handle, load: Arc::default() })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { workers, end })
    }

    /// Runs a session on the thread that has the fewest.
    pub(crate) fn run(&self, session: impl Future<Output = ()> + Send + 'static) {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.load.load(Ordering::Relaxed))
        else {
            return;
        };
        let load = worker.load.clone();
        load.fetch_add(1, Ordering::Relaxed);
        worker.runtime.spawn(async move {
            session.await;
            load.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end.cancel();
    }
}
