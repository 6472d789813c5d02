//! Attributes and symbolic links.

use crate::Check;
use crate::world::{World, refused, text, xattr};
use hyperspace_e2e::shell;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

pub const CHECKS: &[Check] = &[
    ("S26", modes_and_owners),
    ("S27", times),
    ("S28", inode_numbers),
    ("S29", blocks),
    ("S30", extended_attributes),
    ("S31", what_tells_of_the_drive),
    ("S32", free_space),
    ("S33", symbolic_links),
];

fn modes_and_owners(world: &mut World) {
    let folder = world.folder();
    let (file, dir) = (folder.join("file"), folder.join("dir"));
    fs::write(&file, "x").expect("a new file");
    fs::create_dir(&dir).expect("a new folder");
    for (path, mode, uid, gid) in [(&file, 0o4751, 1001, 1002), (&dir, 0o1777, 1003, 1004)] {
        chown(path, Some(uid), Some(gid)).expect("chown");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
    for _ in 0..2 {
        let (file, dir) = (fs::metadata(&file).expect("the file"), fs::metadata(&dir).expect("the folder"));
        assert_eq!((file.mode(), file.uid(), file.gid()), (0o104_751, 1001, 1002));
        assert_eq!((dir.mode(), dir.uid(), dir.gid()), (0o041_777, 1003, 1004));
        world.restart();
    }
}

fn times(world: &mut World) {
    let path = world.folder().join("file");
    fs::write(&path, "x").expect("a new file");
    let modified = || fs::metadata(&path).expect("the file").modified().expect("a time");
    let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(981_173_106_789);
    File::options().write(true).open(&path).expect("the file").set_modified(moment).expect("utimens");
    for _ in 0..2 {
        assert_eq!(modified(), moment);
        world.restart();
    }
    let before = SystemTime::now() - Duration::from_secs(2);
    File::options().append(true).open(&path).expect("the file").write_all(b"y").expect("a write");
    assert!(modified() > before, "a write does not change the time");
}

fn inode_numbers(world: &mut World) {
    let folder = world.folder();
    let ino = |path: &Path| fs::symlink_metadata(path).expect("it is there").ino();
    let paths: Vec<PathBuf> = (0..100).map(|i| folder.join(format!("file-{i}"))).collect();
    paths.iter().for_each(|path| fs::write(path, "").expect("a new file"));
    let numbers: BTreeSet<u64> = paths.iter().map(|path| ino(path)).collect();
    assert_eq!(numbers.len(), 100, "two files have one number");
    let first = ino(&paths[0]);
    fs::write(&paths[0], "changed").expect("a write");
    fs::rename(&paths[0], folder.join("renamed")).expect("a rename");
    assert_eq!(ino(&folder.join("renamed")), first);
}

fn blocks(world: &mut World) {
    let path = world.folder().join("file");
    fs::write(&path, vec![1; 1_000_000]).expect("a new file");
    let counted = fs::metadata(&path).expect("the file").blocks() * 512;
    assert!((1_000_000..1_100_000).contains(&counted), "{counted} bytes");
}

fn extended_attributes(world: &mut World) {
    let path = world.folder().join("file");
    fs::write(&path, "x").expect("a new file");
    let at = text(&path);
    let set = |name: &str, value: &str| {
        shell::attempt(Command::new("setfattr").args(["-n", name, "-v", value, at]))
    };
    let names = || {
        let listed = shell::run(Command::new("getfattr").args(["--absolute-names", "-m", "-", at]));
        let mut names: Vec<String> =
            listed.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).map(str::to_owned).collect();
        names.sort();
        names
    };
    for (name, value) in
        [("user.a", "one"), ("user.b", "two"), ("trusted.c", "three"), ("user.a", "replaced")]
    {
        assert!(set(name, value).status.success(), "{name}");
    }
    assert_eq!(names(), ["trusted.c", "user.a", "user.b"]);
    assert_eq!(xattr(&path, "user.a"), "replaced");
    shell::run(Command::new("setfattr").args(["-x", "user.b", at]));
    assert_eq!(names(), ["trusted.c", "user.a"]);
    assert!(!shell::attempt(Command::new("getfattr").args(["-n", "user.b", at])).status.success());
    assert!(set("user.long", &"v".repeat(60_000)).status.success(), "60,000 bytes");
    assert!(!set("user.more", &"v".repeat(10_000)).status.success(), "more than 64 KiB");
    let refused = set("system.other", "x");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("Operation not supported"), "{said}");
    world.restart();
    assert_eq!(names(), ["trusted.c", "user.a", "user.long"]);
}

fn what_tells_of_the_drive(world: &mut World) {
    let folder = world.folder();
    let path = folder.join("file");
    fs::write(&path, "x").expect("a new file");
    for place in [&path, &folder, &world.root()] {
        assert_eq!(xattr(place, "user.hyperdrive.key"), world.mount().key());
        assert_eq!(xattr(place, "user.hyperdrive.discovery-key").len(), 64);
        assert_eq!(xattr(place, "user.hyperdrive.writable"), "true");
        assert!(xattr(place, "user.hyperdrive.version").parse::<u64>().is_ok_and(|version| version > 0));
        let inside = place.strip_prefix(world.root()).expect("a path in the mount");
        assert_eq!(xattr(place, "user.hyperdrive.path"), format!("/{}", inside.display()));
    }
    let listed = shell::run(Command::new("getfattr").args(["--absolute-names", "-m", "-"]).arg(&path));
    assert!(!listed.contains("hyperdrive"), "{listed}");
    let set =
        shell::attempt(Command::new("setfattr").args(["-n", "user.hyperdrive.key", "-v", "x"]).arg(&path));
    assert!(String::from_utf8_lossy(&set.stderr).contains("Operation not permitted"), "{set:?}");
}

fn free_space(world: &mut World) {
    let here = statvfs(&world.root()).expect("statfs of the mount");
    let disk = statvfs(&world.scratch.storage()).expect("statfs of the disk");
    let bytes = |space: &nix::sys::statvfs::Statvfs| space.blocks_available() * space.fragment_size();
    let (here, disk) = (bytes(&here), bytes(&disk));
    assert!(here.abs_diff(disk) < disk / 20 + (64 << 20), "{here} bytes here, {disk} on the disk");
}

fn symbolic_links(world: &mut World) {
    let folder = world.folder();
    fs::create_dir(folder.join("dir")).expect("a new folder");
    fs::write(folder.join("dir/file"), "content").expect("a new file");
    let links = [
        ("relative", "dir/file"),
        ("dir/sibling", "file"),
        ("dir/up", "../dir/./file"),
        ("absolute", "/etc/hostname"),
        ("dangling", "no/such/thing"),
        ("dots", "../../../../../.."),
    ];
    for (link, target) in links {
        symlink(target, folder.join(link)).expect("a new link");
    }
    for _ in 0..2 {
        for (link, target) in links {
            assert_eq!(fs::read_link(folder.join(link)).expect("a link"), Path::new(target));
        }
        for link in ["relative", "dir/sibling", "dir/up"] {
            assert_eq!(fs::read(folder.join(link)).expect(link), b"content");
        }
        world.restart();
    }
    refused(fs::read(folder.join("dangling")), Errno::ENOENT);
    symlink("loop-b", folder.join("loop-a")).expect("a new link");
    symlink("loop-a", folder.join("loop-b")).expect("a new link");
    refused(fs::read(folder.join("loop-a")), Errno::ELOOP);
    refused(symlink("x", folder.join("dangling")), Errno::EEXIST);
}
