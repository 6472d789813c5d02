//! The Hyperspace server: this machine's hypercores in one place, lent to every local
//! program over HRPC.
//!
//! [`start`] starts a whole server in this process, as the binary `hyperspace` does;
//! [`simulator`] a throw-away one for tests. [`Server`] is the part without sockets and
//! signals, over any [`Store`]:
//!
//! ```
//! use hyperspace::{Options, Server};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(hypercore::Corestore::memory()?, Options::default()).await?;
//! let (ours, theirs) = tokio::io::duplex(64 * 1024);
//! server.serve_stream(theirs);
//! // `ours` speaks HRPC now: see the crates `hyperspace-schema` and `hyperspace-client`.
//! # drop(ours);
//! server.close().await?;
//! # Ok(()) }
//! ```
//!
//! # How it hangs together
//! A connection is a *session*: one future that owns what its client has open, and the
//! requests in progress. Requests start in order of arrival, are polled once at once,
//! and answered right then if they are done; the others go on side by side. The *hub*
//! has each open core once, whoever opened it, and passes its events to the *mailboxes*
//! of the sessions; the advisory locks live there too. The [`networker`] adds up what
//! sessions want announced and looked up, and remembers what is to outlive them; the
//! network itself plugs in behind [`networker::Swarm`]: [`peers`] is the one of peers that
//! are known by their address.
//!
//! # What clients may rely on
//! * A growth is told (`OnAppend`) to every handle of every session before the append
//!   that caused it is answered; `OnFeed` comes before the answer to `Open`, and only to
//!   sessions that opened that core.
//! * A truncation is told as an `OnAppend` with a shorter length, always, before any
//!   growth that came after it; growth may be told as its outcome.
//! * Locks, pending requests, extensions and network wishes end with their handle
//!   (`Close`) or their connection, whichever is first. Appends that have begun are
//!   carried through.
//! * A request that cannot be understood gets an error reply; a byte stream that cannot
//!   be understood is closed. Neither is noticed by anybody else. Nor is a client that
//!   does not read: see [`Limits`] for all that is bounded, and how.
//!
//! # Differences from npm hyperspace 3.19
//! Its faults (locks that outlive their holder, copyFrom that copies nothing, downloads
//! that never reply, events to everybody) are not copied. `Update` without `minLength`
//! asks for one block more. Methods 28 to 30 of `Hypercore`, and `AppendRequest.expectedLength`, are ours.
#![forbid(unsafe_code)]

pub mod beam;
mod bootstrap;
pub mod config;
pub mod extensions;
mod hub;
mod limits;
pub mod listen;
mod lock;
mod mailbox;
pub mod networker;
pub mod peers;
mod server;
mod session;
pub mod simulator;
mod start;
mod store;
mod transport;
mod wire_error;
mod workers;

pub use bootstrap::{BOOTSTRAP_VARIABLE, Bootstrap};
pub use config::Endpoint;
pub use limits::Limits;
pub use server::{ClientChange, OnClient, Options, Server};
pub use start::{Config, RunningServer, StartError, Storage, start};
pub use store::{Follow, Store};
pub use transport::Transport;
