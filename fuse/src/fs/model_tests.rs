//! The filesystem against a plain tree in memory: random operations, the same answers.

use super::types::{Caller, Change, FsOptions, Handle, Kind, ROOT, RenameMode};
use super::xattr::SetMode;
use super::{Filesystem, join};
use crate::errno::Errno;
use hyperdrive::{DriveOptions, Drives};
use hyperspace_api::memory::MemoryStore;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::sync::Arc;

const ME: Caller = Caller { uid: 7, gid: 8 };

#[derive(Clone, Debug)]
enum Step {
    Create(String),
    Mkdir(String),
    Symlink(String, String),
    Unlink(String),
    Rmdir(String),
    Rename(String, String, RenameMode),
    Open(String, bool),
    Close(usize),
    Write(usize, u64, usize, u8),
    Append(usize, usize, u8),
    Read(usize, u64, usize),
    Truncate(usize, u64),
    TruncatePath(String, u64),
    Copy(usize, usize),
    Fsync(usize),
    Chmod(String, u32),
    Xattr(String, u8, SetMode),
    Stat(String),
    List(String),
    Commit,
    Remount,
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4)
        .prop_map(|names| format!("/{}", names.join("/")))
}

/// Few sizes around the borders that the code knows: nothing, blocks, the window.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..200u64, 2 => 65_000..66_000u64, 1 => 1_048_000..1_049_000u64]
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop_oneof![
        3 => Just(RenameMode::Replace),
        1 => Just(RenameMode::NoReplace),
        1 => Just(RenameMode::Exchange),
    ];
    let set = prop_oneof![Just(SetMode::Any), Just(SetMode::Create), Just(SetMode::Replace)];
    let length = prop_oneof![3 => 0..300usize, 1 => 65_000..140_000usize];
    prop_oneof![
        6 => path().prop_map(Step::Create),
        4 => path().prop_map(Step::Mkdir),
        1 => (path(), "[a-z./]{1,20}").prop_map(|(p, t)| Step::Symlink(p, t)),
        3 => path().prop_map(Step::Unlink),
        2 => path().prop_map(Step::Rmdir),
        5 => (path(), path(), mode).prop_map(|(a, b, m)| Step::Rename(a, b, m)),
        5 => (path(), prop::bool::weighted(0.2)).prop_map(|(p, t)| Step::Open(p, t)),
        3 => (0..4usize).prop_map(Step::Close),
        9 => (0..4usize, offset(), length.clone(), 1..255u8).prop_map(|(h, o, n, b)| Step::Write(h, o, n, b)),
        2 => (0..3usize, 300_000..900_000usize, 1..255u8).prop_map(|(h, n, b)| Step::Append(h, n, b)),
        6 => (0..4usize, offset(), length).prop_map(|(h, o, n)| Step::Read(h, o, n)),
        2 => (0..4usize, offset()).prop_map(|(h, n)| Step::Truncate(h, n)),
        1 => (path(), offset()).prop_map(|(p, n)| Step::TruncatePath(p, n)),
        1 => (0..4usize, 0..4usize).prop_map(|(a, b)| Step::Copy(a, b)),
        2 => (0..4usize).prop_map(Step::Fsync),
        1 => (path(), 0..0o1000u32).prop_map(|(p, m)| Step::Chmod(p, m)),
        1 => (path(), any::<u8>(), set).prop_map(|(p, v, m)| Step::Xattr(p, v, m)),
        4 => path().prop_map(Step::Stat),
        3 => path().prop_map(Step::List),
        1 => Just(Step::Commit),
        1 => Just(Step::Remount),
    ]
}

