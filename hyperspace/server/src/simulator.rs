//! Throw-away servers for tests: in memory, with a socket of their own.
//!
//! ```
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulator = hyperspace::simulator::start().await?;
//! let client = tokio::net::UnixStream::connect(simulator.socket()).await?;
//! # drop(client);
//! simulator.shutdown().await?;
//! # Ok(()) }
//! ```

use crate::config::{Endpoint, socket_path};
use crate::{Config, RunningServer, StartError, Storage};
use hyperspace_api::CoreError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A server that leaves nothing behind.
pub struct Simulator {
    server: RunningServer,
    name: String,
    socket: PathBuf,
}

/// Starts a server in memory that listens on a socket of its own.
pub async fn start() -> Result<Simulator, StartError> {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let name = format!("hyperspace-simulator-{}-{number}", std::process::id());
    let socket = socket_path(Some(&name));
    let config = Config {
        storage: Storage::Memory,
        endpoint: Some(Endpoint::Unix(socket.clone())),
        no_announce: true,
        ..Config::default()
    };
    Ok(Simulator { server: crate::start(config).await?, name, socket })
}

impl Simulator {
    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `HYPERSPACE_SOCKET` must be for clients to find it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends it, and removes its socket.
    pub async fn shutdown(self) -> Result<(), CoreError> {
        self.server.shutdown().await
    }
}
