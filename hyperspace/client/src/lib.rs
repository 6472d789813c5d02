//! A client of a Hyperspace server: its cores and its place in the swarm.
//!
//! ```no_run
//! use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
//! use hyperspace_client::{Endpoint, HyperspaceClient, NetworkConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), hyperspace_api::CoreError> {
//! let client = HyperspaceClient::connect(Endpoint::default()).await?;
//! let core = client.corestore(None).open(OpenTarget::Name("notes".into())).await?;
//! core.append(vec!["hello".into()], None).await?;
//! assert_eq!(core.get(0, GetOptions::default()).await?, "hello");
//! client.network().configure(NetworkConfig {
//!     announce: Some(true),
//!     ..NetworkConfig::new(core.discovery_key())
//! }).await?;
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod cache;
mod client;
mod core;
mod corestore;
mod download;
mod endpoint;
mod error;
mod extension;
mod lock;
mod mux;
mod network;
mod queue;
mod read_stream;
mod retry;
mod session;
mod watch;
mod write_stream;

pub use self::client::{ClientOptions, HyperspaceClient, ServerStatus};
pub use self::core::{GetWith, RemoteHypercore};
pub use self::corestore::RemoteCorestore;
pub use self::download::{Download, DownloadRange};
pub use self::endpoint::{Endpoint, SOCKET_VARIABLE, Stream};
pub use self::extension::{Extension, ExtensionMessage};
pub use self::lock::LockGuard;
pub use self::network::{NetworkConfig, NetworkEvent, NetworkStatus, RemoteNetworker};
pub use self::queue::QUEUE;
pub use self::read_stream::{ReadStream, ReadStreamOptions};
pub use self::watch::{Transfer, Watch};
pub use self::write_stream::WriteStream;
