//! Answers peers who look something up in a bee that we have.
//!
//! # Bounds
//! [`AT_ONCE`] queries are answered at a time, each within the bounds of [`hints`].

use bytes::Bytes;
use hyperbee::hints::{self, Query};
use hypercore::LocalCore;
use hypercore::replication::{Answerer, Replication, Reply};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Queries that are answered at a time; what comes while there are so many gets no answer,
/// which costs whoever asked only time.
const AT_ONCE: usize = 32;

/// See the module's text.
struct Bees {
    runtime: Handle,
    places: Arc<Semaphore>,
}

/// Answers from now on. To be called within a tokio runtime.
pub(crate) fn answer(replication: &Replication) {
    let bees = Bees { runtime: Handle::current(), places: Arc::new(Semaphore::new(AT_ONCE)) };
    replication.answer(hints::EXTENSION, Arc::new(bees));
}

impl Answerer for Bees {
    fn asked(&self, core: &LocalCore, payload: Bytes, reply: Reply) {
        // Answers come by this name, too: they are for whoever has asked.
        let Some(query) = Query::decode(&payload) else { return };
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        let core = core.clone();
        self.runtime.spawn(async move {
            let _place = place;
            match hints::answer(&core, &query).await {
                Ok(blocks) => {
                    let _all = hints::encode_answer(&blocks).into_iter().all(|message| reply.send(message));
                }
                Err(error) => {
                    tracing::debug!(peer = %reply.peer().remote_public_key, %error, "a query about a bee")
                }
            }
        });
    }
}
