//! The calls that wait for a reply, by wire id.
//!
//! Ids start at 1 and freed ones are reused last in, first out, as npm `arpeecee`
//! does: a program that makes one call at a time keeps using id 1, so ids stay one
//! byte on the wire. An id is free again only when its reply has come, whether or
//! not anybody still wants it.

use bytes::{Bytes, BytesMut};
use std::sync::Weak;
use std::task::Waker;
use std::time::Instant;

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The response message.
    Reply(Bytes),
    /// An `RpcError` message.
    Failed(Bytes),
    /// The connection ended first.
    Lost,
}

/// Takes the outcome of a call that no task awaits. Runs on whichever thread reads
/// the socket, so it must be brief.
pub(crate) trait Completion: Send + Sync {
    /// The call that was given `token` ended.
    fn complete(&self, token: [u64; 2], outcome: Outcome);
}

/// A frame to send when a call is given up: what it is to undo.
#[derive(Clone, Copy)]
pub(crate) struct Farewell {
    /// Appends the frame.
    pub encode: fn(&mut BytesMut, [u64; 2]),
    /// What `encode` is told.
    pub args: [u64; 2],
    /// Not at once, but when the call has succeeded after all: a lock that nobody
    /// waits for any more is granted first, and must then be released.
    pub after_reply: bool,
}

/// What to do, outside the lock, after a reply was taken in.
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// Somebody awaits it.
    Wake(Waker),
    /// A [`Completion`] gets it.
    Complete(Weak<dyn Completion>, [u64; 2], Outcome),
    /// A given-up call succeeded and must be undone.
    Undo(Farewell),
}

enum Entry {
    /// Not in use; the next free one.
    Free(u32),
    Waiting(Option<Waker>),
    Done(Outcome),
    /// Nobody waits for it any more.
    Abandoned(Option<Farewell>),
    Callback(Weak<dyn Completion>, [u64; 2]),
}

struct Slot {
    entry: Entry,
    service: u8,
    method: u8,
    /// Counted in [`Slots::quick`] if this is still [`Slots::round`].
    round: u32,
    /// Set for calls made with no other in flight: their time tells the rhythm.
    started: Option<Instant>,
}

/// The slab of calls in flight.
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: u32,
    used: usize,
    quick: usize,
    round: u32,
}

const NONE: u32 = u32::MAX;

/// A reply that answers no call: the peer does not speak HRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reply to a call that was never made (id {id}, service {service}, method {method})")]
pub(crate) struct Unasked {
    pub id: u64,
    pub service: u64,
    pub method: u64,
}

