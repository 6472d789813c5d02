//! What was exchanged about a core, for those who want to know.

use super::ReplicatedCore;
use crate::replication::peer::PeerId;
use crate::replication::replicator::Replicator;
use hyperspace_api::{Peer, Traffic};
use std::collections::HashMap;

/// What came in, as it was when it was looked at last.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    total: Traffic,
    peers: HashMap<PeerId, (Traffic, usize)>,
    lies: u64,
}

impl Snapshot {
    /// Of what came before.
    pub(super) fn of(past: &CoreTraffic) -> Self {
        Self { total: past.downloaded, lies: past.lies, ..Self::default() }
    }
}

/// What was exchanged about a core with one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerTraffic {
    /// Who.
    pub peer: Peer,
    /// What went there.
    pub uploaded: Traffic,
    /// What came from there.
    pub downloaded: Traffic,
    /// Requests that it gets at a time.
    pub window: usize,
}

/// What was exchanged about a core since there is replication of its store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreTraffic {
    /// What went to all peers, those that are gone included.
    pub uploaded: Traffic,
    /// What came from them.
    pub downloaded: Traffic,
    /// Peers that lied.
    pub lies: u64,
    /// The peers that are there.
    pub peers: Vec<PeerTraffic>,
}

impl ReplicatedCore {
    pub(crate) fn traffic(&self) -> CoreTraffic {
        let downloaded = self.downloaded.lock().clone();
        let peers = self.peers.lock();
        CoreTraffic {
            uploaded: *self.uploaded.lock(),
            downloaded: downloaded.total,
            lies: downloaded.lies,
            peers: peers
                .iter()
                .map(|(id, channel)| {
                    let (came, window) = downloaded.peers.get(id).copied().unwrap_or_default();
                    PeerTraffic {
                        peer: channel.remote(),
                        uploaded: channel.uploaded(),
                        downloaded: came,
                        window,
                    }
                })
                .collect(),
        }
    }

    /// Notes what came, for those who want to know.
    pub(super) fn note(&self, replicator: &Replicator) {
        let peers = replicator.peers().filter_map(|id| Some((id, replicator.peer(id)?))).collect();
        let (before, now) = (self.past.downloaded, replicator.downloaded());
        let total = Traffic { blocks: before.blocks + now.blocks, bytes: before.bytes + now.bytes };
        let lies = self.past.lies + replicator.lies();
        *self.downloaded.lock() = Snapshot { total, peers, lies };
    }
}
