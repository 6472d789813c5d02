//! Handshakes with those who dial a server of ours.
//!
//! The first message comes by several nodes, and again if nothing is heard: it is answered
//! every time, always with the same second message, but opens one connection.

use super::super::envelope::{Handshake as Envelope, Mode};
use super::super::holepunch::HolepunchSecret;
use super::super::node::{Dht, Event};
use super::super::noise_payload::{
    Firewall, HolepunchInfo, NoisePayload, RelayThrough, UdxInfo, VERSION, handshake_error,
};
use super::super::wire::{command, constant};
use super::exchange::Pending;
use super::local::best_match;
use super::meet::Third;
use super::timers::Timer;
use super::{Established, MAX_HANDSHAKES, Meeting, PATIENCE};
use crate::dht::{Id, Incoming, Socket, is_private};
use crate::hash::{Hash, hash};
use crate::noise::{Handshake, Keys, Pattern};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// How long it may take the other side to begin to punch, when it was met at a third peer.
const AT_LEISURE: Duration = Duration::from_secs(60);

/// How far one has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// We wait for the other side, until then.
    Open { until: Instant },
    /// Both are trying to get through.
    Punching,
    /// It will be met at a third peer, or not at all.
    Waiting,
    /// It is over, and remembered until then.
    Over { until: Instant },
}

/// One handshake.
pub(super) struct Accepting {
    pub server: Id,
    pub slot: usize,
    first_message: Hash,
    /// The second message, and the socket from which it is told, if not the usual one.
    reply: Vec<u8>,
    reply_from: Option<Socket>,
    pub step: Step,
    keys: Option<Keys>,
    remote_stream: u32,
    pub secret: Option<HolepunchSecret>,
    pub round: u64,
    /// A step of the agreement on punching that is to be answered.
    pub pending: Option<Pending>,
    pub third: Third,
}

/// What the first message said.
struct First {
    noise: Handshake,
    payload: NoisePayload,
}

fn open_first(pair: &crate::KeyPair, message: &[u8]) -> Option<First> {
    let prologue = constant(command::PEER_HANDSHAKE);
    let mut noise = Handshake::responder(Pattern::Ik(()), pair, &prologue).ok()?;
    let payload = noise.read(message).ok()?;
    Some(First { noise, payload: NoisePayload::decode(&payload).ok()? })
}

impl Dht {
    /// The first message of somebody has come.
    pub(super) fn handshake_arrived(&mut self, now: Instant, request: &Incoming, envelope: &Envelope) {
        let Some(server) = request.target else { return };
        if envelope.noise.is_empty() || self.connect.suspended {
            return;
        }
        let first_message = hash(&[&envelope.noise]);
        let known =
            self.connect.servers.get(&server).and_then(|server| server.by_first_message.get(&first_message));
        let stream = match known {
            Some(stream) => Some(*stream),
            None => self.accept(now, request, envelope, server, first_message),
        };
        if let Some(accepting) = stream.and_then(|stream| self.connect.accepting.get(&stream)) {
            let (reply, from) = (accepting.reply.clone(), accepting.reply_from);
            self.answer_handshake(request, envelope, reply, from);
        }
    }

    fn answer_handshake(
        &mut self,
        request: &Incoming,
        envelope: &Envelope,
        noise: Vec<u8>,
        from: Option<Socket>,
    ) {
        let on = |mode, peer| Envelope { mode, noise, peer, relay: None }.encode();
        let socket = from.unwrap_or(request.socket);
        match (envelope.mode, envelope.relay) {
            (Mode::FromClient, _) => {
                self.node.answer_for(request, request.from, &on(Mode::Reply, None));
            }
            (Mode::FromRelay, _) => {
                let value = on(Mode::FromServer, envelope.peer);
                self.node.pass_on(request, socket, request.from, &value);
            }
            (Mode::FromSecondRelay, Some(relay)) => {
                let value = on(Mode::FromServer, envelope.peer);
                self.node.pass_on(request, socket, relay, &value);
            }
            _ => {}
        }
    }

