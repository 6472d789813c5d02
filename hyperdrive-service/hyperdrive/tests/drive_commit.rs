//! How changes reach the cores: other writers come in between, the server goes away,
//! answers are lost.

mod common;

use bytes::Bytes;
use common::{ENOENT, Model, compare, grouped, immediate, op, prelude, run};
use futures::FutureExt;
use hyperdrive::{
    Attrs, BLOCK_SIZE, Change, CommitPolicy, Content, ContentSource, Drive, DriveOptions, Drives, Op,
    RenameMode,
};
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{
    Appended, Core, CoreError, CoreEvent, CoreInfo, Corestore, GetOptions, Key, OpenTarget, Peer, Seek,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;

/// What becomes of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Works,
    /// The server is away.
    Fails,
    /// It is done, but the answer is lost.
    AnswerLost,
}

/// A store whose appends have the fates they are given; without one they work.
#[derive(Clone, Default)]
struct Shaky {
    store: MemoryStore,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

#[derive(Clone)]
struct ShakyCore {
    core: MemoryCore,
    fates: Arc<Mutex<VecDeque<Fate>>>,
}

impl Shaky {
    fn is_to(&self, fates: &[Fate]) {
        self.fates.lock().unwrap().extend(fates);
    }
}

impl Corestore for Shaky {
    type Core = ShakyCore;

    async fn open(&self, target: OpenTarget) -> Result<ShakyCore, CoreError> {
        Ok(ShakyCore { core: self.store.open(target).await?, fates: self.fates.clone() })
    }
}

impl Core for ShakyCore {
    fn key(&self) -> Key {
        self.core.key()
    }
    fn writable(&self) -> bool {
        self.core.writable()
    }
    fn length(&self) -> u64 {
        self.core.length()
    }
    fn byte_length(&self) -> u64 {
        self.core.byte_length()
    }
    async fn append(&self, blocks: Vec<Bytes>, expected: Option<u64>) -> Result<Appended, CoreError> {
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Works);
        let gone = Err(CoreError::Disconnected("a test".into()));
        match fate {
            Fate::Fails => return gone,
            Fate::Works => {}
            Fate::AnswerLost => {
                self.core.append(blocks, expected).await?;
                return gone;
            }
        }
        // Somebody else may come first.
        tokio::task::yield_now().await;
        self.core.append(blocks, expected).await
    }
    async fn get(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        self.core.get(index, options).await
    }
    async fn has(&self, index: u64) -> Result<bool, CoreError> {
        self.core.has(index).await
    }
    async fn update(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        self.core.update(min_length).await
    }
    async fn seek(&self, byte_offset: u64, options: GetOptions) -> Result<Seek, CoreError> {
        self.core.seek(byte_offset, options).await
    }
    async fn download(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.core.download(start, end).await
    }
    async fn downloaded(&self, start: u64, end: u64) -> Result<u64, CoreError> {
        self.core.downloaded(start, end).await
    }
    async fn clear(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.core.clear(start, end).await
    }
    async fn flush(&self) -> Result<(), CoreError> {
        self.core.flush().await
    }
    async fn info(&self) -> Result<CoreInfo, CoreError> {
        self.core.info().await
    }
    fn peers(&self) -> Vec<Peer> {
        self.core.peers()
    }
    fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.core.events()
    }
}

async fn two(store: &MemoryStore, options: DriveOptions) -> (Drive<MemoryStore>, Drive<MemoryStore>) {
    let one = Drives::new(store.clone(), options).create_named("shared").await.unwrap();
    let two = Drives::new(store.clone(), options).create_named("shared").await.unwrap();
    (one, two)
}

/// Waits until the drive has seen all that is in its core.
async fn caught_up<S: Corestore>(drive: &Drive<S>) {
    while drive.version() != drive.metadata_core().length() {
        tokio::task::yield_now().await;
    }
}

