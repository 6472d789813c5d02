//! A server: a key of ours that others can dial.

use super::super::node::{Dht, Event};
use super::super::noise_payload::Relay;
use super::super::records::Peer;
use super::super::signing::target_of;
use super::announcer::Announcer;
use super::timers::Timer;
use crate::dht::Id;
use crate::hash::Hash;
use crate::key_pair::{KeyPair, PublicKey};
use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Instant;

/// Is a peer refused? It has proved its key; the address is that at which it is seen.
pub type FirewallCheck = Arc<dyn Fn(&PublicKey, SocketAddrV4) -> bool + Send + Sync>;

/// At which third peer is the next one to be met, if at any?
pub type RelayChoice = Arc<dyn Fn() -> Option<PublicKey> + Send + Sync>;

/// How a server behaves.
#[derive(Clone)]
pub struct ListenOptions {
    /// Refuses peers, who are not told so. It is called while the node waits for it.
    pub firewall: Option<FirewallCheck>,
    /// Asks peers to meet us at a third one, until there is a direct way.
    pub relay_through: Option<RelayChoice>,
    /// Tell peers our addresses in private networks?
    pub share_local_address: bool,
    /// Try to get through firewalls?
    pub holepunch: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { firewall: None, relay_through: None, share_local_address: true, holepunch: true }
    }
}

impl fmt::Debug for ListenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenOptions")
            .field("firewall", &self.firewall.is_some())
            .field("relay_through", &self.relay_through.is_some())
            .field("share_local_address", &self.share_local_address)
            .field("holepunch", &self.holepunch)
            .finish()
    }
}

/// One server.
pub(in super::super) struct Listening {
    pub pair: KeyPair,
    pub options: ListenOptions,
    pub announcer: Announcer,
    /// The streams of the handshakes that are remembered, each at its number.
    pub slots: Vec<Option<u32>>,
    /// The same by their first messages: those come by several nodes, and again.
    pub by_first_message: HashMap<Hash, u32>,
}

impl Listening {
    /// The lowest number that is free.
    pub fn take_slot(&mut self, stream: u32) -> usize {
        let free = self.slots.iter().position(Option::is_none).unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[free] = Some(stream);
        free
    }

    pub fn free_slot(&mut self, slot: usize) {
        if let Some(stream) = self.slots.get_mut(slot) {
            *stream = None;
        }
        while self.slots.last().is_some_and(Option::is_none) {
            self.slots.pop();
        }
    }
}

impl Dht {
    /// Waits for those who dial that key. [`Event::Listening`] tells when they can find us,
    /// and [`Event::Established`] when one has come. `false` if we do already.
    pub fn listen(&mut self, now: Instant, pair: &KeyPair, options: ListenOptions) -> bool {
        let target = target_of(&pair.public_key());
        if self.connect.servers.contains_key(&target) {
            return false;
        }
        let listening = Listening {
            pair: pair.clone(),
            options,
            announcer: Announcer::default(),
            slots: Vec::new(),
            by_first_message: HashMap::new(),
        };
        self.connect.servers.insert(target, listening);
        if !self.connect.suspended {
            self.announce_round(now, target);
        }
        self.drain(now);
        true
    }

    /// Stops that: takes back what was announced, and then says [`Event::Closed`].
    pub fn close_server(&mut self, now: Instant, target: Id) {
        self.end_all_accepting(now, target);
        self.stop_announcing(now, target);
        self.drain(now);
    }

    /// The nodes by which a server of ours is reached now.
    pub fn server_relays(&self, target: &Id) -> Vec<Relay> {
        self.connect.servers.get(target).map_or_else(Vec::new, |server| server.announcer.relays.clone())
    }

    /// Where a server of ours is found: itself, if it is open, and these nodes.
    pub fn relay_addresses(&self, target: &Id) -> Vec<SocketAddrV4> {
        let server = self.connect.servers.get(target);
        server.map_or_else(Vec::new, |server| server.announcer.relay_addresses.clone())
    }

    /// What we answer for a server of ours ourselves.
    pub(in super::super) fn own_record(&self, target: &Id) -> Option<Vec<u8>> {
        let server = self.connect.servers.get(target)?;
        Some(Peer { public_key: server.pair.public_key(), relays: Vec::new() }.encode())
    }

    /// It is over, and what was announced is taken back.
    pub(super) fn closed_server(&mut self, target: Id) {
        if self.connect.servers.remove(&target).is_some() {
            self.connect.timers.clear(Timer::Announcer(target));
            self.say(Event::Closed { server: target });
        }
    }
}
