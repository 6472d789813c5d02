//! Tokens: what a node gives out with its answers, and wants back before it stores
//! anything, so that nobody can store in the name of a host that is not his.

use crate::hash::{hash, keyed_hash};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// A token is good for one to two of these.
pub const ROTATION: Duration = Duration::from_millis(7500);

/// The secrets of which tokens are made.
pub(crate) struct Tokens {
    old: [u8; 32],
    current: [u8; 32],
    next_rotation: Instant,
}

/// Compares in a time that does not depend on where they differ.
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// What a secret makes of a host.
pub(crate) fn token(secret: &[u8; 32], host: Ipv4Addr) -> [u8; 32] {
    keyed_hash(secret, &[host.to_string().as_bytes()])
}

impl Tokens {
    pub(crate) fn new(old: [u8; 32], current: [u8; 32], now: Instant) -> Self {
        Self { old, current, next_rotation: now + ROTATION }
    }

    /// What `host` gets.
    pub(crate) fn issue(&mut self, host: Ipv4Addr, now: Instant) -> [u8; 32] {
        self.rotate(now);
        token(&self.current, host)
    }

    /// Is this what `host` got lately?
    pub(crate) fn accepts(&mut self, offered: &[u8; 32], host: Ipv4Addr, now: Instant) -> bool {
        self.rotate(now);
        [&self.current, &self.old].into_iter().any(|secret| equal(&token(secret, host), offered))
    }

    /// Catches up. After two rotations, nothing that was given out is accepted any more.
    fn rotate(&mut self, now: Instant) {
        for _ in 0..2 {
            if now < self.next_rotation {
                return;
            }
            self.turn();
            self.next_rotation += ROTATION;
        }
        if now >= self.next_rotation {
            self.next_rotation = now + ROTATION;
        }
    }

    fn turn(&mut self) {
        let fresh = hash(&[&self.old]);
        self.old = std::mem::replace(&mut self.current, fresh);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{array, vectors};
    use super::*;

    #[test]
    fn as_npm_makes_them() {
        let vectors = vectors();
        let case = &vectors["token"];
        let host: Ipv4Addr = case["host"].as_str().expect("a host").parse().expect("a host");
        let start = Instant::now();
        let mut tokens = Tokens::new(array(&case["S0"]), array(&case["S1"]), start);
        let rotations = case["rotations"].as_array().expect("a list");
        for (turns, case) in std::iter::once(case).chain(rotations).enumerate() {
            let now = start + ROTATION * turns as u32;
            assert_eq!(tokens.issue(host, now), array(&case["issued"]));
            assert_eq!((tokens.old, tokens.current), (array(&case["S0"]), array(&case["S1"])));
            assert!(tokens.accepts(&array(&case["issued"]), host, now));
            assert!(tokens.accepts(&array(&case["also_accepted"]), host, now));
        }
    }

    #[test]
    fn good_for_a_host_and_a_while() {
        let start = Instant::now();
        let mut tokens = Tokens::new([1; 32], [2; 32], start);
        let (host, other) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        let mut forged = tokens.issue(host, start);
        assert!(tokens.accepts(&forged, host, start));
        assert!(!tokens.accepts(&forged, other, start));
        forged[31] ^= 1;
        assert!(!tokens.accepts(&forged, host, start));
        for sleep in [2 * ROTATION, 1000 * ROTATION] {
            let now = tokens.next_rotation;
            let given = tokens.issue(host, now);
            assert!(tokens.accepts(&given, host, now + ROTATION));
            let later = now + sleep;
            assert!(!tokens.accepts(&given, host, later), "after {sleep:?}");
            let given = tokens.issue(host, later);
            assert!(tokens.accepts(&given, host, later + ROTATION - Duration::from_millis(1)));
        }
    }
}
