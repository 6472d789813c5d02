//! The Hyperdrive service: a root drive, mounted as a folder, with other drives
//! mounted in it; and the library behind the `hyperdrive` command.
//!
//! Everything goes through the RPC of a Hyperspace server; nothing here knows how a
//! core is stored.
//!
//! * [`Service`] mounts the root drive and keeps it mounted.
//! * [`HyperdriveClient`] does all the rest, whether or not anything is mounted.
//!
//! ```no_run
//! use hyperdrive_service::{ClientOptions, HyperdriveClient, Target};
//!
//! # async fn example() -> Result<(), hyperdrive_service::ServiceError> {
//! let client = HyperdriveClient::connect(ClientOptions::new()?).await?;
//! let made = client.create("/home/me/Hyperdrive/photos".as_ref(), true).await?;
//! println!("share this key: {}", made.key);
//! let info = client.info(&Target::Path("/home/me/Hyperdrive/photos".into())).await?;
//! assert!(info.is_mount && info.writable);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod client;
pub mod config;
mod error;
mod export;
mod files;
mod hints;
mod history;
mod import;
pub mod mirror;
mod others;
pub mod paths;
mod peers;
mod service;
mod settle;
pub mod setup;
mod stats;
mod status;
mod traffic;

pub use client::{ClientOptions, HyperdriveClient, Info, Mounted, RemoteDrive, Target};
pub use config::Config;
pub use error::ServiceError;
pub use export::export;
pub use history::{Change, ChangeKind, LogEntry};
pub use hyperdrive::{Cleared, Progress as DownloadProgress};
pub use hyperspace_api::{Key, KeyError};
pub use hyperspace_client::Endpoint;
pub use import::{ImportOptions, Summary, import};
pub use peers::{PeerAddress, Peers};
pub use service::{Service, ServiceOptions};
pub use stats::{CoreStats, DriveStats, FileStorage, PeerStats, Stats};
pub use status::{Dht, Network, Peer, Status, Topic, status};
pub use traffic::Traffic;
