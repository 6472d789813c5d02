//! The advisory lock of a core, across all programs that use the server.

use crate::core::RemoteHypercore;
use crate::mux::{CallError, Farewell};
use crate::retry::repeat;
use crate::session::Session;
use hyperspace_api::CoreError;
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::hypercore;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// Holds a core's lock until dropped.
///
/// The lock is advisory: it does not stop anybody from appending. A server that goes
/// away forgets it, see [`is_lost`](Self::is_lost).
pub struct LockGuard {
    _core: RemoteHypercore,
    session: Arc<Session>,
    id: u32,
    released: bool,
    /// Last: the next holder in this program must find the lock released.
    _local: OwnedMutexGuard<()>,
}

impl LockGuard {
    pub(crate) async fn acquire(core: &RemoteHypercore) -> Result<Self, CoreError> {
        let local = core.state().lock.clone().lock_owned().await;
        let (session, id) = repeat!(core.state(), |(session, id)| {
            // If it is given up while it waits, it is granted all the same, later.
            let release = Farewell {
                encode: |out, [id, _]| {
                    let request = m::LockRequest { id };
                    hyperspace_schema::frame::request::<hypercore::ReleaseLock>(out, 0, &request);
                },
                args: [id.into(), 0],
                after_reply: true,
            };
            let request = m::LockRequest { id: id.into() };
            session
                .mux
                .call::<hypercore::AcquireLock>(&request, Some(release), true)
                .await
                .map(|_| (session, id))
        })?;
        Ok(Self { _core: core.clone(), session, id, released: false, _local: local })
    }

    /// Has the connection through which it was acquired ended? Then somebody else may
    /// hold it now.
    pub fn is_lost(&self) -> bool {
        !self.session.mux.is_alive()
    }

    /// Releases it, and returns when the server has.
    pub async fn release(mut self) -> Result<(), CoreError> {
        self.released = true;
        let request = m::LockRequest { id: self.id.into() };
        match self.session.mux.call::<hypercore::ReleaseLock>(&request, None, false).await {
            Ok(_) | Err(CallError::Lost) => Ok(()),
            Err(CallError::Refused(error)) => Err(error),
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.released {
            self.session.mux.tell::<hypercore::ReleaseLock>(&m::LockRequest { id: self.id.into() });
        }
    }
}
