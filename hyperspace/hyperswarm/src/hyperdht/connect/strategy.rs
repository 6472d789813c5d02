//! What is done to get through: depends on what stands before each of the two.

use super::super::node::Dht;
use super::super::noise_payload::Firewall;
use super::puncher::{LOW_TTL, byte};
use super::timers::Timer;
use crate::dht::Socket;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// Both know where the other is: each sends so often, a second apart.
const ROUNDS: u32 = 10;
const ROUND: Duration = Duration::from_secs(1);

/// One of us does not know the other's port: it guesses, for 35 s.
const GUESSES: u32 = 1750;
const GUESS: Duration = Duration::from_millis(20);
const LOWEST_PORT: u16 = 1000;

/// And whose port it is has so many, that one of them is guessed.
const BIRTHDAY_SOCKETS: usize = 256;
const AFTER_OPENING: Duration = Duration::from_millis(100);

/// How long nobody else may use so many after that.
const RANDOM_PAUSE: Duration = Duration::from_secs(20);

/// What is being done.
#[derive(Debug)]
pub(super) enum Strategy {
    /// Send to all addresses of the other side.
    Rounds { done: u32 },
    /// Guess its port.
    Guess { host: Ipv4Addr, left: u32 },
    /// Be guessed.
    Many { at: SocketAddrV4, next: usize, first: bool, left: u32 },
}

impl Strategy {
    pub(super) fn is_random(&self) -> bool {
        !matches!(self, Self::Rounds { .. })
    }
}

fn is_consistent(firewall: Firewall) -> bool {
    matches!(firewall, Firewall::Open | Firewall::Consistent)
}

impl Dht {
    /// May a dial or a handshake with a random NAT begin to punch?
    pub(super) fn random_is_free(&self, now: Instant) -> bool {
        let rested = |last: Instant| now.saturating_duration_since(last) >= RANDOM_PAUSE;
        !self.connect.random_punching && self.connect.last_random.is_none_or(rested)
    }

    /// Begins. `false` if there is no way.
    pub(super) fn punch(&mut self, now: Instant, stream: u32) -> bool {
        let Some(puncher) = self.connect.punchers.get_mut(&stream) else { return false };
        if puncher.strategy.is_some() {
            return true;
        }
        if puncher.remote.addresses.is_empty() {
            return false;
        }
        let (own, remote) = (puncher.view.firewall(), puncher.remote.firewall);
        let verified = puncher.remote.verified();
        let (strategy, at) = match (is_consistent(own), is_consistent(remote), verified) {
            (true, true, _) => {
                // The responder has just sent one.
                let at = if puncher.is_initiator { now } else { now + ROUND };
                (Strategy::Rounds { done: 0 }, at)
            }
            (true, false, Some(verified)) if remote == Firewall::Random => {
                (Strategy::Guess { host: *verified.ip(), left: GUESSES }, now)
            }
            (false, true, Some(at)) if own == Firewall::Random => {
                (Strategy::Many { at, next: 0, first: true, left: GUESSES }, now + AFTER_OPENING)
            }
            _ => return false,
        };
        tracing::debug!(stream, ?own, ?remote, ?strategy, "punching");
        if strategy.is_random() {
            self.connect.random_punching = true;
            self.connect.punches.random += 1;
        } else {
            self.connect.punches.consistent += 1;
        }
        let many = match strategy {
            Strategy::Many { at, .. } => Some(at),
            _ => None,
        };
        puncher.strategy = Some(strategy);
        if let Some(at) = many {
            self.open_many(stream, at);
        }
        self.connect.timers.set(Timer::Puncher(stream), at);
        true
    }

    fn open_many(&mut self, stream: u32, at: SocketAddrV4) {
        for _ in 1..BIRTHDAY_SOCKETS {
            let socket = self.open_socket(stream);
            if let Some(puncher) = self.puncher(stream) {
                puncher.sockets.push(socket);
            }
            self.node.transmit(byte(Socket::Other(socket), at, Some(LOW_TTL)));
        }
    }

    pub(super) fn puncher_timeout(&mut self, now: Instant, stream: u32) {
        let Some(puncher) = self.connect.punchers.get_mut(&stream) else { return };
        let main = puncher.main();
        let wait = match &mut puncher.strategy {
            None => return,
            Some(Strategy::Rounds { done }) => {
                if *done >= ROUNDS {
                    return self.punched_in_vain(now, stream);
                }
                *done += 1;
                for (address, verified) in &puncher.remote.addresses {
                    if (*verified || done.is_multiple_of(4)) && address.port() != 0 {
                        self.node.transmit(byte(main, *address, None));
                    }
                }
                ROUND
            }
            Some(Strategy::Guess { left: 0, .. } | Strategy::Many { left: 0, .. }) => {
                return self.punched_in_vain(now, stream);
            }
            Some(Strategy::Guess { host, left }) => {
                *left -= 1;
                let ports = u64::from(u16::MAX - LOWEST_PORT) + 1;
                let port = LOWEST_PORT + self.random.below(ports) as u16;
                self.node.transmit(byte(main, SocketAddrV4::new(*host, port), None));
                GUESS
            }
            Some(Strategy::Many { at, next, first, left }) => {
                *left -= 1;
                let ttl = first.then_some(LOW_TTL);
                self.node.transmit(byte(Socket::Other(puncher.sockets[*next]), *at, ttl));
                *next += 1;
                if *next == puncher.sockets.len() {
                    (*next, *first) = (0, false);
                }
                GUESS
            }
        };
        self.connect.timers.set(Timer::Puncher(stream), now + wait);
    }

    fn punched_in_vain(&mut self, now: Instant, stream: u32) {
        tracing::debug!(stream, "punched in vain");
        self.close_puncher(now, stream);
        if self.connect.dials.contains_key(&stream) {
            self.dial_failed(now, stream, super::DialError::HolepunchAborted);
        } else {
            self.accepting_failed(now, stream);
        }
    }
}