    fn accept(
        &mut self,
        now: Instant,
        request: &Incoming,
        envelope: &Envelope,
        server: Id,
        first_message: Hash,
    ) -> Option<u32> {
        if self.connect.accepting.len() >= MAX_HANDSHAKES || !self.connect.handshakes.take(now) {
            return None;
        }
        let (client, is_direct) = match envelope.peer {
            Some(peer) => (peer, false),
            None => (request.from, true),
        };
        let listening = self.connect.servers.get(&server)?;
        let First { mut noise, payload: remote } = open_first(&listening.pair, &envelope.noise)?;
        let remote_key = noise.remote_public_key()?;
        if listening.options.firewall.as_ref().is_some_and(|refuses| refuses(&remote_key, client)) {
            return None;
        }
        let share_local = listening.options.share_local_address;
        let may_punch = listening.options.holepunch;
        let through = listening.options.relay_through.as_ref().and_then(|choose| choose());
        let error = match &remote.udx {
            _ if remote.version != VERSION => handshake_error::VERSION_MISMATCH,
            None => handshake_error::ABORTED,
            Some(_) => handshake_error::NONE,
        };
        let own = self.node.remote_address();
        let stream = self.free_stream_number();
        let listening = self.connect.servers.get_mut(&server)?;
        let slot = listening.take_slot(stream);
        listening.by_first_message.insert(first_message, stream);
        let local = if share_local { self.connect.local.clone() } else { Vec::new() };
        let token = self.random.bytes();
        let through = through.map(|public_key| RelayThrough { public_key, token });
        let announcer = &listening.announcer;
        let payload = NoisePayload {
            error,
            firewall: if own.is_some() { Firewall::Open } else { Firewall::Unknown },
            holepunch: own
                .is_none()
                .then(|| HolepunchInfo { id: slot as u64, relays: announcer.relays.clone() }),
            addresses4: own.into_iter().chain(local.iter().copied()).collect(),
            udx: Some(UdxInfo { version: 1, reusable_socket: false, id: stream.into(), seq: 0 }),
            secret_stream: Some(1),
            relay_through: through,
            relay_addresses: Some(announcer.relay_addresses.clone()).filter(|relays| !relays.is_empty()),
            ..NoisePayload::default()
        };
        let reply = noise.write(&payload.encode()).ok();
        let keys = reply.is_some().then(|| noise.finish().ok()).flatten();
        let accepting = Accepting {
            server,
            slot,
            first_message,
            reply: reply.unwrap_or_default(),
            reply_from: None,
            step: Step::Over { until: now + PATIENCE },
            keys,
            remote_stream: remote.udx.and_then(|udx| u32::try_from(udx.id).ok()).unwrap_or_default(),
            secret: None,
            round: 0,
            pending: None,
            third: Third::None,
        };
        self.connect.accepting.insert(stream, accepting);
        self.connect.timers.set(Timer::Accepting(stream), now + PATIENCE);
        if error != handshake_error::NONE || self.connect.accepting[&stream].keys.is_none() {
            return Some(stream);
        }
        self.say(Event::Accepting { stream, server });
        self.set_step(now, stream, Step::Open { until: now + PATIENCE });
        let path = Path { client, is_direct, may_punch, share_local, local, seen_at: request.to };
        self.proceed(now, stream, request.socket, &remote, through, &path);
        Some(stream)
    }

    /// The second message is made: what more can be done for the connection?
    fn proceed(
        &mut self,
        now: Instant,
        stream: u32,
        arrived_at: Socket,
        remote: &NoisePayload,
        through: Option<RelayThrough>,
        path: &Path,
    ) {
        if remote.firewall == Firewall::Open || path.is_direct {
            let socket = if path.is_direct { arrived_at } else { self.node.socket() };
            self.connect.punches.open += 1;
            return self.accepted(now, stream, socket, path.client);
        }
        if let Some(meeting) = through.or(remote.relay_through)
            && let Some(established) = self.established(stream, self.node.socket(), path.client)
        {
            let is_initiator = through.is_some();
            self.connect.punches.relayed += 1;
            if let Some(accepting) = self.connect.accepting.get_mut(&stream) {
                accepting.third = Third::Waited;
            }
            let established = Box::new(established);
            self.say(Event::Meet(Meeting { stream, through: meeting, is_initiator, established }));
        }
        let is_local = path.share_local && path.client.ip() == path.seen_at.ip() && {
            let theirs: Vec<_> =
                remote.addresses4.iter().copied().filter(|address| is_private(*address.ip())).collect();
            best_match(&path.local, &theirs).is_some()
        };
        let punches = is_local || self.node.remote_address().is_none() && path.may_punch;
        if !punches || !self.open_puncher(now, stream, false, remote.firewall) {
            return;
        }
        let secret = self.random.bytes();
        let from = self.connect.punchers.get(&stream).map(super::Puncher::main);
        if let Some(accepting) = self.connect.accepting.get_mut(&stream) {
            accepting.secret =
                accepting.keys.as_ref().map(|keys| HolepunchSecret::new(&keys.handshake_hash, secret));
            // Where the second message comes from is where the other side will punch. But
            // in the same network it comes to the usual socket.
            accepting.reply_from = from.filter(|_| !is_local);
        }
    }

    /// A number for a stream that we do not use for another.
    fn free_stream_number(&mut self) -> u32 {
        loop {
            let number = self.random.number() as u32;
            if !self.connect.accepting.contains_key(&number) && !self.connect.dials.contains_key(&number) {
                return number;
            }
        }
    }

    fn set_step(&mut self, _now: Instant, stream: u32, step: Step) {
        let Some(accepting) = self.connect.accepting.get_mut(&stream) else { return };
        accepting.step = step;
        match step {
            Step::Open { until } | Step::Over { until } => {
                self.connect.timers.set(Timer::Accepting(stream), until);
            }
            Step::Punching | Step::Waiting => self.connect.timers.clear(Timer::Accepting(stream)),
        }
    }