fn put(path: &str, bytes: impl Into<Bytes>) -> Op {
    Op::PutFile { path: path.into(), attrs: Attrs::file(), content: Content::Bytes(bytes.into()) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two processes write two directories of one drive at once, and whatever comes in
    /// between, each finds its own directory as it left it.
    #[test]
    fn everybody_in_his_own_directory(steps in proptest::collection::vec((any::<bool>(), any::<bool>(), op()), 1..60)) {
        run(async {
            let store = MemoryStore::new();
            let (one, two) = two(&store, grouped()).await;
            let drives = [(&one, "/one"), (&two, "/two")];
            let mut models = [Model::default(), Model::default()];
            for (drive, home) in drives {
                drive.mkdir(home, Attrs { mode: 0o755, ..Attrs::default() }).await.unwrap();
                drive.apply(prelude().into_iter().map(|op| moved(op, home)).collect()).await.unwrap();
            }
            models.iter_mut().for_each(|model| *model = Model::of(&prelude()));
            for (first, commit, op) in steps {
                let index = usize::from(first);
                let (drive, home) = drives[index];
                let done = drive.apply(vec![moved(op.clone(), home)]).await.map_err(|error| error.errno());
                assert_eq!(done, models[index].apply(&op), "{op:?}");
                if commit {
                    drive.commit().await.unwrap();
                }
            }
            one.commit().await.unwrap();
            two.commit().await.unwrap();
            caught_up(&one).await;
            caught_up(&two).await;
            let fresh = Drives::new(store.clone(), grouped()).open(one.key(), None).await.unwrap();
            for drive in [&one, &two, &fresh] {
                for (model, home) in models.iter().zip(["/one", "/two"]) {
                    let mut whole = Model::default();
                    whole.graft(home, model);
                    for (path, node) in whole.walk().into_iter().skip(1) {
                        let stat = drive.stat(&path).await.unwrap();
                        assert_eq!(stat.mode & 0o7777, node.mode, "{path}");
                        if let common::Kind::File(bytes) = node.kind {
                            let read = drive.reader(&stat).read_all().await.unwrap();
                            assert!(read == bytes, "{path} has other bytes");
                        }
                    }
                    let count = drive.walk(home, Default::default()).await.unwrap().len();
                    assert_eq!(count, whole.walk().len() - 1);
                }
            }
        });
    }

    /// However often the server is away or its answers are lost: nothing of what waits
    /// is lost, nothing is done twice.
    #[test]
    fn nothing_is_lost(
        ops in proptest::collection::vec(op(), 1..20),
        fates in proptest::collection::vec(prop_oneof![Just(Fate::Works), Just(Fate::Fails), Just(Fate::AnswerLost)], 0..20),
    ) {
        run(async {
            let store = Shaky::default();
            let drive = Drives::new(store.clone(), grouped()).create().await.unwrap();
            let mut model = Model::of(&prelude());
            drive.apply(prelude()).await.unwrap();
            store.is_to(&fates);
            for op in ops {
                let done = drive.apply(vec![op.clone()]).await.map_err(|error| error.errno());
                assert_eq!(done, model.apply(&op), "{op:?}");
                let _ = drive.commit().await;
                compare(&drive, &model).await;
            }
            while drive.commit().await.is_err() {}
            compare(&drive, &model).await;
            let fresh = Drives::new(store, grouped()).open(drive.key(), None).await.unwrap();
            compare(&fresh, &model).await;
        });
    }
}

/// The same operation, in the directory `home`.
fn moved(mut op: Op, home: &str) -> Op {
    match &mut op {
        Op::PutFile { path, .. }
        | Op::CreateFile { path, .. }
        | Op::SetContent { path, .. }
        | Op::Mkdir { path, .. }
        | Op::Symlink { path, .. }
        | Op::Unlink { path }
        | Op::Rmdir { path }
        | Op::SetAttrs { path, .. }
        | Op::SetXattr { path, .. }
        | Op::RemoveXattr { path, .. }
        | Op::Mount { path, .. }
        | Op::Unmount { path } => path.insert_str(0, home),
        Op::Rename { from, to, .. } | Op::Copy { from, to } => {
            from.insert_str(0, home);
            to.insert_str(0, home);
        }
    }
    op
}

#[test]
fn what_is_impossible_now_is_dropped_and_the_rest_is_done() {
    run(async {
        let store = MemoryStore::new();
        let (one, two) = two(&store, grouped()).await;
        one.apply(vec![put("/x", "x"), put("/y", "y")]).await.unwrap();
        one.commit().await.unwrap();
        caught_up(&two).await;

        two.rename("/x", "/x2", RenameMode::Replace).await.unwrap();
        two.apply(vec![put("/z", "z")]).await.unwrap();
        one.unlink("/x").await.unwrap();
        one.commit().await.unwrap();
        two.commit().await.unwrap();
        caught_up(&one).await;
        for drive in [&one, &two] {
            let names: Vec<_> =
                drive.readdir("/").await.unwrap().into_iter().map(|entry| entry.name).collect();
            assert_eq!(names, ["y", "z"]);
        }
    });
}

#[test]
fn at_once_means_that_the_caller_is_told() {
    run(async {
        let store = Shaky::default();
        let options = immediate();
        let drive = Drives::new(store.clone(), options).create_named("a").await.unwrap();
        drive.put_file("/kept", "kept", Attrs::file()).await.unwrap();

        store.is_to(&[Fate::Fails]);
        let error = drive.mkdir("/d", Attrs::dir()).await.unwrap_err();
        assert_eq!(error.errno(), 5, "{error}");
        // Nothing is done then.
        assert_eq!(drive.stat("/d").await.unwrap_err().errno(), ENOENT);
        drive.mkdir("/d", Attrs::dir()).await.unwrap();

        // Somebody deletes the file between our look and our append.
        let other = Drives::new(store.store.clone(), options).create_named("a").await.unwrap();
        let (ours, theirs) = futures::join!(drive.unlink("/kept"), other.unlink("/kept"));
        assert_eq!(theirs, Ok(()));
        assert_eq!(ours.unwrap_err().errno(), ENOENT);
    });
}

#[test]
fn a_reader_and_a_stat_survive_what_comes_in_between() {
    run(async {
        let store = MemoryStore::new();
        let (one, two) = two(&store, grouped()).await;
        // Both expect the same place in the content core, with the same size.
        one.apply(vec![put("/one", vec![1; 1000])]).await.unwrap();
        two.apply(vec![put("/two", vec![2; 1000])]).await.unwrap();
        let stat = two.stat("/two").await.unwrap();
        let before = two.reader(&stat);
        one.commit().await.unwrap();
        two.commit().await.unwrap();
        caught_up(&one).await;
        assert_ne!(one.stat("/two").await.unwrap().offset, one.stat("/one").await.unwrap().offset);
        for reader in [before, two.reader(&stat), one.reader(&one.stat("/two").await.unwrap())] {
            assert_eq!(reader.read_all().await.unwrap(), vec![2; 1000]);
        }
        assert_eq!(two.read_file("/one").await.unwrap(), vec![1; 1000]);
    });
}

#[test]
fn others_are_told_which_paths_changed() {
    run(async {
        let store = MemoryStore::new();
        let (one, two) = two(&store, grouped()).await;
        one.apply(vec![put("/a", "a"), put("/b", "b"), put("/c", "c")]).await.unwrap();
        one.commit().await.unwrap();
        caught_up(&two).await;

        let (mut own, mut changes) = (one.changes(), two.changes());
        one.apply(vec![put("/a", "A"), Op::Unlink { path: "/b".into() }, put("/new", "n")]).await.unwrap();
        one.set_xattr("/", "user.x", "1").await.unwrap();
        one.commit().await.unwrap();
        let Change { paths } = changes.recv().await.unwrap();
        assert_eq!(paths.unwrap(), ["/", "/a", "/b", "/new"]);
        assert_eq!(two.read_file("/a").await.unwrap(), "A");
        // Whoever made them is not told.
        assert!(own.try_recv().is_err());

        // Also when something of our own waits.
        two.apply(vec![put("/mine", "m")]).await.unwrap();
        one.apply(vec![put("/theirs", "t")]).await.unwrap();
        one.commit().await.unwrap();
        assert_eq!(changes.recv().await.unwrap().paths.unwrap(), ["/theirs"]);
        assert_eq!(two.read_file("/mine").await.unwrap(), "m");
        assert_eq!(two.read_file("/theirs").await.unwrap(), "t");
    });
}

#[test]
fn a_group_is_one_append_to_each_core() {
    run(async {
        let store = MemoryStore::new();
        let commit = CommitPolicy::Grouped { delay: Duration::from_millis(20), bytes: u64::MAX };
        let drive = Drives::new(store, DriveOptions { commit, ..grouped() }).create().await.unwrap();
        let content = drive.content_core().await.unwrap();
        let (mut nodes, mut bytes) = (drive.metadata_core().events(), content.events());
        for n in 0..300 {
            drive.put_file(&format!("/{n}"), format!("file {n}"), Attrs::file()).await.unwrap();
        }
        // In time, by itself.
        assert!(matches!(nodes.recv().await, Ok(CoreEvent::Append { length: 301, .. })));
        assert!(matches!(bytes.recv().await, Ok(CoreEvent::Append { length: 300, .. })));
        assert!(nodes.try_recv().is_err());
        assert!(bytes.try_recv().is_err());
    });
}

#[test]
fn much_is_committed_before_its_time() {
    run(async {
        let commit = CommitPolicy::Grouped { delay: Duration::from_secs(3600), bytes: 100_000 };
        let drives = Drives::new(MemoryStore::new(), DriveOptions { commit, ..grouped() });
        let drive = drives.create().await.unwrap();
        let mut events = drive.metadata_core().events();
        drive.put_file("/a", vec![1; 200_000], Attrs::file()).await.unwrap();
        assert!(events.recv().await.is_ok());
    });
}

#[test]
fn changes_are_committed_though_everybody_has_let_go() {
    run(async {
        let store = Shaky::default();
        let commit = CommitPolicy::Grouped { delay: Duration::from_millis(10), bytes: u64::MAX };
        let drives = Drives::new(store.clone(), DriveOptions { commit, ..grouped() });
        let drive = drives.create().await.unwrap();
        let (key, mut events) = (drive.key(), drive.metadata_core().events());
        store.is_to(&[Fate::Fails, Fate::Fails]);
        drive.put_file("/a", "a", Attrs::file()).await.unwrap();
        drop((drive, drives));
        events.recv().await.unwrap();
        let drive = Drives::new(store, grouped()).open(key, None).await.unwrap();
        assert_eq!(drive.read_file("/a").await.unwrap(), "a");
    });
}

/// A source of which one read fails, and that lets others in between.
struct Source {
    bytes: Bytes,
    interrupt: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl ContentSource for Source {
    async fn read_at(&self, offset: u64, len: usize) -> std::io::Result<Bytes> {
        if offset > 0
            && let Some(interrupt) = self.interrupt.lock().unwrap().take()
        {
            interrupt();
        }
        // Short reads are no end.
        self.bytes.read_at(offset, len.div_ceil(2)).await
    }
}

#[test]
fn a_large_file_is_contiguous_whoever_comes_in_between() {
    run(async {
        let store = MemoryStore::new();
        let (one, two) = two(&store, grouped()).await;
        let bytes: Bytes = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        let content = two.content_core().await.unwrap();
        let waits = put("/small", "waits");
        one.apply(vec![waits]).await.unwrap();
        let interrupt = Box::new(move || {
            content.append(vec!["in between".into()], None).now_or_never().unwrap().unwrap();
        });
        let source = Source { bytes: bytes.clone(), interrupt: Mutex::new(Some(interrupt)) };
        let extent = one.write_content(source, bytes.len() as u64).await.unwrap();
        assert_eq!(extent.blocks, bytes.len().div_ceil(BLOCK_SIZE) as u64);
        let file =
            Op::PutFile { path: "/large".into(), attrs: Attrs::file(), content: Content::Extent(extent) };
        one.apply(vec![file]).await.unwrap();
        one.commit().await.unwrap();
        caught_up(&two).await;
        assert!(two.read_file("/large").await.unwrap() == bytes);
        assert_eq!(two.read_file("/small").await.unwrap(), "waits");
    });
}

#[test]
fn a_source_that_ends_early_is_an_error() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), grouped()).create().await.unwrap();
        let error = drive.write_content(Bytes::from(vec![0; 10]), 11).await.unwrap_err();
        assert_eq!(error.errno(), 5);
    });
}

