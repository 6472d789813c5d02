//! The calls of a core that ask and are harmless to repeat.

use super::CoreState;
use crate::mux::Farewell;
use crate::retry::repeat;
use hyperspace_api::{CoreError, CoreInfo, GetOptions, Seek, Traffic};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::sync::Arc;
use std::time::Duration;

/// Gives up after `timeout`, if there is one.
pub(super) async fn within<T>(
    timeout: Option<Duration>,
    call: impl Future<Output = Result<T, CoreError>>,
) -> Result<T, CoreError> {
    match timeout {
        None => call.await,
        Some(timeout) => tokio::time::timeout(timeout, call).await.unwrap_or(Err(CoreError::Timeout)),
    }
}

pub(super) async fn has(core: &Arc<CoreState>, index: u64) -> Result<bool, CoreError> {
    let has = repeat!(core, |(session, id)| {
        session.mux.call::<hypercore::Has>(&m::HasRequest { id, seq: index }, None, false).await
    })?;
    Ok(has.has)
}

pub(super) async fn update(
    core: &Arc<CoreState>,
    min_length: Option<u64>,
    if_available: bool,
    hash: bool,
) -> Result<bool, CoreError> {
    let min_length = min_length.unwrap_or_else(|| core.head().length + 1);
    let no = |yes: bool| (!yes).then_some(false);
    let updated = repeat!(core, |(session, id)| {
        let request = m::UpdateRequest {
            id,
            min_length: Some(min_length),
            if_available: no(if_available),
            hash: no(hash),
        };
        session.mux.call::<hypercore::Update>(&request, None, true).await
    });
    match updated {
        Ok(_) => Ok(true),
        Err(CoreError::NoUpdate) => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn seek(
    core: &Arc<CoreState>,
    byte_offset: u64,
    range: Option<(u64, u64)>,
    options: GetOptions,
) -> Result<Seek, CoreError> {
    let no = |yes: bool| (!yes).then_some(false);
    let sought = within(options.timeout, async {
        repeat!(core, |(session, id)| {
            let request = m::SeekRequest {
                id,
                byte_offset,
                start: range.map(|range| range.0),
                end: range.map(|range| range.1),
                wait: no(options.wait),
                if_available: no(options.if_available),
            };
            session.mux.call::<hypercore::Seek>(&request, None, false).await
        })
    })
    .await?;
    Ok(Seek { index: sought.seq, offset: sought.block_offset })
}

pub(super) async fn downloaded(core: &Arc<CoreState>, start: u64, end: u64) -> Result<u64, CoreError> {
    if start >= end {
        // Over HRPC an end of 0 is the core's own.
        return Ok(0);
    }
    let held = repeat!(core, |(session, id)| {
        let request = m::DownloadedRequest { id: id.into(), start: Some(start), end: Some(end) };
        session.mux.call::<hypercore::Downloaded>(&request, None, false).await
    })?;
    Ok(held.bytes)
}

pub(super) async fn clear(core: &Arc<CoreState>, start: u64, end: u64) -> Result<(), CoreError> {
    /// Up to so many blocks are looked for one by one.
    const FEW: u64 = 4096;
    if start >= end {
        return Ok(());
    }
    core.new_generation();
    let cleared = repeat!(core, |(session, id)| {
        let request = m::ClearRequest { id, start, end };
        session.mux.call::<hypercore::Clear>(&request, None, false).await
    });
    // Even if it failed: it may have been done.
    if end - start <= FEW {
        core.new_generation();
        let cache_id = core.cache_id();
        (start..end).for_each(|index| core.client.cache.remove(cache_id, index));
    } else {
        core.forget_blocks();
    }
    cleared.map(drop)
}

pub(super) async fn flush(core: &Arc<CoreState>) -> Result<(), CoreError> {
    repeat!(core, |(session, id)| {
        session.mux.call::<hypercore::Flush>(&m::FlushRequest { id }, None, true).await
    })
    .map(drop)
}

pub(super) async fn info(core: &Arc<CoreState>) -> Result<CoreInfo, CoreError> {
    let traffic = |blocks: Option<u64>, bytes: Option<u64>| Traffic {
        blocks: blocks.unwrap_or(0),
        bytes: bytes.unwrap_or(0),
    };
    let info = repeat!(core, |(session, id)| {
        session.mux.call::<hypercore::Info>(&m::InfoRequest { id }, None, false).await
    })?;
    Ok(CoreInfo {
        length: info.length,
        byte_length: info.byte_length,
        fork: info.fork,
        contiguous_length: info.contiguous_length,
        disk_bytes: info.disk_bytes,
        uploaded: traffic(info.uploaded_blocks, info.uploaded_bytes),
        downloaded: traffic(info.downloaded_blocks, info.downloaded_bytes),
    })
}

/// Sent when a get is given up.
pub(super) fn cancel(id: u32, resource_id: u64) -> Farewell {
    Farewell {
        encode: |out, [id, resource_id]| {
            let request = m::CancelRequest { id, resource_id };
            hyperspace_schema::frame::request::<hypercore::Cancel>(out, 0, &request);
        },
        args: [id.into(), resource_id],
        after_reply: false,
    }
}
