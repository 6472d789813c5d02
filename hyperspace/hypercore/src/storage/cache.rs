//! What was read from the database lately, core by core, within one budget for all.
//!
//! Extents with their bytes (small blocks) or only their tables (blocks in segments), and
//! pages of tree nodes. Each core has its own maps, so that a neighbour of what was read
//! is found without a query; a queue over all cores decides what has to go, giving what
//! was used since it was queued a second chance.

use super::extent::{Extent, Place};
use super::nodes::{NodePage, PageKey};
use super::tail::Stale;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

/// An extent as it was read.
#[derive(Debug)]
pub struct Cached {
    /// The extent.
    pub extent: Extent,
    /// A bit for each block whose bytes here fail their check.
    pub bad: u128,
    /// The block read last, for telling a walk from a jump.
    last: AtomicU64,
}

impl Cached {
    /// An extent of which block `index` was wanted.
    pub fn new(extent: Extent, bad: u128, index: u64) -> Self {
        Self { extent, bad, last: AtomicU64::new(index) }
    }

    /// Notes that block `index` is wanted. Is it the one after the one before?
    pub fn is_walk(&self, index: u64) -> bool {
        self.last.swap(index, Ordering::Relaxed).checked_add(1) == Some(index)
    }
}

#[derive(Debug)]
struct Slot<T> {
    value: Arc<T>,
    used: AtomicBool,
    weight: usize,
}

impl<T> Slot<T> {
    fn touch(&self) -> Arc<T> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        self.value.clone()
    }
}

#[derive(Debug, Default)]
struct Maps {
    /// Goes up whenever what is in the database has changed its meaning.
    generation: u64,
    extents: BTreeMap<u64, Slot<Cached>>,
    pages: HashMap<PageKey, Slot<NodePage>>,
    bytes: usize,
}

/// What is cached of one core.
#[derive(Debug)]
pub struct CoreCache {
    maps: Mutex<Maps>,
    /// Bytes of all caches of the store.
    total: Arc<AtomicUsize>,
}

/// A find, or what to give to `put_…` with the value once it is read.
pub enum Lookup<T> {
    /// It is cached. What is read by way of it is not stale while this number stands.
    Hit(Arc<T>, u64),
    /// It is not; nothing that is read from now on is stale while this number stands.
    Miss(u64),
}

#[derive(Clone, Copy, Debug)]
enum What {
    Extent(u64),
    Page(PageKey),
}

impl CoreCache {
    /// An empty cache that counts towards `budget`.
    pub fn new(budget: &Budget) -> Arc<Self> {
        Arc::new(Self { maps: Mutex::default(), total: budget.total.clone() })
    }

    /// The extent that has block `index`.
    pub fn extent(&self, index: u64) -> Lookup<Cached> {
        let maps = self.maps.lock();
        match maps.extents.range(..=index).next_back() {
            Some((_, slot)) if slot.value.extent.range().contains(&index) => {
                Lookup::Hit(slot.touch(), maps.generation)
            }
            _ => Lookup::Miss(maps.generation),
        }
    }

    /// A page of nodes.
    pub fn page(&self, key: PageKey) -> Lookup<NodePage> {
        let maps = self.maps.lock();
        match maps.pages.get(&key) {
            Some(slot) => Lookup::Hit(slot.touch(), maps.generation),
            None => Lookup::Miss(maps.generation),
        }
    }

    /// What the database has is something else now.
    pub fn invalidate(&self, stale: &Stale) {
        let mut maps = self.maps.lock();
        maps.generation += 1;
        if stale.everything {
            maps.extents.clear();
            maps.pages.clear();
            self.shrink(&mut maps, usize::MAX);
        } else if !maps.pages.is_empty() {
            let freed =
                stale.pages.iter().filter_map(|key| maps.pages.remove(key)).map(|slot| slot.weight).sum();
            self.shrink(&mut maps, freed);
        }
    }

    /// Forgets the extent that has block `index`: where it says the bytes are, they are not.
    pub fn forget_extent(&self, index: u64) {
        let mut maps = self.maps.lock();
        let Some((first, _)) = maps.extents.range(..=index).next_back() else { return };
        let first = *first;
        let freed = maps.extents.remove(&first).map_or(0, |slot| slot.weight);
        self.shrink(&mut maps, freed);
    }

