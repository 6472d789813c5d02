//! Putting commits into the database.
//!
//! A [`Fold`] is one database transaction. It gathers what many commits add to a core (so
//! that a thousand appends of one block become a few rows) and does at once what takes
//! something away. The same code runs behind a working store and after a crash: what ends up
//! in the database depends on the commits and on nothing else.

use super::bitfield::Bitfield;
use super::db::{core_body, load_core, load_page, low_of, meta, page_id, row_id, user_row, write_extent};
use super::engine::StoredCore;
use super::error::StoreError;
use super::extent::{Extent, Joiner, Place};
use super::nodes::{LEVELS, NodePage, PageKey};
use super::op::{CoreId, CoreRecord, Head, MAX_LENGTH, Op};
use super::seal::seal;
use super::tail::JournalId;
use crate::merkle::Node;
use hyperspace_api::Key;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// A transaction in the making.
pub struct Fold<'a> {
    db: &'a Connection,
    cores: HashMap<CoreId, CoreFold>,
    next_core: i64,
}

/// What is to be written of a core.
struct CoreFold {
    stored: StoredCore,
    changed: bool,
    extents: BTreeMap<u64, Extent>,
    pages: HashMap<PageKey, NodePage>,
}

fn sql() -> impl FnOnce(rusqlite::Error) -> StoreError {
    StoreError::sql("writing the database")
}

impl<'a> Fold<'a> {
    /// Begins a transaction.
    pub fn begin(db: &'a Connection) -> Result<Self, StoreError> {
        let next_core = meta(db, "next_core")?;
        db.execute_batch("BEGIN IMMEDIATE").map_err(sql())?;
        Ok(Self { db, cores: HashMap::new(), next_core })
    }

    /// Ends it: everything up to `journal` is in the database, and on the disk, when this
    /// returns.
    pub fn commit(mut self, journal: JournalId) -> Result<(), StoreError> {
        for (id, core) in std::mem::take(&mut self.cores) {
            self.write_core(id, core)?;
        }
        self.set_meta("folded", journal as i64)?;
        self.set_meta("next_core", self.next_core)?;
        self.db.execute_batch("COMMIT").map_err(sql())
    }

    fn set_meta(&self, key: &str, value: i64) -> Result<(), StoreError> {
        self.run("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", params![key, value])
    }

    fn run(&self, statement: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.db.prepare_cached(statement).and_then(|mut done| done.execute(values)).map(drop).map_err(sql())
    }

