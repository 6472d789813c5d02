//! How one socket is seen from outside: whether all see it at the same address, or each at
//! another port.

use super::super::noise_payload::Firewall;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{Ipv4Addr, SocketAddrV4};

/// So many samples are wanted.
pub(super) const WANTED: usize = 4;

/// So few say nothing.
const TOO_FEW: usize = 3;

/// And more than these are not taken.
const MAX_SAMPLES: usize = 32;

/// What others have said of the address of a socket.
#[derive(Debug)]
pub(super) struct View {
    /// Each address or host with the number of those who saw it, the most seen first.
    exact: Vec<(SocketAddrV4, usize)>,
    hosts: Vec<(Ipv4Addr, usize)>,
    /// Who was asked, and whether it has answered: each counts once.
    asked: HashMap<SocketAddrV4, bool>,
    samples: usize,
    firewall: Firewall,
    addresses: Option<Vec<SocketAddrV4>>,
    frozen: bool,
}

fn count<T: Eq + Hash + Copy>(seen: &mut Vec<(T, usize)>, value: T) {
    let mut at = seen.iter().position(|(known, _)| *known == value).unwrap_or_else(|| {
        seen.push((value, 0));
        seen.len() - 1
    });
    seen[at].1 += 1;
    while at > 0 && seen[at - 1].1 < seen[at].1 {
        seen.swap(at - 1, at);
        at -= 1;
    }
}

impl View {
    /// Of a socket that is new. Who is not behind a firewall knows it.
    pub(super) fn new(firewalled: bool) -> Self {
        Self {
            exact: Vec::new(),
            hosts: Vec::new(),
            asked: HashMap::new(),
            samples: 0,
            firewall: if firewalled { Firewall::Unknown } else { Firewall::Open },
            addresses: None,
            frozen: false,
        }
    }

    /// Somebody is to be asked: `false` if it was before.
    pub(super) fn ask(&mut self, node: SocketAddrV4) -> bool {
        let new = !self.asked.contains_key(&node);
        self.asked.entry(node).or_insert(false);
        new
    }

    /// `node` sees us at `address`.
    pub(super) fn add(&mut self, address: SocketAddrV4, node: SocketAddrV4) {
        if self.samples >= MAX_SAMPLES || self.asked.insert(node, true) == Some(true) {
            return;
        }
        self.samples += 1;
        count(&mut self.hosts, *address.ip());
        count(&mut self.exact, address);
        if !self.frozen && self.firewall != Firewall::Open {
            self.judge();
        }
    }

    fn judge(&mut self) {
        if self.samples < TOO_FEW {
            return;
        }
        let hits = |at: usize| self.exact.get(at).map_or(0, |(_, hits)| *hits);
        self.firewall = match hits(0) {
            3.. => Firewall::Consistent,
            0 | 1 => Firewall::Random,
            _ if self.hosts.len() == 1 && self.samples > 3 => Firewall::Random,
            _ if self.hosts.len() > 1 && hits(1) > 1 => Firewall::Consistent,
            _ if self.samples > WANTED => Firewall::Random,
            _ => self.firewall,
        };
        self.addresses = match self.firewall {
            Firewall::Random => self.hosts.first().map(|(host, _)| vec![SocketAddrV4::new(*host, 0)]),
            Firewall::Consistent => {
                let told = |(at, (_, hits)): &(usize, &(SocketAddrV4, usize))| *at < 2 || *hits >= 2;
                Some(self.exact.iter().enumerate().filter(told).map(|(_, (address, _))| *address).collect())
            }
            _ => None,
        };
    }

    /// Is there nothing more to find out?
    pub(super) fn is_decided(&self) -> bool {
        self.samples >= WANTED || matches!(self.firewall, Firewall::Open | Firewall::Consistent)
    }

    /// How many more are to be asked.
    pub(super) fn wanted(&self) -> usize {
        WANTED.saturating_sub(self.samples)
    }

    pub(super) fn firewall(&self) -> Firewall {
        self.firewall
    }

    /// Where we are seen, as far as it is known.
    pub(super) fn addresses(&self) -> Option<&[SocketAddrV4]> {
        self.addresses.as_deref()
    }

    /// The other side is told of it: from now on, it stays as it is.
    pub(super) fn freeze(&mut self) {
        self.frozen = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([9, 9, 9, host].into(), port)
    }

    fn seen(all: &[(u8, u16)]) -> View {
        let mut view = View::new(true);
        for (number, (host, port)) in all.iter().enumerate() {
            view.add(address(*host, *port), address(100, number as u16));
        }
        view
    }

    #[test]
    fn what_follows_from_what_is_seen() {
        let firewall = |all: &[(u8, u16)]| seen(all).firewall();
        assert_eq!(firewall(&[(1, 1), (1, 1)]), Firewall::Unknown);
        assert_eq!(firewall(&[(1, 1), (1, 1), (1, 1)]), Firewall::Consistent);
        assert_eq!(firewall(&[(1, 1), (1, 2), (1, 3)]), Firewall::Random);
        assert_eq!(firewall(&[(1, 1), (1, 1), (1, 3)]), Firewall::Unknown);
        assert_eq!(firewall(&[(1, 1), (1, 1), (1, 3), (1, 4)]), Firewall::Random);
        assert_eq!(firewall(&[(1, 1), (1, 1), (2, 3), (2, 3)]), Firewall::Consistent);
        assert_eq!(firewall(&[(1, 1), (1, 1), (2, 3), (2, 4)]), Firewall::Unknown);
        assert_eq!(firewall(&[(1, 1), (1, 1), (2, 3), (2, 4), (2, 5)]), Firewall::Random);
    }

    #[test]
    fn where_it_is_seen() {
        assert_eq!(seen(&[(1, 1), (1, 1)]).addresses(), None);
        assert_eq!(seen(&[(1, 1), (1, 2), (1, 3)]).addresses(), Some(&[address(1, 0)][..]));
        let view = seen(&[(1, 1), (1, 1), (1, 1), (1, 2), (1, 3)]);
        assert_eq!(view.addresses(), Some(&[address(1, 1), address(1, 2)][..]));
    }

    #[test]
    fn each_counts_once_and_nothing_after_it_is_frozen() {
        let mut view = View::new(true);
        for _ in 0..10 {
            view.add(address(1, 1), address(100, 1));
        }
        assert_eq!((view.firewall(), view.wanted()), (Firewall::Unknown, 3));
        view.add(address(1, 1), address(100, 2));
        view.freeze();
        for node in 3..1000 {
            view.add(address(1, 1), address(100, node));
        }
        assert_eq!(view.firewall(), Firewall::Unknown);
        assert!(view.is_decided() && view.asked.len() <= MAX_SAMPLES + 1);
    }
}
