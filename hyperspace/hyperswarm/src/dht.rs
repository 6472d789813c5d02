//! The distributed hash table: thousands of nodes, each of which knows a few others, and
//! together find whoever is closest to a target (npm `dht-rpc` 6).
//!
//! A [`Node`] owns no socket, no clock and no task. Its driver
//! * gives it what came in: [`handle_datagram`](Node::handle_datagram);
//! * sends what [`poll_transmit`](Node::poll_transmit) gives;
//! * calls [`handle_timeout`](Node::handle_timeout) at [`poll_timeout`](Node::poll_timeout);
//! * takes what happened from [`poll_event`](Node::poll_event).
//!
//! A node has two sockets. It answers, and is known to others, at its *server* socket; it
//! asks from its *client* socket as long as it does not know that strangers can reach the
//! other. Its id is a hash of its public address. While it is *ephemeral* it tells nobody
//! its id, so that it is in nobody's table: what comes and goes every hour is of no use
//! there. A node that has been there for a while, and can be reached, becomes *persistent*.
//!
//! What can be asked of the nodes beyond finding others is the application's:
//! [`hyperdht`](crate::hyperdht) is the one.
//!
//! # Bounds
//! Whatever strangers send, a node keeps at most: a [table] of 256 × 20 contacts;
//! 1,024 requests for the application that it has not taken yet; 1,024 delayed answers;
//! 1,000 addresses for each query of ours. Datagrams that mean nothing leave no trace.
//!
//! # Amplification
//! Whoever forges his address can have answers sent to somebody else. An answer to PING,
//! PING_NAT, DELAYED_PING or DOWN_HINT is at most 32 bytes longer than its request (our
//! id, which a persistent node must tell). FIND_NODE and what has a target are answered
//! with up to twenty nodes, as the protocol wants it: 163 bytes for 43. Nothing is sent
//! without being asked but to nodes of the table. The tests hold this.

mod address;
pub mod bootstrap;
pub(crate) mod cache;
mod health;
pub mod message;
pub mod nat;
mod node;
mod query;
pub(crate) mod random;
mod requests;
pub mod table;
pub mod timeouts;
pub mod tokens;
pub mod window;

pub use address::{ADDRESS_BYTES, Id, is_bogon, is_private, is_reserved, node_id};
pub(crate) use address::{is_plausible, read_list, read_v4, read_v6, write_list, write_v4, write_v6};
pub use health::Network;
pub use nat::NatSampler;
pub use node::{Asking, Commitment, Config, Event, Incoming, Node, Outcome, Response, Socket, Transmit};
pub use query::{Answer, MAX_SEEN, Query, QueryId};
pub use requests::RequestId;

#[cfg(test)]
pub(crate) mod tests;
