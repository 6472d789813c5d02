//! Reading the blocks of a core as a stream.

use crate::core::RemoteHypercore;
use bytes::Bytes;
use futures::Stream;
use futures::stream::BoxStream;
use hyperspace_api::{Core, CoreError, CoreEvent, GetOptions};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::broadcast::{Receiver, error::RecvError};

/// What to read; by default all blocks that there are at the start.
#[derive(Clone, Copy, Debug)]
pub struct ReadStreamOptions {
    /// The first block.
    pub start: u64,
    /// One past the last.
    pub end: Option<u64>,
    /// Without an end: go on with blocks appended later, for ever.
    pub live: bool,
    /// Start with the first block appended from now on; implies `live`.
    pub tail: bool,
    /// Without an end: end where the core ended at the start. `false`: where it ends
    /// when the stream gets there.
    pub snapshot: bool,
    /// How each block is asked for.
    pub get: GetOptions,
}

impl Default for ReadStreamOptions {
    fn default() -> Self {
        let get = GetOptions::default();
        Self { start: 0, end: None, live: false, tail: false, snapshot: true, get }
    }
}

/// A stream of blocks; ends after its first error.
pub struct ReadStream(BoxStream<'static, Result<Bytes, CoreError>>);

struct Reading {
    core: RemoteHypercore,
    next: u64,
    end: Option<u64>,
    /// Set for live streams.
    events: Option<Receiver<CoreEvent>>,
    get: GetOptions,
}

impl ReadStream {
    pub(crate) fn new(core: RemoteHypercore, options: ReadStreamOptions) -> Self {
        let live = (options.live || options.tail) && options.end.is_none();
        // Before the length is looked at, lest an append fall between the two.
        let events = live.then(|| core.events());
        let length = core.length();
        let reading = Reading {
            next: if options.tail { length } else { options.start },
            end: options.end.or((options.snapshot && !live).then_some(length)),
            events,
            get: options.get,
            core,
        };
        Self(Box::pin(futures::stream::unfold(Some(reading), |reading| async {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(block)) => Some((Ok(block), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, CoreError> {
        let end = self.end.unwrap_or_else(|| self.core.length());
        if self.next >= end {
            let Some(events) = &mut self.events else { return Ok(None) };
            while self.next >= self.core.length() {
                match events.recv().await {
                    Ok(CoreEvent::Closed) => return Err(CoreError::Closed),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(None),
                }
            }
        }
        let block = self.core.get(self.next, self.get).await?;
        self.next += 1;
        Ok(Some(block))
    }
}

impl Stream for ReadStream {
    type Item = Result<Bytes, CoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}
