//! The cores that a store has, open or not.

use super::Corestore;
use crate::storage::op::{CoreId, Op, Secret};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, DiscoveryKey, Key};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// A core that a store has, as [`Corestore::list`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedCore {
    /// Its key.
    pub key: Key,
    /// What it is announced under.
    pub discovery_key: DiscoveryKey,
    /// May we append?
    pub writable: bool,
    /// The name it was made by, and the namespace that name is in.
    pub name: Option<([u8; 32], Bytes)>,
    /// Blocks.
    pub length: u64,
    /// Bytes.
    pub byte_length: u64,
}

impl Corestore {
    /// The numbers of all cores.
    pub(crate) async fn core_ids(&self) -> Result<Vec<CoreId>, CoreError> {
        self.engine().settle().await?;
        let mut ids = self.engine().stored_cores()?;
        ids.extend(self.engine().pending_cores());
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// All cores that the store has.
    pub async fn list(&self) -> Result<Vec<ListedCore>, CoreError> {
        let ids = self.core_ids().await?;
        let mut listed = Vec::with_capacity(ids.len());
        for id in ids {
            // One by one, so that thousands of them are not all open at once.
            let open = self.inner.registry.lock().cores.get(&id).and_then(Weak::upgrade);
            let (record, head, writable) = match open {
                Some(shared) => {
                    let authority = shared.authority();
                    let head = shared.tail.read().head.clone();
                    (authority.record.clone(), head, authority.can_sign())
                }
                None => match self.engine().load_core(id)? {
                    Some(stored) => {
                        let writable = stored.record.secret != Secret::None;
                        (stored.record, stored.head, writable)
                    }
                    None => continue,
                },
            };
            let key = Key::from(record.key);
            listed.push(ListedCore {
                key,
                discovery_key: key.discovery_key(),
                writable,
                name: match record.secret {
                    Secret::Derived { namespace, name } => Some((namespace, name)),
                    _ => None,
                },
                length: head.length,
                byte_length: head.byte_length,
            });
        }
        Ok(listed)
    }

    /// Forgets a core and gives its space back. Those who have it open see it closed.
    /// `false` if the store does not have it.
    ///
    /// A writable core can be made again by its name; but whoever has seen it then sees
    /// another log under the same key, and will refuse it.
    pub async fn delete(&self, key: &Key) -> Result<bool, CoreError> {
        let Some(core) = self.open_discovery_key(&key.discovery_key())? else { return Ok(false) };
        let shared = core.shared().clone();
        {
            let mut registry = self.inner.registry.lock();
            let _changes = shared.writer.lock();
            if shared.closed.load(Ordering::Acquire) {
                return Ok(false);
            }
            let alias = match &shared.authority().record.secret {
                Secret::Derived { namespace, name } => Some((*namespace, name.clone())),
                _ => None,
            };
            let discovery_key = *core.discovery_key().as_bytes();
            let stamp = shared.commit(self.engine(), vec![Op::Delete { core: shared.id }], None)?;
            self.engine().forget(discovery_key, alias, stamp);
            registry.cores.remove(&shared.id);
            registry.idle.retain(|idle| !Arc::ptr_eq(idle, &shared));
        }
        shared.close();
        self.engine().settle().await?;
        Ok(true)
    }

    /// How many cores are open, used or idle.
    pub fn open_cores(&self) -> usize {
        self.inner.registry.lock().cores.values().filter(|core| core.strong_count() > 0).count()
    }
}
