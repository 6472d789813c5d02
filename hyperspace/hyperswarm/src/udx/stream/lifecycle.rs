//! How a stream begins, moves and ends.

use super::{Change, End, Phase, Repair, Stream, StreamError};
use crate::udx::mtu::Search;
use crate::udx::path::Path;
use crate::udx::timers::Timer;
use std::time::Instant;

impl Stream {
    /// Says where the other side is. Nothing is sent, unless something has come already.
    pub fn connect(&mut self, now: Instant, path: Path) {
        if self.path.is_some() || self.phase != Phase::Open {
            return;
        }
        self.path = Some(path);
        self.happened.connected = true;
        self.update_packet_size();
        if std::mem::take(&mut self.ack_owed) {
            self.push_ack();
        }
        if let Some(after) = self.config.keep_alive {
            self.timers.set(Timer::KeepAlive, now + after);
        }
    }

    /// Sends on another path from now on. What is under way on the old one is sent again
    /// there, once, and then on the new one. [`Happened::remote_changed`] tells when all of
    /// that has arrived.
    ///
    /// [`Happened::remote_changed`]: super::Happened::remote_changed
    pub fn change_remote(&mut self, path: Path) {
        let Some(old) = self.path.replace(path) else { return };
        // They hold the other stream's number.
        self.acks.clear();
        self.push_ack();
        self.mtu = Search::new(self.config.max_mtu);
        if !self.flight.is_empty() {
            self.mtu.begin();
        }
        self.update_packet_size();
        if self.flight.is_empty() {
            self.happened.remote_changed = true;
        } else {
            self.change = Some(Change { old, until: self.flight.next() });
        }
    }

    /// Gives the stream up: what is not sent yet is not sent any more, and the other side is
    /// told so, once.
    pub fn destroy(&mut self) {
        match self.phase {
            Phase::Open => {
                self.destroy_due = self.path.is_some();
                self.close(Some(StreamError::Destroyed));
            }
            Phase::Lingering | Phase::Closed(_) => {}
        }
    }

    /// Nobody holds it any more: what comes is not kept, and if both sides have not ended
    /// by then, it is given up.
    pub fn detach(&mut self, now: Instant) {
        self.discard();
        if self.phase == Phase::Open {
            self.timers.set(Timer::Abandon, now + self.config.detached);
        }
    }

    /// Whether something is still under way on the path before the present one.
    pub fn is_changing(&self) -> bool {
        self.change.is_some()
    }

    /// Closes it without a word to the other side, as what is relayed is closed.
    pub(in crate::udx) fn abandon(&mut self, reason: StreamError) {
        if self.phase == Phase::Open {
            self.close(Some(reason));
        }
    }

    pub(super) fn close(&mut self, reason: Option<StreamError>) {
        self.all_arrived = self.is_acknowledged();
        self.phase = Phase::Closed(reason);
        self.release();
        self.acks.clear();
        self.timers.stop_all();
    }

    /// Both sides have ended.
    pub(super) fn linger(&mut self, now: Instant) {
        self.all_arrived = true;
        self.phase = Phase::Lingering;
        self.release();
        self.timers.stop_all();
        self.timers.set(Timer::Linger, now + self.config.linger);
    }

    /// Gives back everything but what can be read.
    fn release(&mut self) {
        self.send.clear();
        self.flight.clear();
        self.receiver.forget_early();
        self.messages_out.clear();
        (self.news, self.lost) = Default::default();
        self.heartbeat_due = false;
        self.probe_due = false;
        self.repair = Repair::None;
        self.happened.closed = true;
        self.happened.readable = true;
        self.happened.writable = true;
    }

    /// Our end has arrived, and the other side's may have.
    pub(super) fn check_ended(&mut self, now: Instant) -> bool {
        if self.phase == Phase::Open && self.end == End::Arrived && self.receiver.ended() {
            self.linger(now);
            return true;
        }
        false
    }

    pub(super) fn update_packet_size(&mut self) {
        let overhead = self.path.map_or(48, |path| path.overhead());
        self.controller.set_packet_size(u64::from(self.mtu.current() - overhead));
    }
}
