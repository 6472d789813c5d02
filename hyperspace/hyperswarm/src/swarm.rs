//! Swarms: peers that find each other by topics, and stay connected (npm `hyperswarm` 4).
//!
//! A topic is 32 bytes that those who are interested in the same thing know. A [`Swarm`]
//! announces itself under its topics, or looks up who does, or both; dials whom it has found,
//! and whoever was lost, again after a while; and hands the program one open
//! [`Connection`](crate::Connection) for each peer, whatever they have in common.
//!
//! ```
//! use hyperswarm::KeyPair;
//! use hyperswarm::hyperdht::{Endpoint, Options as DhtOptions};
//! use hyperswarm::swarm::{Event, Join, Options, Swarm};
//! use std::net::Ipv4Addr;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A network on this machine: a first node, and one for each peer.
//! let local = || DhtOptions { host: Ipv4Addr::LOCALHOST, port: 0, ..DhtOptions::default() };
//! let first = Endpoint::bind(DhtOptions { is_first: true, ..local() }).await?;
//! let bootstrap = vec![first.local_address().into()];
//! # // One that keeps announcements: the first does so itself only when others come.
//! # let lasting = DhtOptions { ephemeral: Some(false), firewalled: false, ..local() };
//! # let keeper = Endpoint::bind(DhtOptions { bootstrap: bootstrap.clone(), ..lasting }).await?;
//! # keeper.ready().await;
//! let here = Endpoint::bind(DhtOptions { bootstrap: bootstrap.clone(), ..local() }).await?;
//! let there = Endpoint::bind(DhtOptions { bootstrap, ..local() }).await?;
//!
//! let (alice, mut at_alice) = Swarm::new(here, Options::new(KeyPair::generate()?))?;
//! let (bob, mut at_bob) = Swarm::new(there, Options::new(KeyPair::generate()?))?;
//! let topic = [7; 32];
//! // Joined for as long as this is held.
//! let serving = alice.join(topic, Join { client: false, ..Join::default() });
//! serving.flushed().await;
//! let _looking = bob.join(topic, Join { server: false, ..Join::default() });
//!
//! let Some(Event::Connection(found)) = at_bob.next().await else { panic!("bob finds alice") };
//! assert_eq!(found.peer.public_key, alice.public_key());
//! assert_eq!(found.peer.topics, [topic]);
//! let Some(Event::Connection(came)) = at_alice.next().await else { panic!("alice is found") };
//! assert_eq!(came.connection.remote_public_key(), bob.public_key());
//! // Whoever is announced, takes it back at the end.
//! alice.close().await;
//! bob.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # How it is made
//! [`Core`] decides everything, and knows neither sockets nor the time: simulations of whole
//! crowds run it under a clock of their own. Behind a [`Swarm`] is one task that does what the
//! core wants by a [`Net`]; that is an [`Endpoint`](crate::hyperdht::Endpoint), or something
//! that stands for one.
//!
//! # Dialling
//! Three peers are dialled at a time; who has failed once first, then those who were never
//! tried, by chance. Who cannot be reached is dialled four times in about half a minute, and
//! then forgotten until a topic's next round, ten to twelve minutes after the last, finds it
//! again. A peer with whom we had a good connection is dialled every few seconds for two
//! minutes after that was lost: so it is back within ten seconds of its own return. When the
//! network comes back or changes, or the machine has slept, all who wait are dialled at once,
//! all topics have a round, and all connections have to show that they are alive.
//!
//! # Suspended
//! [`Swarm::suspend`] takes back all announcements, ends all connections, and suspends the
//! node of the DHT: from when it returns until [`Swarm::resume`], not one datagram leaves.
//! Topics and peers stay wanted; afterwards they are announced, looked up and dialled anew, by
//! the same ports.
//!
//! # Two connections with one peer
//! If both dial each other at once, each would end up with two. Both keep the one that the
//! greater public key has dialled, without a word about it. If a connection has been open for
//! a while and its peer dials again, the peer has lost the old one: the new one replaces it.
//!
//! # Where it does more than npm's
//! * A round that failed is repeated after 10 seconds, then 20, and so on; npm waits ten minutes.
//! * Who announces a topic for the first time looks again a second later: two who announce
//!   at the same time do not find each other otherwise.
//! * The patience for peers that were lost, described above, and the bounds, below.
//!
//! # Bounds
//! Whatever strangers do, a swarm keeps at most, unless [`Config`] says otherwise:
//! * 8,192 peers that are neither connected nor wanted by name, and 1,024 found by one topic;
//!   each costs some 300 bytes, and four for each of *our* topics under which it was found. A
//!   node of the DHT that invents peers costs those places, and one dialling in three at a
//!   time, until they have failed;
//! * 512 connections that others have dialled: further ones are refused; and we dial nobody
//!   while there are 64 in all;
//! * 4,096 keys that the [`Firewall`] has refused: the oldest are asked about again;
//! * 64 connections that the program has not taken, twice: with more, nobody is dialled, and
//!   who dials us waits in the server of the DHT node, which keeps 128;
//! * 16 topics that are looked up at a time.
//!
//! Topics, sessions and peers that are joined or banned by name are the program's own: they
//! are as many as it likes.

mod config;
mod core;
mod driver;
mod endpoint;
mod gate;
mod handle;
mod net;
mod peer;
mod queue;
mod retry;
mod types;

pub use config::{Config, MAX_REFUSED};
pub use core::Core;
pub use gate::{Firewall, Gate};
pub use handle::{Connected, ConnectionStatus, Discovery, Event, Events, Options, Status, Swarm};
pub use net::{Change, Dialling, Listener, Net, Path, Question, Unanswered};
pub use types::{
    Action, Ask, CloseReason, ConnectionId, Ended, Event as CoreEvent, Found, Join, PeerInfo, QueryId,
    SessionId, Stats, TopicStatus, WaitId,
};