    fn shrink(&self, maps: &mut Maps, bytes: usize) {
        let bytes = bytes.min(maps.bytes);
        maps.bytes -= bytes;
        self.total.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Takes a victim out, unless it was used lately and `force` is off. `false`: it stays.
    fn evict(&self, what: What, force: bool) -> bool {
        let mut maps = self.maps.lock();
        let used = match what {
            What::Extent(first) => maps.extents.get(&first).map(|slot| &slot.used),
            What::Page(key) => maps.pages.get(&key).map(|slot| &slot.used),
        };
        if used.is_some_and(|used| used.swap(false, Ordering::Relaxed)) && !force {
            return false;
        }
        let freed = match what {
            What::Extent(first) => maps.extents.remove(&first).map(|slot| slot.weight),
            What::Page(key) => maps.pages.remove(&key).map(|slot| slot.weight),
        };
        self.shrink(&mut maps, freed.unwrap_or(0));
        true
    }
}

impl Drop for CoreCache {
    fn drop(&mut self) {
        self.total.fetch_sub(self.maps.get_mut().bytes, Ordering::Relaxed);
    }
}

/// What all caches of a store may take together.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    total: Arc<AtomicUsize>,
    /// Everything cached, oldest first; and what once was.
    order: Mutex<VecDeque<(Weak<CoreCache>, What)>>,
}

/// Entries of the queue for each KiB of the budget.
const ENTRIES_PER_KIB: usize = 2;

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, total: Arc::default(), order: Mutex::default() }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Caches an extent that was read while `generation` stood.
    pub fn put_extent(&self, cache: &Arc<CoreCache>, cached: Cached, generation: u64) -> Arc<Cached> {
        let table = cached.extent.count() * 8 + 160;
        let weight = match cached.extent.place() {
            Place::Inline(data) => table + data.len(),
            Place::Segment { .. } => table,
        };
        let first = cached.extent.first();
        let value = Arc::new(cached);
        let slot = Slot { value: value.clone(), used: AtomicBool::new(false), weight };
        self.put(cache, What::Extent(first), weight, generation, |maps| {
            maps.extents.insert(first, slot).map(|slot| slot.weight)
        });
        value
    }

    /// Caches a page that was read while `generation` stood.
    pub fn put_page(
        &self,
        cache: &Arc<CoreCache>,
        key: PageKey,
        page: NodePage,
        generation: u64,
    ) -> Arc<NodePage> {
        let weight = page.weight() + 100;
        let value = Arc::new(page);
        let slot = Slot { value: value.clone(), used: AtomicBool::new(false), weight };
        self.put(cache, What::Page(key), weight, generation, |maps| {
            maps.pages.insert(key, slot).map(|slot| slot.weight)
        });
        value
    }

    fn put(
        &self,
        cache: &Arc<CoreCache>,
        what: What,
        weight: usize,
        generation: u64,
        insert: impl FnOnce(&mut Maps) -> Option<usize>,
    ) {
        let mut maps = cache.maps.lock();
        if maps.generation != generation {
            return;
        }
        let replaced = insert(&mut maps);
        cache.shrink(&mut maps, replaced.unwrap_or(0));
        maps.bytes += weight;
        drop(maps);
        self.total.fetch_add(weight, Ordering::Relaxed);
        let mut order = self.order.lock();
        if replaced.is_none() {
            order.push_back((Arc::downgrade(cache), what));
        }
        let mut chances = order.len();
        while self.bytes() > self.limit || order.len() > self.limit / 1024 * ENTRIES_PER_KIB {
            let Some((cache, what)) = order.pop_front() else { break };
            // The cache of a core that was closed is gone already.
            let Some(alive) = cache.upgrade() else { continue };
            if !alive.evict(what, chances == 0) {
                chances -= 1;
                order.push_back((cache, what));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::extent::{concat, split};
    use bytes::Bytes;

    fn extent(first: u64, size: usize) -> Cached {
        let place = |blocks: &[Bytes], _| Place::Inline(concat(blocks));
        Cached::new(split(first, &[Bytes::from(vec![1; size])], place).remove(0), 0, first)
    }

    fn hit<T>(lookup: Lookup<T>) -> bool {
        matches!(lookup, Lookup::Hit(..))
    }

    #[test]
    fn stays_within_its_budget_and_keeps_what_is_used() {
        let budget = Budget::new(64 * 1024);
        let cache = CoreCache::new(&budget);
        budget.put_extent(&cache, extent(1000, 1000), 0);
        for index in 0..500 {
            budget.put_extent(&cache, extent(index, 1000), 0);
            assert!(budget.bytes() <= 64 * 1024);
            assert!(hit(cache.extent(1000)), "used all the time");
        }
        assert!(!hit(cache.extent(0)) && hit(cache.extent(499)));
        drop(cache);
        assert_eq!(budget.bytes(), 0);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let budget = Budget::new(64 * 1024);
        let cache = CoreCache::new(&budget);
        let Lookup::Miss(generation) = cache.extent(3) else { panic!("empty") };
        cache.invalidate(&Stale::default());
        budget.put_extent(&cache, extent(3, 10), generation);
        assert!(!hit(cache.extent(3)));
        budget.put_extent(&cache, extent(3, 10), generation + 1);
        assert!(hit(cache.extent(3)));
        cache.invalidate(&Stale { everything: true, pages: Vec::new() });
        assert!(!hit(cache.extent(3)));
        assert_eq!(budget.bytes(), 0);
    }
}
