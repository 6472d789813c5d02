//! What a node does every few seconds: it looks after its table, and at itself.

use super::super::random::Random;
use super::super::requests::Purpose;
use super::{Event, Node, RECENT};
use std::time::{Duration, Instant};

/// How long a tick is.
const TICK: Duration = Duration::from_secs(5);

/// When a tick is that late, the machine was asleep.
const SLEEP: Duration = Duration::from_secs(15);

/// Contacts are checked every so many ticks (40 s).
const PING_EVERY: u32 = 8;

/// So many ticks without a query (5 min), and we look around by ourselves.
const REFRESH_AFTER: u32 = 60;

/// While we know few, every so many ticks.
const REFRESH_SMALL_EVERY: u32 = 64;
const SMALL: usize = 20;

/// After so many ticks (20 min) it is worth finding out whether we can be persistent.
const STABLE_AFTER: u32 = 240;
/// And again after so many (60 min).
const STABLE_AGAIN: u32 = 720;

/// The most nodes in a tick that are told that others are down.
const MAX_HINTS: usize = 50;

/// The time of a node, in ticks.
#[derive(Debug)]
pub(super) struct Ticks {
    number: u32,
    last: Instant,
    until_refresh: u32,
    until_stable: u32,
    hints: usize,
    /// The host at which we were when it was last looked at.
    checked: Option<std::net::Ipv4Addr>,
}

impl Ticks {
    pub(super) fn new(now: Instant, random: &mut Random) -> Self {
        Self {
            // Not all nodes that are started together are to be busy together.
            number: 50 + random.below(50) as u32,
            last: now,
            until_refresh: REFRESH_AFTER,
            until_stable: STABLE_AFTER,
            hints: 0,
            checked: None,
        }
    }

    pub(super) fn now(&self) -> u32 {
        self.number
    }

    pub(super) fn next(&self) -> Instant {
        self.last + TICK
    }

    pub(super) fn queried(&mut self) {
        self.until_refresh = REFRESH_AFTER;
    }

    pub(super) fn may_hint(&mut self) -> bool {
        self.hints += 1;
        self.hints <= MAX_HINTS
    }
}

impl Node {
    pub(super) fn tick(&mut self, now: Instant) {
        if now.saturating_duration_since(self.ticks.last) > SLEEP {
            self.wake_up();
            self.events.push_back(Event::Woken);
        }
        self.ticks.last = now;
        self.ticks.number += 1;
        self.ticks.hints = 0;
        if let Some(change) = self.health.tick() {
            self.events.push_back(Event::Network(change));
        }
        if !self.is_ready() {
            return;
        }
        self.consider_persistence(now);
        let tick = self.ticks.number;
        if tick.is_multiple_of(PING_EVERY) {
            self.ping_some(now);
        }
        self.ticks.until_refresh = self.ticks.until_refresh.saturating_sub(1);
        let small = tick.is_multiple_of(REFRESH_SMALL_EVERY) && self.table.len() < SMALL;
        if small || self.ticks.until_refresh == 0 {
            self.refresh(now);
        }
    }

    /// The machine was asleep, or the network away: who knows where we are now. An adaptive
    /// node keeps its id to itself again until it knows.
    pub fn wake_up(&mut self) {
        let ticks = &mut self.ticks;
        ticks.number += STABLE_AGAIN;
        // The next round of pings is two ticks away.
        ticks.number += (2 * PING_EVERY - 3 - ticks.number % PING_EVERY) % PING_EVERY;
        ticks.until_stable = STABLE_AGAIN;
        ticks.until_refresh = 1;
        ticks.checked = None;
        self.health.reset();
        if self.config.ephemeral.is_none() && self.config.public_address.is_none() && !self.ephemeral {
            self.ephemeral = true;
            self.events.push_back(Event::Ephemeral);
        }
    }

    /// Is it time to become persistent?
    fn consider_persistence(&mut self, now: Instant) {
        if !self.ephemeral || self.config.ephemeral == Some(true) {
            return;
        }
        // Who is to be persistent does not wait, but looks again with every round of pings.
        if self.config.ephemeral == Some(false) {
            if self.ticks.number.is_multiple_of(PING_EVERY) {
                self.test(now, true);
            }
            return;
        }
        self.ticks.until_stable = self.ticks.until_stable.saturating_sub(1);
        if self.ticks.until_stable > 0 {
            return;
        }
        self.ticks.until_stable = STABLE_AGAIN;
        let host = self.nat.host();
        if host.is_none() || host != self.ticks.checked {
            self.ticks.checked = host;
            self.test(now, true);
        }
    }

    /// Asks those of which nothing was heard for longest.
    fn ping_some(&mut self, now: Instant) {
        let tick = self.ticks.number;
        let mut count = if self.requests.len() > 2 { 3 } else { 5 };
        let oldest = self.table.by_heard(count, false);
        match oldest.first() {
            None => return self.refresh(now),
            Some(oldest) if tick.saturating_sub(oldest.pinged) < RECENT => count = 2,
            Some(_) => {}
        }
        let contacts: Vec<_> =
            oldest.into_iter().take(count).map(|contact| (contact.id, contact.address)).collect();
        for (id, address) in contacts {
            if self.ping(now, id, address, Purpose::Check(id)) {
                self.checks += 1;
            }
        }
    }

    /// Looks for somewhere, and so gets to know who is on the way.
    pub(super) fn refresh(&mut self, now: Instant) {
        let known = self.table.len() as u64;
        let at = if known == 0 { 0 } else { self.random.below(known) };
        let target = self.table.iter().nth(at as usize).map_or(*self.table.id(), |contact| contact.id);
        self.look_around(now, target);
    }
}
