//! UDX: streams over UDP that need no handshake, as npm `udx-native` 1 speaks it.
//!
//! Both sides have to know each other's address, and the number that each gave its stream;
//! the DHT tells them. Then bytes go both ways in order, and messages beside them, without;
//! other datagrams may share the socket.
//!
//! * [`packet`] is the format of what is sent;
//! * [`Stream`] is one stream, [`Mux`] are many on a few sockets: both know neither sockets
//!   nor the time, and are driven by whoever has them;
//! * [`Udx`], [`UdxSocket`] and [`UdxStream`] drive them on tokio. A [`UdxStream`] is a byte
//!   stream like any other: [`Connection`](crate::Connection) runs on it.
//!
//! What is lost is found by RACK and by probes of the tail (RFC 8985); how much is sent is
//! up to a [`Controller`](congestion::Controller), which is [`Bbr`](congestion::Bbr).
//!
//! ```
//! use hyperswarm::udx::{Config, Udx};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let udx = Udx::new();
//! let (here, _) = udx.bind("127.0.0.1:0".parse()?)?;
//! let (there, _) = udx.bind("127.0.0.1:0".parse()?)?;
//! let mut alice = udx.stream(Config::default())?;
//! let mut bob = udx.stream(Config::default())?;
//! alice.connect(&here, bob.id(), there.local_addr());
//! bob.connect(&there, alice.id(), here.local_addr());
//!
//! alice.write_all(b"hello").await?;
//! alice.shutdown().await?;
//! let mut heard = String::new();
//! bob.read_to_string(&mut heard).await?;
//! assert_eq!(heard, "hello");
//! # Ok(())
//! # }
//! ```

mod ack_queue;
mod config;
pub mod congestion;
mod flight;
mod handle;
mod mtu;
mod mux;
mod pacer;
pub mod packet;
mod path;
mod rack;
mod ranges;
mod rate;
mod receiver;
mod rtt;
mod send_buffer;
mod sequence;
mod shared;
mod socket;
mod stream;
mod timers;

pub use config::Config;
pub use handle::{UdxStream, Way};
pub use mux::{Firewall, Mux, NumberTaken, Taken, Verdict};
pub use path::{Path, SocketId, Transmit};
pub use shared::Udx;
pub use socket::{Datagrams, UdxSocket};
pub use stream::{Happened, MessageError, Stats, Stream, StreamError};
