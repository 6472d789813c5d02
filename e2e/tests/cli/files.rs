//! `ls`, `cat`, `put`, `rm`, `mkdir`: through the server, whether or not it is mounted.

use crate::world::World;
use serde_json::json;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn names(world: &World, path: &str) -> Vec<String> {
    world.ok(&["ls", path]).lines().map(str::to_owned).collect()
}

/// What the commands do; the same with and without a mount.
fn files_and_folders(world: &World) {
    let at = |path: &str| world.at(path);
    assert_eq!(world.json(&["mkdir", &at("dir")]), json!({ "made": "/dir" }));
    world.refused(&["mkdir", &at("dir")], 1, "EEXIST", "exists already");
    world.refused(&["mkdir", &at("a/b/c")], 1, "ENOENT", "'/a");
    assert_eq!(world.ok(&["mkdir", "-p", &at("a/b/c")]), "");
    assert_eq!(world.ok(&["mkdir", "-p", &at("a/b/c")]), "");

    let put = world.ok_with(&["put", &at("dir/hello")], b"hello\n");
    assert_eq!(put, format!("Wrote 6 bytes to {}\n", at("dir/hello")));
    assert_eq!(world.ok(&["cat", &at("dir/hello")]), "hello\n");
    world.refused(&["mkdir", "-p", &at("dir/hello/x")], 1, "ENOTDIR", "not a directory");
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = world.home("large");
    fs::write(&file, &large).expect("the disk");
    let put = world.json(&["put", &at("large"), file.to_str().expect("UTF-8")]);
    assert_eq!(put, json!({ "path": "/large", "size": 3_000_000, "mode": 0o644 }));
    assert_eq!(world.run(&["cat", &at("large")]).stdout, large);
    // In place of what was there, and nothing at all.
    world.ok_with(&["put", &at("large")], b"");
    assert_eq!(world.ok(&["cat", &at("large")]), "");

    assert_eq!(names(world, &at(".")), ["a/", "dir/", "large"]);
    let listed = world.json(&["ls", &at("dir")]);
    let mtime = &listed[0]["mtime"];
    let hello = json!({ "name": "hello", "kind": "file", "mode": 0o644, "size": 6, "mtime": mtime });
    assert_eq!(listed, json!([hello]));
    assert!(mtime.as_u64() > Some(1_600_000_000_000), "milliseconds: {mtime}");
    assert_eq!(world.json(&["ls", &at("dir/hello")]), json!([hello]), "a file gives itself");
    let long = world.ok(&["ls", "-l", &at("dir")]);
    let words: Vec<_> = long.split_whitespace().collect();
    assert_eq!((words[0], words[1], words[2], words[4]), ("file", "0644", "6", "hello"), "{long}");
    assert_eq!(names(world, &at("a/b/c")), [""; 0]);
    assert_eq!(world.json(&["ls", &at("a/b/c")]), json!([]));
    world.ok(&["create", &at("drive"), "--no-seed"]);
    let drive = &world.json(&["ls", "--root"])[2];
    assert_eq!((&drive["name"], &drive["kind"]), (&json!("drive"), &json!("mount")));
    assert_eq!(drive["mount"], world.json(&["info", &at("drive")])["key"]);
    world.ok_with(&["put", &at("drive/in")], b"side");
    assert_eq!(world.ok(&["cat", &at("drive/in")]), "side");

    let missing = at("missing");
    for command in ["ls", "cat", "rm"] {
        world.refused(&[command, &missing], 1, "ENOENT", "No such file or directory: '/missing'");
    }
    world.refused(&["cat", &at("dir")], 2, "USAGE", "is a folder. To list it: hyperdrive ls");
    world.refused(&["put", &at("dir"), "/dev/null"], 1, "EISDIR", "'/dir' is a directory");
    world.refused(&["put", &at("x"), "/etc"], 2, "USAGE", "hyperdrive import");
    world.refused(&["put", &at("x"), "/nonexistent"], 1, "FAILED", "/nonexistent");
    world.refused(&["put", &at("missing/x"), "/dev/null"], 1, "ENOENT", "/missing");

    world.refused(&["rm", &at("dir")], 1, "ENOTEMPTY", "--recursive");
    world.refused(&["rm", "-r", &at("drive")], 2, "USAGE", "hyperdrive unmount");
    world.refused(&["rm", "-r", &at(".")], 2, "USAGE", "root");
    assert_eq!(world.json(&["rm", &at("dir/hello")]), json!({ "removed": "/dir/hello" }));
    assert_eq!(world.ok(&["rm", "-r", &at("a")]), "");
    assert_eq!(world.ok(&["rm", &at("dir")]), "", "an empty folder goes without more");
    assert_eq!(names(world, &at(".")), ["drive/", "large"]);
}

