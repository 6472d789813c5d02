//! What happens by itself as time goes by.

use super::conflict::JUDGED_WITHIN;
use super::wanting::LINGER;
use super::{Cx, Replicator, UNWANTED};
use crate::core::LocalCore;
use std::time::{Duration, Instant};

/// How often it is looked whether another peer would be quicker.
const SWAP_EVERY: Duration = Duration::from_millis(50);

/// How often it is looked whether something has become hopeless.
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Replicator {
    /// When [`elapsed`](Self::elapsed) is to be called next, if nothing happens before.
    pub fn next_time(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut by = |at: Instant| next = Some(next.map_or(at, |next: Instant| next.min(at)));
        if let Some(pause) = self.pause {
            by(pause);
        }
        if !self.wants_data()
            && let Some(until) = self.linger
        {
            by(until);
        }
        if !self.flights.is_empty() && self.peers.len() > 1 {
            by(now + SWAP_EVERY);
        }
        for peer in self.peers.values() {
            if let Some(since) = peer.unwanted
                && !self.is_downloading(now)
            {
                by(since + UNWANTED);
            }
            if let Some((since, _)) = &peer.suspected {
                by(*since + JUDGED_WITHIN);
            }
            if let Some(asked) = peer.have.oldest_question() {
                by(asked + peer.patience());
            }
        }
        if !self.demands.is_empty() || self.reorg.is_some() || self.upgrade.is_some() {
            by(now + LOOK_EVERY);
        }
        // Never at once again and again.
        next.map(|next| next.max(now + Duration::from_millis(1)))
    }

    /// Time has gone by.
    pub fn elapsed(&mut self, now: Instant, core: &LocalCore) {
        if self.pause.is_some_and(|pause| pause <= now) {
            self.pause = None;
        }
        let mut stalled = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Some(then) = now.checked_sub(peer.patience())
                && peer.have.give_up(then)
            {
                peer.have_epoch += 1;
            }
            if peer.is_stalled(now) {
                peer.window.stalled();
                stalled.push(*id);
            }
        }
        // A longer tree, or the way through a fork, is asked of one peer at a time.
        for peer in stalled {
            if self.upgrade.is_some_and(|(asked, _)| asked == peer) {
                self.upgrade = None;
            }
            self.reorg_stalled(peer);
        }
        let cx = Cx { now, core };
        self.condemn(cx);
        self.work(cx);
        self.close_unwanted(cx);
    }

    /// How long a core that nobody wants any more is still kept in touch with.
    pub const LINGER: Duration = LINGER;
}