#[test]
fn what_ends_the_content_core_grows_in_place() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), grouped()).create().await.unwrap();
        let mut expected = Vec::new();
        let mut extent = drive.write_content(Bytes::from(vec![1; 100_000]), 100_000).await.unwrap();
        expected.extend(vec![1; 100_000]);
        for n in 2..5 {
            extent = drive.extend_content(extent, vec![n; 70_000].into()).await.unwrap().unwrap();
            expected.extend(vec![n; 70_000]);
        }
        // While it waits, too.
        drive.put_file("/waits", vec![9; 10], Attrs::file()).await.unwrap();
        let waiting = drive.stat("/waits").await.unwrap().extent();
        let grown = drive.extend_content(waiting, vec![8; 10].into()).await.unwrap().unwrap();
        assert_eq!((grown.offset, grown.blocks, grown.size), (waiting.offset, 1, 20));
        let grow = Op::SetContent { path: "/waits".into(), content: Content::Extent(grown), mtime: 1 };
        let put = Op::PutFile { path: "/a".into(), attrs: Attrs::file(), content: Content::Extent(extent) };
        drive.apply(vec![put, grow]).await.unwrap();
        for _ in 0..2 {
            assert!(drive.read_file("/a").await.unwrap() == expected);
            assert_eq!(drive.read_file("/waits").await.unwrap(), [[9; 10], [8; 10]].concat());
            drive.commit().await.unwrap();
        }
        // It ends the content core no more.
        assert_eq!(drive.extend_content(extent, "x".into()).await.unwrap(), None);
    });
}

#[test]
fn memory_for_what_waits_is_bounded() {
    run(async {
        let drive = Drives::new(MemoryStore::new(), grouped()).create().await.unwrap();
        let megabyte = Bytes::from(vec![1; 1 << 20]);
        for n in 0..70 {
            drive.put_file(&format!("/{n}"), megabyte.clone(), Attrs::file()).await.unwrap();
        }
        assert_eq!(drive.metadata_core().length(), 65);
        assert_eq!(drive.version(), 71);
    });
}
