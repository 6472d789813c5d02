//! The routing table: the nodes that we know, many near us, few far away.
//!
//! Bounds: 256 rows of 20 nodes, of which a network of n nodes fills about log2 n.

use super::address::{Id, common_bits, distance};
use std::net::SocketAddrV4;

/// How many nodes a row has, and how many are named to whoever asks.
pub const K: usize = 20;

/// A node that we know. Times are numbers of ticks.
#[derive(Clone, Debug)]
pub(crate) struct Contact {
    pub id: Id,
    pub address: SocketAddrV4,
    /// When it came into the table.
    pub added: u32,
    /// When it was last asked or heard.
    pub pinged: u32,
    /// When it last told us our address, if that was counted.
    pub sampled: u32,
    /// Has it been said to be down since it was last heard?
    pub hinted: bool,
    /// Sorts the contacts by when they were heard last.
    pub heard: u64,
}

/// What became of a contact that was to be added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is in the table.
    Yes,
    /// Its row is full.
    Full,
    /// It is ourselves.
    Own,
}

/// Row n has the nodes whose ids share exactly n leading bits with ours.
#[derive(Debug)]
pub(crate) struct Table {
    id: Id,
    rows: Vec<Vec<Contact>>,
    len: usize,
}

impl Table {
    pub(crate) fn new(id: Id) -> Self {
        Self { id, rows: Vec::new(), len: 0 }
    }

    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn row_of(&self, id: &Id) -> usize {
        common_bits(&self.id, id).min(255)
    }

    pub(crate) fn get_mut(&mut self, id: &Id) -> Option<&mut Contact> {
        let row = self.row_of(id);
        self.rows.get_mut(row)?.iter_mut().find(|contact| contact.id == *id)
    }

    pub(crate) fn contains(&self, id: &Id) -> bool {
        self.rows.get(self.row_of(id)).is_some_and(|row| row.iter().any(|contact| contact.id == *id))
    }

    /// Adds a contact that is not in the table.
    pub(crate) fn add(&mut self, contact: Contact) -> Added {
        if contact.id == self.id {
            return Added::Own;
        }
        let row = self.row_of(&contact.id);
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Vec::new);
        }
        if self.rows[row].len() >= K {
            return Added::Full;
        }
        self.rows[row].push(contact);
        self.len += 1;
        Added::Yes
    }

    pub(crate) fn remove(&mut self, id: &Id) -> Option<Contact> {
        let row = self.row_of(id);
        let row = self.rows.get_mut(row)?;
        let at = row.iter().position(|contact| contact.id == *id)?;
        self.len -= 1;
        Some(row.swap_remove(at))
    }

    /// The row that a new contact of that id would be in.
    pub(crate) fn row(&self, id: &Id) -> &[Contact] {
        self.rows.get(self.row_of(id)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.rows.iter().flatten()
    }

    /// The `count` nodes closest to `target`, the closest first.
    pub(crate) fn closest(&self, target: &Id, count: usize) -> Vec<SocketAddrV4> {
        let at = common_bits(&self.id, target);
        let (lower, upper) = self.rows.split_at(at.min(self.rows.len()));
        // Those of row `at` differ from us in the bit in which the target does: they share
        // more with it than we do. Those above share as much as we do, those below less,
        // and the less the lower their row.
        let (same, above) = upper.split_at(upper.len().min(1));
        let groups = [same, above].into_iter().chain(lower.chunks(1).rev());
        let mut found: Vec<(Id, SocketAddrV4)> = Vec::with_capacity(count + K);
        for group in groups {
            if found.len() >= count {
                break;
            }
            let from = found.len();
            let of = |contact: &Contact| (distance(&contact.id, target), contact.address);
            found.extend(group.iter().flatten().map(of));
            found[from..].sort_unstable_by_key(|(distance, _)| *distance);
        }
        found.truncate(count);
        found.into_iter().map(|(_, address)| address).collect()
    }

    /// The `count` contacts that were heard longest ago, the longest first; or, if
    /// `latest`, those heard last, the last first.
    pub(crate) fn by_heard(&self, count: usize, latest: bool) -> Vec<&Contact> {
        let mut all: Vec<_> = self.iter().collect();
        all.sort_unstable_by_key(|contact| if latest { u64::MAX - contact.heard } else { contact.heard });
        all.truncate(count);
        all
    }

    /// Everything, to build another table of it: in the order in which they were heard.
    pub(crate) fn into_contacts(self) -> Vec<Contact> {
        let mut all: Vec<_> = self.rows.into_iter().flatten().collect();
        all.sort_unstable_by_key(|contact| contact.heard);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::address::node_id;
    use super::super::tests::{array, vectors};
    use super::*;
    use proptest::prelude::*;

    fn contact(id: Id, port: u16) -> Contact {
        let address = SocketAddrV4::new([192, 0, 2, 1].into(), port);
        Contact { id, address, added: 0, pinged: 0, sampled: 0, hinted: false, heard: u64::from(port) }
    }

    #[test]
    fn the_closest_are_those_that_npm_finds_in_better_order() {
        let case = &vectors()["table_closest"];
        let mut table = Table::new(array(&case["own_id"]));
        let ids: Vec<Id> = case["ids"].as_array().expect("a list").iter().map(array).collect();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(table.add(contact(*id, at as u16)), Added::Yes);
        }
        let found = table.closest(&array(&case["target"]), 5);
        let mut found: Vec<Id> = found.iter().map(|address| ids[usize::from(address.port())]).collect();
        let mut expected: Vec<Id> = case["closest_5"].as_array().expect("a list").iter().map(array).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
        // To ourselves: as we are 0, the order is that of the ids.
        let found = table.closest(&array(&case["own_id"]), 99);
        let found: Vec<Id> = found.iter().map(|address| ids[usize::from(address.port())]).collect();
        let expected: Vec<Id> = case["to_self_all"].as_array().expect("a list").iter().map(array).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_full_row_takes_no_more() {
        let mut table = Table::new([0; 32]);
        assert_eq!(table.add(contact([0; 32], 1)), Added::Own);
        for number in 0..30 {
            let mut id = [0xff; 32];
            id[31] = number;
            let expected = if number < 20 { Added::Yes } else { Added::Full };
            assert_eq!(table.add(contact(id, 2)), expected);
        }
        assert_eq!((table.len(), table.row(&[0xff; 32]).len()), (20, 20));
        let mut id = [0xff; 32];
        id[31] = 3;
        assert!(table.contains(&id) && table.remove(&id).is_some() && !table.contains(&id));
        assert!(table.remove(&id).is_none() && table.get_mut(&id).is_none());
        assert_eq!(table.add(contact(id, 2)), Added::Yes);
        assert!(table.remove(&[0x11; 32]).is_none());
    }

    proptest! {
        #[test]
        fn closest_are_the_closest(own: [u8; 32], targets: [[u8; 32]; 4], nodes in 0..400u16, count in 0..50usize) {
            let mut table = Table::new(own);
            let mut inside = Vec::new();
            for port in 0..nodes {
                let node = contact(node_id(SocketAddrV4::new([10, 0, 0, 1].into(), port)), port);
                if table.add(node.clone()) == Added::Yes {
                    inside.push(node);
                }
            }
            prop_assert_eq!(table.len(), inside.len());
            for target in targets.into_iter().chain([own]).chain(inside.first().map(|node| node.id)) {
                inside.sort_by_key(|node| distance(&node.id, &target));
                let expected: Vec<_> = inside.iter().take(count).map(|node| node.address).collect();
                prop_assert_eq!(table.closest(&target, count), expected);
            }
        }
    }
}
