//! Dials a key: looks for nodes that pass on to its holder, and sends them the first
//! message of a handshake, always the same one. The first answer that is good counts.

use super::super::envelope::{Handshake as Envelope, Mode};
use super::super::node::{Dht, Event};
use super::super::noise_payload::{Firewall, NoisePayload, RelayThrough, UdxInfo, VERSION, handshake_error};
use super::super::operations::OperationId;
use super::super::signing::target_of;
use super::super::wire::{command, constant};
use super::meet::Met;
use super::timers::Timer;
use super::{Asked, DialError, For, OVER_A_NODE};
use crate::dht::{Answer, Asking, Id, Socket};
use crate::key_pair::{KeyPair, PublicKey};
use crate::noise::{Handshake, Pattern};
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Instant;

/// By so many nodes that were found it is tried at a time, and by one that was known.
const PARALLEL: usize = 2;

/// By more than so many it is not tried at all.
const MAX_TRIED: usize = 64;

/// Whom to dial, and how.
#[derive(Clone, Debug)]
pub struct Dialing {
    /// The number of the stream that is to lead there.
    pub stream: u32,
    /// Whom.
    pub key: PublicKey,
    /// Who dials.
    pub pair: KeyPair,
    /// Nodes that may pass on to it.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// A third peer at which to meet until there is a direct way.
    pub relay_through: Option<PublicKey>,
    /// Try to meet in a private network?
    pub local_connection: bool,
    /// Open our firewall before the peer is asked how it is seen?
    pub fast_open: bool,
    /// Try to get through firewalls? `false`: as if there were none.
    pub holepunch: bool,
}

/// One that is under way.
pub(super) struct Dial {
    pub dialing: Dialing,
    pub target: Id,
    noise: Option<Handshake>,
    first_message: Vec<u8>,
    /// What we said stands before us.
    pub firewall: Firewall,
    pub through: Option<RelayThrough>,
    /// Nodes that were known before, by which it is tried one after the other.
    known: VecDeque<SocketAddrV4>,
    /// Those that were found.
    found: VecDeque<SocketAddrV4>,
    pub tried: Vec<SocketAddrV4>,
    /// By whom it is being tried; is it one of the known ones?
    asked: Vec<(SocketAddrV4, bool)>,
    search: Option<OperationId>,
    /// How often it may be looked for after that.
    searches_left: u32,
    found_some: bool,
    /// Packets of the peer have come already, here and from there.
    pub heard: Option<(Socket, SocketAddrV4)>,
    /// What came of the handshake.
    pub met: Option<Met>,
}

impl Dht {
    /// Dials a key. [`Event::Established`] or [`Event::DialFailed`] tells what came of it.
    pub fn dial(&mut self, now: Instant, dialing: Dialing) {
        let stream = dialing.stream;
        match self.begin_dial(now, dialing) {
            Ok(()) => {}
            Err(error) => self.say(Event::DialFailed { stream, error }),
        }
        self.drain(now);
    }

    fn begin_dial(&mut self, now: Instant, dialing: Dialing) -> Result<(), DialError> {
        if self.connect.suspended {
            return Err(DialError::Suspended);
        }
        let prologue = constant(command::PEER_HANDSHAKE);
        let target = target_of(&dialing.key);
        let invalid = |_| DialError::HandshakeInvalid;
        let mut noise =
            Handshake::initiator(Pattern::Ik(dialing.key), &dialing.pair, &prologue).map_err(invalid)?;
        let own = self.node.remote_address();
        let firewall = if own.is_some() { Firewall::Open } else { Firewall::Unknown };
        let local = if dialing.local_connection { &self.connect.local[..] } else { &[] };
        let token = self.random.bytes();
        let through = dialing.relay_through.map(|public_key| RelayThrough { public_key, token });
        let payload = NoisePayload {
            firewall,
            addresses4: own.into_iter().chain(local.iter().copied()).collect(),
            udx: Some(UdxInfo { version: 1, reusable_socket: false, id: dialing.stream.into(), seq: 0 }),
            secret_stream: Some(1),
            relay_through: through,
            ..NoisePayload::default()
        };
        let first_message = noise.write(&payload.encode()).map_err(invalid)?;
        let known = self.known_relays(now, &dialing, &target);
        let stream = dialing.stream;
        let dial = Dial {
            searches_left: if known.is_empty() { 0 } else { 1 },
            dialing,
            target,
            noise: Some(noise),
            first_message,
            firewall,
            through,
            known: known.iter().copied().collect(),
            found: VecDeque::new(),
            tried: Vec::new(),
            asked: Vec::new(),
            search: None,
            found_some: false,
            heard: None,
            met: None,
        };
        self.connect.dials.insert(stream, dial);
        self.search(now, stream, known);
        self.try_next(now, stream);
        Ok(())
    }

    /// The nodes by which the peer may be reached at once.
    fn known_relays(&mut self, now: Instant, dialing: &Dialing, target: &Id) -> Vec<SocketAddrV4> {
        // Whoever has it from the peer itself needs nobody else.
        if let Some(peer) = self.node.id().and_then(|_| self.storage.forward(target, now)) {
            return vec![peer];
        }
        let mut known = dialing.relay_addresses.clone();
        if known.is_empty() {
            known = self.connect.remembered.get(&dialing.key, now).cloned().unwrap_or_default();
        }
        known.truncate(MAX_TRIED / 2);
        known
    }

