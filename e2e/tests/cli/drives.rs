//! `status`, `create`, `mount`, `unmount`, `info`, `seed`, `unseed`, `stats`.

use crate::world::{World, is_key, soon};
use serde_json::json;

const STRANGER: &str = "abababababababababababababababababababababababababababababababab";

#[test]
fn a_drive_from_its_making_to_its_unmounting() {
    let world = World::mounted();
    let photos = world.at("photos");
    let made = world.json(&["create", &photos, "--no-seed"]);
    assert_eq!((&made["path"], &made["seeding"]), (&json!("/photos"), &json!(false)));
    assert!(is_key(&made["key"]), "{made}");
    let key = made["key"].as_str().expect("a key");
    std::fs::write(world.at("photos/a"), "one").expect("it is mounted");

    let info = world.json(&["info", &world.at("photos/a")]);
    assert_eq!(info["key"], key);
    assert!(is_key(&info["discoveryKey"]));
    assert!(info["version"].as_u64() > Some(1), "{info}");
    let expected = json!({
        "path": "/photos/a", "key": key, "discoveryKey": info["discoveryKey"], "isMount": false,
        "mountPath": "/a", "writable": true, "version": info["version"], "announce": false, "lookup": false,
        "remember": false, "peers": 0, "byteLength": info["byteLength"], "diskBytes": info["byteLength"],
        "uploadedBytes": 0, "receivedBytes": 0, "uploadRate": 0, "downloadRate": 0,
    });
    assert_eq!(info, expected);
    assert!(info["byteLength"].as_u64() > Some(3), "{info}");
    assert_eq!(world.json(&["info", &photos])["isMount"], true);
    assert_eq!(world.json(&["info", "--key", key])["key"], key);
    let root = world.json(&["info", "--root"]);
    assert_eq!(root["key"].as_str(), Some(world.root_key().as_str()));
    let said = world.ok(&["info", &photos]);
    for line in ["Drive Info:", &format!("  Key:           {key}"), "  Writable:      true"] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }

    // With the key written as people have it, at a second place.
    let link = format!("hyper://{key}/");
    let mounted = world.json(&["mount", &world.at("twin"), &link]);
    assert_eq!(mounted, json!({ "path": "/twin", "key": key, "seeding": false }));
    soon("the second mount", || std::fs::read(world.at("twin/a")).is_ok_and(|found| found == b"one"));
    let said = world.ok(&["mount", &world.at("third"), key, "--seed"]);
    for line in ["Mounted a drive with the following info:", "  Path:    /third", "  Seeding: true"] {
        assert!(said.lines().any(|found| found == line), "{line}: {said}");
    }
    assert_eq!(world.json(&["info", &photos])["announce"], true);

    // And at a version.
    let old = world.json(&["mount", &world.at("old"), key, "--version", "1"]);
    assert_eq!(old["version"], 1);
    assert!(!std::path::Path::new(&world.at("old/a")).exists());
    assert_eq!(world.json(&["info", &world.at("old")])["version"], 1);
    world.refused(&["mount", &world.at("newer"), key, "--version", "99"], 2, "USAGE", "no version 99 yet");

    world.refused(&["create", &photos], 1, "EEXIST", "exists already");
    world.refused(&["mount", &photos, key], 1, "EEXIST", "exists already");
    world.refused(&["create", &world.at("no/where")], 1, "ENOENT", "/no");
    world.refused(&["create", &world.at("photos/a/b")], 1, "ENOTDIR", "not a directory");
    world.refused(&["create", &world.at("old/x")], 1, "EROFS", "read-only");

    assert_eq!(world.json(&["unmount", &world.at("twin")]), json!({ "unmounted": "/twin" }));
    assert_eq!(world.ok(&["unmount", &world.at("third")]), "Successfully unmounted the drive.\n");
    assert!(!std::path::Path::new(&world.at("twin")).exists());
    world.refused(&["unmount", &world.at("twin")], 1, "ENOENT", "/twin");
    world.refused(&["unmount", &world.at("photos/a")], 1, "EINVAL", "no mountpoint");
    // The drive is as it was.
    assert_eq!(world.ok(&["cat", &world.at("photos/a")]), "one");
}

#[test]
fn what_lies_elsewhere_is_refused() {
    let world = World::mounted();
    for command in ["create", "unmount", "info", "seed", "unseed", "stats", "ls", "cat", "put", "rm", "mkdir"]
    {
        world.refused(&[command, "/etc/x"], 2, "USAGE", "not contained within the current mountpoint");
        world.refused(&[command, &world.at("Network/x")], 2, "USAGE", "Network");
    }
    // The working directory is the home, which is no drive.
    world.refused(&["ls"], 2, "USAGE", "not contained within the current mountpoint");
    world.refused(&["info", &world.at("missing")], 1, "ENOENT", "'/missing'");
}

