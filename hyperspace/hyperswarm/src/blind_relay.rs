//! Relays: two peers that cannot reach each other send by way of a third, who cannot read
//! what it passes on (npm `blind-relay` 1).
//!
//! Both ends are connected with the relay, and tell it the same secret token, which they
//! have agreed on by other means, and the numbers of their UDX streams. Then the relay opens
//! two streams, and passes each packet that comes for the one on to the end of the other, as
//! it is: both ends see one stream, and what they say on it is encrypted between the two.
//!
//! * [`Client`] is an end, on its [`Connection`](crate::Connection) to the relay;
//! * [`Server`] is the relay;
//! * [`Pair`] and [`Unpair`] are what is said.
//!
//! ```
//! use hyperswarm::blind_relay::{Client, Limits, Server};
//! use hyperswarm::udx::{Config, Udx, UdxSocket};
//! use hyperswarm::{Connection, KeyPair, Options};
//! use std::net::SocketAddr;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
//! /// A connection with the relay. (On the DHT, that is a dial.)
//! async fn connect(end: &Udx, socket: &UdxSocket, relay: &Server, udx: &Udx, at: &UdxSocket) -> Result<Client> {
//!     let (ours, theirs) = (end.stream(Config::default())?, udx.stream(Config::default())?);
//!     ours.connect(socket, theirs.id(), at.local_addr());
//!     theirs.connect(at, ours.id(), socket.local_addr());
//!     let (relay, pair) = (relay.clone(), KeyPair::generate()?);
//!     tokio::spawn(async move {
//!         if let Ok(connection) = Connection::new(theirs, false, &pair, Options::default()).await {
//!             relay.serve(connection, Some([127, 0, 0, 1].into())).await;
//!         }
//!     });
//!     let connection = Connection::new(ours, true, &KeyPair::generate()?, Options::default()).await?;
//!     Ok(Client::new(connection)?)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! let local: SocketAddr = "127.0.0.1:0".parse()?;
//! let udx = Udx::new();
//! let at = udx.bind(local)?.0;
//! let relay = Server::new(udx.clone(), Limits::default());
//! let (alice, bob) = (Udx::new(), Udx::new());
//! let (here, there) = (alice.bind(local)?.0, bob.bind(local)?.0);
//! let mut to_alice = connect(&bob, &there, &relay, &udx, &at).await?;
//! let mut to_bob = connect(&alice, &here, &relay, &udx, &at).await?;
//!
//! let (mut ours, mut theirs) = (alice.stream(Config::default())?, bob.stream(Config::default())?);
//! let token = [7; 32];
//! let (by_alice, by_bob) = tokio::try_join!(
//!     to_bob.pair(true, token, ours.id()),
//!     to_alice.pair(false, token, theirs.id()),
//! )?;
//! ours.connect(&here, by_alice, at.local_addr());
//! theirs.connect(&there, by_bob, at.local_addr());
//! // The relay learns where an end is from its first packet.
//! theirs.write_all(b"?").await?;
//! ours.write_all(b"hello").await?;
//! let mut heard = [0; 5];
//! theirs.read_exact(&mut heard).await?;
//! assert_eq!(&heard, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//! A relay serves 1,024 connections at a time, each with at most 64 pairings; 4,096 of all
//! wait for their other end, for 30 seconds at most, and 4,096 are made and last, until no
//! packet has come from one of the ends for a minute: [`Limits`]. A waiting pairing costs
//! some 200 bytes, a link two UDX streams that keep nothing. A stranger cannot send into a
//! link without knowing a number of 32 bits, and, before the link is used, the address of
//! its end.

mod client;
mod messages;
mod server;

pub use client::{Client, PAIRING_TIMEOUT, PairError};
pub use messages::{Pair, Token, Unpair};
pub use server::{Limits, Server, Stats};
