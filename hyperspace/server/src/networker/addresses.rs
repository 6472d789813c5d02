//! The addresses of peers that are called again when the server starts again, kept in a core
//! of the server's own: its last block is the list.

use super::remembered::RESERVED;
use hyperspace_api::{Core, CoreError, Corestore, GetOptions, OpenTarget};
use hyperspace_schema::messages::{PeerAddress, PeerAddressesResponse};
use prost::Message;
use std::collections::BTreeSet;
use tokio::sync::Mutex;

/// Under [`RESERVED`].
const NAME: &str = "peers";

/// The remembered addresses.
pub(crate) struct Addresses<C: Core> {
    list: Mutex<List<C>>,
}

struct List<C: Core> {
    core: C,
    current: BTreeSet<String>,
}

impl<C: Core> Addresses<C> {
    /// Reads what is remembered; an unreadable list is passed over, with a warning.
    pub(crate) async fn load<S: Corestore<Core = C>>(store: &S) -> Result<Self, CoreError> {
        let core = store.open(OpenTarget::Name(format!("{RESERVED}{NAME}"))).await?;
        let mut current = BTreeSet::new();
        if let Some(last) = core.length().checked_sub(1) {
            let block = core.get(last, GetOptions::LOCAL).await.map_err(|error| error.to_string());
            let list =
                block.and_then(|block| PeerAddressesResponse::decode(block).map_err(|e| e.to_string()));
            match list {
                Ok(list) => current.extend(list.addresses.into_iter().map(|peer| peer.address)),
                Err(error) => tracing::warn!(error, "the remembered addresses of peers are unreadable"),
            }
        }
        Ok(Self { list: Mutex::new(List { core, current }) })
    }

    /// Everything that is remembered.
    pub(crate) async fn all(&self) -> BTreeSet<String> {
        self.list.lock().await.current.clone()
    }

    /// Remembers an address, or forgets it.
    pub(crate) async fn remember(&self, address: &str, remember: bool) -> Result<(), CoreError> {
        let mut list = self.list.lock().await;
        if list.current.contains(address) == remember {
            return Ok(());
        }
        let mut next = list.current.clone();
        if remember {
            next.insert(address.to_owned());
        } else {
            next.remove(address);
        }
        let addresses = next.iter().map(|address| PeerAddress {
            address: address.clone(),
            remote_public_key: None,
            error: None,
            remember: Some(true),
        });
        let block = PeerAddressesResponse { addresses: addresses.collect() }.encode_to_vec();
        let appended = list.core.append(vec![block.into()], None).await?;
        list.current = next;
        list.core.clear(0, appended.first).await
    }
}
