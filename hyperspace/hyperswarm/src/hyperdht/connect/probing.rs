//! Agrees with the peer that we dial on how to punch: the client's side.
//!
//! First we *probe*: we say how we are seen, by one of the nodes that the peer is announced
//! to, and hear how it is seen. Then we ask it to *punch*, by the node that passed on our
//! handshake.

use super::super::envelope::{Holepunch, Mode};
use super::super::holepunch::HolepunchPayload;
use super::super::node::Dht;
use super::super::noise_payload::{Firewall, Relay, handshake_error};
use super::super::wire::command;
use super::puncher::LOW_TTL;
use super::timers::Timer;
use super::{Asked, DialError, OVER_A_NODE};
use crate::dht::tokens::equal;
use crate::dht::{Answer, Asking};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// How often a step is sent again. It goes over four lines, and there is no second node by
/// which it is sent as well.
const RETRIES: u32 = 5;

/// How long the peer is given to find out how it is seen.
const REMOTE_PAUSE: Duration = Duration::from_secs(1);

/// How long we wait when somebody else punches: this, and up to as much more.
const LATER: Duration = Duration::from_secs(10);

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The answer to a probe.
    Probe,
    /// The peer does not know yet how it is seen.
    Pause,
    /// We do not: and may, or may not any more, take another socket.
    Analyse { reopening: bool },
    /// The answer to our wish to punch.
    Ask,
    /// The answer to that we would punch, if it was our turn.
    Announce,
    /// Our turn, or the peer's.
    Later,
    /// That something gets through.
    Punch,
    /// The answer to that we give up.
    Abort(DialError),
}

/// How far the agreement has got.
pub(super) struct Probing {
    step: Step,
    /// The peer's slot.
    id: u64,
    round: u64,
    /// May we probe again?
    retry: bool,
    /// The node by which we probe, and the peer as that sees it.
    server_relay: Relay,
    /// Where the peer is, as we know.
    server: SocketAddrV4,
    /// The token that it gave us.
    remote_token: Option<[u8; 32]>,
    /// The token that we gave it in the last step, and for which host.
    token: Option<([u8; 32], SocketAddrV4)>,
    delayed: bool,
}

impl Dht {
    fn probing(&mut self, stream: u32) -> Option<&mut Probing> {
        self.connect.dials.get_mut(&stream)?.met.as_mut()?.probing.as_mut()
    }

    /// Begins.
    pub(super) fn probe(&mut self, now: Instant, stream: u32) {
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        let Some(met) = &mut dial.met else { return };
        let relays = met.relays();
        let Some(server_relay) =
            relays.iter().find(|relay| relay.relay == met.relay).or(relays.first()).copied()
        else {
            return;
        };
        let firewall = met.payload.firewall;
        met.probing = Some(Probing {
            step: Step::Probe,
            id: met.payload.holepunch.as_ref().map_or(0, |holepunch| holepunch.id),
            round: 0,
            retry: true,
            server_relay,
            server: met.server,
            remote_token: None,
            token: None,
            delayed: false,
        });
        if !self.open_puncher(now, stream, true, firewall) {
            return self.dial_failed(now, stream, DialError::NoResources);
        }
        self.probe_once(now, stream);
    }

    fn probe_once(&mut self, now: Instant, stream: u32) {
        let fast = self.connect.dials.get(&stream).is_some_and(|dial| dial.dialing.fast_open);
        let Some(probing) = self.probing(stream) else { return };
        probing.step = Step::Probe;
        let (server, relay) = (probing.server, probing.server_relay);
        if fast {
            self.send_byte(stream, server, Some(LOW_TTL));
        }
        let remote_address = fast.then_some(server);
        let payload = HolepunchPayload { remote_address, ..self.own_view(stream) };
        self.send_step(now, stream, relay, payload);
    }

    /// How we are seen.
    fn own_view(&mut self, stream: u32) -> HolepunchPayload {
        let Some(puncher) = self.puncher(stream) else { return HolepunchPayload::default() };
        HolepunchPayload {
            firewall: puncher.view.firewall(),
            addresses: puncher.view.addresses().map(<[_]>::to_vec),
            ..HolepunchPayload::default()
        }
    }

