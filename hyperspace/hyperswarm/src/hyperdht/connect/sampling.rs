//! Finds out how the socket of a puncher is seen, by asking nodes that we know.

use super::super::node::Dht;
use super::super::noise_payload::Firewall;
use super::puncher::Waiting;
use super::view::{View, WANTED};
use super::{Asked, puncher};
use crate::dht::{Answer, Asking};
use std::net::SocketAddrV4;
use std::time::Instant;

/// Of those heard last, so many are left out: others may have been told of them only now.
const SKIPPED: usize = 5;

/// But only if so many are known.
const MANY: usize = 8;

impl Dht {
    /// Asks as many nodes as it takes.
    pub(super) fn sample(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.connect.punchers.get_mut(&stream) else { return };
        let known = self.node.nodes(MANY + SKIPPED + 2 * WANTED);
        let skipped = if known.len() >= MANY && !puncher.again { SKIPPED } else { 0 };
        let (socket, main) = (puncher.sockets[0], puncher.main());
        let mut wanted = puncher.view.wanted();
        for node in known.into_iter().skip(skipped) {
            if wanted == 0 {
                break;
            }
            if !puncher.view.ask(node) {
                continue;
            }
            let asking = Asking { socket: Some(main), retries: Some(0), ..Asking::ping(node) };
            if let Some(request) = self.node.ask(now, &asking) {
                self.requests.insert(request, Asked::Sample { stream, socket });
                puncher.asked += 1;
                wanted -= 1;
            }
        }
        if puncher.asked == 0 {
            self.all_asked(now, stream);
        }
    }

    /// A node has said how it sees the socket, or nothing.
    pub(super) fn sampled(&mut self, now: Instant, stream: u32, socket: u32, answer: Option<Answer>) {
        let Some(puncher) = self.connect.punchers.get_mut(&stream) else { return };
        if puncher.sockets[0] != socket {
            return;
        }
        puncher.asked = puncher.asked.saturating_sub(1);
        if let Some(answer) = answer {
            puncher.view.add(answer.to, answer.from);
        }
        self.seen(now, stream);
    }

    /// Somebody else has said how it sees the socket.
    pub(super) fn seen_at(&mut self, now: Instant, stream: u32, at: SocketAddrV4, by: SocketAddrV4) {
        if let Some(puncher) = self.puncher(stream) {
            puncher.view.add(at, by);
            self.seen(now, stream);
        }
    }

    fn seen(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.puncher(stream) else { return };
        if puncher.view.is_decided() {
            self.analysed(now, stream);
        } else if puncher.asked == 0 {
            self.all_asked(now, stream);
        }
    }

    fn all_asked(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.puncher(stream) else { return };
        if std::mem::replace(&mut puncher.again, true) {
            self.analysed(now, stream);
        } else {
            self.sample(now, stream);
        }
    }

    /// As much is known as can be.
    fn analysed(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.puncher(stream) else { return };
        puncher.analysed = true;
        if let Some(waiting) = puncher.waiting.take() {
            self.go_on(now, stream, waiting);
        }
    }

    /// Waits until it is known how the socket is seen, if need be of another one. Then the
    /// dial or the handshake goes on.
    pub(super) fn analyse(&mut self, now: Instant, stream: u32, may_reopen: bool) {
        let waiting = Waiting { may_reopen, reopened: false };
        let Some(puncher) = self.puncher(stream) else { return };
        if puncher.analysed {
            self.go_on(now, stream, waiting);
        } else {
            puncher.waiting = Some(waiting);
        }
    }

    fn go_on(&mut self, now: Instant, stream: u32, waiting: Waiting) {
        let Some(puncher) = self.puncher(stream) else { return };
        let own = puncher.view.firewall();
        let is_unstable = puncher.is_unstable();
        if is_unstable && waiting.may_reopen && puncher.reopens > 0 && puncher.strategy.is_none() {
            puncher.reopens -= 1;
            puncher.waiting = Some(Waiting { reopened: true, ..waiting });
            return self.reopen(now, stream);
        }
        let is_stable = if waiting.reopened {
            matches!(own, Firewall::Open | Firewall::Consistent)
        } else {
            !is_unstable
        };
        if self.connect.dials.contains_key(&stream) {
            self.dial_analysed(now, stream, is_stable);
        } else {
            self.accepting_analysed(now, stream, is_stable);
        }
    }

    /// Perhaps another socket is seen better.
    fn reopen(&mut self, now: Instant, stream: u32) {
        let socket = self.open_socket(stream);
        let firewalled = self.node.is_firewalled();
        let Some(puncher) = self.puncher(stream) else { return };
        let old = std::mem::replace(&mut puncher.sockets, vec![socket]);
        puncher.view = View::new(firewalled);
        (puncher.asked, puncher.again, puncher.analysed) = (0, false, false);
        for socket in old {
            self.close_socket(socket);
        }
        self.sample(now, stream);
    }

    /// Sends a byte, so that our firewall lets in what comes back.
    pub(super) fn send_byte(&mut self, stream: u32, to: SocketAddrV4, ttl: Option<u8>) {
        if let Some(puncher) = self.connect.punchers.get(&stream) {
            self.node.transmit(puncher::byte(puncher.main(), to, ttl));
        }
    }
}
