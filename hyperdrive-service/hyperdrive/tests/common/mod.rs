//! What the tests of drives share: a filesystem that is a plain tree in memory, and
//! random operations.
#![allow(dead_code, missing_docs)]

use bytes::Bytes;
use hyperdrive::{
    AttrChange, Attrs, CommitPolicy, Content, Drive, DriveOptions, Op, RenameMode, WalkOptions,
};
use hyperspace_api::Corestore;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

pub const ENOENT: i32 = 2;
pub const EEXIST: i32 = 17;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const EINVAL: i32 = 22;
pub const ENOTEMPTY: i32 = 39;
pub const ENODATA: i32 = 61;
pub const EPERM: i32 = 1;

pub fn immediate() -> DriveOptions {
    DriveOptions { timeout: Duration::from_millis(300), commit: CommitPolicy::Immediate }
}

/// Commits only when told to.
pub fn grouped() -> DriveOptions {
    let commit = CommitPolicy::Grouped { delay: Duration::from_secs(3600), bytes: u64::MAX };
    DriveOptions { timeout: Duration::from_millis(300), commit }
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

/// Random operations, for proptest.
#[derive(Clone, Debug)]
pub enum Step {
    Op(Op),
    Commit,
}

/// Few names, so that they meet.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![4 => Just("a"), 4 => Just("b"), 1 => Just("é")];
    proptest::collection::vec(name, 1..5).prop_map(|names| format!("/{}", names.join("/")))
}

fn attrs() -> impl Strategy<Value = Attrs> {
    (0u32..0o1000, 0u32..3).prop_map(|(mode, uid)| Attrs { mode, uid, ..Attrs::default() })
}

fn bytes() -> impl Strategy<Value = Content> {
    prop_oneof![
        1 => Just(Content::Empty),
        6 => (any::<u8>(), 1usize..100).prop_map(|(fill, len)| Content::Bytes(vec![fill; len].into())),
        1 => (any::<u8>(), 1usize..200_000).prop_map(|(fill, len)| Content::Bytes(vec![fill; len].into())),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("user.x".to_owned()), Just("user.y".to_owned())]
}

/// What is there before the random operations: else most would find nothing.
pub fn prelude() -> Vec<Op> {
    let dirs = ["/a", "/b", "/a/a", "/a/b", "/a/b/a", "/a/b/b", "/b/b", "/b/b/a"];
    let files = ["/a/b/é", "/a/b/a/a", "/a/b/b/b", "/a/a/a", "/b/b/a/b", "/é"];
    let mkdir = |path: &&str| Op::Mkdir { path: path.to_string(), attrs: Attrs::dir() };
    let put = |path: &&str| Op::PutFile {
        path: path.to_string(),
        attrs: Attrs::file(),
        content: Content::Bytes(path.to_string().into()),
    };
    dirs.iter().map(mkdir).chain(files.iter().map(put)).collect()
}

pub fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![4 => Just(RenameMode::Replace), 1 => Just(RenameMode::NoReplace), 2 => Just(RenameMode::Exchange)];
    let change = (proptest::option::of(0u32..0o1000), proptest::option::of(0u32..3))
        .prop_map(|(mode, gid)| AttrChange { mode, gid, ..AttrChange::default() });
    prop_oneof![
        6 => (path(), attrs(), bytes()).prop_map(|(path, attrs, content)| Op::PutFile { path, attrs, content }),
        1 => (path(), attrs()).prop_map(|(path, attrs)| Op::CreateFile { path, attrs }),
        2 => (path(), bytes()).prop_map(|(path, content)| Op::SetContent { path, content, mtime: 7 }),
        5 => (path(), attrs()).prop_map(|(path, attrs)| Op::Mkdir { path, attrs }),
        1 => (path(), path(), attrs()).prop_map(|(path, target, attrs)| Op::Symlink { path, target, attrs }),
        3 => path().prop_map(|path| Op::Unlink { path }),
        2 => path().prop_map(|path| Op::Rmdir { path }),
        5 => (path(), path(), mode).prop_map(|(from, to, mode)| Op::Rename { from, to, mode }),
        2 => (path(), path()).prop_map(|(from, to)| Op::Copy { from, to }),
        1 => (path(), change).prop_map(|(path, change)| Op::SetAttrs { path, change }),
        1 => (path(), name(), any::<[u8; 2]>())
            .prop_map(|(path, name, value)| Op::SetXattr { path, name, value: value.to_vec().into() }),
        1 => (path(), name()).prop_map(|(path, name)| Op::RemoveXattr { path, name }),
    ]
}

