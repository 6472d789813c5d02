//! Fetching ranges of blocks from peers.

use crate::core::RemoteHypercore;
use crate::mux::Farewell;
use crate::retry::repeat;
use futures::future::BoxFuture;
use hyperspace_api::CoreError;
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Which blocks to fetch, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DownloadRange {
    /// The first block.
    pub start: u64,
    /// One past the last; `None` for whatever the core has and will have: such a
    /// download never completes.
    pub end: Option<u64>,
    /// Of these, only those (if there are any here).
    pub blocks: Vec<u64>,
    /// In order, not as peers can give them.
    pub linear: bool,
}

impl DownloadRange {
    /// The blocks `start..end`.
    pub fn blocks(start: u64, end: u64) -> Self {
        Self { start, end: Some(end), ..Self::default() }
    }

    /// These blocks. None at all is a download that is complete.
    pub fn of(blocks: Vec<u64>) -> Self {
        let start = blocks.iter().min().copied().unwrap_or(0);
        let end = blocks.iter().max().map_or(start, |max| max.saturating_add(1));
        Self { start, end: Some(end), blocks, linear: false }
    }

    /// Everything from `start` on, also what is yet to come, until dropped.
    pub fn live(start: u64) -> Self {
        Self { start, ..Self::default() }
    }
}

/// A download: done when all blocks are held. Dropping it gives up, with an
/// `Undownload` to the server; what has come by then stays.
#[must_use = "nothing is fetched unless it is awaited"]
pub struct Download(BoxFuture<'static, Result<(), CoreError>>);

impl Download {
    pub(crate) fn new(core: RemoteHypercore, range: DownloadRange) -> Self {
        Self(Box::pin(async move {
            // Over HRPC an end of 0 is no end.
            if range.end.is_some_and(|end| end <= range.start) {
                return Ok(());
            }
            repeat!(core.state(), |(session, id)| {
                let resource_id = session.resource();
                let request = m::DownloadRequest {
                    id: id.into(),
                    resource_id,
                    start: Some(range.start),
                    end: range.end,
                    blocks: range.blocks.clone(),
                    linear: range.linear.then_some(true),
                    live: range.end.is_none().then_some(true),
                };
                let undownload = Farewell {
                    encode: |out, [id, resource_id]| {
                        let request = m::UndownloadRequest { id, resource_id };
                        hyperspace_schema::frame::request::<hypercore::Undownload>(out, 0, &request);
                    },
                    args: [id.into(), resource_id],
                    after_reply: false,
                };
                session.mux.call::<hypercore::Download>(&request, Some(undownload), true).await
            })
            .map(drop)
        }))
    }
}

impl Future for Download {
    type Output = Result<(), CoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}
