//! The inode table: which numbers the kernel knows, and where they lie in the drives.
//!
//! A node knows its parent and its name, never its path: renaming a directory is
//! one relinking, however much is known beneath it. A node lives as long as the
//! kernel holds it (lookups), it is open, it has unsaved content, or a known child
//! needs it for its path. A node whose name was taken away stays as an *orphan*.
//!
//! Numbers are hashes of parent and name: the same file has the same number after a
//! remount, which programs that remember inode numbers (git's index) like.

use super::open_file::OpenFile;
use hyperdrive::{Drive, Stat};
use hyperspace_api::Corestore;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::types::{Kind, ROOT};

/// Where a node lies.
pub(crate) enum Place<S: Corestore> {
    /// A path of a drive; `network` if it is reached through `Network/`.
    Drive { drive: Drive<S>, path: String, network: bool },
    /// The virtual directory of drives.
    Network,
}

/// What a node is, besides a name in its parent.
pub(crate) enum Base<S: Corestore> {
    /// A name in the drive of its parent.
    Inside,
    /// The root of a drive: the mount's, or one below `Network`.
    Drive(Drive<S>),
    /// `Network` itself.
    Network,
}

pub(crate) struct Node<S: Corestore> {
    parent: u64,
    name: Arc<str>,
    children: HashMap<Arc<str>, u64>,
    base: Base<S>,
    pub(crate) kind: Kind,
    pub(crate) generation: u64,
    /// How often the kernel was told of it, less what it forgot.
    lookups: u64,
    /// Open handles, of files and directories.
    pub(crate) handles: u64,
    /// Set while it is open, and as long as something is not committed.
    pub(crate) content: Option<Arc<OpenFile<S>>>,
    /// What it was when its name was taken away.
    pub(crate) orphan: Option<Stat>,
    /// The drive that has the content of an orphan: who found the name before it was
    /// taken away can still open it.
    pub(crate) left: Option<Drive<S>>,
    /// Time and size of the content that the kernel may have cached.
    pub(crate) cached: Option<(u64, u64)>,
    /// The count of edits at its last commit.
    pub(crate) committed: u64,
    /// When a name in this directory was last made or taken away, ms since 1970.
    pub(crate) touched: u64,
}

/// All nodes. Guarded by one lock that is never held across an await.
pub(crate) struct Inodes<S: Corestore> {
    nodes: HashMap<u64, Node<S>>,
    generations: u64,
    /// The last commit of any node that was dropped.
    forgotten: u64,
}

impl<S: Corestore> Inodes<S> {
    pub(crate) fn new(root: Drive<S>) -> Self {
        let mut table = Self { nodes: HashMap::new(), generations: 0, forgotten: 0 };
        let node = table.node(ROOT, "".into(), Base::Drive(root), Kind::Dir);
        table.nodes.insert(ROOT, node);
        table
    }

    fn node(&mut self, parent: u64, name: Arc<str>, base: Base<S>, kind: Kind) -> Node<S> {
        self.generations += 1;
        Node {
            parent,
            name,
            base,
            kind,
            children: HashMap::new(),
            generation: self.generations,
            lookups: 0,
            handles: 0,
            content: None,
            orphan: None,
            left: None,
            cached: None,
            committed: 0,
            touched: 0,
        }
    }

    pub(crate) fn get(&self, ino: u64) -> Option<&Node<S>> {
        self.nodes.get(&ino)
    }

    pub(crate) fn get_mut(&mut self, ino: u64) -> Option<&mut Node<S>> {
        self.nodes.get_mut(&ino)
    }

    /// Every node that has content, open or not committed.
    pub(crate) fn contents(&self) -> Vec<(u64, Arc<OpenFile<S>>)> {
        let held = |(ino, node): (&u64, &Node<S>)| Some((*ino, node.content.clone()?));
        self.nodes.iter().filter_map(held).collect()
    }

    /// Known numbers.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    /// The known names of a directory.
    pub(crate) fn children(&self, ino: u64) -> Vec<(Arc<str>, u64)> {
        let node = self.nodes.get(&ino);
        node.map_or(Vec::new(), |node| node.children.iter().map(|(n, i)| (n.clone(), *i)).collect())
    }

    pub(crate) fn child(&self, parent: u64, name: &str) -> Option<u64> {
        self.nodes.get(&parent)?.children.get(name).copied()
    }

    /// The directory and the name of a node.
    pub(crate) fn parent(&self, ino: u64) -> Option<(u64, Arc<str>)> {
        let node = self.nodes.get(&ino)?;
        Some((node.parent, node.name.clone()))
    }

    /// Where `ino` lies; `None` if it is not known or its name was taken away.
    pub(crate) fn place(&self, ino: u64) -> Option<Place<S>> {
        let mut names = Vec::new();
        let mut at = ino;
        loop {
            let node = self.nodes.get(&at)?;
            if node.orphan.is_some() {
                return None;
            }
            match &node.base {
                Base::Network => return names.is_empty().then_some(Place::Network),
                Base::Drive(drive) => {
                    let mut path = String::with_capacity(names.iter().map(|n: &&str| n.len() + 1).sum());
                    for name in names.iter().rev() {
                        path.push('/');
                        path.push_str(name);
                    }
                    if path.is_empty() {
                        path.push('/');
                    }
                    return Some(Place::Drive { drive: drive.clone(), path, network: at != ROOT });
                }
                Base::Inside => names.push(&*node.name),
            }
            at = node.parent;
        }
    }

