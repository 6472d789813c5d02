//! What somebody wants of a core's peers, as long as he does.

use super::{Input, ReplicatedCore};
use crate::replication::replicator::{Demand, Outcome};
use hyperspace_api::CoreError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// Something that is wanted of peers. Dropped, it is wanted no more.
pub(crate) struct Wanted {
    core: Arc<ReplicatedCore>,
    token: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Wanted {
    /// What came of it.
    pub(crate) async fn outcome(mut self) -> Outcome {
        (&mut self.outcome).await.unwrap_or(Outcome::Failed(CoreError::Closed))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        // It costs little to take back what has come to its end.
        if self.outcome.try_recv().is_err() {
            self.core.input(Input::Cancel { token: self.token });
        }
    }
}

impl ReplicatedCore {
    /// Wants something; dropped, no longer. `None` if the core is no longer replicated by
    /// this.
    pub(in super::super) fn want(self: &Arc<Self>, demand: Demand) -> Option<Wanted> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (done, outcome) = oneshot::channel();
        self.wanted.store(true, Ordering::Release);
        // First, so that the demand is not given up for want of peers.
        self.shared.open_everywhere(self);
        if self.peers.lock().is_empty() {
            self.shared.ask_scout(&self.core, demand.gives_up());
        }
        self.input(Input::Demand { token, demand, done }).then(|| Wanted {
            core: self.clone(),
            token,
            outcome,
        })
    }
}