pub fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![12 => op().prop_map(Step::Op), 1 => Just(Step::Commit)];
    proptest::collection::vec(step, 1..max)
}

/// Something in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub xattrs: BTreeMap<String, Bytes>,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    File(Bytes),
    Link(String),
    Dir(BTreeMap<String, Node>),
}

/// A filesystem as POSIX has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    root: Node,
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

impl Node {
    fn new(attrs: &Attrs, kind: Kind) -> Self {
        Self { mode: attrs.mode, uid: attrs.uid, gid: attrs.gid, xattrs: attrs.xattrs.clone(), kind }
    }

    fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir(_))
    }

    fn is_full(&self) -> bool {
        matches!(&self.kind, Kind::Dir(entries) if !entries.is_empty())
    }
}

impl Default for Model {
    fn default() -> Self {
        // A root without a record belongs to whoever looks.
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let attrs = Attrs { mode: 0o755, uid, gid, ..Attrs::default() };
        Self { root: Node::new(&attrs, Kind::Dir(BTreeMap::new())) }
    }
}

impl Model {
    pub fn of(ops: &[Op]) -> Self {
        let mut model = Self::default();
        ops.iter().for_each(|op| model.apply(op).unwrap());
        model
    }

    /// Puts all of another model into the new directory `home`.
    pub fn graft(&mut self, home: &str, other: &Self) {
        self.put(home, other.root.clone()).unwrap();
    }

    pub fn find(&self, path: &str) -> Result<&Node, i32> {
        parts(path).into_iter().try_fold(&self.root, |node, part| match &node.kind {
            Kind::Dir(entries) => entries.get(part).ok_or(ENOENT),
            _ => Err(ENOTDIR),
        })
    }

    fn find_mut(&mut self, path: &str) -> Result<&mut Node, i32> {
        parts(path).into_iter().try_fold(&mut self.root, |node, part| match &mut node.kind {
            Kind::Dir(entries) => entries.get_mut(part).ok_or(ENOENT),
            _ => Err(ENOTDIR),
        })
    }

