//! What happens, when its time has come.

use super::{End, Happening, Link, LinkId, NOTICED, World};
use hyperswarm::swarm::Ask;

impl World {
    pub(super) fn happens(&mut self, what: Happening) {
        match what {
            Happening::Wakes(host) => {
                let due = self.hosts[host].core.poll_timeout();
                if self.hosts[host].alive && due.is_some_and(|at| at <= self.now) {
                    self.hosts[host].wake = None;
                    self.with(host, |core, now| core.handle_timeout(now));
                    let next = self.hosts[host].core.poll_timeout();
                    assert!(next.is_none_or(|next| next > self.now), "it would never sleep");
                }
            }
            Happening::Found(host, life, id, found) => {
                if self.live(host, life) && self.hosts[host].asking.contains(&id) && self.hosts[host].online {
                    self.with(host, |core, now| core.found(now, id, &found));
                }
            }
            Happening::Asked(host, life, id, topic, ask) => {
                if !self.live(host, life) || !self.hosts[host].asking.remove(&id) {
                    return;
                }
                let (now, key) = (self.now, self.hosts[host].key);
                let well = self.hosts[host].online;
                if well {
                    let records = self.records.entry(topic).or_default();
                    match ask {
                        Ask::Lookup => {}
                        Ask::Announce { .. } => {
                            records.insert(key, now);
                        }
                        Ask::Withdraw | Ask::WithdrawThere => {
                            records.remove(&key);
                        }
                    }
                }
                let nodes = vec!["127.0.0.1:1".parse().expect("an address")];
                self.with(host, |core, now| core.asked(now, id, if well { Ok(nodes) } else { Err(()) }));
            }
            Happening::Listening(host, life) => {
                if self.live(host, life) {
                    let well = self.hosts[host].online;
                    self.hosts[host].listening = well;
                    self.with(host, |core, now| core.listening(now, well));
                }
            }
            Happening::Unlistened(host, life) => {
                if self.live(host, life) {
                    self.with(host, |core, now| core.unlistened(now));
                }
            }
            Happening::Rested(host, life, rest) => {
                if self.live(host, life) && self.hosts[host].rests == rest {
                    self.with(host, |core, now| core.rested(now));
                }
            }
            Happening::Woken(host, life, rest) => {
                if self.live(host, life) && self.hosts[host].rests == rest {
                    self.with(host, |core, now| core.woken(now));
                }
            }
            Happening::Dialled(link, reached) => {
                let Some(state) = self.links.get(&link) else { return };
                let (dialler, over) = (state.dialler, state.over[0]);
                if over || !self.live(dialler.host, dialler.life) {
                    return;
                }
                if !reached {
                    return self.tell_closed(dialler);
                }
                let way = self.way();
                self.at(way, Happening::Arrives(link));
                let life = self.links.get(&link).map_or(0, |state| self.hosts[state.to].life);
                self.links.entry(link).and_modify(|state| state.life = life);
                self.with(dialler.host, |core, now| core.opened(now, dialler.id));
            }
            Happening::Arrives(link) => self.arrives(link),
            Happening::Answered(link) => {
                if let Some(state) = self.links.get_mut(&link) {
                    state.dialler_heard = true;
                }
            }
            Happening::Ended(link, side) => {
                let Some(state) = self.links.get_mut(&link) else { return };
                let was_over = std::mem::replace(&mut state.over[side], true);
                let end = if side == 0 { Some(state.dialler) } else { state.dialled };
                if let Some(end) = end.filter(|_| !was_over) {
                    self.tell_closed(end);
                }
            }
            Happening::Unanswered(host, life) => {
                if self.hosts[host].life == life && self.hosts[host].online && self.hosts[host].alive {
                    return;
                }
                let gone = |link: &Link| {
                    [Some(link.dialler), link.dialled]
                        .into_iter()
                        .flatten()
                        .any(|end| end.host == host && end.life == life)
                };
                let links: Vec<LinkId> =
                    self.links.iter().filter(|(_, link)| gone(link)).map(|(id, _)| *id).collect();
                for link in links {
                    let Some(state) = self.links.remove(&link) else { continue };
                    for (side, end) in [Some(state.dialler), state.dialled].into_iter().enumerate() {
                        if let Some(end) = end.filter(|_| !state.over[side]) {
                            self.tell_closed(end);
                        }
                    }
                }
            }
        }
    }

    fn arrives(&mut self, link: LinkId) {
        let Some(state) = self.links.get(&link) else { return };
        let (to, dialler) = (state.to, state.dialler);
        let machine = &self.hosts[to];
        let there = machine.alive && machine.online && machine.listening && machine.life == state.life;
        if state.over[1] {
            return;
        }
        if !there {
            return self.at(NOTICED, Happening::Ended(link, 0));
        }
        let key = self.hosts[dialler.host].key;
        let existing = self.hosts[to].core.connection_with(&key);
        let established = existing.and_then(|id| self.hosts[to].links.get(&id)).is_some_and(|link| {
            // Who was dialled, has heard of the other from the beginning.
            self.links.get(link).is_some_and(|link| link.dialler.host != to || link.dialler_heard)
        });
        let now = self.now;
        // What is to be done for it needs to know which link it is.
        match self.hosts[to].core.incoming(now, key, established) {
            Some(id) => {
                let life = self.hosts[to].life;
                self.hosts[to].links.insert(id, link);
                if let Some(state) = self.links.get_mut(&link) {
                    state.dialled = Some(End { host: to, life, id });
                }
            }
            None => self.end(link, to),
        }
        self.after(to);
    }
}
