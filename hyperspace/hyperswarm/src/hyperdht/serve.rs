//! Answers what others ask of a node.

use super::node::Dht;
use super::records::{Announce, MutablePut};
use super::signing::ForNode;
use super::storage::Context;
use super::wire::command;
use crate::dht::message::error::UNKNOWN_COMMAND;
use crate::dht::{Incoming, Response};
use compact_encoding::Reader;
use std::time::Instant;

/// What becomes of a request.
enum Verdict {
    /// It is answered like this.
    Value(Option<Vec<u8>>),
    /// It is done.
    Done,
    /// It is not, for this reason.
    Error(u64),
    /// It is not as it must be: nobody who means well waits for an answer.
    Silence,
}

impl Verdict {
    fn done_if(well: bool) -> Self {
        if well { Self::Done } else { Self::Silence }
    }
}

impl Dht {
    pub(super) fn serve(&mut self, now: Instant, request: &Incoming) {
        let verdict = match request.command {
            command::PEER_HANDSHAKE | command::PEER_HOLEPUNCH => return self.pass(now, request),
            command::FIND_PEER..=command::IMMUTABLE_GET => self.store(now, request),
            _ => Verdict::Error(UNKNOWN_COMMAND),
        };
        let response = match &verdict {
            Verdict::Value(value) => Response::value(value.as_deref()),
            Verdict::Done => Response::done(),
            Verdict::Error(error) => Response::error(*error),
            Verdict::Silence => return,
        };
        self.node.respond(now, request, response);
    }

    fn store(&mut self, now: Instant, request: &Incoming) -> Verdict {
        // Only what stays keeps anything.
        let Some(node) = self.node.id() else { return Verdict::Error(UNKNOWN_COMMAND) };
        let Some(target) = &request.target else { return Verdict::Silence };
        let value = request.value.as_deref().unwrap_or_default();
        let wall_ms = self.wall_ms(now);
        let own = self.own_record(target);
        let storage = &mut self.storage;
        match (request.command, &request.token) {
            (command::FIND_PEER, _) => Verdict::Value(own.or_else(|| storage.find_peer(target, now))),
            (command::LOOKUP, _) => Verdict::Value(storage.lookup(target, &mut self.random, now)),
            (command::MUTABLE_GET, _) => match Reader::new(value).uint() {
                Ok(seq) => Verdict::Value(storage.mutable_get(target, seq, now)),
                Err(_) => Verdict::Silence,
            },
            (command::IMMUTABLE_GET, _) => Verdict::Value(storage.immutable_get(target, now)),
            // The rest changes something, and wants a token: the node has checked it.
            (_, None) => Verdict::Silence,
            (command::IMMUTABLE_PUT, Some(_)) => {
                if storage.immutable_put(target, value, now) {
                    Verdict::Value(None)
                } else {
                    Verdict::Silence
                }
            }
            (command::MUTABLE_PUT, Some(_)) => {
                match MutablePut::decode(value).ok().and_then(|put| storage.mutable_put(target, put, now)) {
                    Some(0) => Verdict::Value(None),
                    Some(error) => Verdict::Error(error),
                    None => Verdict::Silence,
                }
            }
            (command, Some(token)) => {
                let Ok(announce) = Announce::decode(value) else { return Verdict::Silence };
                let for_node = ForNode { command, target, node: &node, token };
                let context = Context { now, wall_ms, from: request.from, for_node };
                Verdict::done_if(if command == command::ANNOUNCE {
                    storage.announce(&context, announce)
                } else {
                    storage.unannounce(&context, &announce)
                })
            }
        }
    }
}