    fn dir_of<'p>(&mut self, path: &'p str) -> Result<(&mut BTreeMap<String, Node>, &'p str), i32> {
        let (dir, name) = path.rsplit_once('/').unwrap();
        match &mut self.find_mut(dir)?.kind {
            Kind::Dir(entries) => Ok((entries, name)),
            _ => Err(ENOTDIR),
        }
    }

    fn put(&mut self, path: &str, node: Node) -> Result<(), i32> {
        let (dir, name) = self.dir_of(path)?;
        dir.insert(name.to_owned(), node);
        Ok(())
    }

    fn take(&mut self, path: &str) -> Result<Node, i32> {
        let (dir, name) = self.dir_of(path)?;
        dir.remove(name).ok_or(ENOENT)
    }

    fn create(&mut self, path: &str, node: Node) -> Result<(), i32> {
        match self.find(path) {
            Ok(_) => Err(EEXIST),
            Err(ENOENT) => self.put(path, node),
            Err(error) => Err(error),
        }
    }

    fn not_a_dir(&self, path: &str) -> Result<(), i32> {
        match self.find(path) {
            Ok(node) if node.is_dir() => Err(EISDIR),
            Err(ENOTDIR) => Err(ENOTDIR),
            _ => Ok(()),
        }
    }

    pub fn apply(&mut self, op: &Op) -> Result<(), i32> {
        let bytes = |content: &Content| match content {
            Content::Bytes(bytes) => bytes.clone(),
            _ => Bytes::new(),
        };
        match op {
            Op::PutFile { path, attrs, content } => {
                self.not_a_dir(path)?;
                self.put(path, Node::new(attrs, Kind::File(bytes(content))))
            }
            Op::CreateFile { path, attrs } => self.create(path, Node::new(attrs, Kind::File(Bytes::new()))),
            Op::Mkdir { path, attrs } => self.create(path, Node::new(attrs, Kind::Dir(BTreeMap::new()))),
            Op::Symlink { path, target, attrs } => {
                self.create(path, Node::new(attrs, Kind::Link(target.clone())))
            }
            Op::SetContent { path, content, .. } => match &mut self.find_mut(path)?.kind {
                Kind::File(old) => {
                    *old = bytes(content);
                    Ok(())
                }
                Kind::Dir(_) => Err(EISDIR),
                Kind::Link(_) => Err(EINVAL),
            },
            Op::Unlink { path } => match self.find(path)?.is_dir() {
                true => Err(EISDIR),
                false => self.take(path).map(drop),
            },
            Op::Rmdir { path } => match self.find(path)? {
                node if !node.is_dir() => Err(ENOTDIR),
                node if node.is_full() => Err(ENOTEMPTY),
                _ => self.take(path).map(drop),
            },
            Op::Rename { from, to, mode } => self.rename(from, to, *mode),
            Op::Copy { from, to } => {
                let node = self.find(from)?.clone();
                if node.is_dir() {
                    return Err(EISDIR);
                }
                self.not_a_dir(to)?;
                self.put(to, node)
            }
            Op::SetAttrs { path, change } => {
                let node = self.find_mut(path)?;
                node.mode = change.mode.unwrap_or(node.mode);
                node.uid = change.uid.unwrap_or(node.uid);
                node.gid = change.gid.unwrap_or(node.gid);
                Ok(())
            }
            Op::SetXattr { path, name, value } => {
                self.find_mut(path)?.xattrs.insert(name.clone(), value.clone());
                Ok(())
            }
            Op::RemoveXattr { path, name } => {
                self.find_mut(path)?.xattrs.remove(name).map(drop).ok_or(ENODATA)
            }
            Op::Mount { .. } | Op::Unmount { .. } => unreachable!("the model has no mounts"),
        }
    }

    fn rename(&mut self, from: &str, to: &str, mode: RenameMode) -> Result<(), i32> {
        let inside = |a: &str, b: &str| a.starts_with(&format!("{b}/"));
        let source = self.find(from)?.clone();
        let target = match self.find(to) {
            Ok(node) => Some(node.clone()),
            Err(ENOENT) => None,
            Err(error) => return Err(error),
        };
        self.dir_of(to)?;
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(EEXIST),
            (RenameMode::Exchange, None) => return Err(ENOENT),
            _ if from == to => return Ok(()),
            _ if source.is_dir() && inside(to, from) => return Err(EINVAL),
            (RenameMode::Exchange, Some(target)) => {
                if inside(from, to) {
                    return Err(EINVAL);
                }
                self.put(from, target)?;
                return self.put(to, source);
            }
            (_, Some(_)) if inside(from, to) => return Err(ENOTEMPTY),
            (_, Some(target)) => match (source.is_dir(), target.is_dir()) {
                (false, true) => return Err(EISDIR),
                (true, false) => return Err(ENOTDIR),
                _ if target.is_full() => return Err(ENOTEMPTY),
                _ => {}
            },
            (_, None) => {}
        }
        self.take(from)?;
        self.put(to, source)
    }

    /// Everything, parents first, siblings by name.
    pub fn walk(&self) -> Vec<(String, Node)> {
        fn add(path: &str, node: &Node, out: &mut Vec<(String, Node)>) {
            out.push((if path.is_empty() { "/".into() } else { path.into() }, node.clone()));
            if let Kind::Dir(entries) = &node.kind {
                for (name, entry) in entries {
                    add(&format!("{path}/{name}"), entry, out);
                }
            }
        }
        let mut out = Vec::new();
        add("", &self.root, &mut out);
        out
    }
}

/// Holds all of a drive against the model.
pub async fn compare<S: Corestore>(drive: &Drive<S>, model: &Model) {
    let expected = model.walk();
    let found = drive.walk("/", WalkOptions::default()).await.unwrap();
    let paths = |walk: &[(String, Node)]| walk.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
    assert_eq!(found.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), paths(&expected));
    for ((path, stat), (_, node)) in found.iter().zip(&expected) {
        assert_eq!(&drive.stat(path).await.unwrap(), stat, "{path}");
        let attrs = (stat.mode & 0o7777, stat.uid, stat.gid, &stat.metadata);
        assert_eq!(attrs, (node.mode, node.uid, node.gid, &node.xattrs), "{path}");
        match &node.kind {
            Kind::File(bytes) => {
                assert!(stat.is_file(), "{path}");
                assert_eq!(stat.size, bytes.len() as u64, "{path}");
                let located = drive.locate(path).await.unwrap();
                let read = located.drive.reader(&located.stat).read_all().await.unwrap();
                assert!(read == bytes, "{path} has other bytes");
            }
            Kind::Link(target) => {
                assert!(stat.is_symlink(), "{path}");
                assert_eq!(stat.linkname.as_ref(), Some(target));
            }
            Kind::Dir(entries) => {
                assert!(stat.is_dir(), "{path}");
                let listed = drive.readdir(path).await.unwrap();
                let names: Vec<_> = listed.iter().map(|entry| entry.name.as_str()).collect();
                assert_eq!(names, entries.keys().map(String::as_str).collect::<Vec<_>>(), "{path}");
            }
        }
    }
}
