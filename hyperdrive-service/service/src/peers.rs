//! The addresses of peers that the server calls: no matter of drives, so no root drive
//! is needed.

use crate::ServiceError;
use crate::client::connect;
use hyperspace_api::CoreError;
use hyperspace_client::{Endpoint, HyperspaceClient};
use serde::Serialize;

/// An address, and how calling it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerAddress {
    /// `HOST:PORT`.
    pub address: String,
    /// Is somebody connected there?
    pub connected: bool,
    /// Who: a Noise public key, in hex.
    pub remote_public_key: Option<String>,
    /// Why nobody is. Nothing while the first call is under way.
    pub error: Option<String>,
    /// Is it called again after a restart of the server?
    pub remember: bool,
}

/// The addresses that a server calls.
pub struct Peers {
    rpc: HyperspaceClient,
}

impl Peers {
    /// Connects to the server.
    pub async fn connect(endpoint: Endpoint) -> Result<Self, ServiceError> {
        Ok(Self { rpc: connect(endpoint).await? })
    }

    /// Has the server call `address` from now on; with `remember`, also when it starts
    /// again. What is called already only has that changed.
    pub async fn add(&self, address: &str, remember: bool) -> Result<PeerAddress, ServiceError> {
        self.rpc.network().add_peer(address, remember).await.map_err(usage)?;
        let added = self.list().await?.into_iter().find(|peer| peer.address == address);
        added.ok_or_else(|| ServiceError::usage(format!("{address} was removed at the same time.")))
    }

    /// No longer has it call `address`, and hangs up.
    pub async fn remove(&self, address: &str) -> Result<(), ServiceError> {
        self.rpc.network().remove_peer(address).await.map_err(usage)
    }

    /// All of them.
    pub async fn list(&self) -> Result<Vec<PeerAddress>, ServiceError> {
        let addresses = self.rpc.network().peer_addresses().await?;
        let list = addresses.into_iter().map(|at| PeerAddress {
            address: at.address,
            connected: at.connected.is_some(),
            remote_public_key: at.connected.map(|key| key.to_string()),
            error: at.error,
            remember: at.remember,
        });
        Ok(list.collect())
    }
}

/// What the server says of an address that it does not take is said to the user.
fn usage(error: CoreError) -> ServiceError {
    match error {
        CoreError::Invalid(text) | CoreError::Remote { message: text, .. } => {
            ServiceError::usage(format!("{text}. Peers that are called: hyperdrive peer list"))
        }
        other => other.into(),
    }
}
