//! The cores that are open.

use crate::core::shared::CoreShared;
use crate::storage::op::CoreId;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// The cores that are open.
#[derive(Default)]
pub(super) struct Registry {
    pub(super) cores: HashMap<CoreId, Weak<CoreShared>>,
    /// Cores that stay open for a while, though nobody may use them; longest first.
    pub(super) idle: VecDeque<Arc<CoreShared>>,
    /// Size of `cores` at which those that are gone are swept out.
    sweep_at: usize,
}

impl Registry {
    /// Remembers that a core was used, and lets go of what was not for long.
    pub(super) fn keep(&mut self, core: &Arc<CoreShared>, limit: usize) {
        core.used.store(true, Ordering::Relaxed);
        if !core.listed.swap(true, Ordering::Relaxed) {
            self.idle.push_back(core.clone());
        }
        while self.idle.len() > limit {
            let Some(core) = self.idle.pop_front() else { break };
            if core.used.swap(false, Ordering::Relaxed) {
                self.idle.push_back(core);
            } else {
                core.listed.store(false, Ordering::Relaxed);
            }
        }
        if self.cores.len() >= self.sweep_at {
            self.cores.retain(|_, core| core.strong_count() > 0);
            self.sweep_at = 2 * self.cores.len() + 64;
        }
    }
}
