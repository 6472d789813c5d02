//! Requests in progress.

use super::cores::Opened;
use crate::lock::LockGuard;
use bytes::Bytes;
use hyperspace_api::{Core, CoreError};
use hyperspace_schema::messages::*;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Whom to answer, and what to give back then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) service: u64,
    pub(super) method: u64,
    /// 0: no answer is wanted.
    pub(super) id: u64,
    /// The resource id that the request holds while it is in progress.
    pub(super) resource: Option<u64>,
    /// Bytes of the request.
    pub(super) weight: usize,
}

/// The answer to a request.
pub(super) enum Answer {
    Void,
    Block(Bytes),
    Open(OpenResponse),
    Append(AppendResponse),
    Seek(SeekResponse),
    Has(HasResponse),
    Downloaded(DownloadedResponse),
    Info(InfoResponse),
    Status(HyperspaceStatusResponse),
    Network(OpenNetworkResponse),
    Configure(ConfigureNetworkResponse),
    NetworkStatus(NetworkStatusResponse),
    AllStatuses(AllNetworkStatusesResponse),
    PeerAddresses(PeerAddressesResponse),
    NetworkInfo(NetworkInfo),
}

/// How a request ended, and what it leaves in the session.
pub(super) enum Done<C: Core> {
    Answer(Answer),
    /// A core is open, under the client's id.
    Opened(u32, Opened<C>),
    /// A lock is held, by the handle of that id.
    Locked(u32, LockGuard),
    Failed(CoreError),
    /// A core could not be opened, under the client's id.
    NotOpened(u32, CoreError),
}

impl<C: Core> From<Result<Answer, CoreError>> for Done<C> {
    fn from(result: Result<Answer, CoreError>) -> Self {
        match result {
            Ok(answer) => Self::Answer(answer),
            Err(error) => Self::Failed(error),
        }
    }
}

/// What a request does until it is done.
pub(super) type Doing<C> = Pin<Box<dyn Future<Output = Done<C>> + Send>>;

/// A request in progress.
pub(super) struct Work<C: Core> {
    ticket: Ticket,
    doing: Doing<C>,
    cancel: Option<Cancel>,
}

/// What may end a request early, and the error that it then fails with.
pub(super) struct Cancel {
    token: Pin<Box<WaitForCancellationFutureOwned>>,
    error: CoreError,
}

impl Cancel {
    pub(super) fn new(token: CancellationToken, error: CoreError) -> Self {
        Self { token: Box::pin(token.cancelled_owned()), error }
    }
}

impl<C: Core> Work<C> {
    pub(super) fn new(ticket: Ticket, doing: Doing<C>, cancel: Option<Cancel>) -> Self {
        Self { ticket, doing, cancel }
    }
}

impl<C: Core> Future for Work<C> {
    type Output = (Ticket, Done<C>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(done) = this.doing.as_mut().poll(cx) {
            return Poll::Ready((this.ticket, done));
        }
        if let Some(cancel) = &mut this.cancel
            && cancel.token.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready((this.ticket, Done::Failed(cancel.error.clone())));
        }
        Poll::Pending
    }
}
