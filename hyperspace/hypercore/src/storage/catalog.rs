//! What is known about names, keys and settings that the database does not have yet.

use super::op::{CoreId, Op};
use super::tail::{JournalId, Known};
use bytes::Bytes;
use hyperspace_api::Key;
use std::collections::HashMap;
use std::hash::Hash;

/// Newest values, each with the journal it is in.
type Pending<K, V> = HashMap<K, (JournalId, Option<V>)>;

/// The tail of what belongs to no core in particular.
#[derive(Debug, Default)]
pub struct Catalog {
    aliases: Pending<([u8; 32], Bytes), CoreId>,
    cores: Pending<[u8; 32], CoreId>,
    settings: Pending<Bytes, Bytes>,
}

fn known<K: Hash + Eq, V: Clone>(pending: &Pending<K, V>, key: &K) -> Known<V> {
    match pending.get(key) {
        Some((_, Some(value))) => Known::Here(value.clone()),
        Some((_, None)) => Known::Gone,
        None => Known::Ask,
    }
}

impl Catalog {
    /// Makes what was committed visible.
    pub fn apply(&mut self, op: &Op, journal: JournalId) {
        match op {
            Op::Core { core, record } => {
                let discovery_key = *Key::from(record.key).discovery_key().as_bytes();
                self.cores.insert(discovery_key, (journal, Some(*core)));
            }
            Op::Alias { namespace, name, core } => {
                self.aliases.insert((*namespace, name.clone()), (journal, Some(*core)));
            }
            Op::Setting { key, value } => {
                self.settings.insert(key.clone(), (journal, value.clone()));
            }
            _ => {}
        }
    }

    /// Makes a deleted core, and the name it had, unknown.
    pub fn delete(&mut self, discovery_key: [u8; 32], alias: Option<([u8; 32], Bytes)>, journal: JournalId) {
        self.cores.insert(discovery_key, (journal, None));
        if let Some(alias) = alias {
            self.aliases.insert(alias, (journal, None));
        }
    }

    /// The core of a name.
    pub fn alias(&self, namespace: &[u8; 32], name: &Bytes) -> Known<CoreId> {
        known(&self.aliases, &(*namespace, name.clone()))
    }

    /// The core of a discovery key.
    pub fn core(&self, discovery_key: &[u8; 32]) -> Known<CoreId> {
        known(&self.cores, discovery_key)
    }

    /// A setting.
    pub fn setting(&self, key: &Bytes) -> Known<Bytes> {
        known(&self.settings, key)
    }

    /// All cores that are here. For stores without a disk, that is all there are.
    pub fn cores(&self) -> impl Iterator<Item = CoreId> + '_ {
        self.cores.values().filter_map(|(_, core)| *core)
    }

    /// Everything up to `journal` is in the database now.
    pub fn folded(&mut self, journal: JournalId) {
        self.aliases.retain(|_, (newest, _)| *newest > journal);
        self.cores.retain(|_, (newest, _)| *newest > journal);
        self.settings.retain(|_, (newest, _)| *newest > journal);
        // Thousands of cores may have been opened at once; that memory need not stay.
        self.aliases.shrink_to(64);
        self.cores.shrink_to(64);
    }
}
