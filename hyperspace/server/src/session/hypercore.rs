//! The methods of open cores.

use super::cores::{OpenCore, Opened, Slot};
use super::dispatch::Early;
use super::work::{Answer, Done, Ticket};
use super::{Resource, ResourceKind, Session};
use crate::Store;
use crate::mailbox::Note;
use crate::networker::remembered::RESERVED;
use futures::StreamExt;
use futures::stream;
use hyperspace_api::{Core, CoreError, CoreEvent, GetOptions, Key, OpenTarget};
use hyperspace_schema::messages::*;
use tokio::sync::broadcast::error::RecvError;

/// Blocks of one `Download` by list that are asked for at a time.
const LISTED_AT_A_TIME: usize = 64;

impl<S: Store> Session<S> {
    pub(super) fn open(&mut self, ticket: Ticket, r: OpenRequest) -> Result<(), CoreError> {
        if self.cores.contains_key(&r.id) {
            return Err(CoreError::Invalid("Session already in use.".into()));
        }
        if self.cores.len() >= self.limits.cores {
            let max = self.limits.cores;
            return Err(CoreError::Invalid(format!("At most {max} cores can be open on one connection")));
        }
        let key = r.key.filter(|key| !key.is_empty());
        let name = r.name.filter(|name| !name.is_empty());
        let target = match (key, name) {
            (Some(key), _) => OpenTarget::Key(
                Key::try_from(&key[..]).map_err(|_| CoreError::Invalid("key must be 32 bytes".into()))?,
            ),
            (None, Some(name)) if name.starts_with(RESERVED) => {
                return Err(CoreError::Invalid(format!(
                    "Names that begin with {RESERVED} are the server's own"
                )));
            }
            (None, Some(name)) => OpenTarget::Name(name),
            (None, None) => OpenTarget::New,
        };
        let (id, weak) = (r.id, r.weak.unwrap_or(false));
        self.cores.insert(id, Slot::Opening(Vec::new()));
        let server = self.server.clone();
        let opening = async move {
            match server.hub.open(target, weak).await {
                Ok((core, shared)) => Done::Opened(id, Opened { core, shared, weak }),
                Err(error) => Done::NotOpened(id, error),
            }
        };
        self.start(ticket, opening, None);
        Ok(())
    }

    pub(super) fn close(&mut self, ticket: Ticket, id: u32) -> Result<(), CoreError> {
        self.open_core(id)?;
        if let Some(slot) = self.cores.remove(&id) {
            slot.release();
        }
        self.resources.retain(|_, resource| match (&resource.kind, resource.core) {
            (ResourceKind::Extension(_), Some(core)) => core != id,
            _ => true,
        });
        self.mailbox.forget(id);
        self.answer(ticket, Answer::Void);
        Ok(())
    }

    /// The resource id must be new.
    pub(super) fn check_resource(&self, id: u64) -> Result<(), CoreError> {
        if self.resources.contains_key(&id) {
            return Err(CoreError::Invalid(format!("Resource already exists: {id}")));
        }
        if self.resources.len() >= self.limits.resources {
            let max = self.limits.resources;
            return Err(CoreError::Invalid(format!("At most {max} resources can exist on one connection")));
        }
        Ok(())
    }

    fn early(
        &self,
        core: &OpenCore<S::Core>,
        error: CoreError,
        resource: Option<(u32, u64)>,
    ) -> Option<Early> {
        Some(Early { token: core.closing.child_token(), error, resource })
    }

    pub(super) fn get(&mut self, ticket: Ticket, r: GetRequest) -> Result<(), CoreError> {
        let open = self.open_core(r.id)?;
        if !self.resources.is_empty() {
            self.check_resource(r.resource_id)?;
        }
        if let Some(block) = open.get_now(r.seq) {
            self.answer(ticket, Answer::Block(block));
            return Ok(());
        }
        let core = open.core()?;
        let options = GetOptions {
            wait: r.wait.unwrap_or(true),
            if_available: r.if_available.unwrap_or(true),
            timeout: None,
        };
        let early = self.early(open, CoreError::Cancelled, Some((r.id, r.resource_id)));
        let (room, mailbox) = (self.waiting.clone(), self.mailbox.clone());
        let getting = async move {
            // A block that is here needs but the disk. For any other we may wait long.
            let _waiting = if options.wait && !core.has(r.seq).await? {
                if let Some(on_wait_id) = r.on_wait_id.filter(|id| *id != 0) {
                    mailbox.push(Note::Wait { id: r.id, on_wait_id, seq: r.seq });
                }
                Some(room.enter()?)
            } else {
                None
            };
            let block = if options.wait && !options.if_available {
                patiently(&core, || core.get(r.seq, options)).await?
            } else {
                core.get(r.seq, options).await?
            };
            Ok(Answer::Block(block))
        };
        self.start(ticket, async { getting.await.into() }, early);
        Ok(())
    }