#[test]
fn seeding_is_remembered() {
    let world = World::unmounted();
    let path = world.at("drive");
    let key = world.json(&["create", &path])["key"].as_str().expect("a key").to_owned();
    let state = |world: &World| {
        let info = world.json(&["info", &path]);
        (info["announce"].as_bool(), info["lookup"].as_bool(), info["remember"].as_bool())
    };
    assert_eq!(state(&world), (Some(true), Some(true), Some(true)), "created, it is seeded");
    assert_eq!(world.ok(&["unseed", &path]), format!("Unseeded the drive with key {key}\n"));
    assert_eq!(state(&world), (Some(false), Some(false), Some(false)));
    assert_eq!(world.ok(&["seed", "--key", &key]), format!("Seeding the drive with key {key}\n"));
    assert_eq!(state(&world), (Some(true), Some(true), Some(true)));
    let seeded = world.json(&["unseed", &path]);
    assert_eq!((&seeded["announce"], &seeded["key"]), (&json!(false), &json!(key)));
    assert_eq!(world.json(&["seed", "--root"])["announce"], true);
    assert_eq!(world.json(&["info", "--root"])["announce"], true);
    // For as long as the session lasts, which is this command.
    assert_eq!(world.json(&["seed", &path, "--no-remember"])["announce"], true);
    assert_eq!(state(&world).0, Some(false));
}

#[test]
fn stats_of_cores_and_files() {
    let world = World::mounted();
    let drive = world.at("drive");
    let key = world.json(&["create", &drive, "--no-seed"])["key"].clone();
    std::fs::write(world.at("drive/big"), vec![7; 200_000]).expect("it is mounted");
    std::fs::write(world.at("drive/empty"), "").expect("it is mounted");
    world.ok(&["create", &world.at("drive/inner"), "--no-seed"]);

    let stats = world.json(&["stats", &drive]);
    assert_eq!(stats["storage"], json!({}));
    let mounts: Vec<_> = stats["network"].as_object().expect("mounts").keys().collect();
    assert_eq!(mounts, ["/", "/inner"]);
    let here = &stats["network"]["/"];
    assert_eq!((&here["metadata"]["key"], &here["metadata"]["writable"]), (&key, &json!(true)));
    assert_eq!(here["content"]["byteLength"], 200_000);
    for core in [&here["metadata"], &here["content"]] {
        assert!(is_key(&core["key"]) && is_key(&core["discoveryKey"]), "{core}");
        assert!(core["length"].as_u64() > Some(0) && core["diskBytes"].as_u64() > Some(0), "{core}");
        assert_eq!(core["contiguousLength"], core["length"]);
        assert_eq!(core["peers"], json!([]));
    }
    let stats = world.json(&["stats", &drive, "--storage"]);
    let big = &stats["storage"]["/big"];
    assert_eq!(big["size"], 200_000);
    assert_eq!((&big["blocks"], big["blocks"].as_u64() > Some(0)), (&big["downloadedBlocks"], true));
    assert_eq!(stats["storage"]["/empty"]["size"], 0);
    let said = world.ok(&["stats", &drive, "--storage"]);
    assert!(said.contains("  Metadata: ") && said.contains("/big: 195.31 KiB, "), "{said}");
    assert_eq!(world.json(&["stats", "--root"])["network"]["/drive"]["metadata"]["key"], key);
}

/// A drive whose data is with nobody: an ordinary state, told in plain words.
#[test]
fn a_drive_that_is_not_here() {
    let world = World::unmounted();
    let path = world.at("stranger");
    assert_eq!(world.json(&["mount", &path, STRANGER])["key"], STRANGER);
    let info = world.json(&["info", &path, "--timeout", "1"]);
    assert_eq!((&info["version"], &info["writable"]), (&json!(0), &json!(false)));
    assert_eq!(info["lookup"], true);
    for (command, path) in [("ls", "stranger"), ("cat", "stranger/file"), ("log", "stranger")] {
        let arguments = [command, &world.at(path), "--timeout", "1"];
        world.refused(&arguments, 1, "ETIMEDOUT", "Try again later");
    }
    // It can be seeded: that is how its data gets here.
    assert_eq!(world.json(&["seed", "--key", STRANGER])["announce"], true);
    assert_eq!(world.json(&["info", "--key", STRANGER])["announce"], true);
    assert_eq!(world.json(&["stats", &path, "--timeout", "1"])["network"]["/"]["content"], json!(null));
    world.ok(&["unmount", &path]);
}
