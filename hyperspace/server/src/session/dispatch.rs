//! From frames to handlers, and from results to replies.

use super::cores::{OpenCore, Opened, Slot};
use super::work::{Answer, Cancel, Done, Ticket, Work};
use super::{READ, Resource, ResourceKind, Session};
use crate::Store;
use crate::mailbox::Note;
use crate::wire_error::rpc_error;
use hyperspace_api::{Core, CoreError};
use hyperspace_schema::frame::{self, Frame};
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{self, Call, Method};
use std::future::Future;
use std::task::{Context, Poll, Waker};
use tokio_util::sync::CancellationToken;

/// `Invalid hypercore: <id>`, as clients know it.
pub(super) fn invalid_core(id: impl Into<u64>) -> CoreError {
    CoreError::Invalid(format!("Invalid hypercore: {}", id.into()))
}

/// `Invalid resource: <id>`, as clients know it.
pub(super) fn invalid_resource(id: u64) -> CoreError {
    CoreError::Invalid(format!("Invalid resource: {id}"))
}

/// How a request may be ended before it is done.
pub(super) struct Early {
    /// Cancelled with the handle, or by the client.
    pub(super) token: CancellationToken,
    /// What the request then fails with.
    pub(super) error: CoreError,
    /// The handle it belongs to, and the resource id by which the client may end it.
    pub(super) resource: Option<(u32, u64)>,
}

/// The core that a call is about, by the client's id.
fn core_id(call: &Call) -> Option<u64> {
    Some(match call {
        Call::Get(r) => r.id.into(),
        Call::Append(r) => r.id.into(),
        Call::Update(r) => r.id.into(),
        Call::Seek(r) => r.id.into(),
        Call::Has(r) => r.id.into(),
        Call::Cancel(r) => r.id,
        Call::Download(r) => r.id,
        Call::Downloaded(r) => r.id,
        Call::Undownload(r) => r.id,
        Call::Close(r) => r.id.into(),
        Call::RegisterExtension(r) => r.id,
        Call::UnregisterExtension(r) => r.id,
        Call::SendExtension(r) => r.id,
        Call::AcquireLock(r) | Call::ReleaseLock(r) => r.id,
        Call::WatchDownloads(r) | Call::UnwatchDownloads(r) => r.id,
        Call::WatchUploads(r) | Call::UnwatchUploads(r) => r.id,
        Call::Flush(r) => r.id.into(),
        Call::Clear(r) => r.id.into(),
        Call::Info(r) => r.id.into(),
        Call::Status(_)
        | Call::Stop(_)
        | Call::Open(_)
        | Call::NetworkOpen(_)
        | Call::Configure(_)
        | Call::NetworkStatus(_)
        | Call::AllStatuses(_)
        | Call::RegisterNetworkExtension(_)
        | Call::UnregisterNetworkExtension(_)
        | Call::SendNetworkExtension(_)
        | Call::AddPeer(_)
        | Call::RemovePeer(_)
        | Call::PeerAddresses(_)
        | Call::NetworkInfo(_) => return None,
    })
}

impl<S: Store> Session<S> {
    /// Starts the request in `frame`.
    pub(super) fn request(&mut self, frame: Frame) {
        let Frame { service, method, id, mut payload, .. } = frame;
        let ticket = Ticket { service, method, id, resource: None, weight: payload.len() };
        // Stores may keep the blocks that they are given: not with a whole read buffer
        // behind each.
        let append = (methods::hypercore::Append::SERVICE, methods::hypercore::Append::METHOD);
        if (service, method) == append && payload.len() < READ {
            payload = bytes::Bytes::copy_from_slice(&payload);
        }
        match Call::decode(service, method, payload) {
            Ok(call) => self.call(ticket, call),
            Err(error) => self.finish(ticket, Done::Failed(CoreError::Invalid(error.to_string()))),
        }
    }

    /// Starts `call`, after those on the same core that came before it.
    pub(super) fn call(&mut self, ticket: Ticket, call: Call) {
        if let Some(id) = core_id(&call)
            && let Ok(id) = u32::try_from(id)
            && let Some(Slot::Opening(queue)) = self.cores.get_mut(&id)
        {
            self.work_bytes += ticket.weight;
            self.queued += 1;
            queue.push((ticket, call));
            return;
        }
        if let Err(error) = self.handle(ticket, call) {
            self.finish(ticket, Done::Failed(error));
        }
    }

