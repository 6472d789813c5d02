//! Between the kernel and [`Filesystem`]: one short method an operation.
//!
//! Each builds a future that answers the kernel, and polls it once on the thread that
//! read the request: what needs nobody else is answered right there. What has to wait
//! goes on as a task, so that it holds up nothing else.

use crate::errno::Errno;
use crate::fs::Filesystem;
use crate::fs::types::{Attr, Caller, Change, Entry, Handle, Kind, Opened, RenameMode, SetTime};
use crate::fs::xattr::SetMode;
use bytes::Bytes;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, FileAttr, FileHandle, FileType, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use hyperspace_api::Corestore;
use std::ffi::OsStr;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::runtime::Handle as Runtime;
use tokio_util::sync::CancellationToken;

/// How long the kernel believes what it was told of what is there: it hears of changes.
const TTL: Duration = Duration::from_secs(3600);
/// How long the kernel believes that a name is not there.
const ABSENT_TTL: Duration = Duration::from_secs(1);
/// Largest write, and read-ahead, of one request.
const MAX_IO: u32 = 1 << 20;
/// Requests that the kernel sends on its own account, at most, before it waits.
const MAX_BACKGROUND: u16 = 64;

/// Capabilities asked for, each if the kernel has it.
const WANTED: [InitFlags; 10] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Without it every write would first ask for `security.capability`.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_MAX_PAGES,
    InitFlags::FUSE_CACHE_SYMLINKS,
    // We say what to drop from the page cache; a new time alone is no reason to.
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
];

pub(crate) struct Adapter<S: Corestore> {
    fs: Arc<Filesystem<S>>,
    runtime: Runtime,
    hope: Hope,
}

/// Ends when data that peers or the server might send is waited for no more. (Changes are
/// waited for to the end: half of one is worse than none.)
#[derive(Clone)]
struct Hope(CancellationToken);

impl Hope {
    async fn of<T>(&self, work: impl Future<Output = Result<T, Errno>>) -> Result<T, Errno> {
        self.0.run_until_cancelled(work).await.unwrap_or(Err(Errno::EIO))
    }
}

impl<S: Corestore> Adapter<S> {
    pub(crate) fn new(fs: Arc<Filesystem<S>>, runtime: Runtime, hopeless: CancellationToken) -> Self {
        Self { fs, runtime, hope: Hope(hopeless) }
    }

    /// Answers now if that is possible, else as a task.
    fn run(&self, answer: impl Future<Output = ()> + Send + 'static) {
        let _entered = self.runtime.enter();
        let mut answer: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(answer);
        let mut poll = || answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match catch_unwind(AssertUnwindSafe(&mut poll)) {
            Ok(polled) if polled.is_ready() => {}
            Ok(_) => drop(self.runtime.spawn(answer)),
            // Dropping it answers `EIO`; this thread must live on to read the next request.
            Err(_) => tracing::error!("an operation of the filesystem panicked"),
        }
    }

    fn fs(&self) -> Arc<Filesystem<S>> {
        self.fs.clone()
    }

    /// For what only looks.
    fn looking(&self) -> (Arc<Filesystem<S>>, Hope) {
        (self.fs.clone(), self.hope.clone())
    }
}

fn caller(request: &Request) -> Caller {
    Caller { uid: request.uid(), gid: request.gid() }
}

fn code(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.code())
}

fn time(ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}

fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        // Times before 1970 cannot be stored.
        TimeOrNow::SpecificTime(time) => {
            SetTime::At(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64))
        }
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
    }
}

fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.size.div_ceil(512),
        atime: time(attr.mtime),
        mtime: time(attr.mtime),
        ctime: time(attr.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: (attr.perm & 0o7777) as u16,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        // What a content block is: programs size their buffers by it.
        blksize: 64 << 10,
        flags: 0,
    }
}

/// How long the kernel may believe `attr`.
fn attr_ttl(attr: &Attr) -> Duration {
    // A write takes the suid and sgid bits away without the kernel hearing of it.
    let privileged = attr.kind == Kind::File && attr.perm & (libc::S_ISUID | libc::S_ISGID) != 0;
    if privileged { Duration::ZERO } else { TTL }
}

