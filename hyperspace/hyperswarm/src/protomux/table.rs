//! Which channels there are: by our numbers, by the other side's, and by what they are for.

use bytes::Bytes;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// What a channel is for: both sides open the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) protocol: Box<str>,
    /// Empty for none.
    pub(super) id: Box<[u8]>,
}

impl Key {
    pub(super) fn new(protocol: &str, id: &[u8]) -> Self {
        Self { protocol: protocol.into(), id: id.into() }
    }
}

/// One of our channels, for as long as it is open. Its number may be used again later, but
/// that is another id then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId {
    pub(super) index: u32,
    generation: u32,
}

impl ChannelId {
    /// The number by which it is known on the wire.
    pub(super) fn number(self) -> u64 {
        u64::from(self.index) + 1
    }
}

#[derive(Debug)]
pub(super) struct Slot {
    generation: u32,
    pub(super) state: Local,
}

/// One of our numbers.
#[derive(Debug)]
pub(super) enum Local {
    Free,
    /// We have opened it, the other side has not.
    Waiting(Arc<Key>),
    /// Both have.
    Open {
        key: Arc<Key>,
        remote: u32,
    },
    /// We have closed it before the other side answered; until it does, the number cannot
    /// be used again.
    Leaving(Arc<Key>),
}

/// One of the other side's numbers.
#[derive(Debug)]
pub(super) enum Remote {
    /// Not in use; or the other side still uses it for a channel that we have closed.
    Free,
    /// The other side has opened it, we have not.
    Pending(Box<Pending>),
    Open {
        local: ChannelId,
    },
}

/// What came for a channel that we have not opened yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) key: Arc<Key>,
    pub(super) handshake: Bytes,
    pub(super) messages: Vec<(u32, Bytes)>,
    /// What it counts for in the backlog.
    pub(super) cost: usize,
}

/// What there is for one key.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Ours, waiting or open.
    pub(super) local: Option<u32>,
    /// Ours that we have closed too early, oldest first.
    pub(super) leaving: VecDeque<u32>,
    /// The other side's that we have not opened, oldest first.
    pub(super) pending: VecDeque<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    locals: Vec<Slot>,
    free: Vec<u32>,
    pub(super) remotes: Vec<Remote>,
    keys: HashMap<Arc<Key>, Uses>,
    /// What the owner wants to be asked about.
    pub(super) paired: HashSet<Key>,
    /// Other names of protocols.
    pub(super) aliases: HashMap<Box<str>, Box<str>>,
}

impl Table {
    /// How many of our numbers are in use.
    pub(super) fn used(&self) -> usize {
        self.locals.len() - self.free.len()
    }

    /// Takes a number of ours: the one that became free last.
    pub(super) fn take(&mut self, state: Local) -> ChannelId {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.locals.push(Slot { generation: 0, state: Local::Free });
                (self.locals.len() - 1) as u32
            }
        };
        let slot = &mut self.locals[index as usize];
        slot.state = state;
        ChannelId { index, generation: slot.generation }
    }

    /// Ends a channel of ours: its id is no more valid.
    pub(super) fn retire(&mut self, index: u32, state: Local) -> Local {
        let Some(slot) = self.locals.get_mut(index as usize) else {
            return Local::Free;
        };
        if !matches!(slot.state, Local::Leaving(_)) {
            slot.generation = slot.generation.wrapping_add(1);
        }
        if matches!(state, Local::Free) && !matches!(slot.state, Local::Free) {
            self.free.push(index);
        }
        std::mem::replace(&mut slot.state, state)
    }

    /// The state of a channel of ours, unless it was closed.
    pub(super) fn local(&self, channel: ChannelId) -> Option<&Local> {
        self.locals
            .get(channel.index as usize)
            .filter(|slot| slot.generation == channel.generation)
            .map(|slot| &slot.state)
            .filter(|state| matches!(state, Local::Waiting(_) | Local::Open { .. }))
    }

    /// The same by its number alone, in whatever state.
    pub(super) fn numbered(&self, number: u64) -> Option<(ChannelId, &Local)> {
        let index = u32::try_from(number.checked_sub(1)?).ok()?;
        let slot = self.locals.get(index as usize)?;
        Some((ChannelId { index, generation: slot.generation }, &slot.state))
    }

    pub(super) fn local_mut(&mut self, index: u32) -> Option<&mut Local> {
        self.locals.get_mut(index as usize).map(|slot| &mut slot.state)
    }

    pub(super) fn id_of(&self, index: u32) -> Option<ChannelId> {
        self.locals.get(index as usize).map(|slot| ChannelId { index, generation: slot.generation })
    }

    /// One of the other side's numbers, if it was ever used.
    pub(super) fn remote(&mut self, number: u64) -> Option<&mut Remote> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.remotes.get_mut(index)
    }

    /// The shared form of a key, with what there is for it.
    pub(super) fn uses(&mut self, key: Key) -> (Arc<Key>, &mut Uses) {
        let key = match self.keys.get_key_value(&key) {
            Some((shared, _)) => Arc::clone(shared),
            None => Arc::new(key),
        };
        let uses = self.keys.entry(Arc::clone(&key)).or_default();
        (key, uses)
    }

    /// Changes what there is for a key, and forgets it when nothing is left.
    pub(super) fn change<T>(&mut self, key: &Key, change: impl FnOnce(&mut Uses) -> T) -> Option<T> {
        let uses = self.keys.get_mut(key)?;
        let changed = change(uses);
        if uses.local.is_none() && uses.leaving.is_empty() && uses.pending.is_empty() {
            self.keys.remove(key);
        }
        Some(changed)
    }

    /// The protocol that a name stands for.
    pub(super) fn resolve<'a>(&'a self, name: &'a str) -> &'a str {
        self.aliases.get(name).map_or(name, |primary| primary)
    }

    /// Does the owner want to be asked about this one?
    pub(super) fn is_paired(&self, key: &Key) -> bool {
        self.paired.contains(key)
            || (!key.id.is_empty() && self.paired.contains(&Key::new(&key.protocol, &[])))
    }
}