    fn search(&mut self, now: Instant, stream: u32, nodes: Vec<SocketAddrV4>) {
        let Some(dial) = self.connect.dials.get(&stream) else { return };
        let target = dial.target;
        let operation = self.find_for(now, target, nodes, For::Dial(stream));
        if let Some(dial) = self.connect.dials.get_mut(&stream) {
            dial.search = Some(operation);
        }
    }

    /// A node passes on to the peer.
    pub(in super::super) fn dial_found(&mut self, now: Instant, stream: u32, node: SocketAddrV4) {
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        dial.found_some = true;
        if dial.found.len() + dial.tried.len() < MAX_TRIED {
            dial.found.push_back(node);
        }
        self.try_next(now, stream);
    }

    pub(in super::super) fn dial_searched(&mut self, now: Instant, stream: u32) {
        if let Some(dial) = self.connect.dials.get_mut(&stream) {
            dial.search = None;
            self.try_next(now, stream);
        }
    }

    /// Sends the first message by as many nodes as may be, and looks what is left to do.
    fn try_next(&mut self, now: Instant, stream: u32) {
        loop {
            let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
            if dial.met.is_some() {
                return;
            }
            let busy_known = dial.asked.iter().any(|(_, known)| *known);
            let busy_found = dial.asked.iter().filter(|(_, known)| !known).count();
            let next = if !busy_known && !dial.known.is_empty() {
                dial.known.pop_front().map(|node| (node, true))
            } else if busy_found < PARALLEL {
                dial.found.pop_front().map(|node| (node, false))
            } else {
                None
            };
            let Some((node, known)) = next else { break };
            if dial.tried.contains(&node) {
                continue;
            }
            dial.tried.push(node);
            dial.asked.push((node, known));
            let noise = dial.first_message.clone();
            let envelope = Envelope { mode: Mode::FromClient, noise, peer: None, relay: None };
            let asking = Asking {
                value: Some(envelope.encode()),
                timeout: Some(OVER_A_NODE),
                ..Asking::new(node, command::PEER_HANDSHAKE, dial.target)
            };
            match self.node.ask(now, &asking) {
                Some(request) => {
                    self.requests.insert(request, Asked::Handshake { stream, by: node });
                }
                None => dial.asked.retain(|(asked, _)| *asked != node),
            }
        }
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        if !dial.asked.is_empty() || dial.search.is_some() {
            return;
        }
        if dial.searches_left > 0 {
            dial.searches_left -= 1;
            return self.search(now, stream, Vec::new());
        }
        let error = if dial.found_some { DialError::PeerConnectionFailed } else { DialError::PeerNotFound };
        self.dial_failed(now, stream, error);
    }

    /// A node has brought an answer of the peer, or none.
    pub(super) fn handshake_answered(
        &mut self,
        now: Instant,
        stream: u32,
        by: SocketAddrV4,
        answer: Option<Answer>,
    ) {
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        dial.asked.retain(|(node, _)| *node != by);
        let value = answer.as_ref().and_then(|answer| answer.value.as_deref()).unwrap_or_default();
        let envelope = Envelope::decode(value).ok().filter(|envelope| envelope.mode == Mode::Reply);
        // A node may bring what it likes: another may bring the true one.
        let read = envelope
            .as_ref()
            .zip(dial.noise.as_mut())
            .and_then(|(envelope, noise)| NoisePayload::decode(&noise.read(&envelope.noise).ok()?).ok());
        let (Some(payload), Some(envelope), Some(answer)) = (read, envelope, answer) else {
            return self.try_next(now, stream);
        };
        let keys = dial.noise.take().and_then(|noise| noise.finish().ok());
        let remote_stream = payload.udx.and_then(|udx| u32::try_from(udx.id).ok());
        let error = match (&keys, remote_stream) {
            (None, _) => Some(DialError::HandshakeInvalid),
            _ if payload.version != VERSION => Some(DialError::ServerIncompatible),
            _ if payload.error != handshake_error::NONE => Some(DialError::ServerError),
            (_, None) => Some(DialError::ServerError),
            _ => None,
        };
        self.end_search(now, stream);
        if let Some(error) = error {
            return self.dial_failed(now, stream, error);
        }
        if let (Some(keys), Some(remote_stream)) = (keys, remote_stream) {
            let local_secret = self.random.bytes();
            let met = Met::new(payload, keys, remote_stream, by, envelope.peer, answer.to, local_secret);
            self.meet(now, stream, met);
        }
    }

    /// Nobody else needs to be found or asked.
    fn end_search(&mut self, now: Instant, stream: u32) {
        if let Some(operation) = self.connect.dials.get_mut(&stream).and_then(|dial| dial.search.take()) {
            self.cancel(now, operation);
        }
        self.forget_asked(now, |asked| matches!(asked, Asked::Handshake { stream: of, .. } if *of == stream));
    }

    /// It has come to an end, whatever that is: nothing more is done for it.
    pub(super) fn end_dial(&mut self, now: Instant, stream: u32) {
        self.end_search(now, stream);
        self.close_puncher(now, stream);
        self.connect.timers.clear(Timer::Dial(stream));
        self.connect.dials.remove(&stream);
        self.forget_asked(now, |asked| match asked {
            Asked::Step { stream: of } | Asked::Local { stream: of, .. } => *of == stream,
            _ => false,
        });
    }
}