fn reply_entry(reply: ReplyEntry, result: Result<Entry, Errno>) {
    match result {
        Ok(entry) => {
            let (attr, generation) = (file_attr(&entry.attr), Generation(entry.generation));
            reply.entry_with_ttls(&attr_ttl(&entry.attr), &TTL, &attr, generation);
        }
        Err(errno) => reply.error(code(errno)),
    }
}

fn reply_attr(reply: ReplyAttr, result: Result<Attr, Errno>) {
    match result {
        Ok(attr) => reply.attr(&attr_ttl(&attr), &file_attr(&attr)),
        Err(errno) => reply.error(code(errno)),
    }
}

fn reply_empty(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(code(errno)),
    }
}

fn reply_xattr(reply: ReplyXattr, size: u32, result: Result<Bytes, Errno>) {
    match result {
        // A caller that asks with size 0 wants to know how much room to bring.
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(fuser::Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(code(errno)),
    }
}

fn absent() -> FileAttr {
    let attr =
        Attr { ino: 0, kind: Kind::File, perm: 0, nlink: 0, uid: 0, gid: 0, size: 0, mtime: 0, ctime: 0 };
    file_attr(&attr)
}

impl<S: Corestore> fuser::Filesystem for Adapter<S> {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for capability in WANTED {
            // An older kernel does without.
            let _ = config.add_capabilities(capability);
        }
        let _ = config.set_max_write(MAX_IO);
        if let Err(most) = config.set_max_readahead(MAX_IO) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(MAX_BACKGROUND);
        // Times are kept in milliseconds.
        let _ = config.set_time_granularity(Duration::from_millis(1));
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let ((fs, hope), name) = (self.looking(), name.to_owned());
        self.run(async move {
            match hope.of(fs.lookup(parent.0, &name)).await {
                Err(Errno::ENOENT) => {
                    reply.entry_with_ttls(&ABSENT_TTL, &ABSENT_TTL, &absent(), Generation(0));
                }
                found => reply_entry(reply, found),
            }
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.fs.forget(ino.0, count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let (fs, hope) = self.looking();
        self.run(async move { reply_attr(reply, hope.of(fs.getattr(ino.0)).await) });
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed: Option<SystemTime>,
        _backup: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (fs, caller) = (self.fs(), caller(request));
        let (atime, mtime) = (atime.map(set_time), mtime.map(set_time));
        let change = Change { mode, uid, gid, size, atime, mtime };
        self.run(async move { reply_attr(reply, fs.setattr(caller, ino.0, change).await) });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let (fs, hope) = self.looking();
        self.run(async move {
            match hope.of(fs.readlink(ino.0)).await {
                Ok(target) => reply.data(target.as_bytes()),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        let (fs, caller, name) = (self.fs(), caller(request), name.to_owned());
        self.run(async move { reply_entry(reply, fs.mknod(caller, parent.0, &name, mode & !umask).await) });
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let (fs, caller, name) = (self.fs(), caller(request), name.to_owned());
        self.run(async move { reply_entry(reply, fs.mkdir(caller, parent.0, &name, mode & !umask).await) });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs(), name.to_owned());
        self.run(async move { reply_empty(reply, fs.unlink(parent.0, &name).await) });
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs(), name.to_owned());
        self.run(async move { reply_empty(reply, fs.rmdir(parent.0, &name).await) });
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (fs, caller) = (self.fs(), caller(request));
        let (name, target) = (name.to_owned(), target.as_os_str().to_owned());
        self.run(async move { reply_entry(reply, fs.symlink(caller, parent.0, &name, &target).await) });
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            _ if flags.is_empty() => RenameMode::Replace,
            RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
            RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let (fs, name, new_name) = (self.fs(), name.to_owned(), new_name.to_owned());
        self.run(async move {
            reply_empty(reply, fs.rename((parent.0, &name), (new_parent.0, &new_name), mode).await);
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let fs = self.fs();
        self.run(async move {
            match fs.open(ino.0, flags.0).await {
                Ok(Opened { handle, keep }) => {
                    let flags = if keep { FopenFlags::FOPEN_KEEP_CACHE } else { FopenFlags::empty() };
                    reply.opened(FileHandle(handle.0), flags);
                }
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (fs, hope) = self.looking();
        self.run(async move {
            match hope.of(fs.read(ino.0, offset, size as usize)).await {
                Ok(bytes) => reply.data(&bytes),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _open_flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = data.len() as u32;
        if let Err(errno) = self.fs.write(ino.0, offset, data) {
            return reply.error(code(errno));
        }
        let kill = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        if !kill && !self.fs.congested(ino.0) {
            return reply.written(written);
        }
        let fs = self.fs();
        self.run(async move {
            let stripped = if kill { fs.drop_privileges(ino.0).await } else { Ok(()) };
            match stripped.and(fs.drained(ino.0).await) {
                Ok(()) => reply.written(written),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn flush(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let fs = self.fs();
        self.run(async move { reply_empty(reply, fs.flush(ino.0, Handle(handle.0)).await) });
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let fs = self.fs();
        self.run(async move { reply_empty(reply, fs.release(ino.0, Handle(handle.0)).await) });
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let fs = self.fs();
        self.run(async move { reply_empty(reply, fs.fsync(ino.0).await) });
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let (fs, hope) = self.looking();
        self.run(async move {
            match hope.of(fs.opendir(ino.0)).await {
                Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn readdir(&self, _: &Request, ino: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.fs.readdir(ino.0, Handle(handle.0), offset, |entry| {
            reply.add(INodeNo(entry.ino), entry.next, file_type(entry.kind), entry.name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(code(errno)),
        }
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (fs, hope) = self.looking();
        self.run(async move {
            let handle = Handle(handle.0);
            let listed = fs.readdirplus(ino.0, handle, offset, |entry, found, keep| {
                let ttl = if keep { attr_ttl(&found.attr) } else { Duration::ZERO };
                let (attr, generation) = (file_attr(&found.attr), Generation(found.generation));
                reply.add(attr.ino, entry.next, entry.name, &ttl, &attr, generation)
            });
            match hope.of(listed).await {
                Ok(()) => reply.ok(),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn releasedir(&self, _: &Request, ino: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.fs.releasedir(ino.0, Handle(handle.0));
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _data_only: bool, reply: ReplyEmpty) {
        let fs = self.fs();
        self.run(async move { reply_empty(reply, fs.fsyncdir(ino.0).await) });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.fs.statfs() {
            Ok(s) => {
                let (size, name) = (s.block_size, 255);
                reply.statfs(s.blocks, s.free, s.available, s.files, s.files_free, size, name, size);
            }
            Err(errno) => reply.error(code(errno)),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let mode = match flags {
            0 => SetMode::Any,
            libc::XATTR_CREATE => SetMode::Create,
            libc::XATTR_REPLACE => SetMode::Replace,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let (fs, name, value) = (self.fs(), name.to_owned(), value.to_vec());
        self.run(async move { reply_empty(reply, fs.setxattr(ino.0, &name, &value, mode).await) });
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let ((fs, hope), name) = (self.looking(), name.to_owned());
        self.run(async move { reply_xattr(reply, size, hope.of(fs.getxattr(ino.0, &name)).await) });
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let (fs, hope) = self.looking();
        self.run(async move { reply_xattr(reply, size, hope.of(fs.listxattr(ino.0)).await) });
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs(), name.to_owned());
        self.run(async move { reply_empty(reply, fs.removexattr(ino.0, &name).await) });
    }

    /// The kernel checks permissions itself (`default_permissions`).
    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (fs, caller, name) = (self.fs(), caller(request), name.to_owned());
        self.run(async move {
            match fs.create(caller, parent.0, &name, mode & !umask, flags).await {
                Ok((entry, handle)) => reply.created(
                    &attr_ttl(&entry.attr),
                    &file_attr(&entry.attr),
                    Generation(entry.generation),
                    FileHandle(handle.0),
                    FopenFlags::FOPEN_KEEP_CACHE,
                ),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        reply_empty(reply, self.fs.fallocate(ino.0, offset, length, mode));
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        match self.fs.lseek(ino.0, offset, whence) {
            Ok(at) => reply.offset(at),
            Err(errno) => reply.error(code(errno)),
        }
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _to_handle: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let fs = self.fs();
        self.run(async move {
            match fs.copy_file_range((from.0, from_offset), (to.0, to_offset), length).await {
                Ok(copied) => reply.written(copied as u32),
                Err(errno) => reply.error(code(errno)),
            }
        });
    }
}
