//! A client of a Hyperspace server: its cores and its place in the swarm.
//!
//! ```
//! use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
//! use hyperspace_client::{Endpoint, HyperspaceClient, NetworkConfig};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A server for this example; usually one is running, at `Endpoint::default()`.
//! let server = hyperspace::simulator::start().await?;
//!
//! let client = HyperspaceClient::connect(Endpoint::Unix(server.socket().into())).await?;
//! let core = client.corestore(None).open(OpenTarget::Name("notes".into())).await?;
//! core.append(vec!["hello".into()], None).await?;
//! assert_eq!(core.get(0, GetOptions::default()).await?, "hello");
//!
//! let topic = core.discovery_key();
//! let network = client.network();
//! network.configure(NetworkConfig { lookup: Some(true), ..NetworkConfig::new(topic) }).await?;
//! assert!(network.status(topic).await?.is_some_and(|status| status.lookup));
//! # server.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! * A [`HyperspaceClient`] is one connection, which many tasks use at a time. It is
//!   made again when the server was away.
//! * A [`RemoteCorestore`] opens [`RemoteHypercore`]s. Both implement the traits of
//!   `hyperspace_api`, so a drive works on them as on local ones.
//! * A [`RemoteNetworker`] joins and leaves topics; [`Peersockets`] sends messages to the
//!   programs of peers.
//! * Events come as streams and receivers; dropping a future cancels what it asked for.
//!
//! What a client holds is bounded by [`ClientOptions`] and, for events nobody takes, by
//! [`QUEUE`]. What a server sends that is not HRPC ends the connection, nothing else.
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
mod network_info;
mod peersockets;
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
pub use self::network::{NetworkConfig, NetworkEvent, NetworkStatus, PeerAddress, RemoteNetworker};
pub use self::network_info::{ConnectionInfo, DhtInfo, NetworkInfo, TopicInfo};
pub use self::peersockets::{Peersocket, Peersockets};
pub use self::queue::QUEUE;
pub use self::read_stream::{ReadStream, ReadStreamOptions};
pub use self::watch::{Transfer, Watch};
pub use self::write_stream::WriteStream;
