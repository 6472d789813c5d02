//! Being reachable, as the core wants it.

use super::{Done, Driver, INCOMING, now};
use crate::swarm::net::{Listener, Net};
use std::sync::Arc;
use tokio::sync::mpsc;

impl<N: Net> Driver<N> {
    pub(super) fn listen(&mut self) {
        let net = Arc::clone(&self.net);
        let (pair, gate) = (self.options.pair.clone(), Arc::clone(&self.gate));
        let relays = self.options.relay_through.clone();
        let (sender, receiver) = mpsc::channel(INCOMING);
        self.binding = Some(true);
        self.tasks.spawn(async move {
            let listener = net.listen(pair, gate, relays, sender).await;
            Done::Bound(listener.ok(), receiver)
        });
    }

    pub(super) fn bound(&mut self, listener: Option<N::Listener>, incoming: mpsc::Receiver<N::Path>) {
        if self.binding.take() == Some(false) {
            return self.unlisten_now(listener);
        }
        let Some(listener) = listener else { return self.core.listening(now(), false) };
        let announced = listener.announced();
        let task = self.tasks.spawn(async {
            announced.await;
            Done::Announced
        });
        self.announcing = Some(task);
        self.listener = Some(listener);
        self.incoming = Some(incoming);
    }

    pub(super) fn unlisten(&mut self) {
        if let Some(is_wanted) = &mut self.binding {
            *is_wanted = false;
            return;
        }
        if let Some(task) = self.announcing.take() {
            task.abort();
        }
        self.incoming = None;
        let listener = self.listener.take();
        self.unlisten_now(listener);
    }

    fn unlisten_now(&mut self, listener: Option<N::Listener>) {
        self.tasks.spawn(async move {
            if let Some(listener) = listener {
                listener.close().await;
            }
            Done::Unlistened
        });
    }
}
