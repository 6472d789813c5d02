//! The task of a socket: what comes goes to the streams, and what they have to send goes out.

use super::io::{Io, Slots};
use crate::udx::mux::Taken;
use crate::udx::path::{SocketId, Transmit};
use crate::udx::shared::{Shared, now};
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::time::Sleep;

/// After so many rounds, the other tasks of the thread get their turn.
const ROUNDS: usize = 16;
/// So much is sent before it is looked again for what has come.
const SENDS: usize = 16;

pub(super) struct Task {
    shared: Arc<Shared>,
    id: SocketId,
    io: Arc<Io>,
    slots: Slots,
    /// What is to be sent next, and where it goes.
    buffer: Vec<u8>,
    unsent: Option<Transmit>,
    timer: Pin<Box<Sleep>>,
    /// What is for no stream.
    others: mpsc::Sender<(Bytes, SocketAddr)>,
    /// Closed when nobody holds the socket any more.
    holding: mpsc::Receiver<()>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.shared.with(|state| {
            state.tasks.remove(&self.id);
            state.mux.remove_socket(self.id);
        });
    }
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: SocketId,
        io: Arc<Io>,
        others: mpsc::Sender<(Bytes, SocketAddr)>,
        holding: mpsc::Receiver<()>,
    ) -> Self {
        let slots = io.slots();
        let timer = Box::pin(tokio::time::sleep_until(tokio::time::Instant::now()));
        Self { shared, id, io, slots, buffer: Vec::new(), unsent: None, timer, others, holding }
    }

    pub(super) async fn run(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before anything is looked at: whoever changes it after that wakes us.
        let waker = cx.waker().clone();
        self.shared.with(|state| state.tasks.insert(self.id, waker));
        for _ in 0..ROUNDS {
            let busy = [self.receive(cx), self.send(cx), self.tick(cx)].contains(&true);
            if !busy {
                if self.is_over() {
                    return Poll::Ready(());
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Nobody holds the socket, and no stream is on it.
    fn is_over(&mut self) -> bool {
        self.holding.is_closed() && self.shared.with(|state| state.mux.streams_at(self.id) == 0)
    }

    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let count = match self.io.poll_receive(cx, &mut self.slots) {
            Poll::Pending => return false,
            Poll::Ready(Ok(count)) => count,
            Poll::Ready(Err(error)) => {
                // Such as that somebody's port is closed: of what was sent, not of us.
                tracing::debug!(%error, "receiving failed");
                return true;
            }
        };
        let now = now();
        let Self { shared, slots, others, id, .. } = self;
        shared.with(|state| {
            for (datagram, from) in slots.datagrams(count) {
                if state.mux.handle_datagram(now, *id, from, datagram) == Taken::NotOurs {
                    // If there are too many, it is as if it had been lost on the way.
                    let _ = others.try_send((Bytes::copy_from_slice(datagram), from));
                }
            }
        });
        true
    }

    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let mut busy = false;
        for _ in 0..SENDS {
            let transmit = match self.unsent {
                Some(transmit) => transmit,
                None => {
                    self.buffer.clear();
                    let (id, segments, buffer) = (self.id, self.io.segments(), &mut self.buffer);
                    let transmit =
                        self.shared.with(|state| state.mux.poll_transmit(now(), id, segments, buffer));
                    let Some(transmit) = transmit else { return busy };
                    self.unsent = Some(transmit);
                    transmit
                }
            };
            match self.io.poll_send(cx, transmit.remote, transmit.segment, &self.buffer) {
                Poll::Pending => return busy,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    // Whoever sent it finds it lost.
                    tracing::trace!(%error, to = %transmit.remote, "sending failed");
                }
            }
            self.unsent = None;
            busy = true;
        }
        busy
    }

    fn tick(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.shared.with(|state| state.mux.poll_timeout(self.id));
        let Some(due) = due else { return false };
        if self.timer.deadline() != due.into() {
            self.timer.as_mut().reset(due.into());
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.shared.with(|state| state.mux.handle_timeout(now(), self.id));
        true
    }
}