#[test]
fn without_a_mount() {
    files_and_folders(&World::unmounted());
}

#[test]
fn with_a_mount() {
    let world = World::mounted();
    files_and_folders(&world);
    // What commands did is there for programs, and the reverse.
    let kernel = |path: &str| fs::read_to_string(world.at(path));
    assert_eq!(kernel("drive/in").expect("the file"), "side");
    assert_eq!(kernel("large").expect("the file"), "");
    fs::write(world.at("mine"), "by a program").expect("it is mounted");
    assert_eq!(world.ok(&["cat", &world.at("mine")]), "by a program");
    world.ok_with(&["put", &world.at("mine")], b"by a command");
    assert_eq!(kernel("mine").expect("the file"), "by a command");
    world.ok(&["mkdir", &world.at("new")]);
    assert!(fs::metadata(world.at("new")).expect("the folder").is_dir());
    world.ok(&["rm", &world.at("mine")]);
    assert!(kernel("mine").is_err());
}

#[test]
fn links_and_permissions_stay() {
    let world = World::mounted();
    fs::write(world.at("tool"), "old").expect("it is mounted");
    fs::set_permissions(world.at("tool"), fs::Permissions::from_mode(0o750)).expect("chmod");
    symlink("tool", world.at("link")).expect("a link");
    symlink("nowhere", world.at("dangling")).expect("a link");
    assert_eq!(world.ok(&["cat", &world.at("link")]), "old");
    world.ok_with(&["put", &world.at("link")], b"new");
    assert_eq!(fs::read_to_string(world.at("tool")).expect("the file"), "new");
    assert!(fs::symlink_metadata(world.at("link")).expect("the link").is_symlink());
    let mode = fs::metadata(world.at("tool")).expect("the file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    world.ok_with(&["put", &world.at("dangling")], b"made");
    assert_eq!(fs::read_to_string(world.at("nowhere")).expect("the file"), "made");
    let listed = world.json(&["ls", "--root"]);
    let link = listed.as_array().expect("a list").iter().find(|line| line["name"] == "link");
    let link = link.expect("the link");
    assert_eq!((&link["kind"], &link["target"]), (&json!("symlink"), &json!("tool")));
}

/// A pipe has no size to be told beforehand.
#[test]
fn a_pipe_is_put_whole() {
    let world = World::unmounted();
    let pipe = world.home("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("a pipe");
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, vec![b'x'; 300_000]).expect("it is read")
    });
    let put = world.json(&["put", &world.at("piped"), pipe.to_str().expect("UTF-8")]);
    writer.join().expect("the writer");
    assert_eq!(put["size"], 300_000);
    assert_eq!(world.run(&["cat", &world.at("piped")]).stdout.len(), 300_000);
}

/// Paths may be given from where one is, and by links that lead to the mount.
#[test]
fn paths_as_people_write_them() {
    let world = World::mounted();
    fs::create_dir(world.at("dir")).expect("it is mounted");
    fs::write(world.at("dir/file"), "here").expect("it is mounted");
    symlink(world.scratch.mnt(), world.home("short")).expect("a link");
    let mut inside = world.command(&["cat", "../dir/./file"]);
    let output = inside.current_dir(world.at("dir")).output().expect("it runs");
    assert_eq!(output.stdout, b"here", "{output:?}");
    let mut listed = world.command(&["ls"]);
    let output = listed.current_dir(world.at("dir")).output().expect("it runs");
    assert_eq!(output.stdout, b"file\n", "{output:?}");
    let link = world.home("short/dir/file");
    assert_eq!(world.ok(&["cat", link.to_str().expect("UTF-8")]), "here");
}
