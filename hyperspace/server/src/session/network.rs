//! The methods of the network: what is announced and looked up, and who is called.

use super::Session;
use super::work::{Answer, Ticket};
use crate::Store;
use bytes::Bytes;
use hyperspace_api::CoreError;
use hyperspace_schema::messages::*;

impl<S: Store> Session<S> {
    pub(super) fn configure(&mut self, ticket: Ticket, r: ConfigureNetworkRequest) -> Result<(), CoreError> {
        let configured = self.server.networker.configure(self.id, &r)?;
        let (server, leaving) = (self.server.clone(), self.leaving.clone());
        let room = self.waiting.clone();
        let configuring = async move {
            if let Some((topic, presence)) = configured.store {
                server.remembered.store(topic, presence).await?;
            }
            if let Some(topic) = configured.flush {
                let _waiting = room.enter()?;
                leaving.run_until_cancelled(server.networker.swarm.flushed(topic)).await;
            }
            Ok(Answer::Configure(ConfigureNetworkResponse { status: configured.status }))
        };
        self.start(ticket, async { configuring.await.into() }, None);
        Ok(())
    }

    /// Calls an address. It is for the server, not for this session.
    pub(super) fn add_peer(&mut self, ticket: Ticket, r: AddPeerRequest) -> Result<(), CoreError> {
        self.server.networker.swarm.add_peer(&r.address)?;
        let server = self.server.clone();
        let adding = async move {
            if let Some(remember) = r.remember {
                server.addresses.remember(&r.address, remember).await?;
            }
            Ok(Answer::Void)
        };
        self.start(ticket, async { adding.await.into() }, None);
        Ok(())
    }

    pub(super) fn remove_peer(&mut self, ticket: Ticket, r: RemovePeerRequest) -> Result<(), CoreError> {
        if !self.server.networker.swarm.remove_peer(&r.address) {
            return Err(CoreError::Invalid(format!("No peer is called at '{}'", r.address.escape_debug())));
        }
        let server = self.server.clone();
        let removing = async move {
            server.addresses.remember(&r.address, false).await?;
            Ok(Answer::Void)
        };
        self.start(ticket, async { removing.await.into() }, None);
        Ok(())
    }

    pub(super) fn network_info(&mut self, ticket: Ticket) {
        let server = self.server.clone();
        let asking = async move { Ok(Answer::NetworkInfo(server.networker.info().await)) };
        self.start(ticket, async { asking.await.into() }, None);
    }

    pub(super) fn peer_addresses(&mut self, ticket: Ticket) {
        let server = self.server.clone();
        let asking = async move {
            let remembered = server.addresses.all().await;
            let addresses = server.networker.swarm.peer_addresses().into_iter().map(|at| PeerAddress {
                remember: Some(remembered.contains(&at.address)),
                address: at.address,
                remote_public_key: at.connected.map(|key| Bytes::copy_from_slice(key.as_bytes())),
                error: at.error,
            });
            Ok(Answer::PeerAddresses(PeerAddressesResponse { addresses: addresses.collect() }))
        };
        self.start(ticket, async { asking.await.into() }, None);
    }
}
