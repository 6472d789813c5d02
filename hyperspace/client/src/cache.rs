//! Blocks kept in memory, shared by all cores of a client, bounded in bytes.
//!
//! Two queues a shard: a block enters the first, and the second when it is asked
//! for again, so that reading a large file once does not push the index nodes out.
//! Blocks never change while their core's history stands; a core whose history was
//! rewritten gets a new [`CacheId`], under which nothing is found.

use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

/// Whose blocks: a core between two rewritings of its history.
pub(crate) type CacheId = u64;

/// What an entry costs beside its block.
const OVERHEAD: usize = 128;
const SHARDS: usize = 8;
/// The part of a shard that blocks asked for more than once may take, in eighths.
const PROTECTED: usize = 6;

pub(crate) struct BlockCache {
    shards: Box<[Mutex<Shard>]>,
    seed: RandomState,
    capacity: usize,
}

impl BlockCache {
    /// At most about `capacity` bytes; 0 keeps nothing.
    pub fn new(capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::new(Shard::new(capacity / SHARDS))).collect();
        Self { shards, seed: RandomState::new(), capacity }
    }

    /// Its bound in bytes.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        // Runs of 16 blocks share a shard: a batch then takes few locks.
        let hash = self.seed.hash_one((key.0, key.1 >> 4));
        &self.shards[hash as usize % SHARDS]
    }

    /// The block, if it is here.
    pub fn get(&self, core: CacheId, index: u64) -> Option<Bytes> {
        if self.capacity == 0 {
            return None;
        }
        self.shard((core, index)).lock().get((core, index))
    }

    /// Is it here? Does not count as asking for it.
    pub fn contains(&self, core: CacheId, index: u64) -> bool {
        self.shard((core, index)).lock().map.contains_key(&(core, index))
    }

    /// Keeps a block. `ahead`: nobody asked for it yet.
    pub fn insert(&self, core: CacheId, index: u64, block: Bytes, ahead: bool) {
        if block.len() + OVERHEAD <= self.capacity / SHARDS / 4 {
            self.shard((core, index)).lock().insert((core, index), block, ahead);
        }
    }

    /// Forgets a block.
    pub fn remove(&self, core: CacheId, index: u64) {
        self.shard((core, index)).lock().remove((core, index));
    }

    /// Bytes held, the overhead included.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes.iter().sum::<usize>()).sum()
    }
}

type Key = (CacheId, u64);

/// Mixes the two numbers; the shard's choice is already seeded, and the keys are
/// ours (ids from a counter, block indexes), so no stranger can aim at collisions
/// worth their while.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, n: u64) {
        let x = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ (x >> 29);
    }
}

struct Entry {
    key: Key,
    block: Bytes,
    queue: usize,
    ahead: bool,
    before: u32,
    after: u32,
}

const NONE: u32 = u32::MAX;

struct Shard {
    capacity: usize,
    map: HashMap<Key, u32, BuildHasherDefault<Mix>>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// Newest and oldest of each queue, and its bytes.
    newest: [u32; 2],
    oldest: [u32; 2],
    bytes: [usize; 2],
}

impl Shard {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            map: HashMap::default(),
            entries: Vec::new(),
            free: Vec::new(),
            newest: [NONE; 2],
            oldest: [NONE; 2],
            bytes: [0; 2],
        }
    }

    fn unlink(&mut self, at: u32) {
        let Entry { queue, before, after, ref block, .. } = self.entries[at as usize];
        self.bytes[queue] -= block.len() + OVERHEAD;
        match before {
            NONE => self.newest[queue] = after,
            _ => self.entries[before as usize].after = after,
        }
        match after {
            NONE => self.oldest[queue] = before,
            _ => self.entries[after as usize].before = before,
        }
    }

    fn link(&mut self, at: u32, queue: usize) {
        let newest = std::mem::replace(&mut self.newest[queue], at);
        let entry = &mut self.entries[at as usize];
        (entry.queue, entry.before, entry.after) = (queue, NONE, newest);
        self.bytes[queue] += entry.block.len() + OVERHEAD;
        match newest {
            NONE => self.oldest[queue] = at,
            _ => self.entries[newest as usize].before = at,
        }
    }

    fn get(&mut self, key: Key) -> Option<Bytes> {
        let at = *self.map.get(&key)?;
        let entry = &mut self.entries[at as usize];
        let block = entry.block.clone();
        // The first asking for a block read ahead is what it was read for.
        if !std::mem::take(&mut entry.ahead) && self.newest[1] != at {
            self.unlink(at);
            self.link(at, 1);
            while self.bytes[1] > self.capacity / 8 * PROTECTED && self.oldest[1] != at {
                let oldest = self.oldest[1];
                self.unlink(oldest);
                self.link(oldest, 0);
            }
        }
        Some(block)
    }

    fn insert(&mut self, key: Key, block: Bytes, ahead: bool) {
        if self.map.contains_key(&key) {
            return;
        }
        let entry = Entry { key, block, queue: 0, ahead, before: NONE, after: NONE };
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        self.map.insert(key, at);
        self.link(at, 0);
        while self.bytes[0] + self.bytes[1] > self.capacity {
            let oldest = if self.oldest[0] != NONE { self.oldest[0] } else { self.oldest[1] };
            let key = self.entries[oldest as usize].key;
            self.remove(key);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some(at) = self.map.remove(&key) {
            self.unlink(at);
            self.entries[at as usize].block = Bytes::new();
            self.free.push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(index: u64, size: usize) -> Bytes {
        let mut bytes = vec![0; size.max(8)];
        bytes[..8].copy_from_slice(&index.to_le_bytes());
        bytes.into()
    }

    #[test]
    fn a_scan_leaves_what_is_used_again() {
        let cache = BlockCache::new(1 << 20);
        for index in 0..50 {
            cache.insert(1, index, block(index, 100), false);
            assert!(cache.get(1, index).is_some());
        }
        for index in 0..100_000 {
            cache.insert(2, index, block(index, 1000), true);
            cache.get(2, index);
        }
        assert!((0..50).all(|index| cache.get(1, index).is_some()));
        assert!(cache.held() <= cache.capacity());
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let cache = BlockCache::new(0);
        cache.insert(1, 1, block(1, 8), false);
        assert_eq!((cache.get(1, 1), cache.held()), (None, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_wrong_never_too_large(
            ops in prop::collection::vec((0..3u8, 0..3u64, 0..60u64, 0..900usize), 1..400),
        ) {
            let cache = BlockCache::new(64 * 1024);
            let mut removed = std::collections::HashSet::new();
            for (op, core, index, size) in ops {
                let value = block(core << 32 | index, size);
                match op {
                    0 => {
                        cache.insert(core, index, value, size % 2 == 0);
                        removed.remove(&(core, index));
                    }
                    1 => {
                        let got = cache.get(core, index);
                        if let Some(got) = got {
                            prop_assert_eq!(&got[..8], &value[..8]);
                            prop_assert!(!removed.contains(&(core, index)));
                        }
                    }
                    _ => {
                        cache.remove(core, index);
                        removed.insert((core, index));
                    }
                }
                prop_assert!(cache.held() <= cache.capacity());
            }
        }
    }
}