    /// The number that a name would have if it became known now.
    pub(crate) fn number(&self, parent: u64, name: &str) -> u64 {
        if let Some(ino) = self.child(parent, name) {
            return ino;
        }
        let mut hasher = DefaultHasher::new();
        (parent, name).hash(&mut hasher);
        let mut ino = hasher.finish();
        while ino <= ROOT || self.nodes.contains_key(&ino) {
            ino = ino.wrapping_add(1);
        }
        ino
    }

    /// May an answer of a drive, asked when there had been `seen` edits, be older than a
    /// commit of `name` in `parent` that is not remembered any more?
    pub(crate) fn is_doubtful(&self, parent: u64, name: &str, seen: u64) -> bool {
        self.forgotten > seen && self.child(parent, name).is_none()
    }

    /// Was `ino` committed after `seen` edits, or is it not known whether it was?
    pub(crate) fn committed_since(&self, ino: u64, seen: u64) -> bool {
        self.nodes.get(&ino).map_or(self.forgotten, |node| node.committed) > seen
    }

    /// Makes `name` in `parent` known, and counts a lookup. A known node of another
    /// kind is orphaned: the kernel does not allow a number to change its kind.
    pub(crate) fn enter(
        &mut self,
        parent: u64,
        name: &str,
        kind: Kind,
        base: Base<S>,
    ) -> Option<(u64, &mut Node<S>)> {
        if let Some(ino) = self.child(parent, name)
            && self.nodes.get(&ino).is_some_and(|node| node.kind != kind)
        {
            self.orphan(parent, name, Stat::default(), None);
        }
        let ino = match self.child(parent, name) {
            Some(ino) => ino,
            None => {
                let ino = self.number(parent, name);
                let name: Arc<str> = name.into();
                self.nodes.get_mut(&parent)?.children.insert(name.clone(), ino);
                let node = self.node(parent, name, base, kind);
                self.nodes.insert(ino, node);
                ino
            }
        };
        let node = self.nodes.get_mut(&ino)?;
        node.lookups += 1;
        Some((ino, node))
    }

    /// The kernel forgets `count` lookups.
    pub(crate) fn forget(&mut self, ino: u64, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.lookups = node.lookups.saturating_sub(count);
        }
        self.prune(ino);
    }

    /// Drops `ino`, and then its parents, if nothing needs them any more.
    pub(crate) fn prune(&mut self, mut ino: u64) {
        while ino != ROOT {
            let Some(node) = self.nodes.get(&ino) else { return };
            let needed =
                node.lookups > 0 || node.handles > 0 || !node.children.is_empty() || node.content.is_some();
            if needed {
                return;
            }
            let (parent, orphan, name) = (node.parent, node.orphan.is_some(), node.name.clone());
            self.forgotten = self.forgotten.max(node.committed);
            self.nodes.remove(&ino);
            if orphan {
                return;
            }
            if let Some(parent) = self.nodes.get_mut(&parent) {
                parent.children.remove(&name);
            }
            ino = parent;
        }
    }

    /// Takes the name of a node away; `stat`, whose content is in `left`, is what it is
    /// from now on.
    pub(crate) fn orphan(
        &mut self,
        parent: u64,
        name: &str,
        stat: Stat,
        left: Option<Drive<S>>,
    ) -> Option<u64> {
        let ino = self.nodes.get_mut(&parent)?.children.remove(name)?;
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.orphan = Some(stat);
            node.left = left;
        }
        self.prune(ino);
        Some(ino)
    }

    /// Moves a node to another name; what was known there must be orphaned before.
    pub(crate) fn rename(&mut self, from: (u64, &str), to: (u64, &str)) {
        let Some(ino) = self.nodes.get_mut(&from.0).and_then(|p| p.children.remove(from.1)) else { return };
        self.link(ino, to);
        self.prune(from.0);
    }

    /// Two names change places.
    pub(crate) fn exchange(&mut self, a: (u64, &str), b: (u64, &str)) {
        let one = self.nodes.get_mut(&a.0).and_then(|p| p.children.remove(a.1));
        let two = self.nodes.get_mut(&b.0).and_then(|p| p.children.remove(b.1));
        if let Some(ino) = one {
            self.link(ino, b);
        }
        if let Some(ino) = two {
            self.link(ino, a);
        }
    }

    fn link(&mut self, ino: u64, (parent, name): (u64, &str)) {
        let name: Arc<str> = name.into();
        if let Some(node) = self.nodes.get_mut(&parent) {
            node.children.insert(name.clone(), ino);
        }
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.parent = parent;
            node.name = name;
        }
    }

    /// How many are known, for tests.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }
}