impl Slots {
    pub fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, used: 0, quick: 0, round: 0 }
    }

    /// Calls whose reply has not come.
    pub fn in_flight(&self) -> usize {
        self.used
    }

    /// Those of them that may be answered at once: neither known to take long, nor
    /// left over from before the last [`set_aside`](Self::set_aside).
    pub fn quick(&self) -> usize {
        self.quick
    }

    /// Stops expecting the calls in flight to be answered at once.
    pub fn set_aside(&mut self) {
        self.quick = 0;
        self.round = self.round.wrapping_add(1);
    }

    /// A new call of `service.method`; `slow` if it usually waits for something.
    pub fn insert(&mut self, service: u64, method: u64, slow: bool) -> u64 {
        self.add(Entry::Waiting(None), service, method, slow)
    }

    /// A new call whose outcome `to` gets.
    pub fn insert_callback(
        &mut self,
        service: u64,
        method: u64,
        to: Weak<dyn Completion>,
        token: [u64; 2],
    ) -> u64 {
        self.add(Entry::Callback(to, token), service, method, false)
    }

    fn add(&mut self, entry: Entry, service: u64, method: u64, slow: bool) -> u64 {
        self.used += 1;
        let round = if slow {
            self.round.wrapping_sub(1)
        } else {
            self.quick += 1;
            self.round
        };
        let slot = Slot { entry, service: service as u8, method: method as u8, round, started: None };
        if self.free == NONE {
            self.slots.push(slot);
            return self.slots.len() as u64;
        }
        let index = self.free as usize;
        if let Entry::Free(next) = self.slots[index].entry {
            self.free = next;
        }
        self.slots[index] = slot;
        index as u64 + 1
    }

    fn release(&mut self, index: usize) -> Entry {
        let entry = std::mem::replace(&mut self.slots[index].entry, Entry::Free(self.free));
        self.free = index as u32;
        entry
    }

    fn arrived(&mut self, index: usize) {
        self.used -= 1;
        if self.slots[index].round == self.round {
            self.quick -= 1;
        }
    }

    /// Notes when a call was sent.
    pub fn start_clock(&mut self, id: u64, now: Instant) {
        self.slots[id as usize - 1].started = Some(now);
    }

    /// Takes a reply in. With it, when the call was sent, if that was noted.
    pub fn settle(
        &mut self,
        id: u64,
        service: u64,
        method: u64,
        outcome: Outcome,
    ) -> Result<(Action, Option<Instant>), Unasked> {
        let unasked = Unasked { id, service, method };
        let index = usize::try_from(id).ok().and_then(|id| id.checked_sub(1)).ok_or(unasked)?;
        let slot = self.slots.get_mut(index).ok_or(unasked)?;
        if u64::from(slot.service) != service || u64::from(slot.method) != method {
            return Err(unasked);
        }
        let started = slot.started.take();
        let action = match &mut slot.entry {
            Entry::Free(_) | Entry::Done(_) => return Err(unasked),
            Entry::Waiting(waker) => {
                let waker = waker.take();
                slot.entry = Entry::Done(outcome);
                self.arrived(index);
                return Ok((waker.map_or(Action::Nothing, Action::Wake), started));
            }
            Entry::Abandoned(farewell) => match (farewell.take(), &outcome) {
                (Some(farewell), Outcome::Reply(_)) => Action::Undo(farewell),
                _ => Action::Nothing,
            },
            Entry::Callback(..) => match self.release(index) {
                Entry::Callback(to, token) => {
                    self.arrived(index);
                    return Ok((Action::Complete(to, token, outcome), started));
                }
                _ => Action::Nothing,
            },
        };
        self.release(index);
        self.arrived(index);
        Ok((action, started))
    }

    /// Has the call ended?
    pub fn is_done(&self, id: u64) -> bool {
        matches!(self.slots[id as usize - 1].entry, Entry::Done(_))
    }

    /// The outcome, if it is there; else `waker` is called when it is.
    pub fn poll(&mut self, id: u64, waker: &Waker) -> Option<Outcome> {
        let index = id as usize - 1;
        match &mut self.slots[index].entry {
            Entry::Done(_) => match self.release(index) {
                Entry::Done(outcome) => Some(outcome),
                _ => None,
            },
            Entry::Waiting(known) => {
                match known {
                    Some(known) => known.clone_from(waker),
                    None => *known = Some(waker.clone()),
                }
                None
            }
            _ => None,
        }
    }

    /// The caller lost interest. `true` if the call is still in flight.
    pub fn abandon(&mut self, id: u64, after_reply: Option<Farewell>) -> bool {
        let index = id as usize - 1;
        match &self.slots[index].entry {
            Entry::Waiting(_) => {
                self.slots[index].entry = Entry::Abandoned(after_reply);
                true
            }
            Entry::Done(_) => {
                self.release(index);
                false
            }
            _ => false,
        }
    }

    /// Was this call answered well, though nobody took the answer?
    pub fn was_granted(&self, id: u64) -> bool {
        matches!(self.slots[id as usize - 1].entry, Entry::Done(Outcome::Reply(_)))
    }

    /// Ends every call: the connection is gone.
    pub fn lose_all(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        for index in 0..self.slots.len() {
            let (service, method) = (self.slots[index].service, self.slots[index].method);
            if let Ok((action, _)) =
                self.settle(index as u64 + 1, service.into(), method.into(), Outcome::Lost)
            {
                actions.push(action);
            }
        }
        actions
    }
}
