//! The cores that a session has open, by the ids that its client chose.

use super::work::Ticket;
use crate::hub::{Shared, Subscription};
use crate::lock::LockGuard;
use hyperspace_api::{Core, CoreError};
use hyperspace_schema::methods::Call;
use std::sync::{Arc, Weak};
use tokio_util::sync::CancellationToken;

/// What an id stands for.
pub(super) enum Slot<C: Core> {
    /// It is being opened; requests that came meanwhile wait in order.
    Opening(Vec<(Ticket, Call)>),
    /// It is open.
    Open(OpenCore<C>),
}

/// A core just opened.
pub(super) struct Opened<C: Core> {
    pub(super) core: C,
    pub(super) shared: Arc<Shared<C>>,
    pub(super) weak: bool,
}

/// An open core.
pub(super) struct OpenCore<C: Core> {
    handle: Handle<C>,
    pub(super) subscription: Subscription<C>,
    /// Cancels what waits on this handle, once it is closed.
    pub(super) closing: CancellationToken,
    /// More than one only while a client takes a lock again that it holds.
    pub(super) locks: Vec<LockGuard>,
}

enum Handle<C: Core> {
    Strong(C, Arc<Shared<C>>),
    Weak(Weak<Shared<C>>),
}

impl<C: Core> OpenCore<C> {
    pub(super) fn new(opened: Opened<C>, subscription: Subscription<C>) -> Self {
        let Opened { core, shared, weak } = opened;
        let handle = if weak { Handle::Weak(Arc::downgrade(&shared)) } else { Handle::Strong(core, shared) };
        Self { handle, subscription, closing: CancellationToken::new(), locks: Vec::new() }
    }

    /// The core; a weak handle may have lost it.
    pub(super) fn core(&self) -> Result<C, CoreError> {
        match &self.handle {
            Handle::Strong(core, _) => Ok(core.clone()),
            Handle::Weak(shared) => Ok(shared.upgrade().ok_or(CoreError::Closed)?.core.clone()),
        }
    }

    /// What all handles on the core share.
    pub(super) fn shared(&self) -> Result<Arc<Shared<C>>, CoreError> {
        match &self.handle {
            Handle::Strong(_, shared) => Ok(shared.clone()),
            Handle::Weak(shared) => shared.upgrade().ok_or(CoreError::Closed),
        }
    }

    /// A block that can be had without waiting.
    pub(super) fn get_now(&self, index: u64) -> Option<bytes::Bytes> {
        match &self.handle {
            Handle::Strong(core, _) => core.get_now(index),
            Handle::Weak(_) => None,
        }
    }
}

impl<C: Core> Slot<C> {
    /// Lets go of the core, its locks, and whoever waits on it.
    pub(super) fn release(self) {
        if let Self::Open(open) = self {
            open.closing.cancel();
        }
    }
}