    /// Adds a step of a commit.
    pub fn apply(&mut self, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Core { core, record } => self.put_record(*core, record)?,
            Op::Alias { namespace, name, core } => self.run(
                "INSERT OR REPLACE INTO aliases (namespace, name, core) VALUES (?, ?, ?)",
                params![&namespace[..], &name[..], *core as i64],
            )?,
            Op::Head { core, head } => {
                if let Some(core) = self.core(*core)? {
                    core.stored.head = head.clone();
                    core.changed = true;
                }
            }
            Op::Nodes { core, nodes } => {
                if let Some(core) = self.core(*core)? {
                    core.insert_nodes(nodes);
                }
            }
            Op::Extent { core, extent } => self.put_extent(*core, extent)?,
            Op::Clear { core, start, end } => self.clear(*core, *start..*end)?,
            Op::Truncate { core, length } => self.truncate(*core, *length)?,
            Op::Delete { core } => self.delete(*core)?,
            Op::UserData { core, key, value } => match value {
                Some(value) => self.run(
                    "INSERT OR REPLACE INTO user_data (core, key, body) VALUES (?, ?, ?)",
                    params![*core as i64, &key[..], seal(user_row(*core, key), value.to_vec())],
                )?,
                None => self.run(
                    "DELETE FROM user_data WHERE core = ? AND key = ?",
                    params![*core as i64, &key[..]],
                )?,
            },
            Op::Setting { key, value } => match value {
                Some(value) => self.run(
                    "INSERT OR REPLACE INTO settings (key, body) VALUES (?, ?)",
                    params![&key[..], seal(key, value.to_vec())],
                )?,
                None => self.run("DELETE FROM settings WHERE key = ?", params![&key[..]])?,
            },
            Op::Flushed => {}
        }
        Ok(())
    }

    /// The core, loaded on first use; `None` if it was deleted, or its row is damaged beyond
    /// reading (which is reported: the other cores must go on).
    fn core(&mut self, id: CoreId) -> Result<Option<&mut CoreFold>, StoreError> {
        if !self.cores.contains_key(&id) {
            let stored = match load_core(self.db, id) {
                Ok(Some(stored)) => stored,
                Ok(None) => return Ok(None),
                Err(StoreError::Damaged(what)) => {
                    tracing::error!(core = id, "cannot write to a damaged core: {what}");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            self.cores.insert(id, CoreFold::new(stored));
        }
        Ok(self.cores.get_mut(&id))
    }

    fn put_record(&mut self, id: CoreId, record: &CoreRecord) -> Result<(), StoreError> {
        self.next_core = self.next_core.max(id as i64 + 1);
        if let Some(core) = self.core(id)? {
            core.stored.record = record.clone();
            core.changed = true;
            return Ok(());
        }
        let stored = StoredCore { record: record.clone(), head: Head::default(), held: Bitfield::default() };
        // Written at once, so that an index over keys finds what the same journal deletes.
        self.write_row(id, &stored)?;
        self.cores.insert(id, CoreFold::new(stored));
        Ok(())
    }

    fn put_extent(&mut self, id: CoreId, extent: &Extent) -> Result<(), StoreError> {
        let Some(core) = self.core(id)? else { return Ok(()) };
        // A block that was damaged may come in anew.
        if core.stored.held.find(extent.range(), true).is_some() {
            self.drop_extents(id, extent.range())?;
        }
        if let Some(core) = self.core(id)? {
            core.stored.held.set(extent.range());
            core.changed = true;
            core.extents.insert(extent.first(), extent.clone());
        }
        Ok(())
    }

    fn clear(&mut self, id: CoreId, blocks: Range<u64>) -> Result<(), StoreError> {
        self.drop_extents(id, blocks.clone())?;
        if let Some(core) = self.core(id)? {
            core.stored.held.clear(blocks);
            core.changed = true;
        }
        Ok(())
    }

    fn truncate(&mut self, id: CoreId, length: u64) -> Result<(), StoreError> {
        self.drop_extents(id, length..MAX_LENGTH)?;
        let Some(core) = self.core(id)? else { return Ok(()) };
        core.stored.held.truncate(length);
        core.changed = true;
        core.pages.retain(|key, page| {
            page.truncate(*key, length);
            !page.is_empty()
        });
        for level in 0..LEVELS {
            let key = PageKey::boundary(level, length);
            let end = if level + 1 < LEVELS {
                page_id(id, PageKey { level: level + 1, page: 0 })
            } else {
                row_id(id + 1, 0)
            };
            self.run("DELETE FROM nodes WHERE id > ? AND id < ?", params![page_id(id, key), end])?;
            match load_page(self.db, id, key) {
                Ok(Some(mut page)) => {
                    page.truncate(key, length);
                    self.write_page(id, key, &page)?;
                }
                Ok(None) => {}
                Err(StoreError::Damaged(what)) => tracing::error!(core = id, "{what}"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn delete(&mut self, id: CoreId) -> Result<(), StoreError> {
        self.drop_extents(id, 0..MAX_LENGTH)?;
        self.cores.remove(&id);
        let range = params![row_id(id, 0), row_id(id + 1, 0)];
        self.run("DELETE FROM nodes WHERE id >= ? AND id < ?", range)?;
        self.run("DELETE FROM held WHERE id >= ? AND id < ?", range)?;
        let id = [id as i64];
        self.run("DELETE FROM user_data WHERE core = ?", id)?;
        self.run("DELETE FROM aliases WHERE core = ?", id)?;
        self.run("DELETE FROM cores WHERE id = ?", id)
    }

    /// Notes that a range of a segment is no longer needed.
    fn free(&self, extent: &Extent) -> Result<(), StoreError> {
        match extent.place() {
            Place::Inline(_) => Ok(()),
            Place::Segment { id, offset } => self.run(
                "INSERT INTO freed (segment, offset, size) VALUES (?, ?, ?)",
                params![id, *offset as i64, extent.size() as i64],
            ),
        }
    }

    /// Drops blocks, those that are yet to be written and those that are.
    fn drop_extents(&mut self, id: CoreId, blocks: Range<u64>) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        if let Some(core) = self.core(id)? {
            core.drop_pending(&blocks, &mut gone);
        }
        gone.iter().try_for_each(|extent| self.free(extent))?;
        if blocks.is_empty() {
            return Ok(());
        }
        // The extents at either end may reach beyond.
        for edge in [blocks.start, blocks.end - 1] {
            if let Some(extent) = self.stored_extent(id, edge)?
                && (extent.first() < blocks.start || extent.end() > blocks.end)
            {
                self.run("DELETE FROM extents WHERE id = ?", [row_id(id, extent.first())])?;
                for part in extent.without(blocks.clone()).into_iter().flatten() {
                    self.write_extent(id, &part)?;
                }
                extent.slice(blocks.clone()).map_or(Ok(()), |part| self.free(&part))?;
            }
        }
        let range = params![row_id(id, blocks.start), row_id(id, blocks.end)];
        self.run(
            "INSERT INTO freed (segment, offset, size) SELECT segment, offset, size FROM extents
             WHERE id >= ? AND id < ? AND segment IS NOT NULL",
            range,
        )?;
        self.run("DELETE FROM extents WHERE id >= ? AND id < ?", range)
    }

    /// The row with a block. One that is damaged is as good as none, and is removed.
    fn stored_extent(&self, id: CoreId, index: u64) -> Result<Option<Extent>, StoreError> {
        match super::db::load_extent(self.db, id, index) {
            Err(StoreError::Damaged(what)) => {
                tracing::error!(core = id, index, "{what}");
                let row: Option<i64> = self
                    .db
                    .query_row(
                        "SELECT id FROM extents WHERE id <= ? AND id >= ? ORDER BY id DESC LIMIT 1",
                        params![row_id(id, index), row_id(id, 0)],
                        |row| row.get(0),
                    )
                    .optional()
                    .map_err(sql())?;
                row.map_or(Ok(()), |row| self.run("DELETE FROM extents WHERE id = ?", [row]))?;
                Ok(None)
            }
            other => other,
        }
    }

    fn write_core(&self, id: CoreId, mut core: CoreFold) -> Result<(), StoreError> {
        let mut joiner = Joiner::default();
        for extent in core.extents.into_values() {
            joiner.push(extent).map_or(Ok(()), |done| self.write_extent(id, &done))?;
        }
        joiner.finish().map_or(Ok(()), |done| self.write_extent(id, &done))?;
        for (key, newer) in core.pages {
            let mut page = match load_page(self.db, id, key) {
                Ok(page) => page.unwrap_or_default(),
                Err(StoreError::Damaged(what)) => {
                    tracing::error!(core = id, "{what}");
                    NodePage::default()
                }
                Err(error) => return Err(error),
            };
            page.merge(key, &newer);
            self.write_page(id, key, &page)?;
        }
        for (page, body) in core.stored.held.take_changes() {
            let row = row_id(id, page);
            match body {
                Some(body) => self.run(
                    "INSERT OR REPLACE INTO held (id, body) VALUES (?, ?)",
                    params![row, seal(row.to_le_bytes(), body)],
                )?,
                None => self.run("DELETE FROM held WHERE id = ?", [row])?,
            }
        }
        if core.changed { self.write_row(id, &core.stored) } else { Ok(()) }
    }

    fn write_row(&self, id: CoreId, stored: &StoredCore) -> Result<(), StoreError> {
        let discovery_key = Key::from(stored.record.key).discovery_key();
        self.run(
            "INSERT INTO cores (id, discovery, body) VALUES (?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            params![id as i64, &discovery_key.as_bytes()[..], core_body(id, stored)],
        )
    }

    fn write_extent(&self, id: CoreId, extent: &Extent) -> Result<(), StoreError> {
        write_extent(self.db, id, extent)
    }

    fn write_page(&self, id: CoreId, key: PageKey, page: &NodePage) -> Result<(), StoreError> {
        let row = page_id(id, key);
        if page.is_empty() {
            return self.run("DELETE FROM nodes WHERE id = ?", [row]);
        }
        debug_assert_eq!(low_of(row), u64::from(key.level) << 37 | key.page);
        self.run(
            "INSERT OR REPLACE INTO nodes (id, body) VALUES (?, ?)",
            params![row, seal(row.to_le_bytes(), page.encode())],
        )
    }
}

impl CoreFold {
    fn new(stored: StoredCore) -> Self {
        Self { stored, changed: false, extents: BTreeMap::new(), pages: HashMap::new() }
    }

    fn insert_nodes(&mut self, nodes: &[Node]) {
        for (key, run) in PageKey::runs(nodes) {
            let page = self.pages.entry(key).or_default();
            run.iter().for_each(|node| page.insert(PageKey::of(node.index).1, node));
        }
    }

    /// Takes blocks out of what is yet to be written; what was taken goes to `gone`.
    fn drop_pending(&mut self, blocks: &Range<u64>, gone: &mut Vec<Extent>) {
        let before = self.extents.range(..blocks.start).next_back().map(|(first, _)| *first);
        let inside = self.extents.range(blocks.clone()).map(|(first, _)| *first);
        let hit: Vec<u64> = before.into_iter().chain(inside).collect();
        for first in hit {
            let Some(extent) = self.extents.remove(&first) else { continue };
            gone.extend(extent.slice(blocks.clone()));
            for part in extent.without(blocks.clone()).into_iter().flatten() {
                self.extents.insert(part.first(), part);
            }
        }
    }
}