    /// Tells the peer something, by a node that sees it at `by.peer`.
    fn send_step(&mut self, now: Instant, stream: u32, by: Relay, payload: HolepunchPayload) {
        let nonce = self.nonce();
        let Some(dial) = self.connect.dials.get_mut(&stream) else { return };
        let Some(met) = &mut dial.met else { return };
        let Some(probing) = &mut met.probing else { return };
        probing.token = payload.token.map(|token| (token, by.peer));
        let payload = HolepunchPayload { round: probing.round, ..payload };
        probing.round += 1;
        let envelope = Holepunch {
            mode: Mode::FromClient,
            id: probing.id,
            payload: met.secret.seal(&payload, nonce),
            peer: Some(by.peer),
        };
        let socket = self.connect.punchers.get(&stream).map(super::Puncher::main);
        let asking = Asking {
            value: Some(envelope.encode()),
            timeout: Some(OVER_A_NODE),
            retries: Some(RETRIES),
            socket,
            ..Asking::new(by.relay, command::PEER_HOLEPUNCH, dial.target)
        };
        match self.node.ask(now, &asking) {
            Some(request) => {
                self.requests.insert(request, Asked::Step { stream });
            }
            None => self.dial_failed(now, stream, DialError::NoResources),
        }
    }

    /// The peer has answered, or has not.
    pub(super) fn step_answered(&mut self, now: Instant, stream: u32, answer: Option<Answer>) {
        let Some(met) = self.connect.dials.get_mut(&stream).and_then(|dial| dial.met.as_mut()) else {
            return;
        };
        let Some(probing) = &mut met.probing else { return };
        if let Step::Abort(error) = probing.step {
            return self.dial_failed(now, stream, error);
        }
        let value = answer.as_ref().and_then(|answer| answer.value.as_deref()).unwrap_or_default();
        let envelope = Holepunch::decode(value).ok().filter(|envelope| envelope.mode == Mode::Reply);
        let (Some(answer), Some(envelope)) = (answer, envelope) else {
            return self.dial_failed(now, stream, DialError::HolepunchAborted);
        };
        let Some(remote) = met.secret.open(&envelope.payload) else {
            return self.dial_failed(now, stream, DialError::HolepunchInvalid);
        };
        let step = probing.step;
        let may_wait = step == Step::Ask && met.third != super::meet::Third::None;
        if remote.error == handshake_error::TRY_LATER && may_wait {
            return self.later(now, stream);
        }
        if remote.error != handshake_error::NONE {
            return self.dial_failed(now, stream, DialError::RemoteAborted);
        }
        let verified = probing.token.and_then(|(token, at)| {
            remote.remote_token.is_some_and(|theirs| equal(&theirs, &token)).then(|| *at.ip())
        });
        if step == Step::Probe {
            probing.remote_token = remote.token;
            let same_relay = probing.server_relay.relay == met.relay;
            // It may have taken another socket meanwhile.
            if let Some(peer) = envelope.peer.filter(|peer| same_relay && *peer != probing.server) {
                probing.server = peer;
                self.send_byte(stream, peer, Some(LOW_TTL));
            }
        }
        if let Some(puncher) = self.puncher(stream) {
            puncher.remote.update(remote.punching, remote.firewall, remote.addresses.as_deref(), verified);
        }
        match step {
            Step::Probe => {
                if self.puncher(stream).is_some_and(|puncher| puncher.remote.firewall == Firewall::Unknown) {
                    self.pause(now, stream, Step::Pause, REMOTE_PAUSE);
                } else {
                    self.await_analysis(now, stream, false);
                }
                self.seen_at(now, stream, answer.to, answer.from);
            }
            Step::Ask => self.begin_punching(now, stream),
            Step::Announce => self.later(now, stream),
            _ => {}
        }
    }

    fn pause(&mut self, now: Instant, stream: u32, step: Step, time: Duration) {
        if let Some(probing) = self.probing(stream) {
            probing.step = step;
            self.connect.timers.set(Timer::Dial(stream), now + time);
        }
    }

    pub(super) fn probe_paused(&mut self, now: Instant, stream: u32) {
        match self.probing(stream).map(|probing| probing.step) {
            Some(Step::Pause) => self.await_analysis(now, stream, false),
            Some(Step::Later) => self.ask_to_punch(now, stream),
            _ => {}
        }
    }