    fn handle(&mut self, ticket: Ticket, call: Call) -> Result<(), CoreError> {
        match call {
            Call::Status(_) => self.answer(ticket, Answer::Status(self.server.status())),
            Call::Stop(_) => {
                self.answer(ticket, Answer::Void);
                self.server.stop.cancel();
            }
            Call::Open(r) => self.open(ticket, r)?,
            Call::Get(r) => self.get(ticket, r)?,
            Call::Append(r) => self.append(ticket, r)?,
            Call::Update(r) => self.update(ticket, r)?,
            Call::Seek(r) => self.seek(ticket, r)?,
            Call::Has(r) => self.has(ticket, r)?,
            Call::Cancel(r) => self.cancel(ticket, r.id, r.resource_id)?,
            Call::Undownload(r) => self.cancel(ticket, r.id, r.resource_id)?,
            Call::Download(r) => self.download(ticket, r)?,
            Call::Downloaded(r) => self.downloaded(ticket, r)?,
            Call::Close(r) => self.close(ticket, r.id)?,
            Call::RegisterExtension(r) => {
                let id = self.core_id(r.id)?;
                self.register(ticket, Some(id), r)?;
            }
            Call::UnregisterExtension(r) => {
                let id = self.core_id(r.id)?;
                self.unregister(ticket, Some(id), r.resource_id)?;
            }
            Call::SendExtension(r) => {
                let id = self.core_id(r.id)?;
                self.send_extension(ticket, Some(id), r)?;
            }
            Call::AcquireLock(r) => self.acquire_lock(ticket, r.id)?,
            Call::ReleaseLock(r) => self.release_lock(ticket, r.id)?,
            Call::WatchDownloads(r) => {
                self.watch(ticket, r.id, |core| core.subscription.watch_downloads(true))?
            }
            Call::UnwatchDownloads(r) => {
                self.watch(ticket, r.id, |core| core.subscription.watch_downloads(false))?;
            }
            Call::WatchUploads(r) => {
                self.watch(ticket, r.id, |core| core.subscription.watch_uploads(true))?
            }
            Call::UnwatchUploads(r) => {
                self.watch(ticket, r.id, |core| core.subscription.watch_uploads(false))?
            }
            Call::Flush(r) => self.flush(ticket, r.id)?,
            Call::Clear(r) => self.clear(ticket, r)?,
            Call::Info(r) => self.info(ticket, r.id)?,
            Call::NetworkOpen(_) => self.answer(ticket, Answer::Network(self.server.network())),
            Call::Configure(r) => self.configure(ticket, r)?,
            Call::NetworkStatus(r) => {
                let status = self.server.networker.status(&r.discovery_key)?;
                self.answer(ticket, Answer::NetworkStatus(NetworkStatusResponse { status }));
            }
            Call::AllStatuses(_) => {
                let statuses = self.server.networker.all();
                self.answer(ticket, Answer::AllStatuses(AllNetworkStatusesResponse { statuses }));
            }
            Call::RegisterNetworkExtension(r) => self.register(ticket, None, r)?,
            Call::UnregisterNetworkExtension(r) => self.unregister(ticket, None, r.resource_id)?,
            Call::SendNetworkExtension(r) => self.send_extension(ticket, None, r)?,
            Call::AddPeer(r) => self.add_peer(ticket, r)?,
            Call::RemovePeer(r) => self.remove_peer(ticket, r)?,
            Call::PeerAddresses(_) => self.peer_addresses(ticket),
            Call::NetworkInfo(_) => self.network_info(ticket),
        }
        Ok(())
    }

    /// The id of an open core.
    pub(super) fn core_id(&self, id: u64) -> Result<u32, CoreError> {
        self.open_core(id)?;
        u32::try_from(id).map_err(|_| invalid_core(id))
    }

    /// The open core of that id.
    pub(super) fn open_core(&self, id: impl Into<u64>) -> Result<&OpenCore<S::Core>, CoreError> {
        let id = id.into();
        match u32::try_from(id).ok().and_then(|id| self.cores.get(&id)) {
            Some(Slot::Open(core)) => Ok(core),
            _ => Err(invalid_core(id)),
        }
    }

