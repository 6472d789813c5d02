//! The methods of extensions, of cores and of the network.

use super::dispatch::invalid_resource;
use super::work::{Answer, Ticket};
use super::{Resource, ResourceKind, Session};
use crate::Store;
use crate::extensions::Use;
use hyperspace_api::{Core, CoreError, Key};
use hyperspace_schema::messages::*;

impl<S: Store> Session<S> {
    /// `core`: the client's id of it; `None` for an extension of the network.
    pub(super) fn register(
        &mut self,
        ticket: Ticket,
        core: Option<u32>,
        r: RegisterExtensionRequest,
    ) -> Result<(), CoreError> {
        self.check_resource(r.resource_id)?;
        let (session, mailbox, server) = (self.id, self.mailbox.clone(), self.server.clone());
        let used = match core {
            Some(id) => {
                let handle = self.open_core(id)?.core()?;
                let open = || S::extension(&handle, &r.name);
                let who = (session, id, r.resource_id);
                server.core_extensions.register(handle.key(), &r.name, who, mailbox, open)
            }
            None => {
                let open = || server.networker.swarm.extension(&r.name);
                let who = (session, 0, r.resource_id);
                server.network_extensions.register((), &r.name, who, mailbox, open)
            }
        }?;
        self.resources.insert(r.resource_id, Resource { core, kind: ResourceKind::Extension(used) });
        self.answer(ticket, Answer::Void);
        Ok(())
    }

    fn extension(&self, core: Option<u32>, resource: u64) -> Result<&Use, CoreError> {
        match self.resources.get(&resource) {
            Some(Resource { core: of, kind: ResourceKind::Extension(used) }) if *of == core => Ok(used),
            _ => Err(invalid_resource(resource)),
        }
    }

    pub(super) fn unregister(
        &mut self,
        ticket: Ticket,
        core: Option<u32>,
        resource: u64,
    ) -> Result<(), CoreError> {
        self.extension(core, resource)?;
        self.resources.remove(&resource);
        self.answer(ticket, Answer::Void);
        Ok(())
    }

    /// To one peer, or to all.
    pub(super) fn send_extension(
        &mut self,
        ticket: Ticket,
        core: Option<u32>,
        r: ExtensionMessage,
    ) -> Result<(), CoreError> {
        let used = self.extension(core, r.resource_id)?;
        let to = match r.remote_public_key.filter(|key| !key.is_empty()) {
            Some(key) => Some(
                Key::try_from(&key[..])
                    .map_err(|_| CoreError::Invalid("A peer's public key has 32 bytes".into()))?,
            ),
            None => None,
        };
        let sending = used.send(to, r.data);
        let sent = async move {
            sending.await;
            Ok(Answer::Void)
        };
        self.start(ticket, async { sent.await.into() }, None);
        Ok(())
    }
}
