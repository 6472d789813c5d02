//! What peers tell each other through the nodes of the DHT (npm `hyperdht` 6): who is
//! interested in a topic, who relays to the holder of a key, and small records.
//!
//! A [`Dht`] is a [`Node`](crate::dht::Node) that serves these commands to others, and asks
//! others for the same. It is driven by the same verbs; [`Endpoint`] drives one for tokio, on
//! sockets of its own.
//!
//! ```
//! use hyperswarm::KeyPair;
//! use hyperswarm::hyperdht::{Announcement, Endpoint, Options};
//! use std::net::Ipv4Addr;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A network of two on this machine: one that knows its address, and is always there,
//! let local = || Options { host: Ipv4Addr::LOCALHOST, port: 0, ..Options::default() };
//! let first = Endpoint::bind(Options { is_first: true, ..local() }).await?;
//! // and one that finds others by it.
//! let bootstrap = vec![first.local_address().into()];
//! let second = Endpoint::bind(Options { bootstrap, ..local() }).await?;
//! second.ready().await;
//!
//! let (topic, pair) = ([7; 32], KeyPair::generate()?);
//! second.announce(Announcement::new(topic, &pair, Vec::new())).await?;
//! let mut lookup = first.lookup(topic).await?;
//! # // The first asks nobody but others: it has what it keeps itself.
//! while let Some((node, peers)) = lookup.next().await {
//!     println!("{node} knows {} peers", peers.peers.len());
//! }
//! second.unannounce(topic, &pair).await?;
//! second.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! How peers reach each other by their keys is [`connect`]'s.
//!
//! Who announces, signs for every node that keeps it: with that node's id and a token that
//! it has just given out, so that nobody else can say it again elsewhere or later. What is
//! found is only as true as the signatures that *we* check: a node can leave out what it
//! knows, and peers of a topic are checked by connecting to them.
//!
//! # Bounds
//! A persistent node keeps, whatever strangers send: 2 × 32,768 peers of topics, 2 × 16,384
//! forwards, 2 × 16,384 mutable and as many immutable records of at most 1,400 bytes: some
//! 120 MB when all is full. All of it is forgotten with time: peers after 13 to 27 minutes,
//! records after 32 to 64 hours, unless they are asked for.
//!
//! # Amplification
//! LOOKUP (43 bytes) is answered with up to twenty peers and twenty nodes, and GET with a
//! record of up to 1,400 bytes, as the protocol wants it. Nothing else is answered with
//! more than the [DHT](crate::dht#amplification) itself answers.

pub mod connect;
mod driver;
mod endpoint;
mod envelope;
mod holepunch;
mod node;
mod noise_payload;
mod operations;
mod records;
mod serve;
mod signing;
mod storage;
mod topics;
mod wire;

pub use connect::{DialError, Dialing, Established, ListenOptions, Meeting, Punches};
pub use endpoint::{DhtError, DialOptions, Dialed, Endpoint, Lookup, NatKind, Options, PORT, Server, Status};
pub use envelope::{Handshake, Holepunch, Mode};
pub use holepunch::{HolepunchPayload, HolepunchSecret};
pub use node::{Config, Dht, Event};
pub use noise_payload::{
    Firewall, HolepunchInfo, NoisePayload, Relay, RelayThrough, UdxInfo, VERSION, handshake_error,
};
pub use operations::{Announcement, OperationId, Summary};
pub use records::{Announce, MAX_PEERS, MAX_RELAYS, MutablePut, MutableRecord, Peer, Peers, Signature};
pub use signing::target_of;
pub use storage::{MAX_VALUE, Stored};
pub use wire::{command, error};

#[cfg(test)]
mod tests;
