//! The handshake of a dial is done: how is the peer reached?

use super::super::holepunch::HolepunchSecret;
use super::super::node::{Dht, Event};
use super::super::noise_payload::{Firewall, NoisePayload, Relay};
use super::local::best_match;
use super::probing::Probing;
use super::timers::Timer;
use super::{Asked, DialError, Established, Meeting, PATIENCE};
use crate::dht::{Asking, Socket, is_bogon, is_reserved};
use crate::noise::Keys;
use std::net::SocketAddrV4;
use std::time::Instant;

/// A third peer that is to bring us together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Third {
    None,
    Waited,
    Met,
}

/// What is known after the handshake.
pub(super) struct Met {
    pub payload: NoisePayload,
    pub keys: Keys,
    pub remote_stream: u32,
    /// The node that passed the handshake on.
    pub relay: SocketAddrV4,
    /// The peer, as that node sees it.
    pub server: SocketAddrV4,
    /// Ourselves, as that node sees us.
    client: SocketAddrV4,
    is_relayed: bool,
    pub secret: HolepunchSecret,
    pub third: Third,
    /// How far the agreement on punching has got.
    pub probing: Option<Probing>,
    /// The peer was asked whether it is in our own network.
    local: bool,
    /// We wait for the peer to come.
    passive: bool,
}

impl Met {
    pub(super) fn new(
        payload: NoisePayload,
        keys: Keys,
        remote_stream: u32,
        relay: SocketAddrV4,
        peer: Option<SocketAddrV4>,
        client: SocketAddrV4,
        local_secret: [u8; 32],
    ) -> Self {
        Self {
            secret: HolepunchSecret::new(&keys.handshake_hash, local_secret),
            payload,
            keys,
            remote_stream,
            relay,
            server: peer.unwrap_or(relay),
            client,
            is_relayed: peer.is_some(),
            third: Third::None,
            probing: None,
            local: false,
            passive: false,
        }
    }

    pub(super) fn relays(&self) -> &[Relay] {
        self.payload.holepunch.as_ref().map_or(&[], |holepunch| &holepunch.relays)
    }
}

impl Dht {
    pub(super) fn meet(&mut self, now: Instant, stream: u32, met: Met) {
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        // The one for whom the peer asks counts.
        let through = met.payload.relay_through.or(dial.through);
        let is_initiator = met.payload.relay_through.is_none();
        let (heard, is_relayed, relay) = (dial.heard, met.is_relayed, met.relay);
        dial.met = Some(met);
        if let Some((socket, from)) = heard {
            return self.reached(now, stream, socket, from);
        }
        let usual = self.node.socket();
        if !is_relayed {
            self.connect.punches.open += 1;
            return self.reached(now, stream, usual, relay);
        }
        if let Some(through) = through
            && let Some(established) = self.dial_established(stream, usual, relay)
        {
            self.connect.punches.relayed += 1;
            self.set_third(stream, Third::Waited);
            let established = Box::new(established);
            self.say(Event::Meet(Meeting { stream, through, is_initiator, established }));
        }
        self.say(Event::Answered { stream });
        self.pursue(now, stream);
    }

    /// The peer was reached over a node. Can it be reached directly?
    fn pursue(&mut self, now: Instant, stream: u32) {
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        let Some(met) = &mut dial.met else { return };
        let can_punch = !met.relays().is_empty() && dial.dialing.holepunch;
        if met.payload.firewall == Firewall::Open || (met.server != met.relay && met.relays().is_empty()) {
            let public = met.payload.addresses4.iter().find(|address| !is_bogon(*address.ip()));
            let at = public.copied().unwrap_or(met.server);
            self.connect.punches.open += 1;
            let socket = self.node.socket();
            return self.reached(now, stream, socket, at);
        }
        if dial.firewall == Firewall::Open {
            met.passive = true;
            self.connect.timers.set(Timer::Dial(stream), now + PATIENCE);
            return;
        }
        if dial.dialing.local_connection && met.client.ip() == met.server.ip() {
            let theirs: Vec<_> =
                met.payload.addresses4.iter().copied().filter(|at| !is_reserved(*at.ip())).collect();
            let at = best_match(&self.connect.local, &theirs).or(theirs.first().copied());
            if let Some(at) = at
                && let Some(request) = self.node.ask(now, &Asking::ping(at))
            {
                met.local = true;
                self.requests.insert(request, Asked::Local { stream, at });
            }
        }
        if can_punch {
            self.probe(now, stream);
        } else if !met.local {
            self.dial_failed(now, stream, DialError::CannotHolepunch);
        }
    }

