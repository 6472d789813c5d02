//! Getting a block: from the cache, from a read-ahead that is on its way, from the
//! server.

use super::calls::{cancel, within};
use super::{CoreState, readahead};
use crate::mux::unshare;
use crate::retry::repeat;
use crate::session::OnWait;
use bytes::Bytes;
use hyperspace_api::{CoreError, GetOptions};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::sync::Arc;

/// A get with all that it can be told.
#[derive(Default)]
pub struct GetWith {
    /// As for [`hyperspace_api::Core::get`].
    pub options: GetOptions,
    on_wait: Option<OnWait>,
}

impl GetWith {
    /// With these options.
    pub fn new(options: GetOptions) -> Self {
        Self { options, on_wait: None }
    }

    /// Calls `on_wait` (once, briefly, on the connection's own thread) when the block
    /// is not held and has to come from the network.
    #[must_use]
    pub fn on_wait(mut self, on_wait: impl FnOnce() + Send + 'static) -> Self {
        self.on_wait = Some(Box::new(on_wait));
        self
    }
}

pub(super) fn get_now(core: &Arc<CoreState>, index: u64) -> Option<Bytes> {
    if core.is_closed() {
        return None;
    }
    let block = core.client.cache.get(core.cache_id(), index)?;
    readahead::asked(core, index);
    Some(block)
}

pub(super) async fn get(core: &Arc<CoreState>, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
    match get_now(core, index) {
        Some(block) => Ok(block),
        None => within(options.timeout, fetch(core, index, options, None)).await,
    }
}

pub(super) async fn get_with(core: &Arc<CoreState>, index: u64, with: GetWith) -> Result<Bytes, CoreError> {
    let GetWith { options, on_wait } = with;
    match get_now(core, index) {
        Some(block) => Ok(block),
        None => within(options.timeout, fetch(core, index, options, on_wait)).await,
    }
}

async fn fetch(
    core: &Arc<CoreState>,
    index: u64,
    options: GetOptions,
    on_wait: Option<OnWait>,
) -> Result<Bytes, CoreError> {
    readahead::asked(core, index);
    if readahead::arrival(core, index).await
        && let Some(block) = core.client.cache.get(core.cache_id(), index)
    {
        return Ok(block);
    }
    let no = |yes: bool| (!yes).then_some(false);
    let mut on_wait = on_wait;
    let generation = core.generation();
    let answer = repeat!(core, |(session, id)| {
        let resource_id = session.resource();
        let on_wait = on_wait.take().map(|on_wait| session.add_wait(on_wait));
        let request = m::GetRequest {
            id,
            seq: index,
            resource_id,
            wait: no(options.wait),
            if_available: no(options.if_available),
            on_wait_id: on_wait.as_ref().map(|wait| wait.id),
        };
        session.mux.call::<hypercore::Get>(&request, Some(cancel(id, resource_id)), false).await
    })?;
    let block = unshare(answer.block.unwrap_or_default());
    core.keep(generation, index, &block, false);
    Ok(block)
}
