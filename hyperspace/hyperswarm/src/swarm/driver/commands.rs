//! What the program wants, by its handles.

use super::{Driver, Held, now};
use crate::swarm::handle::{Command, ConnectionStatus, Status};
use crate::swarm::net::Net;
use crate::swarm::types::ConnectionId;
use std::ops::ControlFlow;

impl<N: Net> Driver<N> {
    fn status(&self) -> Status {
        let open = |(id, held): (&ConnectionId, &Held<N::Path>)| match held {
            Held::Open { sender, way, since } => Some(ConnectionStatus {
                id: *id,
                public_key: sender.remote_public_key(),
                remote_address: way.remote,
                is_initiator: sender.is_initiator(),
                is_relayed: way.is_relayed,
                since: *since,
            }),
            _ => None,
        };
        let mut connections: Vec<_> = self.connections.iter().filter_map(open).collect();
        connections.sort_unstable_by_key(|connection| connection.id);
        Status {
            topics: self.core.topics().collect(),
            connections,
            peers: self.core.peers().collect(),
            stats: self.core.stats(),
        }
    }

    pub(super) fn obey(&mut self, command: Command) -> ControlFlow<()> {
        let now = now();
        match command {
            Command::Join(session, topic, join) => self.core.join(now, session, topic, join),
            Command::Leave(session, wait) => {
                let wait = wait.map(|(id, sender)| {
                    self.waits.insert(id, sender);
                    id
                });
                self.core.leave(now, session, wait);
            }
            Command::Refresh(session) => self.core.refresh(now, session),
            Command::FlushTopic(session, id, sender) => {
                self.waits.insert(id, sender);
                self.core.flush_topic(session, id);
            }
            Command::Flush(id, sender) => {
                self.waits.insert(id, sender);
                self.core.flush(id);
            }
            Command::JoinPeer(key) => self.core.join_peer(now, key),
            Command::LeavePeer(key) => self.core.leave_peer(&key),
            Command::Ban(key) => self.core.ban(now, key),
            Command::Unban(key) => self.core.unban(&key),
            Command::NetworkChanged => self.core.network_changed(now),
            Command::Suspend(id, sender) => {
                self.waits.insert(id, sender);
                self.core.suspend(now, id);
            }
            Command::Resume => self.core.resume(now),
            Command::Close(id, sender) => {
                self.waits.insert(id, sender);
                self.core.close(now, id);
            }
            Command::Expect(topic, patience, id, sender) => {
                self.waits.insert(id, sender);
                self.core.expect(now, topic, patience, id);
            }
            Command::Search(topic, pause) => self.core.search(now, topic.as_ref(), pause),
            Command::Status(sender) => {
                // Who asked may have gone.
                let _ = sender.send(self.status());
            }
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }
}
