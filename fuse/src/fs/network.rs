//! `Network/<key>[+<version>]`: any drive, by its key, to be read.
//!
//! Nothing of this is stored. A name is 64 hex digits or 52 letters of z-base-32, and
//! may be followed by `+` and a version (what a second `+` brings is ignored, as the
//! original did); no other name exists. A listing shows the last [`RECENT`] visited.

use super::inodes::Base;
use super::types::{Attr, Entry, Kind, ROOT};
use super::{Filesystem, NETWORK};
use crate::errno::Errno;
use hyperspace_api::{Corestore, Key};
use std::collections::VecDeque;

/// Drives that a listing of `Network` remembers.
const RECENT: usize = 17;

/// The drives visited last, by name, the newest at the end.
pub(super) struct Recent<D>(VecDeque<(String, D)>);

impl<D> Default for Recent<D> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<D: Clone> Recent<D> {
    fn visit(&mut self, name: &str, drive: D) {
        self.0.retain(|(old, _)| old != name);
        self.0.push_back((name.to_owned(), drive));
        if self.0.len() > RECENT {
            self.0.pop_front();
        }
    }

    pub(super) fn visited(&self) -> impl Iterator<Item = (String, D)> {
        self.0.iter().cloned()
    }

    pub(super) fn drive(&self, name: &str) -> Option<D> {
        self.0.iter().find(|(visited, _)| visited == name).map(|(_, drive)| drive.clone())
    }
}

/// Key and version of a name, if it is one.
fn parse(name: &str) -> Option<(Key, Option<u64>)> {
    let mut parts = name.split('+');
    let key = parts.next().filter(|key| matches!(key.len(), 52 | 64))?.parse().ok()?;
    let version = match parts.next() {
        None => None,
        Some(version) if version.bytes().all(|digit| digit.is_ascii_digit()) => Some(version.parse().ok()?),
        Some(_) => return None,
    };
    Some((key, version))
}

impl<S: Corestore> Filesystem<S> {
    pub(super) fn enter_network(&self) -> Result<Entry, Errno> {
        let mut inodes = self.inodes.lock();
        let (ino, node) = inodes.enter(ROOT, NETWORK, Kind::Dir, Base::Network).ok_or(Errno::ESTALE)?;
        let generation = node.generation;
        Ok(Entry { attr: self.network_attr(ino), generation })
    }

    pub(super) async fn enter_network_drive(&self, name: &str) -> Result<Entry, Errno> {
        let (key, version) = parse(name).ok_or(Errno::ENOENT)?;
        let drive = self.in_time(self.drives.open(key, version)).await?;
        let stat = self.in_time(drive.stat("/")).await?;
        let (ino, generation) = {
            let mut inodes = self.inodes.lock();
            let parent = inodes.child(ROOT, NETWORK).ok_or(Errno::ESTALE)?;
            let base = Base::Drive(drive.clone());
            let (ino, node) = inodes.enter(parent, name, Kind::Dir, base).ok_or(Errno::ESTALE)?;
            (ino, node.generation)
        };
        self.show(&drive, ino);
        self.network.lock().visit(name, drive);
        Ok(Entry { attr: self.attr_of(ino, &stat, false), generation })
    }

    pub(super) fn network_attr(&self, ino: u64) -> Attr {
        let (uid, gid) = (self.options.uid, self.options.gid);
        let (mtime, ctime) = (self.started, self.started);
        Attr { ino, kind: Kind::Dir, perm: 0o555, nlink: 2, uid, gid, size: 4096, mtime, ctime }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names() {
        let key = Key::from([7; 32]);
        let (hex, z32) = (key.to_string(), key.to_z32());
        assert_eq!(parse(&hex), Some((key, None)));
        assert_eq!(parse(&z32), Some((key, None)));
        assert_eq!(parse(&format!("{hex}+12")), Some((key, Some(12))));
        assert_eq!(parse(&format!("{hex}+12+aabb")), Some((key, Some(12))));
        for name in [".git", "x", &hex[1..], &format!("{hex}+"), &format!("{hex}+x"), &format!("{hex}+-1")] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn remembers_the_last_few() {
        let mut recent = Recent::default();
        (0..40).for_each(|i| recent.visit(&i.to_string(), i));
        recent.visit("30", 30);
        assert_eq!(recent.0.len(), RECENT);
        assert_eq!(recent.0.front().map(|(name, _)| name.as_str()), Some("23"));
        assert_eq!(recent.0.back().map(|(name, _)| name.as_str()), Some("30"));
    }

    proptest! {
        #[test]
        fn any_name_is_a_drive_or_not(name in "\\PC*") {
            let _ = parse(&name);
        }
    }
}