    pub(super) fn append(&mut self, ticket: Ticket, r: AppendRequest) -> Result<(), CoreError> {
        let open = self.open_core(r.id)?;
        let (core, shared) = (open.core()?, open.shared()?);
        let appending = async move {
            let appended = core.append(r.blocks, r.expected_length).await?;
            shared.tell_news();
            Ok(Answer::Append(AppendResponse {
                length: appended.length,
                byte_length: appended.byte_length,
                seq: appended.first,
            }))
        };
        self.start(ticket, async { appending.await.into() }, None);
        Ok(())
    }

    pub(super) fn update(&mut self, ticket: Ticket, r: UpdateRequest) -> Result<(), CoreError> {
        let open = self.open_core(r.id)?;
        let (core, shared) = (open.core()?, open.shared()?);
        let early = self.early(open, CoreError::Cancelled, None);
        let waiting = self.waiting.enter()?;
        let updating = async move {
            let _waiting = waiting;
            let wanted = r.min_length.unwrap_or_else(|| core.length().saturating_add(1));
            let update = async || match core.length() >= wanted || core.update(Some(wanted)).await? {
                true => Ok(Answer::Void),
                false => Err(CoreError::NoUpdate),
            };
            let updated =
                if r.if_available.unwrap_or(true) { update().await } else { patiently(&core, update).await }?;
            // Whoever has asked knows of the new length before the answer.
            shared.tell_length(wanted).await;
            Ok(updated)
        };
        self.start(ticket, async { updating.await.into() }, early);
        Ok(())
    }

    pub(super) fn seek(&mut self, ticket: Ticket, r: SeekRequest) -> Result<(), CoreError> {
        let open = self.open_core(r.id)?;
        let core = open.core()?;
        let options = GetOptions {
            wait: r.wait.unwrap_or(true),
            if_available: r.if_available.unwrap_or(true),
            timeout: None,
        };
        let early = self.early(open, CoreError::Cancelled, None);
        let waiting = self.waiting.enter()?;
        let seeking = async move {
            let _waiting = waiting;
            let found = core.seek(r.byte_offset, options).await?;
            Ok(Answer::Seek(SeekResponse { seq: found.index, block_offset: found.offset }))
        };
        self.start(ticket, async { seeking.await.into() }, early);
        Ok(())
    }

    pub(super) fn has(&mut self, ticket: Ticket, r: HasRequest) -> Result<(), CoreError> {
        let core = self.open_core(r.id)?.core()?;
        let asking = async move {
            let has = core.has(r.seq).await?;
            Ok(Answer::Has(HasResponse { has }))
        };
        self.start(ticket, async { asking.await.into() }, None);
        Ok(())
    }

    /// Ends a get or a download; one that is over already needs no ending.
    pub(super) fn cancel(&mut self, ticket: Ticket, id: u64, resource: u64) -> Result<(), CoreError> {
        let id = self.core_id(id)?;
        if let Some(Resource { core, kind: ResourceKind::Pending(token) }) = self.resources.get(&resource)
            && *core == Some(id)
        {
            token.cancel();
        }
        self.answer(ticket, Answer::Void);
        Ok(())
    }

    pub(super) fn download(&mut self, ticket: Ticket, r: DownloadRequest) -> Result<(), CoreError> {
        let id = self.core_id(r.id)?;
        self.check_resource(r.resource_id)?;
        let open = self.open_core(r.id)?;
        let core = open.core()?;
        let early = self.early(open, CoreError::DownloadCancelled, Some((id, r.resource_id)));
        let waiting = self.waiting.enter()?;
        let downloading = async move {
            let _waiting = waiting;
            let start = r.start.unwrap_or(0);
            let end = r.end.filter(|end| *end != 0);
            match end {
                _ if !r.blocks.is_empty() && r.live != Some(true) => {
                    let mut blocks = stream::iter(r.blocks)
                        .map(|index| fetch(&core, index, index.saturating_add(1)))
                        .buffer_unordered(LISTED_AT_A_TIME);
                    while let Some(downloaded) = blocks.next().await {
                        downloaded?;
                    }
                }
                Some(end) if r.live != Some(true) => fetch(&core, start, end).await?,
                _ => download_for_ever(&core, start).await?,
            }
            Ok(Answer::Void)
        };
        self.start(ticket, async { downloading.await.into() }, early);
        Ok(())
    }

    pub(super) fn downloaded(&mut self, ticket: Ticket, r: DownloadedRequest) -> Result<(), CoreError> {
        let core = self.open_core(r.id)?.core()?;
        let counting = async move {
            let end = r.end.filter(|end| *end != 0).unwrap_or_else(|| core.length());
            let bytes = core.downloaded(r.start.unwrap_or(0), end).await?;
            Ok(Answer::Downloaded(DownloadedResponse { bytes }))
        };
        self.start(ticket, async { counting.await.into() }, None);
        Ok(())
    }