    /// Both sides punch now: that takes as long as it takes.
    pub(super) fn accepting_punches(&mut self, now: Instant, stream: u32) {
        let step = self.connect.accepting.get(&stream).map(|accepting| accepting.step);
        if let Some(Step::Open { .. }) = step {
            self.set_step(now, stream, Step::Punching);
        }
    }

    fn established(&self, stream: u32, socket: Socket, remote: SocketAddrV4) -> Option<Established> {
        let accepting = self.connect.accepting.get(&stream)?;
        Some(Established {
            stream,
            server: Some(accepting.server),
            socket,
            remote,
            remote_stream: accepting.remote_stream,
            keys: accepting.keys.clone()?,
            relay_addresses: Vec::new(),
        })
    }

    /// The other side has come, or we know where it is.
    pub(super) fn accepted(&mut self, now: Instant, stream: u32, socket: Socket, from: SocketAddrV4) {
        let Some(accepting) = self.connect.accepting.get(&stream) else { return };
        if matches!(accepting.step, Step::Over { .. }) {
            return;
        }
        let was_met = accepting.third == Third::Met;
        if let Some(established) = self.established(stream, socket, from) {
            let established = Box::new(established);
            self.say(if was_met { Event::Moved(established) } else { Event::Established(established) });
        }
        self.close_puncher(now, stream);
        self.set_step(now, stream, Step::Over { until: now + PATIENCE });
    }

    pub(super) fn accepting_timeout(&mut self, now: Instant, stream: u32) {
        let Some(accepting) = self.connect.accepting.get(&stream) else { return };
        match accepting.step {
            Step::Open { .. } => self.accepting_failed(now, stream),
            Step::Over { .. } => self.remove_accepting(now, stream),
            Step::Punching | Step::Waiting => {}
        }
    }

    /// There is no direct way. Perhaps there is one over a third peer.
    pub(super) fn accepting_failed(&mut self, now: Instant, stream: u32) {
        self.close_puncher(now, stream);
        let Some(accepting) = self.connect.accepting.get_mut(&stream) else { return };
        accepting.pending = None;
        match (accepting.step, accepting.third) {
            (Step::Over { .. }, _) => {}
            (_, Third::None) => self.end_accepting(now, stream),
            (_, Third::Waited) => self.set_step(now, stream, Step::Waiting),
            (_, Third::Met) => self.set_step(now, stream, Step::Over { until: now + PATIENCE }),
        }
    }

    /// It comes to nothing, but is remembered.
    pub(super) fn end_accepting(&mut self, now: Instant, stream: u32) {
        self.close_puncher(now, stream);
        let Some(accepting) = self.connect.accepting.get_mut(&stream) else { return };
        accepting.pending = None;
        if matches!(accepting.step, Step::Over { .. }) {
            return;
        }
        self.set_step(now, stream, Step::Over { until: now + PATIENCE });
        self.say(Event::GivenUp { stream });
    }

    /// The third peer has brought us together, or has not.
    pub(super) fn accepting_met(&mut self, now: Instant, stream: u32, well: bool) {
        let Some(accepting) = self.connect.accepting.get_mut(&stream) else { return };
        accepting.third = if well { Third::Met } else { Third::None };
        match accepting.step {
            Step::Waiting if well => self.set_step(now, stream, Step::Over { until: now + PATIENCE }),
            Step::Waiting => self.end_accepting(now, stream),
            // There is time for a direct way.
            Step::Open { .. } if well => self.set_step(now, stream, Step::Open { until: now + AT_LEISURE }),
            _ => {}
        }
    }

    fn remove_accepting(&mut self, now: Instant, stream: u32) {
        self.close_puncher(now, stream);
        self.connect.timers.clear(Timer::Accepting(stream));
        let Some(accepting) = self.connect.accepting.remove(&stream) else { return };
        if let Some(server) = self.connect.servers.get_mut(&accepting.server) {
            server.free_slot(accepting.slot);
            server.by_first_message.remove(&accepting.first_message);
        }
    }

    /// Nobody is waited for any more.
    pub(super) fn end_all_accepting(&mut self, now: Instant, server: Id) {
        let of_it = self.connect.accepting.iter().filter(|(_, accepting)| accepting.server == server);
        for stream in of_it.map(|(stream, _)| *stream).collect::<Vec<_>>() {
            self.end_accepting(now, stream);
            self.remove_accepting(now, stream);
        }
    }
}

/// What is known of the way to the client.
struct Path {
    client: SocketAddrV4,
    is_direct: bool,
    may_punch: bool,
    share_local: bool,
    local: Vec<SocketAddrV4>,
    /// Our own address, as the node in between sees it.
    seen_at: SocketAddrV4,
}
