//! Does what the replicator wants done.

use super::{Input, ReplicatedCore, State};
use crate::replication::driver::channel::Channel;
use crate::replication::driver::extension::Reply;
use crate::replication::peer::PeerId;
use crate::replication::replicator::{Action, Work};
use crate::replication::wire::{Message, Sync};
use bytes::Bytes;
use hyperspace_api::Core;
use std::sync::Arc;
use std::time::Duration;

/// How long a core is not flushed again after that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

impl ReplicatedCore {
    /// Does what the replicator wants done.
    pub(super) fn act(self: &Arc<Self>, state: &mut State) {
        let mut sends: Vec<(Arc<Channel>, Message)> = Vec::new();
        while let Some(action) = state.replicator.poll() {
            match action {
                Action::Send { peer, message } => {
                    let channel = match sends.last() {
                        Some((channel, _)) if channel.peer == peer => Some(channel.clone()),
                        _ => self.peers.lock().get(&peer).cloned(),
                    };
                    tracing::trace!(target: "hypercore::wire", core = %self.core.key(), peer, "sent {message}");
                    sends.extend(channel.map(|channel| (channel, message)));
                }
                Action::Serve { peer, work } => self.serve(peer, work),
                Action::Finish { demand, outcome } => {
                    if let Some((token, done)) = state.waiters.remove(&demand) {
                        state.demands.remove(&token);
                        // Who waited may have given up.
                        let _ = done.send(outcome);
                    }
                }
                Action::Extension { peer, name, payload } => {
                    self.extension(peer, &name, payload, state.replicator.remote(peer));
                }
                Action::Close { peer } => {
                    // What was said before is still to arrive.
                    send_all(&std::mem::take(&mut sends));
                    let channel = self.peers.lock().get(&peer).cloned();
                    if let Some(channel) = channel {
                        channel.connection.link.close(&channel);
                        channel.end();
                    }
                }
                Action::Ban { peer, reason } => self.punish(peer, &reason),
                Action::Flush => self.flush(),
            }
        }
        send_all(&sends);
    }

    fn serve(&self, peer: PeerId, work: Work) {
        let channel = self.peers.lock().get(&peer).cloned();
        if let Some(channel) = channel
            && let Err(error) = channel.ask(work)
        {
            channel.connection.punish(&error.to_string());
        }
    }

    fn extension(&self, peer: PeerId, name: &str, payload: Bytes, remote: Option<Sync>) {
        let Some(channel) = self.peers.lock().get(&peer).cloned() else { return };
        let answerer = self.shared.answerers.lock().get(name).cloned();
        if let Some(extension) = self.extensions.lock().get(name) {
            extension.receive(channel.remote(), payload.clone());
        }
        if let Some(answerer) = answerer {
            answerer.asked(&self.core, payload, Reply::new(channel, name, remote));
        }
    }

    fn flush(self: &Arc<Self>) {
        let core = Arc::downgrade(self);
        let local = self.core.clone();
        self.shared.runtime.spawn(async move {
            if let Err(error) = local.flush().await {
                tracing::warn!(core = %local.key(), "flushing for a peer: {error}");
                // It is asked for again at once, which would be of no use.
                tokio::time::sleep(AFTER_FAILURE).await;
            }
            if let Some(core) = core.upgrade() {
                core.input(Input::Flushed);
            }
        });
    }

    pub(super) fn punish(&self, peer: PeerId, reason: &str) {
        let channel = self.peers.lock().get(&peer).cloned();
        if let Some(channel) = channel {
            channel.connection.punish(reason);
        }
    }
}

/// Sends messages, those for one peer after another in one go.
fn send_all(sends: &[(Arc<Channel>, Message)]) {
    for run in sends.chunk_by(|(a, _), (b, _)| a.peer == b.peer) {
        let Some((channel, _)) = run.first() else { continue };
        channel.connection.link.corked(&mut || {
            for (channel, message) in run {
                channel.send(message);
            }
        });
    }
}