    /// Runs a request. Polled once here and now, so that what is done at once is
    /// answered at once; else it becomes one of the requests in progress.
    pub(super) fn start(
        &mut self,
        ticket: Ticket,
        doing: impl Future<Output = Done<S::Core>> + Send + 'static,
        early: Option<Early>,
    ) {
        let mut doing = Box::pin(doing);
        // Nobody needs waking: what is not ready is polled again with its real waker.
        if let Poll::Ready(done) = doing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return self.finish(ticket, done);
        }
        let mut ticket = ticket;
        let cancel = early.map(|Early { token, error, resource }| {
            if let Some((core, id)) = resource {
                ticket.resource = Some(id);
                let kind = ResourceKind::Pending(token.clone());
                self.resources.insert(id, Resource { core: Some(core), kind });
            }
            Cancel::new(token, error)
        });
        self.work_bytes += ticket.weight;
        self.started = true;
        self.work.push(Work::new(ticket, doing, cancel));
    }

    /// Takes note that a request in progress is done, and answers it.
    pub(super) fn end_work(&mut self, ticket: Ticket, done: Done<S::Core>) {
        self.work_bytes -= ticket.weight;
        if let Some(id) = ticket.resource {
            self.resources.remove(&id);
        }
        self.finish(ticket, done);
    }

    /// Answers a request.
    pub(super) fn finish(&mut self, ticket: Ticket, done: Done<S::Core>) {
        // What the request caused is told before its answer.
        match done {
            Done::Answer(answer) => self.answer(ticket, answer),
            Done::Failed(error) => self.fail(ticket, &error),
            Done::Opened(id, opened) => self.opened(ticket, id, opened),
            Done::NotOpened(id, error) => {
                let slot = self.cores.remove(&id);
                self.fail(ticket, &error);
                self.replay(slot);
            }
            Done::Locked(id, guard) => match self.cores.get_mut(&id) {
                Some(Slot::Open(core)) => {
                    core.locks.push(guard);
                    self.answer(ticket, Answer::Void);
                }
                _ => self.fail(ticket, &invalid_core(id)),
            },
        }
    }

    /// A core is open: answer that, then start what waited for it.
    fn opened(&mut self, ticket: Ticket, id: u32, opened: Opened<S::Core>) {
        let core = opened.core.clone();
        let shared = opened.shared.clone();
        let first = !self.cores.values().any(|slot| match slot {
            Slot::Open(open) => open.shared().is_ok_and(|other| std::sync::Arc::ptr_eq(&other, &shared)),
            Slot::Opening(_) => false,
        });
        // What happened before is in the answer.
        shared.tell_news();
        let subscription = shared.subscribe(self.id, id, self.mailbox.clone());
        let slot = self.cores.insert(id, Slot::Open(OpenCore::new(opened, subscription)));
        if first {
            self.mailbox.push(Note::Feed { key: core.key() });
        }
        let response = OpenResponse {
            key: bytes::Bytes::copy_from_slice(core.key().as_bytes()),
            length: core.length(),
            byte_length: core.byte_length(),
            writable: core.writable(),
            peers: crate::mailbox::peers(core.peers()),
            discovery_key: Some(bytes::Bytes::copy_from_slice(core.discovery_key().as_bytes())),
        };
        self.answer(ticket, Answer::Open(response));
        self.replay(slot);
    }

    /// Starts the requests that waited for a core to open.
    fn replay(&mut self, slot: Option<Slot<S::Core>>) {
        let Some(Slot::Opening(queue)) = slot else { return };
        self.queued -= queue.len();
        for (ticket, call) in queue {
            self.work_bytes -= ticket.weight;
            self.call(ticket, call);
        }
    }

    fn fail(&mut self, ticket: Ticket, error: &CoreError) {
        self.deliver_events();
        if ticket.id != 0 {
            let Ticket { service, method, id, .. } = ticket;
            frame::error(self.out.tail(), service, method, id, &rpc_error(error));
        }
    }

    /// Writes the answer to a request, after the events that it caused.
    pub(super) fn answer(&mut self, ticket: Ticket, answer: Answer) {
        use methods::{corestore, hyperspace, network};
        self.deliver_events();
        let id = ticket.id;
        if id == 0 {
            return;
        }
        if let Answer::Block(block) = answer {
            return self.out.block(id, block);
        }
        let out = self.out.tail();
        match &answer {
            Answer::Block(_) => {}
            Answer::Void => {
                frame::encode(out, frame::Kind::Response, ticket.service, ticket.method, id, &Void {});
            }
            Answer::Open(r) => frame::response::<corestore::Open>(out, id, r),
            Answer::Append(r) => frame::response::<methods::hypercore::Append>(out, id, r),
            Answer::Seek(r) => frame::response::<methods::hypercore::Seek>(out, id, r),
            Answer::Has(r) => frame::response::<methods::hypercore::Has>(out, id, r),
            Answer::Downloaded(r) => frame::response::<methods::hypercore::Downloaded>(out, id, r),
            Answer::Info(r) => frame::response::<methods::hypercore::Info>(out, id, r),
            Answer::Status(r) => frame::response::<hyperspace::Status>(out, id, r),
            Answer::Network(r) => frame::response::<network::Open>(out, id, r),
            Answer::Configure(r) => frame::response::<network::Configure>(out, id, r),
            Answer::NetworkStatus(r) => frame::response::<network::Status>(out, id, r),
            Answer::AllStatuses(r) => frame::response::<network::AllStatuses>(out, id, r),
            Answer::PeerAddresses(r) => frame::response::<network::PeerAddresses>(out, id, r),
            Answer::NetworkInfo(r) => frame::response::<network::Info>(out, id, r),
        }
    }
}
