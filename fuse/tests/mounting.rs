//! Mounting, unmounting, and two mounts of one drive.

mod common;

use common::{blocking, mount_store, sh};
use hyperdrive::{DriveOptions, Drives};
use hyperdrive_fuse::fs::{Filesystem, types::FsOptions};
use hyperdrive_fuse::{MountError, MountOptions, force_unmount, mount};
use hyperspace_api::memory::MemoryStore;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits until `check` holds: what another mount did is seen soon, not at once.
async fn soon(what: &str, check: impl Fn() -> bool + Clone + Send + 'static) {
    let until = Instant::now() + Duration::from_secs(5);
    while !blocking(check.clone()).await {
        assert!(Instant::now() < until, "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_mounts_see_each_other() {
    let store = MemoryStore::new();
    let (one, two) = (mount_store(&store).await, mount_store(&store).await);
    let (a, b) = (one.path.clone(), two.path.clone());
    let reads = |at: &Path, name: &str, want: &'static str| {
        let path = at.join(name);
        move || fs::read(&path).is_ok_and(|bytes| bytes == want.as_bytes())
    };

    // The other mount knows that the name is not there, then what is in it.
    assert!(!b.join("f").exists());
    one.sh("echo -n one > f").await;
    soon("a new file", reads(&b, "f", "one")).await;
    two.sh("[ $(stat -c %s f) = 3 ]; echo -n 'longer text' > f").await;
    soon("new content", reads(&a, "f", "longer text")).await;
    one.sh("echo -n 'other  text' > f").await;
    soon("content of the same length", reads(&b, "f", "other  text")).await;
    one.sh("mkdir -p d/e; echo -n x > d/e/f; chmod 600 f").await;
    soon("a new directory", reads(&b, "d/e/f", "x")).await;
    let f = b.join("f");
    soon("a mode", move || {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&f).unwrap().permissions()) & 0o777 == 0o600
    })
    .await;
    two.sh("ls d/e > /dev/null; mv d renamed").await;
    soon("a renamed directory", reads(&a, "renamed/e/f", "x")).await;
    assert!(!a.join("d").exists());
    two.sh("rm -r renamed f").await;
    soon("deletion", move || fs::read_dir(&a).unwrap().count() == 1).await;
    one.unmount().await;
    two.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_file_shows_what_others_write() {
    let store = MemoryStore::new();
    let (one, two) = (mount_store(&store).await, mount_store(&store).await);
    one.sh("echo -n old > f").await;
    let at = two.path.join("f");
    let seen = at.clone();
    soon("the file", move || seen.exists()).await;
    let file = std::sync::Arc::new(blocking(move || fs::File::open(at).unwrap()).await);
    one.sh("echo -n newer > f").await;
    soon("the new content", move || {
        let mut bytes = [0; 9];
        let got = std::os::unix::fs::FileExt::read_at(&*file, &mut bytes, 0).unwrap();
        &bytes[..got] == b"newer"
    })
    .await;
    one.unmount().await;
    two.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_drive_at_two_places() {
    let store = MemoryStore::new();
    let mount = mount_store(&store).await;
    let other = mount.drives.create().await.unwrap();
    for path in ["/a", "/b"] {
        mount.drive.mount(path, other.key(), None).await.unwrap();
    }
    let (a, b) = (mount.path.join("a"), mount.path.join("b"));
    let network = mount.path.join("Network").join(other.key().to_string());
    mount.sh("ls a b > /dev/null; echo -n one > a/f; [ ! -e b/g ]").await;
    let f = network.join("f");
    soon("it in the network directory", move || fs::read(&f).is_ok_and(|bytes| bytes == b"one")).await;
    let f = b.join("f");
    soon("it at the other mountpoint", move || fs::read(&f).is_ok_and(|bytes| bytes == b"one")).await;
    mount.sh("echo -n two > b/f; mv b/f b/g").await;
    let g = a.join("g");
    soon("its new name", move || fs::read(&g).is_ok_and(|bytes| bytes == b"two")).await;
    mount
        .sh("( ! mv a/g elsewhere.tmp 2>&1 ) || [ $(cat elsewhere.tmp) = two ]; rmdir b; [ ! -e b ]; ls a")
        .await;
    mount.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fusermount_saves_too() {
    let store = MemoryStore::new();
    let first = mount_store(&store).await;
    first.sh("echo text > f; mkdir d").await;
    sh(Path::new("/"), &format!("fusermount3 -u {}", first.path.display())).await;
    tokio::time::timeout(Duration::from_secs(5), first.mounted.wait()).await.expect("it is unmounted");
    first.mounted.unmount().await.unwrap();
    let again = mount_store(&store).await;
    again.sh("[ $(cat f) = text ]; [ -d d ]").await;
    again.unmount().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unmount_saves_what_open_files_have() {
    let store = MemoryStore::new();
    let first = mount_store(&store).await;
    let at = first.path.join("f");
    let file = blocking(move || {
        let file = fs::File::create(at).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"not closed", 0).unwrap();
        file
    })
    .await;
    first.unmount().await;
    let again = mount_store(&store).await;
    again.sh("[ \"$(cat f)\" = 'not closed' ]").await;
    again.unmount().await;
    blocking(move || drop(file)).await;
}

/// Mounts something whose process is gone at once.
fn dead_mount(at: &Path) {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("dead"), at, Some("fuse"), flags, Some(data.as_str())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mountpoints() {
    let store = MemoryStore::new();
    let drives = Drives::new(store.clone(), DriveOptions::default());
    let root = drives.create_named("root").await.unwrap();
    let fs = || Filesystem::new(drives.clone(), root.clone(), FsOptions::default());
    let dir = tempfile::tempdir().unwrap();
    let forced = MountOptions { force: true, ..MountOptions::default() };

    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let refused = mount(fs(), &file, MountOptions::default()).await;
    assert!(matches!(refused, Err(MountError::NotADirectory(_))), "{refused:?}");

    let at = dir.path().join("new/one");
    let mounted = mount(fs(), &at, MountOptions::default()).await.unwrap();
    let refused = mount(fs(), &at, forced.clone()).await;
    assert!(matches!(refused, Err(MountError::InUse(_))), "{refused:?}");
    mounted.unmount().await.unwrap();

    dead_mount(&at);
    let refused = mount(fs(), &at, MountOptions::default()).await;
    assert!(matches!(refused, Err(MountError::Dead(_))), "{refused:?}");
    let mounted = mount(fs(), &at, forced).await.unwrap();
    sh(&at, "echo x > f").await;
    mounted.unmount().await.unwrap();

    dead_mount(&at);
    force_unmount(&at).await.unwrap();
    assert_eq!(std::fs::read_dir(&at).unwrap().count(), 0);
    assert!(force_unmount(&at).await.is_err());
}
