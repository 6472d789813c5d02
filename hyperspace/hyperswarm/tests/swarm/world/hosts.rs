//! What is done to hosts, and what is seen of them.

use super::{Happening, Host, NOTICED, World};
use hyperswarm::PublicKey;
use hyperswarm::dht::Id;
use hyperswarm::swarm::Stats;
use std::collections::BTreeMap;
use std::sync::Arc;

impl World {
    /// Kills a host: its swarm ends without a word.
    pub fn kill(&mut self, host: Host) {
        let life = self.hosts[host].life;
        let machine = &mut self.hosts[host];
        machine.alive = false;
        machine.listening = false;
        machine.links.clear();
        machine.asking.clear();
        machine.wake = None;
        self.at(NOTICED, Happening::Unanswered(host, life));
    }

    /// Starts it again, with the same key and nothing else.
    pub fn start(&mut self, host: Host) {
        let (key, gate) = (self.hosts[host].key, Arc::clone(&self.hosts[host].gate));
        let core = self.core(key, &gate);
        let machine = &mut self.hosts[host];
        machine.core = core;
        machine.life += 1;
        machine.alive = true;
        machine.online = true;
    }

    /// Cuts a host off from the network, or joins it again.
    pub fn set_online(&mut self, host: Host, online: bool) {
        let life = self.hosts[host].life;
        self.hosts[host].online = online;
        if online {
            // The DHT notices.
            self.with(host, |core, now| core.network_changed(now));
        } else {
            self.at(NOTICED, Happening::Unanswered(host, life));
        }
    }

    /// With whom a host has an open connection, and which link it is.
    pub fn connected(&self, host: Host) -> BTreeMap<Host, u64> {
        let machine = &self.hosts[host];
        let open = |(key, other): (&PublicKey, &Host)| {
            let id = machine.core.connection_with(key)?;
            Some((*other, *machine.links.get(&id)?))
        };
        if machine.alive { self.by_key.iter().filter_map(open).collect() } else { BTreeMap::new() }
    }

    /// Do both have the same connection with each other?
    pub fn are_connected(&self, a: Host, b: Host) -> bool {
        let link = self.connected(a).get(&b).copied();
        link.is_some() && link == self.connected(b).get(&a).copied()
    }

    /// Who has dialled it?
    pub fn dialler(&self, link: u64) -> Option<Host> {
        self.links.get(&link).map(|link| link.dialler.host)
    }

    pub fn all_connected(&self, hosts: &[Host]) -> bool {
        hosts.iter().all(|a| hosts.iter().all(|b| a == b || self.are_connected(*a, *b)))
    }

    pub fn is_known(&self, topic: &Id, host: Host) -> bool {
        self.records.get(topic).is_some_and(|records| records.contains_key(&self.hosts[host].key))
    }

    pub fn stats(&self, host: Host) -> Stats {
        self.hosts[host].core.stats()
    }
}
