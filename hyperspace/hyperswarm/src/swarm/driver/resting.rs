//! Falling silent and coming back, as the core wants it.

use super::{Driver, now};
use crate::swarm::net::Net;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What is under way; whether something can be sent after it.
pub(super) type Resting = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Waits for its end. May be cancelled.
pub(super) async fn over(resting: &mut Option<Resting>) -> bool {
    match resting {
        Some(resting) => resting.await,
        None => std::future::pending().await,
    }
}

impl<N: Net> Driver<N> {
    pub(super) fn rest(&mut self) {
        let net = Arc::clone(&self.net);
        // What was begun before is given up first: two at once might end in any order.
        self.resting = None;
        self.resting = Some(Box::pin(async move {
            net.suspend().await;
            false
        }));
    }

    pub(super) fn wake(&mut self) {
        let net = Arc::clone(&self.net);
        self.resting = None;
        self.resting = Some(Box::pin(async move {
            net.resume().await;
            true
        }));
    }

    pub(super) fn rested(&mut self, is_awake: bool) {
        self.resting = None;
        match is_awake {
            true => self.core.woken(now()),
            false => self.core.rested(now()),
        }
    }
}
