//! Cores that peers are asked for.
//!
//! What nobody has is unavailable, but not before everybody was asked who may have it. So
//! whoever waits for a block goes on waiting
//! * as long as a topic of the core is looked up, which happens anew if nobody is connected who
//!   has the core,
//! * while somebody who was found, or whose address was given, is dialled for the first time:
//!   for [`ANSWER`](super::ANSWER) at most unless he answers, since who is gone may stay
//!   announced for long; a way to who is there may take longer,
//! * and, for [`RETURN`](super::RETURN), while somebody is dialled who was connected before.

use super::in_swarm::InSwarm;
use super::{Inner, Peers};
use hypercore::LocalCore;
use hypercore::replication::{Followed, Scout};
use hyperspace_api::{Core, DiscoveryKey};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The cores that are followed, so that they hear of topics that are joined later.
#[derive(Default)]
pub(super) struct Following {
    cores: Mutex<Cores>,
}

#[derive(Default)]
struct Cores {
    by_topic: HashMap<DiscoveryKey, HashMap<u64, Entry>>,
    last: u64,
}

#[derive(Clone)]
struct Entry {
    core: LocalCore,
    /// Cancelled when it is followed no more.
    over: CancellationToken,
}

/// A core that peers are asked for, as long as this lives.
pub(super) struct FollowedCore {
    inner: Arc<Inner>,
    topic: DiscoveryKey,
    number: u64,
    over: CancellationToken,
    _followed: Followed,
}

impl Peers {
    /// Asks all peers for `core`, as long as the guard lives.
    pub(super) fn follow(&self, core: &LocalCore) -> FollowedCore {
        let (inner, topic) = (self.inner.clone(), core.discovery_key());
        let entry = Entry { core: core.clone(), over: inner.stop.child_token() };
        let over = entry.over.clone();
        if let Some(in_swarm) = inner.in_swarm.get() {
            inner.look(entry.clone(), in_swarm.exhausted(None));
        }
        let number = {
            let mut cores = inner.following.cores.lock();
            cores.last += 1;
            let number = cores.last;
            cores.by_topic.entry(topic).or_default().insert(number, entry);
            number
        };
        let _followed = inner.replication.follow(core);
        FollowedCore { inner, topic, number, over, _followed }
    }
}

impl Inner {
    /// A topic is looked up from now on: whoever waits for its core waits for that.
    pub(super) fn look_anew(&self, topic: DiscoveryKey, in_swarm: &InSwarm) {
        let cores = self.following.cores.lock();
        let entries: Vec<Entry> =
            cores.by_topic.get(&topic).into_iter().flat_map(HashMap::values).cloned().collect();
        drop(cores);
        for entry in entries {
            self.look(entry, in_swarm.exhausted(Some(topic)));
        }
    }

    /// Nothing of a core is called unavailable until `found`.
    fn look(&self, entry: Entry, found: impl Future<Output = ()> + Send + 'static) {
        let looking = self.replication.looking(&entry.core);
        self.tasks.spawn(entry.over.clone().run_until_cancelled_owned(async move {
            let _looking = looking;
            found.await;
        }));
    }

    /// Ready when every address was called once, a topic is announced and looked up, and whoever
    /// was found has been dialled.
    pub(super) fn looked_for(
        self: Arc<Self>,
        topic: DiscoveryKey,
    ) -> impl Future<Output = ()> + Send + 'static {
        let flushed = self.in_swarm.get().map(|in_swarm| in_swarm.flushed(Some(topic)));
        async move {
            self.first_calls().await;
            if let Some(flushed) = flushed {
                flushed.await;
            }
        }
    }
}

impl Scout for Inner {
    fn alone(&self, core: &LocalCore, is_waited_for: bool) {
        let Some(in_swarm) = self.in_swarm.get() else { return };
        let Some(search) = in_swarm.search(core.discovery_key()) else { return };
        if is_waited_for {
            let entry = Entry { core: core.clone(), over: self.stop.child_token() };
            self.look(entry, search.over.clone().cancelled_owned());
        }
        if let Some(scope) = search.begun {
            let (exhausted, stop) = (in_swarm.exhausted(scope), self.stop.clone());
            self.tasks.spawn(async move {
                stop.run_until_cancelled(exhausted).await;
                search.over.cancel();
            });
        }
    }
}

impl Drop for FollowedCore {
    fn drop(&mut self) {
        self.over.cancel();
        let mut cores = self.inner.following.cores.lock();
        if let Some(entries) = cores.by_topic.get_mut(&self.topic) {
            entries.remove(&self.number);
            if entries.is_empty() {
                cores.by_topic.remove(&self.topic);
            }
        }
    }
}
