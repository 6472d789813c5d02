//! Agrees with a peer that dials a server of ours on how to punch: the server's side.
//!
//! The peer says how it is seen; we find out how we are seen, and say so; when it says that
//! it punches, we do, too. Each gives the other a token for the host at which it sees it:
//! who gives that back is there, and may be sent many datagrams.

use super::super::envelope::{Holepunch, Mode};
use super::super::holepunch::HolepunchPayload;
use super::super::node::Dht;
use super::super::noise_payload::{Firewall, handshake_error};
use super::meet::Third;
use crate::dht::tokens::equal;
use crate::dht::{Incoming, Socket};
use std::net::SocketAddrV4;
use std::time::Instant;

/// A step of the other side that is to be answered.
pub(super) struct Pending {
    request: Incoming,
    peer: SocketAddrV4,
    /// Our token for it, if it came by a node that we announced ourselves to.
    token: Option<[u8; 32]>,
    /// Its token for us.
    remote_token: Option<[u8; 32]>,
    /// Where it has sent something to already.
    opened: Option<SocketAddrV4>,
    reopened: bool,
}

impl Dht {
    /// A step of the other side has come.
    pub(super) fn step_arrived(&mut self, now: Instant, request: &Incoming, step: &Holepunch) {
        let Some(server) = request.target.and_then(|target| self.connect.servers.get(&target)) else {
            return;
        };
        let slot = usize::try_from(step.id).ok().and_then(|id| server.slots.get(id).copied().flatten());
        let (Some(stream), Some(peer)) = (slot, step.peer) else { return };
        let is_relay = server.announcer.is_relay(request.from);
        let Some(accepting) = self.connect.accepting.get_mut(&stream) else { return };
        let Some(secret) = &accepting.secret else { return };
        let Some(remote) = secret.open(&step.payload) else { return };
        let token = secret.token(*peer.ip());
        let is_newest = remote.round >= accepting.round;
        accepting.round = accepting.round.max(remote.round);
        if remote.error != handshake_error::NONE || !self.connect.punchers.contains_key(&stream) {
            return self.abort(now, stream, request, peer, handshake_error::ABORTED);
        }
        let echoed = is_relay && remote.remote_token.is_some_and(|theirs| equal(&theirs, &token));
        if self.connect.punchers[&stream].main() == request.socket {
            self.seen_at(now, stream, request.to, request.from);
        }
        if is_newest && let Some(puncher) = self.puncher(stream) {
            let verified = echoed.then_some(*peer.ip());
            puncher.remote.update(remote.punching, remote.firewall, remote.addresses.as_deref(), verified);
        }
        if let Some(accepting) = self.connect.accepting.get_mut(&stream) {
            accepting.pending = Some(Pending {
                request: request.clone(),
                peer,
                token: is_relay.then_some(token),
                remote_token: remote.token,
                opened: remote.remote_address,
                reopened: false,
            });
        }
        self.analyse(now, stream, false);
    }

    /// We know how we are seen, as well as we can.
    pub(super) fn accepting_analysed(&mut self, now: Instant, stream: u32, is_stable: bool) {
        let Some(accepting) = self.connect.accepting.get_mut(&stream) else { return };
        let Some(mut pending) = accepting.pending.take() else { return };
        let Some(puncher) = self.connect.punchers.get(&stream) else { return };
        let is_punching = puncher.remote.punching;
        if !is_punching && !is_stable {
            if pending.reopened {
                return self.abort(now, stream, &pending.request, pending.peer, handshake_error::ABORTED);
            }
            pending.reopened = true;
            accepting.pending = Some(pending);
            return self.analyse(now, stream, true);
        }
        let own = puncher.view.firewall();
        let knows_us = pending.opened.is_some_and(|opened| {
            own == Firewall::Consistent && puncher.view.addresses().unwrap_or_default().contains(&opened)
        });
        let is_random = puncher.is_random();
        let goes_on = puncher.strategy.is_some();
        if knows_us {
            // It has opened its firewall for us: perhaps this is all that it takes.
            self.send_byte(stream, pending.peer, None);
        }
        let mut error = handshake_error::NONE;
        if is_punching {
            if is_random && !goes_on && !self.random_is_free(now) {
                self.connect.punches.try_later += 1;
                error = handshake_error::TRY_LATER;
                if self.connect.accepting.get(&stream).is_none_or(|accepting| accepting.third == Third::None)
                {
                    return self.abort(now, stream, &pending.request, pending.peer, error);
                }
            } else {
                self.accepting_punches(now, stream);
                if !self.punch(now, stream) {
                    return self.abort(now, stream, &pending.request, pending.peer, handshake_error::ABORTED);
                }
            }
        }
        let Some(puncher) = self.puncher(stream) else { return };
        if error == handshake_error::NONE && own != Firewall::Unknown {
            puncher.view.freeze();
        }
        let payload = HolepunchPayload {
            error,
            firewall: own,
            punching: puncher.strategy.is_some(),
            addresses: puncher.view.addresses().map(<[_]>::to_vec),
            token: pending.token,
            remote_token: pending.remote_token,
            ..HolepunchPayload::default()
        };
        let main = puncher.main();
        self.answer_step(stream, &pending.request, pending.peer, payload, main);
    }

    /// It comes to nothing, and the other side is told so.
    fn abort(&mut self, now: Instant, stream: u32, request: &Incoming, peer: SocketAddrV4, error: u64) {
        let payload = HolepunchPayload { error, ..HolepunchPayload::default() };
        let socket = self.node.socket();
        self.answer_step(stream, request, peer, payload, socket);
        self.accepting_failed(now, stream);
    }

    fn answer_step(
        &mut self,
        stream: u32,
        request: &Incoming,
        peer: SocketAddrV4,
        payload: HolepunchPayload,
        socket: Socket,
    ) {
        let nonce = self.nonce();
        let Some(accepting) = self.connect.accepting.get(&stream) else { return };
        let Some(secret) = &accepting.secret else { return };
        let payload = secret.seal(&HolepunchPayload { round: accepting.round, ..payload }, nonce);
        let answer = Holepunch { mode: Mode::FromServer, id: 0, payload, peer: Some(peer) };
        self.node.pass_on(request, socket, request.from, &answer.encode());
    }

    pub(super) fn nonce(&mut self) -> [u8; 24] {
        let bytes = self.random.bytes();
        std::array::from_fn(|at| bytes[at])
    }
}
