//! Who may not be connected with us: asked when a peer is about to be dialled, and when one
//! dials us, before it is answered.

use super::config::MAX_REFUSED;
use crate::key_pair::PublicKey;
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Says whether a peer is refused: `true` if it is. It is given the address of who dials
/// us, and none when we are about to dial. Whom it has refused is banned, and not asked
/// about again for as long as [`MAX_REFUSED`](super::MAX_REFUSED) others were not refused
/// after it. It is called where packets are handled: it may not wait.
pub type Firewall = Arc<dyn Fn(&PublicKey, Option<SocketAddr>) -> bool + Send + Sync>;

/// Refuses ourselves, those who are banned, and whom the firewall refuses.
pub struct Gate {
    key: PublicKey,
    firewall: Option<Firewall>,
    bans: Mutex<Bans>,
}

#[derive(Default)]
struct Bans {
    /// Banned by the program: as many as it likes.
    chosen: HashSet<PublicKey>,
    /// Refused by the firewall: strangers can have as many keys as they like.
    refused: HashSet<PublicKey>,
    order: VecDeque<PublicKey>,
}

impl Gate {
    /// Of the swarm of that key.
    pub fn new(key: PublicKey, firewall: Option<Firewall>) -> Self {
        Self { key, firewall, bans: Mutex::default() }
    }

    /// Our key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Is that peer refused? The firewall is asked only about those who are not banned.
    pub fn refuses(&self, key: &PublicKey, address: Option<SocketAddr>) -> bool {
        if *key == self.key || self.is_banned(key) {
            return true;
        }
        let refused = self.firewall.as_ref().is_some_and(|firewall| firewall(key, address));
        if refused {
            let mut bans = self.bans.lock();
            if bans.refused.insert(*key) {
                bans.order.push_back(*key);
            }
            if bans.order.len() > MAX_REFUSED
                && let Some(oldest) = bans.order.pop_front()
            {
                bans.refused.remove(&oldest);
            }
        }
        refused
    }

    /// Has it been banned, or refused before?
    pub fn is_banned(&self, key: &PublicKey) -> bool {
        let bans = self.bans.lock();
        bans.chosen.contains(key) || bans.refused.contains(key)
    }

    /// Bans a peer. Whether it was not banned before.
    pub fn ban(&self, key: PublicKey) -> bool {
        self.bans.lock().chosen.insert(key)
    }

    /// Takes that back, and what the firewall said of it.
    pub fn unban(&self, key: &PublicKey) {
        let mut bans = self.bans.lock();
        bans.chosen.remove(key);
        if bans.refused.remove(key) {
            bans.order.retain(|refused| refused != key);
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> PublicKey {
        let mut key = [1; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    #[test]
    fn who_is_refused_stays_so_and_memory_is_bounded() {
        let firewall: Firewall = Arc::new(|key, _| key[0] % 2 == 1);
        let gate = Gate::new(key(0), Some(firewall));
        assert!(gate.refuses(&key(0), None), "ourselves");
        for number in 1..3 * MAX_REFUSED {
            assert_eq!(gate.refuses(&key(number), None), number % 2 == 1);
        }
        let bans = gate.bans.lock();
        assert_eq!((bans.refused.len(), bans.order.len()), (MAX_REFUSED, MAX_REFUSED));
        drop(bans);
        assert!(!gate.is_banned(&key(1)) && gate.is_banned(&key(3 * MAX_REFUSED - 1)));
        gate.unban(&key(3 * MAX_REFUSED - 1));
        assert!(!gate.is_banned(&key(3 * MAX_REFUSED - 1)));
    }

    #[test]
    fn a_ban_is_for_ever_unless_taken_back() {
        let gate = Gate::new(key(0), None);
        assert!(!gate.refuses(&key(1), None));
        assert!(gate.ban(key(1)) && !gate.ban(key(1)));
        assert!(gate.refuses(&key(1), None));
        gate.unban(&key(1));
        assert!(!gate.refuses(&key(1), None));
    }
}
