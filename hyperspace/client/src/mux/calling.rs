//! Calls: from the request to whoever waits for the answer.

use super::slots::{Completion, Farewell, Outcome};
use super::{CallError, Mux, Outbox, io};
use crate::error::from_rpc;
use bytes::BytesMut;
use hyperspace_schema::frame;
use hyperspace_schema::messages::RpcError;
use hyperspace_schema::methods::Method;
use prost::Message;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Instant;

impl Mux {
    /// Calls `M` and waits for its answer. Dropping the future gives up, and says
    /// `farewell`. `slow` calls usually wait for something other than the server.
    pub async fn call<M: Method>(
        self: &Arc<Self>,
        request: &M::Request,
        farewell: Option<Farewell>,
        slow: bool,
    ) -> Result<M::Response, CallError> {
        let encode = |out: &mut Outbox, id| out.push(|to| frame::request::<M>(to, id, request));
        self.call_with::<M>(farewell, slow, encode).await
    }

    /// [`call`](Self::call) with the frame written by `encode`.
    pub async fn call_with<M: Method>(
        self: &Arc<Self>,
        farewell: Option<Farewell>,
        slow: bool,
        encode: impl FnOnce(&mut Outbox, u64),
    ) -> Result<M::Response, CallError> {
        self.admit().await;
        let pending = self.begin(M::SERVICE, M::METHOD, farewell, slow, encode)?;
        match pending.await {
            Outcome::Reply(payload) => M::Response::decode(payload).map_err(|error| {
                self.die(format!("the server's answer to {} cannot be read: {error}", M::NAME));
                CallError::Lost
            }),
            Outcome::Failed(payload) => match RpcError::decode(payload) {
                Ok(error) => Err(CallError::Refused(from_rpc(error))),
                Err(error) => {
                    self.die(format!("the server's error cannot be read: {error}"));
                    Err(CallError::Lost)
                }
            },
            Outcome::Lost => Err(CallError::Lost),
        }
    }

    /// Waits until one more call is within the [`Limits`].
    async fn admit(&self) {
        loop {
            if self.has_room(&self.state.lock()) {
                return;
            }
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if self.has_room(&self.state.lock()) {
                return;
            }
            room.await;
        }
    }

    fn begin(
        self: &Arc<Self>,
        service: u64,
        method: u64,
        farewell: Option<Farewell>,
        slow: bool,
        encode: impl FnOnce(&mut Outbox, u64),
    ) -> Result<Pending, CallError> {
        let mut state = self.state.lock();
        if state.dead.is_some() {
            return Err(CallError::Lost);
        }
        let id = state.slots.insert(service, method, slow);
        encode(&mut state.out, id);
        let alone = !slow && state.slots.quick() == 1;
        if alone {
            state.slots.start_clock(id, Instant::now());
        }
        let pending = Pending { mux: self.clone(), id, farewell, ended: false };
        self.send(state, if alone { io::Made::Alone(id) } else { io::Made::Among });
        Ok(pending)
    }

    /// Makes calls whose outcomes `to` gets, as many as are possible without waiting;
    /// returns how many.
    pub fn call_later<M: Method>(
        &self,
        requests: impl Iterator<Item = (M::Request, [u64; 2])>,
        to: &Weak<dyn Completion>,
    ) -> usize {
        let mut state = self.state.lock();
        let mut made = 0;
        for (request, token) in requests {
            if state.dead.is_some() || !self.has_room(&state) {
                break;
            }
            let id = state.slots.insert_callback(M::SERVICE, M::METHOD, to.clone(), token);
            state.out.push(|out| frame::request::<M>(out, id, &request));
            made += 1;
        }
        if made > 0 {
            self.send(state, io::Made::Last);
        }
        made
    }

    /// Calls `M` without wanting an answer.
    pub fn tell<M: Method>(&self, request: &M::Request) {
        self.tell_with(|out| frame::request::<M>(out, 0, request));
    }

    pub(super) fn tell_with(&self, encode: impl FnOnce(&mut BytesMut)) {
        let mut state = self.state.lock();
        if state.dead.is_none() {
            state.out.push(encode);
            self.send(state, io::Made::Among);
        }
    }

    pub(super) fn say(&self, farewell: Farewell) {
        self.tell_with(|out| (farewell.encode)(out, farewell.args));
    }
}

/// A call that was made.
struct Pending {
    mux: Arc<Mux>,
    id: u64,
    farewell: Option<Farewell>,
    ended: bool,
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = self.mux.state.lock().slots.poll(self.id, context.waker());
        match outcome {
            Some(outcome) => {
                self.ended = true;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let mut state = self.mux.state.lock();
        let (say, later) = match self.farewell {
            Some(farewell) if farewell.after_reply => {
                if state.slots.was_granted(self.id) {
                    (Some(farewell), None)
                } else {
                    (None, Some(farewell))
                }
            }
            now => (now, None),
        };
        let granted = state.slots.was_granted(self.id);
        let in_flight = state.slots.abandon(self.id, later);
        drop(state);
        if let Some(farewell) = say
            && (in_flight || (granted && farewell.after_reply))
        {
            self.mux.say(farewell);
        }
    }
}