#[derive(Clone, Debug, PartialEq)]
enum Body {
    Dir,
    File(Vec<u8>),
    Link(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Thing {
    body: Body,
    mode: u32,
    xattr: Option<u8>,
}

/// A tree by paths; open files by the number of their thing.
#[derive(Default)]
struct Model {
    names: BTreeMap<String, usize>,
    things: Vec<Thing>,
}

fn split(path: &str) -> (&str, &str) {
    let at = path.rfind('/').expect("absolute");
    (if at == 0 { "/" } else { &path[..at] }, &path[at + 1..])
}

impl Model {
    fn new() -> Self {
        let mut model = Self::default();
        model.put("/", Body::Dir, 0o755);
        model
    }

    fn put(&mut self, path: &str, body: Body, mode: u32) {
        self.names.insert(path.into(), self.things.len());
        self.things.push(Thing { body, mode, xattr: None });
    }

    /// The thing at a path, or what a walk to it says.
    fn find(&self, path: &str) -> Result<usize, Errno> {
        self.directory(path)?;
        self.names.get(path).copied().ok_or(Errno::ENOENT)
    }

    /// Can a name be in this path's directory?
    fn directory(&self, path: &str) -> Result<(), Errno> {
        let mut at = String::new();
        let (parent, _) = split(path);
        for name in parent.split('/').filter(|name| !name.is_empty()) {
            at = format!("{at}/{name}");
            match self.names.get(&at).map(|id| &self.things[*id].body) {
                None => return Err(Errno::ENOENT),
                Some(Body::Dir) => {}
                Some(_) => return Err(Errno::ENOTDIR),
            }
        }
        Ok(())
    }

    fn children(&self, path: &str) -> Vec<String> {
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let below = self.names.keys().filter(|name| name.starts_with(&prefix) && *name != "/");
        below.map(|name| name[prefix.len()..].to_owned()).filter(|name| !name.contains('/')).collect()
    }

    fn free(&self, path: &str) -> Result<(), Errno> {
        self.directory(path)?;
        if self.names.contains_key(path) { Err(Errno::EEXIST) } else { Ok(()) }
    }

    fn is_dir(&self, id: usize) -> bool {
        self.things[id].body == Body::Dir
    }

    fn unlink(&mut self, path: &str) -> Result<(), Errno> {
        if self.is_dir(self.find(path)?) {
            return Err(Errno::EISDIR);
        }
        self.names.remove(path);
        Ok(())
    }

    fn rmdir(&mut self, path: &str) -> Result<(), Errno> {
        if !self.is_dir(self.find(path)?) {
            return Err(Errno::ENOTDIR);
        }
        if !self.children(path).is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.names.remove(path);
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str, mode: RenameMode) -> Result<(), Errno> {
        let source = self.find(from)?;
        self.directory(to)?;
        let target = self.names.get(to).copied();
        let inside = |outer: &str, inner: &str| inner.starts_with(&format!("{outer}/"));
        match mode {
            RenameMode::NoReplace if target.is_some() => return Err(Errno::EEXIST),
            RenameMode::Exchange if target.is_none() => return Err(Errno::ENOENT),
            _ if from == to => return Ok(()),
            _ if inside(from, to) => return Err(Errno::EINVAL),
            RenameMode::Exchange if inside(to, from) => return Err(Errno::EINVAL),
            _ => {}
        }
        if mode == RenameMode::Exchange {
            let moved: Vec<_> =
                self.names.extract_if(.., |name, _| name == from || inside(from, name)).collect();
            let back: Vec<_> = self.names.extract_if(.., |name, _| name == to || inside(to, name)).collect();
            self.names
                .extend(moved.into_iter().map(|(name, id)| (format!("{to}{}", &name[from.len()..]), id)));
            self.names
                .extend(back.into_iter().map(|(name, id)| (format!("{from}{}", &name[to.len()..]), id)));
            return Ok(());
        }
        if let Some(target) = target {
            match (self.is_dir(source), self.is_dir(target)) {
                (true, false) => return Err(Errno::ENOTDIR),
                (false, true) => return Err(if inside(to, from) { Errno::ENOTEMPTY } else { Errno::EISDIR }),
                (true, true) if !self.children(to).is_empty() => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
            self.names.remove(to);
        }
        let moved: Vec<_> = self.names.extract_if(.., |name, _| name == from || inside(from, name)).collect();
        self.names.extend(moved.into_iter().map(|(name, id)| (format!("{to}{}", &name[from.len()..]), id)));
        Ok(())
    }

    fn file(&mut self, id: usize) -> &mut Vec<u8> {
        match &mut self.things[id].body {
            Body::File(bytes) => bytes,
            other => panic!("{other:?} is open"),
        }
    }
}

struct Opened {
    id: usize,
    ino: u64,
    handle: Handle,
}

/// The filesystem as a kernel uses it: walks by lookups, and forgets them.
struct Harness {
    store: MemoryStore,
    fs: Arc<Filesystem<MemoryStore>>,
    model: Model,
    open: Vec<Opened>,
}

async fn filesystem(store: &MemoryStore) -> Arc<Filesystem<MemoryStore>> {
    let drives = Drives::new(store.clone(), DriveOptions::default());
    let root = drives.create_named("root").await.unwrap();
    Filesystem::new(drives, root, FsOptions { uid: 7, gid: 8, ..FsOptions::default() })
}

impl Harness {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let fs = filesystem(&store).await;
        Self { store, fs, model: Model::new(), open: Vec::new() }
    }

    /// Walks to `path`; what was looked up must be forgotten.
    async fn walk(&self, path: &str) -> (Result<u64, Errno>, Vec<u64>) {
        let (mut at, mut kind, mut seen) = (ROOT, Kind::Dir, Vec::new());
        for name in path.split('/').filter(|name| !name.is_empty()) {
            if kind != Kind::Dir {
                return (Err(Errno::ENOTDIR), seen);
            }
            match self.fs.lookup(at, OsStr::new(name)).await {
                Ok(entry) => (at, kind) = (entry.attr.ino, entry.attr.kind),
                Err(error) => return (Err(error), seen),
            }
            seen.push(at);
        }
        (Ok(at), seen)
    }

    /// The directory that `path` is in, checked to be one.
    async fn walk_parent(&self, path: &str) -> (Result<u64, Errno>, Vec<u64>) {
        let (found, seen) = self.walk(split(path).0).await;
        let Ok(ino) = found else { return (found, seen) };
        match self.fs.getattr(ino).await {
            Ok(attr) if attr.kind == Kind::Dir => (Ok(ino), seen),
            Ok(_) => (Err(Errno::ENOTDIR), seen),
            Err(error) => (Err(error), seen),
        }
    }

    fn forget(&self, seen: Vec<u64>) {
        seen.into_iter().for_each(|ino| self.fs.forget(ino, 1));
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Create(path) => {
                let (parent, seen) = self.walk_parent(path).await;
                let name = OsStr::new(split(path).1);
                let got = match parent {
                    Ok(parent) => self.fs.create(ME, parent, name, 0o640, libc::O_EXCL | libc::O_RDWR).await,
                    Err(error) => Err(error),
                };
                let want = self.model.free(path);
                prop_assert_eq!(got.map(|_| ()), want);
                if let Ok((entry, handle)) = got {
                    self.model.put(path, Body::File(Vec::new()), 0o640);
                    let id = self.model.names[path];
                    self.open.push(Opened { id, ino: entry.attr.ino, handle });
                    self.fs.forget(entry.attr.ino, 1);
                }
                self.forget(seen);
            }
            Step::Mkdir(path) => {
                let (parent, seen) = self.walk_parent(path).await;
                let name = OsStr::new(split(path).1);
                let got = match parent {
                    Ok(parent) => self.fs.mkdir(ME, parent, name, 0o750).await,
                    Err(error) => Err(error),
                };
                prop_assert_eq!(got.map(|_| ()), self.model.free(path));
                if let Ok(entry) = got {
                    self.model.put(path, Body::Dir, 0o750);
                    self.fs.forget(entry.attr.ino, 1);
                }
                self.forget(seen);
            }
            Step::Symlink(path, target) => {
                let (parent, seen) = self.walk_parent(path).await;
                let name = OsStr::new(split(path).1);
                let got = match parent {
                    Ok(parent) => self.fs.symlink(ME, parent, name, OsStr::new(target)).await,
                    Err(error) => Err(error),
                };
                prop_assert_eq!(got.map(|_| ()), self.model.free(path));
                if let Ok(entry) = got {
                    prop_assert_eq!(&self.fs.readlink(entry.attr.ino).await.unwrap(), target);
                    self.model.put(path, Body::Link(target.clone()), 0o777);
                    self.fs.forget(entry.attr.ino, 1);
                }
                self.forget(seen);
            }
            Step::Unlink(path) | Step::Rmdir(path) => {
                let (parent, seen) = self.walk_parent(path).await;
                let name = OsStr::new(split(path).1);
                let dir = matches!(step, Step::Rmdir(_));
                let got = match parent {
                    Ok(parent) if dir => self.fs.rmdir(parent, name).await,
                    Ok(parent) => self.fs.unlink(parent, name).await,
                    Err(error) => Err(error),
                };
                let want = if dir { self.model.rmdir(path) } else { self.model.unlink(path) };
                prop_assert_eq!(got, want);
                self.forget(seen);
            }
            Step::Rename(from, to, mode) => {
                let (old, mut seen) = self.walk_parent(from).await;
                let (new, more) = self.walk_parent(to).await;
                seen.extend(more);
                let (a, b) = (OsStr::new(split(from).1), OsStr::new(split(to).1));
                let got = match (old, new) {
                    (Ok(old), Ok(new)) => self.fs.rename((old, a), (new, b), *mode).await,
                    (Err(error), _) => Err(error),
                    // What is renamed is looked for first.
                    (Ok(old), Err(error)) => match self.fs.lookup(old, a).await {
                        Ok(entry) => {
                            self.fs.forget(entry.attr.ino, 1);
                            Err(error)
                        }
                        Err(first) => Err(first),
                    },
                };
                prop_assert_eq!(got, self.model.rename(from, to, *mode), "{} {}", from, to);
                self.forget(seen);
            }
            Step::Open(path, truncate) => {
                let (found, seen) = self.walk(path).await;
                let want = self.model.find(path).and_then(|id| match self.model.things[id].body {
                    Body::File(_) => Ok(id),
                    Body::Dir => Err(Errno::EISDIR),
                    Body::Link(_) => Err(Errno::ELOOP),
                });
                let flags = libc::O_RDWR | if *truncate { libc::O_TRUNC } else { 0 };
                let got = match found {
                    Ok(ino) => self.fs.open(ino, flags).await.map(|opened| (ino, opened.handle)),
                    Err(error) => Err(error),
                };
                prop_assert_eq!(got.map(|_| ()), want.map(|_| ()));
                if let (Ok((ino, handle)), Ok(id)) = (got, want) {
                    if *truncate {
                        self.model.file(id).clear();
                    }
                    self.open.push(Opened { id, ino, handle });
                }
                self.forget(seen);
            }
            Step::Close(at) => {
                if *at < self.open.len() {
                    self.close(*at).await?;
                }
            }
            Step::Write(at, offset, length, byte) => {
                let Some(Opened { id, ino, .. }) = self.open.get(*at) else { return Ok(()) };
                let data = vec![*byte; *length];
                prop_assert_eq!(self.fs.write(*ino, *offset, &data), Ok(()));
                let (id, end) = (*id, *offset as usize + length);
                let file = self.model.file(id);
                if *length > 0 {
                    file.resize(file.len().max(end), 0);
                    file[*offset as usize..end].fill(*byte);
                }
            }
            Step::Append(at, length, byte) => {
                let Some(Opened { id, ino, .. }) = self.open.get(*at) else { return Ok(()) };
                let (id, ino) = (*id, *ino);
                let size = self.model.file(id).len();
                self.model.file(id).resize(size + length, *byte);
                for from in (0..*length).step_by(1 << 17) {
                    let data = vec![*byte; (length - from).min(1 << 17)];
                    prop_assert_eq!(self.fs.write(ino, (size + from) as u64, &data), Ok(()));
                }
                if byte % 2 == 0 {
                    // Lets it be streamed now, not during some later step.
                    prop_assert_eq!(self.fs.drained(ino).await, Ok(()));
                    tokio::task::yield_now().await;
                }
            }
            Step::Read(at, offset, length) => {
                let Some(Opened { id, ino, .. }) = self.open.get(*at) else { return Ok(()) };
                let got = self.fs.read(*ino, *offset, *length).await.unwrap();
                let id = *id;
                let file = self.model.file(id);
                let from = (*offset as usize).min(file.len());
                let want = &file[from..(from + length).min(file.len())];
                prop_assert!(
                    got == want,
                    "read {} bytes, {} expected, or they differ",
                    got.len(),
                    want.len()
                );
            }
            Step::Truncate(at, size) => {
                let Some(Opened { id, ino, .. }) = self.open.get(*at) else { return Ok(()) };
                let change = Change { size: Some(*size), ..Change::default() };
                let attr = self.fs.setattr(ME, *ino, change).await;
                prop_assert_eq!(attr.map(|attr| attr.size), Ok(*size));
                let id = *id;
                self.model.file(id).resize(*size as usize, 0);
            }
            Step::TruncatePath(path, size) => {
                let (found, seen) = self.walk(path).await;
                let change = Change { size: Some(*size), ..Change::default() };
                let got = match found {
                    Ok(ino) => self.fs.setattr(ME, ino, change).await.map(|attr| attr.size),
                    Err(error) => Err(error),
                };
                let want = self.model.find(path).and_then(|id| match &mut self.model.things[id].body {
                    Body::File(bytes) => {
                        bytes.resize(*size as usize, 0);
                        Ok(*size)
                    }
                    Body::Dir => Err(Errno::EISDIR),
                    Body::Link(_) => Err(Errno::EINVAL),
                });
                prop_assert_eq!(got, want);
                self.forget(seen);
            }
            Step::Copy(from, to) => {
                let (Some(a), Some(b)) = (self.open.get(*from), self.open.get(*to)) else { return Ok(()) };
                if a.id == b.id {
                    return Ok(());
                }
                let (source, target) = (a.id, b.id);
                let bytes = self.model.file(source).clone();
                let copied = self.fs.copy_file_range((a.ino, 0), (b.ino, 0), u64::MAX).await;
                prop_assert_eq!(copied, Ok(bytes.len() as u64));
                let file = self.model.file(target);
                file.resize(file.len().max(bytes.len()), 0);
                file[..bytes.len()].copy_from_slice(&bytes);
            }
            Step::Fsync(at) => {
                let Some(Opened { ino, .. }) = self.open.get(*at) else { return Ok(()) };
                prop_assert_eq!(self.fs.fsync(*ino).await, Ok(()));
            }
            Step::Chmod(path, mode) => {
                let (found, seen) = self.walk(path).await;
                let change = Change { mode: Some(*mode), ..Change::default() };
                let got = match found {
                    Ok(ino) => self.fs.setattr(ME, ino, change).await.map(|attr| attr.perm),
                    Err(error) => Err(error),
                };
                let want = self.model.find(path);
                prop_assert_eq!(got, want.map(|_| *mode));
                if let Ok(id) = want {
                    self.model.things[id].mode = *mode;
                }
                self.forget(seen);
            }
            Step::Xattr(path, value, mode) => {
                let (found, seen) = self.walk(path).await;
                let got = match found {
                    Ok(ino) => self.fs.setxattr(ino, OsStr::new("user.x"), &[*value], *mode).await,
                    Err(error) => Err(error),
                };
                let want = self.model.find(path).and_then(|id| {
                    let old = &mut self.model.things[id].xattr;
                    match (mode, &old) {
                        (SetMode::Create, Some(_)) => return Err(Errno::EEXIST),
                        (SetMode::Replace, None) => return Err(Errno::ENODATA),
                        _ => *old = Some(*value),
                    }
                    Ok(())
                });
                prop_assert_eq!(got, want);
                self.forget(seen);
            }
            Step::Stat(path) => self.compare(path).await?,
            Step::List(path) => self.compare_list(path).await?,
            Step::Commit => prop_assert_eq!(self.fs.commit_all().await, Ok(())),
            Step::Remount => self.remount().await?,
        }
        Ok(())
    }

    /// Attributes, content and extended attribute of a path.
    async fn compare(&mut self, path: &str) -> Result<(), TestCaseError> {
        let (found, seen) = self.walk(path).await;
        let want = self.model.find(path);
        prop_assert_eq!(found.map(|_| ()), want.map(|_| ()), "{}", path);
        if let (Ok(ino), Ok(id)) = (found, want) {
            let thing = self.model.things[id].clone();
            let attr = self.fs.getattr(ino).await.unwrap();
            if path != "/" {
                prop_assert_eq!((attr.perm, attr.uid, attr.gid), (thing.mode, ME.uid, ME.gid), "{}", path);
            }
            let value = self.fs.getxattr(ino, OsStr::new("user.x")).await;
            prop_assert_eq!(value.map(|v| v[0]), thing.xattr.ok_or(Errno::ENODATA));
            match thing.body {
                Body::Dir => prop_assert_eq!(attr.kind, Kind::Dir),
                Body::Link(target) => {
                    prop_assert_eq!((attr.kind, attr.size), (Kind::Symlink, target.len() as u64));
                    prop_assert_eq!(self.fs.readlink(ino).await, Ok(target));
                }
                Body::File(bytes) => {
                    prop_assert_eq!((attr.kind, attr.size), (Kind::File, bytes.len() as u64), "{}", path);
                    let opened = self.fs.open(ino, libc::O_RDONLY).await.unwrap();
                    let got = self.fs.read(ino, 0, bytes.len() + 10).await.unwrap();
                    prop_assert!(got == bytes, "{path}: {} bytes, {} expected", got.len(), bytes.len());
                    self.fs.release(ino, opened.handle).await.unwrap();
                }
            }
        }
        self.forget(seen);
        Ok(())
    }

    async fn compare_list(&mut self, path: &str) -> Result<(), TestCaseError> {
        let (found, seen) = self.walk(path).await;
        if let (Ok(ino), Ok(id)) = (found, self.model.find(path))
            && self.model.is_dir(id)
        {
            let mut want = self.model.children(path);
            if path == "/" {
                want.push("Network".into());
            }
            let handle = self.fs.opendir(ino).await.unwrap();
            let (mut plain, mut plus, mut known, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0);
            self.fs
                .readdir(ino, handle, 0, |e| {
                    plain.push(e.name.to_owned());
                    false
                })
                .unwrap();
            // Two at a time, as a small buffer would.
            loop {
                let mut room = 2;
                let listed = self.fs.readdirplus(ino, handle, offset, |entry, found, _| {
                    if room == 0 {
                        return true;
                    }
                    room -= 1;
                    offset = entry.next;
                    if entry.name != "." && entry.name != ".." {
                        known.push(found.attr.ino);
                        plus.push((entry.name.to_owned(), found.attr));
                    }
                    false
                });
                listed.await.unwrap();
                if room == 2 {
                    break;
                }
            }
            self.fs.releasedir(ino, handle);
            prop_assert_eq!(&plain[..2], [".", ".."]);
            let mut names = plain.split_off(2);
            names.sort();
            want.sort();
            prop_assert_eq!(&names, &want, "{}", path);
            plus.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(plus.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), want);
            for (name, attr) in plus.iter().filter(|(name, _)| name != "Network") {
                let (same, more) = self.walk(&join(path, name)).await;
                prop_assert_eq!(same, Ok(attr.ino));
                prop_assert_eq!(self.fs.getattr(attr.ino).await, Ok(*attr), "{}", name);
                self.forget(more);
            }
            self.forget(known);
        }
        self.forget(seen);
        Ok(())
    }