    fn await_analysis(&mut self, now: Instant, stream: u32, reopening: bool) {
        if let Some(probing) = self.probing(stream) {
            probing.step = Step::Analyse { reopening };
            self.analyse(now, stream, reopening);
        }
    }

    /// We know how we are seen, as well as we can.
    pub(super) fn dial_analysed(&mut self, now: Instant, stream: u32, is_stable: bool) {
        let Some(probing) = self.probing(stream) else { return };
        let Step::Analyse { reopening } = probing.step else { return };
        let (retry, has_token) = (probing.retry, probing.remote_token.is_some());
        let Some(puncher) = self.puncher(stream) else { return };
        let (own, remote) = (puncher.view.firewall(), puncher.remote.firewall);
        if !is_stable && !reopening {
            return self.await_analysis(now, stream, true);
        }
        // Another socket has to be told of; how often there can be another is bounded.
        let moved = reopening && is_stable;
        if moved || (retry && (remote == Firewall::Unknown || !has_token)) {
            if let Some(probing) = self.probing(stream) {
                probing.retry = false;
            }
            return self.probe_once(now, stream);
        }
        if own == Firewall::Unknown || remote == Firewall::Unknown {
            return self.abort_dial(now, stream, DialError::HolepunchProbeTimeout);
        }
        if own == Firewall::Random && remote == Firewall::Random {
            return self.abort_dial(now, stream, DialError::DoubleRandomizedNats);
        }
        self.ask_to_punch(now, stream);
    }

    /// Both sides know what they need.
    fn ask_to_punch(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.puncher(stream) else { return };
        puncher.view.freeze();
        let is_busy = puncher.is_random() && !self.random_is_free(now);
        if is_busy && !self.is_relayed(stream) {
            return self.abort_dial(now, stream, DialError::HolepunchAborted);
        }
        let own = self.own_view(stream);
        let Some(met) = self.connect.dials.get_mut(&stream).and_then(|dial| dial.met.as_mut()) else {
            return;
        };
        let Some(probing) = &mut met.probing else { return };
        let by = if probing.delayed {
            probing.server_relay
        } else {
            Relay { relay: met.relay, peer: probing.server }
        };
        let token = (!probing.delayed).then(|| met.secret.token(*probing.server.ip()));
        let remote_token = probing.remote_token;
        if is_busy && probing.delayed {
            return self.later(now, stream);
        }
        probing.step = if is_busy { Step::Announce } else { Step::Ask };
        probing.delayed |= is_busy;
        let payload = HolepunchPayload { punching: !is_busy, token, remote_token, ..own };
        self.send_step(now, stream, by, payload);
    }

    /// It is somebody else's turn.
    fn later(&mut self, now: Instant, stream: u32) {
        self.connect.punches.try_later += 1;
        let more = Duration::from_millis(self.random.below(LATER.as_millis() as u64));
        if let Some(probing) = self.probing(stream) {
            probing.delayed = true;
        }
        self.pause(now, stream, Step::Later, LATER + more);
    }

    fn begin_punching(&mut self, now: Instant, stream: u32) {
        if let Some(probing) = self.probing(stream) {
            probing.step = Step::Punch;
        }
        if !self.puncher(stream).is_some_and(|puncher| puncher.remote.punching) {
            return self.dial_failed(now, stream, DialError::RemoteNotHolepunching);
        }
        let Some(puncher) = self.puncher(stream) else { return };
        if puncher.is_random() && !self.random_is_free(now) {
            // Somebody was faster.
            return self.dial_failed(now, stream, DialError::HolepunchAborted);
        }
        if !self.punch(now, stream) {
            self.dial_failed(now, stream, DialError::RemoteNotHolepunchable);
        }
    }

    /// Gives up, and tells the peer so.
    fn abort_dial(&mut self, now: Instant, stream: u32, error: DialError) {
        let Some(probing) = self.probing(stream) else { return };
        probing.step = Step::Abort(error);
        let by = probing.server_relay;
        let payload = HolepunchPayload { error: handshake_error::ABORTED, ..HolepunchPayload::default() };
        self.send_step(now, stream, by, payload);
    }
}