    pub(super) fn acquire_lock(&mut self, ticket: Ticket, id: u64) -> Result<(), CoreError> {
        let id = self.core_id(id)?;
        let open = self.open_core(id)?;
        let lock = open.shared()?.lock.clone();
        let early = self.early(open, CoreError::Cancelled, None);
        let (waiting, session) = (self.waiting.enter()?, self.id);
        let locking = async move {
            let _waiting = waiting;
            match lock.acquire(session).await {
                Ok(guard) => Done::Locked(id, guard),
                Err(error) => Done::Failed(error),
            }
        };
        self.start(ticket, locking, early);
        Ok(())
    }

    pub(super) fn release_lock(&mut self, ticket: Ticket, id: u64) -> Result<(), CoreError> {
        let lock = self.open_core(id)?.shared()?.lock.clone();
        lock.check_release(self.id)?;
        // Any handle of this session on that core may have taken it.
        for slot in self.cores.values_mut() {
            if let Slot::Open(open) = slot
                && let Some(held) = open.locks.iter().position(|guard| guard.is_of(&lock))
            {
                drop(open.locks.remove(held));
                break;
            }
        }
        self.answer(ticket, Answer::Void);
        Ok(())
    }

    pub(super) fn watch(
        &mut self,
        ticket: Ticket,
        id: u64,
        change: impl FnOnce(&OpenCore<S::Core>),
    ) -> Result<(), CoreError> {
        change(self.open_core(id)?);
        self.answer(ticket, Answer::Void);
        Ok(())
    }

    pub(super) fn flush(&mut self, ticket: Ticket, id: u32) -> Result<(), CoreError> {
        let core = self.open_core(id)?.core()?;
        self.start(ticket, async move { core.flush().await.map(|()| Answer::Void).into() }, None);
        Ok(())
    }

    pub(super) fn clear(&mut self, ticket: Ticket, r: ClearRequest) -> Result<(), CoreError> {
        let core = self.open_core(r.id)?.core()?;
        let clearing = async move { core.clear(r.start, r.end).await.map(|()| Answer::Void).into() };
        self.start(ticket, clearing, None);
        Ok(())
    }

    pub(super) fn info(&mut self, ticket: Ticket, id: u32) -> Result<(), CoreError> {
        let core = self.open_core(id)?.core()?;
        let asking = async move {
            let info = core.info().await?;
            Ok(Answer::Info(InfoResponse {
                length: info.length,
                byte_length: info.byte_length,
                fork: info.fork,
                contiguous_length: info.contiguous_length,
                disk_bytes: info.disk_bytes,
                uploaded_blocks: Some(info.uploaded.blocks),
                uploaded_bytes: Some(info.uploaded.bytes),
                downloaded_blocks: Some(info.downloaded.blocks),
                downloaded_bytes: Some(info.downloaded.bytes),
            }))
        };
        self.start(ticket, async { asking.await.into() }, None);
        Ok(())
    }
}

/// Waits until something happens to a core.
async fn something_new(events: &mut tokio::sync::broadcast::Receiver<CoreEvent>) -> Result<(), CoreError> {
    match events.recv().await {
        Ok(CoreEvent::Closed) | Err(RecvError::Closed) => Err(CoreError::Closed),
        Ok(_) | Err(RecvError::Lagged(_)) => Ok(()),
    }
}

/// Tries again, whenever something happens to the core, what peers could not help
/// with so far.
async fn patiently<T, F>(core: &impl Core, mut attempt: impl FnMut() -> F) -> Result<T, CoreError>
where
    F: Future<Output = Result<T, CoreError>>,
{
    let mut events = core.events();
    loop {
        match attempt().await {
            Err(error) if error.is_transient() => something_new(&mut events).await?,
            result => return result,
        }
    }
}

/// Fetches blocks, from peers that may yet come.
async fn fetch(core: &impl Core, start: u64, end: u64) -> Result<(), CoreError> {
    patiently(core, || core.download(start, end)).await
}

/// Fetches all that the core has, and whatever is appended, until given up.
async fn download_for_ever(core: &impl Core, start: u64) -> Result<(), CoreError> {
    let mut events = core.events();
    let mut next = start;
    loop {
        let length = core.length();
        if length > next {
            fetch(core, next, length).await?;
            next = length;
        }
        match events.recv().await {
            Ok(CoreEvent::Closed) | Err(RecvError::Closed) => return Err(CoreError::Closed),
            // What there was of the old history is gone.
            Ok(CoreEvent::Truncate { length, .. }) => next = next.min(length).max(start),
            Err(RecvError::Lagged(_)) => next = start,
            Ok(_) => {}
        }
    }
}