    /// The peer is in our own network, or is not.
    pub(super) fn local_answered(&mut self, now: Instant, stream: u32, at: SocketAddrV4, well: bool) {
        let Some(met) = self.connect.dials.get_mut(&stream).and_then(|dial| dial.met.as_mut()) else {
            return;
        };
        met.local = false;
        if well {
            self.connect.punches.local += 1;
            return self.reached(now, stream, Socket::Server, at);
        }
        if met.probing.is_none() {
            self.dial_failed(now, stream, DialError::HolepunchAborted);
        }
    }

    /// Something of the peer has come.
    pub(super) fn dial_heard(&mut self, now: Instant, stream: u32, socket: Socket, from: SocketAddrV4) {
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        if dial.met.is_some() {
            self.reached(now, stream, socket, from);
        } else {
            dial.heard = Some((socket, from));
        }
    }

    fn dial_established(&self, stream: u32, socket: Socket, remote: SocketAddrV4) -> Option<Established> {
        let dial = self.connect.dials.get(&stream)?;
        let met = dial.met.as_ref()?;
        let named = met.payload.relay_addresses.clone().filter(|relays| !relays.is_empty());
        Some(Established {
            stream,
            server: None,
            socket,
            remote,
            remote_stream: met.remote_stream,
            keys: met.keys.clone(),
            relay_addresses: named.unwrap_or_else(|| dial.tried.clone()),
        })
    }

    /// There is a way to the peer.
    fn reached(&mut self, now: Instant, stream: u32, socket: Socket, at: SocketAddrV4) {
        let Some(established) = self.dial_established(stream, socket, at) else { return };
        let relays = established.relay_addresses.iter().copied().take(super::super::MAX_RELAYS).collect();
        self.connect.remembered.insert(established.keys.remote_public_key, relays, now);
        let was_met = self.third(stream) == Third::Met;
        let established = Box::new(established);
        self.say(if was_met { Event::Moved(established) } else { Event::Established(established) });
        self.end_dial(now, stream);
    }

    fn third(&self, stream: u32) -> Third {
        self.connect
            .dials
            .get(&stream)
            .and_then(|dial| dial.met.as_ref())
            .map_or(Third::None, |met| met.third)
    }

    pub(super) fn set_third(&mut self, stream: u32, third: Third) {
        if let Some(met) = self.connect.dials.get_mut(&stream).and_then(|dial| dial.met.as_mut()) {
            met.third = third;
        }
    }

    pub(super) fn is_relayed(&self, stream: u32) -> bool {
        self.third(stream) != Third::None
    }

    /// There is no direct way, for that reason. Perhaps there is another.
    pub(super) fn dial_failed(&mut self, now: Instant, stream: u32, error: DialError) {
        self.close_puncher(now, stream);
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        if let Some(met) = &mut dial.met {
            met.probing = None;
            met.passive = false;
            self.connect.timers.clear(Timer::Dial(stream));
            // It may still be in our own network.
            if met.local || met.third == Third::Waited {
                return;
            }
            if met.third == Third::Met {
                return self.end_dial(now, stream);
            }
        }
        self.end_dial(now, stream);
        self.say(Event::DialFailed { stream, error });
    }

    pub(super) fn dial_timeout(&mut self, now: Instant, stream: u32) {
        let Some(met) = self.connect.dials.get(&stream).and_then(|dial| dial.met.as_ref()) else { return };
        if met.passive {
            self.dial_failed(now, stream, DialError::HolepunchAborted);
        } else {
            self.probe_paused(now, stream);
        }
    }

    /// The third peer has brought us together, or has not.
    pub(super) fn dial_met(&mut self, now: Instant, stream: u32, well: bool) {
        let Some(met) = self.connect.dials.get_mut(&stream).and_then(|dial| dial.met.as_mut()) else {
            return;
        };
        met.third = if well { Third::Met } else { Third::None };
        if met.probing.is_none() && !met.local && !met.passive {
            if well {
                self.end_dial(now, stream);
            } else {
                self.dial_failed(now, stream, DialError::RelayAborted);
            }
        }
    }
}
