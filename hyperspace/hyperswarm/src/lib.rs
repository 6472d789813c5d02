//! The network of Hypercores: how peers find each other, get through to each other, and what
//! they speak then.
//!
//! From below to above, each usable without the next:
//! * [`udx`] makes streams of datagrams, and shares their socket with others;
//! * [`noise`] proves who is at the other end, and agrees on keys;
//! * [`secret_stream`] encrypts messages over a byte stream;
//! * [`protomux`] puts many channels on one such stream;
//! * [`Connection`] runs all of it over any stream of tokio, [`pipe`](mod@pipe) without channels.
//!
//! And how two come to have such a stream:
//! * [`dht`] is a node among nodes, who keep things for each other;
//! * [`hyperdht`] keeps who is interested in what, and dials peers by their keys, through
//!   firewalls if need be;
//! * [`blind_relay`] passes on what two send who cannot meet;
//! * [`swarm`] joins topics, and stays connected with whoever else has.
//!
//! What speaks a protocol knows no socket, no clock and no task: it is given bytes and times,
//! and gives bytes and events. All of it is the wire format of npm `udx-native` 1,
//! `@hyperswarm/secret-stream` 6, `protomux` 3, `dht-rpc` 6, `hyperdht` 6, `blind-relay` 1 and
//! `hyperswarm` 4.
//!
//! ```
//! use hyperswarm::{Connection, Event, KeyPair, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any byte stream will do.
//! let (left, right) = tokio::io::duplex(64 << 10);
//! let (alice, bob) = (KeyPair::generate()?, KeyPair::generate()?);
//!
//! let server = tokio::spawn(async move {
//!     let mut connection = Connection::new(right, false, &bob, Options::default()).await?;
//!     connection.pair("echo", None);
//!     while let Some(event) = connection.next().await {
//!         match event {
//!             Event::Requested { protocol, id, .. } => {
//!                 connection.open(&protocol, &id, "come in")?;
//!             }
//!             Event::Message { channel, kind, payload } => {
//!                 connection.send(channel, kind, payload)?;
//!             }
//!             _ => {}
//!         }
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! let mut connection = Connection::new(left, true, &alice, Options::default()).await?;
//! let channel = connection.open("echo", b"room 1", "let me in")?;
//! connection.send(channel, 0, "hello")?;
//!
//! let opened = connection.next().await;
//! assert_eq!(opened, Some(Event::Opened { channel, handshake: "come in".into() }));
//! let answer = connection.next().await;
//! assert_eq!(answer, Some(Event::Message { channel, kind: 0, payload: "hello".into() }));
//!
//! connection.close().await?;
//! server.await?.map_err(|error| error.to_string())?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod blind_relay;
pub mod connection;
pub mod dht;
mod hash;
pub mod hyperdht;
mod key_pair;
pub mod noise;
pub mod pipe;
pub mod protomux;
pub mod secret_stream;
pub mod swarm;
pub mod udx;

pub use connection::{Connection, ConnectionError, Options, Sender, Traffic};
pub use key_pair::{KeyPair, PublicKey};
pub use protomux::{ChannelId, Event};