    async fn close_all(&mut self) -> Result<(), TestCaseError> {
        while !self.open.is_empty() {
            self.close(0).await?;
        }
        Ok(())
    }

    async fn close(&mut self, at: usize) -> Result<(), TestCaseError> {
        let Opened { ino, handle, .. } = self.open.remove(at);
        prop_assert_eq!(self.fs.flush(ino, handle).await, Ok(()));
        prop_assert_eq!(self.fs.release(ino, handle).await, Ok(()));
        Ok(())
    }

    /// Everything is there for somebody who opens the drive anew.
    async fn remount(&mut self) -> Result<(), TestCaseError> {
        self.close_all().await?;
        prop_assert_eq!(self.fs.inodes.lock().len(), 1, "nodes were left behind");
        prop_assert_eq!(self.fs.sync_all().await, Ok(()));
        self.fs = filesystem(&self.store).await;
        self.compare_all().await
    }

    async fn compare_all(&mut self) -> Result<(), TestCaseError> {
        for path in self.model.names.keys().cloned().collect::<Vec<_>>() {
            self.compare(&path).await?;
            self.compare_list(&path).await?;
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 600, ..ProptestConfig::default() })]
    #[test]
    fn a_drive_is_a_filesystem(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut harness = Harness::new().await;
            for step in &steps {
                harness.step(step).await?;
            }
            harness.compare_all().await?;
            harness.remount().await
        })?;
    }
}
