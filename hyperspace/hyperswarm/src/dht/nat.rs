//! What the public network sees of us: every node says in its messages at which address
//! it reaches us, and what most of the last ones agree on is taken for true.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

/// How many observations count.
const SAMPLES: usize = 16;

/// An observation is counted with an equal one of so many before it.
const WINDOW: usize = 4;

/// Collects observations of one socket.
#[derive(Clone, Debug, Default)]
pub struct NatSampler {
    exact: Votes<SocketAddrV4>,
    host: Votes<Ipv4Addr>,
}

impl NatSampler {
    /// Somebody sees us there.
    pub fn add(&mut self, address: SocketAddrV4) {
        self.exact.add(address);
        self.host.add(*address.ip());
    }

    /// How many observations there are, up to 16.
    pub fn len(&self) -> usize {
        self.exact.ring.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many must agree.
    fn threshold(&self) -> usize {
        match self.len() {
            n @ 0..4 => n,
            n @ 4..8 => n - 1,
            n @ 8..12 => n - 2,
            n => n - 3,
        }
    }

    /// Our public address: with port 0 when nodes agree on the host, but each sees
    /// another port; `None` while it is not known.
    pub fn address(&self) -> Option<SocketAddrV4> {
        let threshold = self.threshold();
        self.exact
            .best(threshold)
            .or_else(|| self.host.best(threshold).map(|host| SocketAddrV4::new(host, 0)))
    }

    /// Our public host, as far as it is known.
    pub fn host(&self) -> Option<Ipv4Addr> {
        self.address().map(|address| *address.ip())
    }

    /// Our public address, if all see the same one.
    pub fn consistent(&self) -> Option<SocketAddrV4> {
        self.address().filter(|address| address.port() != 0)
    }

    /// Does each node see another port?
    pub fn is_randomized(&self) -> bool {
        self.address().is_some_and(|address| address.port() == 0)
    }
}

/// Equal observations that came close together are one group, with a count.
#[derive(Clone, Debug)]
struct Votes<T> {
    groups: Vec<Group<T>>,
    /// The group of each of the last observations, newest last.
    ring: VecDeque<u64>,
    best: Option<Group<T>>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Group<T> {
    name: u64,
    value: T,
    hits: usize,
}

impl<T> Default for Votes<T> {
    fn default() -> Self {
        Self { groups: Vec::new(), ring: VecDeque::new(), best: None, next: 0 }
    }
}

impl<T: Copy + PartialEq> Votes<T> {
    fn add(&mut self, value: T) {
        let recent = self.ring.iter().rev().take(WINDOW);
        let known = recent.filter_map(|name| self.groups.iter().position(|group| group.name == *name));
        let known = known.into_iter().find(|at| self.groups[*at].value == value);
        let at = known.unwrap_or_else(|| {
            self.groups.push(Group { name: self.next, value, hits: 0 });
            self.next += 1;
            self.groups.len() - 1
        });
        self.groups[at].hits += 1;
        let newest = self.groups[at];
        self.ring.push_back(newest.name);
        if self.ring.len() > SAMPLES
            && let Some(oldest) = self.ring.pop_front()
        {
            self.forget(oldest);
        }
        // The one that leads goes on leading until another has more.
        let leader = self.best.map(|best| Group { hits: self.hits(best.name), ..best });
        let newest = Group { hits: self.hits(newest.name), ..newest };
        self.best = Some(leader.filter(|best| best.hits >= newest.hits).unwrap_or(newest));
    }

    fn forget(&mut self, name: u64) {
        for group in &mut self.groups {
            group.hits -= usize::from(group.name == name);
        }
        self.groups.retain(|group| group.hits > 0);
    }

    fn hits(&self, name: u64) -> usize {
        self.groups.iter().find(|group| group.name == name).map_or(0, |group| group.hits)
    }

    fn best(&self, threshold: usize) -> Option<T> {
        self.best.filter(|best| best.hits > 0 && best.hits >= threshold).map(|best| best.value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::vectors;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_npm_does() {
        let mut sampler = NatSampler::default();
        for case in vectors()["nat_sampler"].as_array().expect("a list") {
            let host = case["add"][0].as_str().expect("a host").parse().expect("a host");
            sampler.add(SocketAddrV4::new(host, case["add"][1].as_u64().expect("a port") as u16));
            let expected = case["result"][0].as_str().map(|host| {
                let port = case["result"][1].as_u64().expect("a port") as u16;
                SocketAddrV4::new(host.parse().expect("a host"), port)
            });
            assert_eq!(sampler.address(), expected);
        }
    }

    #[test]
    fn a_liar_is_outvoted_and_an_address_can_change() {
        let address = |host, port| SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, host), port);
        let mut sampler = NatSampler::default();
        for round in 0..100 {
            sampler.add(if round % 8 == 7 { address(200, 1) } else { address(1, 7) });
        }
        assert_eq!(sampler.consistent(), Some(address(1, 7)));
        for _ in 0..16 {
            sampler.add(address(2, 9));
        }
        assert_eq!(sampler.consistent(), Some(address(2, 9)));
        for port in 0..16 {
            sampler.add(address(2, 1000 + port));
        }
        assert!(sampler.is_randomized() && sampler.consistent().is_none());
        assert_eq!(sampler.host(), Some(*address(2, 0).ip()));
    }

    proptest! {
        #[test]
        fn stays_small_and_believes_only_what_was_said(
            all in proptest::collection::vec((0..3u8, 0..3u16), 0..200),
        ) {
            let mut sampler = NatSampler::default();
            for (host, port) in &all {
                sampler.add(SocketAddrV4::new(Ipv4Addr::new(1, 1, 1, *host), *port + 1));
                prop_assert!(sampler.exact.groups.len() <= SAMPLES && sampler.host.ring.len() <= SAMPLES);
                let counted: usize = sampler.exact.groups.iter().map(|group| group.hits).sum();
                prop_assert_eq!(counted, sampler.len());
            }
            let last: Vec<_> = all.iter().rev().take(SAMPLES).collect();
            if let Some(address) = sampler.consistent() {
                let heard = (address.ip().octets()[3], address.port() - 1);
                prop_assert!(last.iter().any(|said| **said == heard));
            }
        }
    }
}
