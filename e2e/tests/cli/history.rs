//! `log`, `diff`, `tag`, `checkout-mount`.

use crate::world::World;
use serde_json::{Value, json};

/// A drive with a past: its path, and the version that had `a` and `b`.
fn drive(world: &World) -> (String, u64) {
    let path = world.at("drive");
    world.ok(&["create", &path, "--no-seed"]);
    world.ok_with(&["put", &world.at("drive/a")], b"one");
    world.ok_with(&["put", &world.at("drive/b")], b"two!");
    let version = world.json(&["info", &path])["version"].as_u64().expect("a version");
    world.ok(&["tag", &path, "first"]);
    world.ok_with(&["put", &world.at("drive/a")], b"another");
    world.ok(&["rm", &world.at("drive/b")]);
    world.ok_with(&["put", &world.at("drive/c")], b"");
    (path, version)
}

#[test]
fn what_was_written_and_what_changed() {
    let world = World::unmounted();
    let (path, version) = drive(&world);
    let log = world.json(&["log", &path]);
    let log = log.as_array().expect("a list");
    let versions: Vec<_> = log.iter().map(|entry| entry["version"].as_u64()).collect();
    assert!(versions.is_sorted_by(|a, b| a > b), "the newest first: {versions:?}");
    assert_eq!(log[0]["path"], "/c");
    assert!(log.iter().any(|entry| entry["path"] == "/b" && entry["size"] == 4), "{log:?}");
    assert_eq!(world.json(&["log", &path, "-n", "1"]), json!([log[0]]));
    let said = world.ok(&["log", &path, "-n", "1"]);
    assert_eq!(said.trim(), format!("{}  /c", log[0]["version"]));

    let changes = json!([
        { "path": "/a", "kind": "changed", "size": 7 },
        { "path": "/b", "kind": "removed" },
        { "path": "/c", "kind": "added", "size": 0 },
    ]);
    assert_eq!(world.json(&["diff", &path, &version.to_string()]), changes);
    assert_eq!(world.json(&["diff", &path, "first"]), changes);
    assert_eq!(world.ok(&["diff", &path, "first"]), "changed  /a\nremoved  /b\nadded    /c\n");
    let current = log[0]["version"].to_string();
    assert_eq!(world.json(&["diff", &path, &current]), json!([]));
    world.refused(&["diff", &path, "9999"], 2, "USAGE", "no version 9999 yet");
    world.refused(&["diff", &path, "no-tag"], 2, "USAGE", "hyperdrive tag");
    world.refused(&["diff", &world.at("none"), "1"], 1, "ENOENT", "/none");
}

#[test]
fn tags() {
    let world = World::unmounted();
    let (path, version) = drive(&world);
    assert_eq!(world.json(&["tag", &path]), json!({ "first": version }));
    let now = world.json(&["info", &path])["version"].clone();
    assert_eq!(world.json(&["tag", &path, "second"]), json!({ "tag": "second", "version": now }));
    assert_eq!(world.ok(&["tag", &path, "birth", "--version", "1"]), "Version 1 is now called birth\n");
    let said = world.ok(&["tag", &path]);
    let lines: Vec<Vec<_>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["1", "birth"]);
    assert_eq!(lines.len(), 3);
    assert_eq!(world.json(&["tag", &path, "second", "--delete"]), json!({ "deleted": "second" }));
    let names = world.json(&["tag", &path]);
    assert_eq!(
        names.as_object().map(|names| names.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["birth".to_owned(), "first".to_owned()])
    );
    world.refused(&["tag", &path, "second", "--delete"], 2, "USAGE", "There is no tag \"second\"");
    world.refused(&["tag", &path, "later", "--version", "9999"], 2, "USAGE", "no version 9999 yet");
}

#[test]
fn the_past_as_a_folder() {
    let world = World::mounted();
    let (path, version) = drive(&world);
    let then = world.at("then");
    let mounted = world.json(&["checkout-mount", &path, "first", &then]);
    let expected = json!({
        "path": "/then", "key": world.json(&["info", &path])["key"], "version": version, "seeding": false,
    });
    assert_eq!(mounted, expected);
    let read = |path: &str| std::fs::read_to_string(world.at(path));
    assert_eq!(read("then/a").expect("the old one"), "one");
    assert_eq!(read("then/b").expect("what was removed"), "two!");
    assert!(read("then/c").is_err());
    assert_eq!(read("drive/a").expect("the new one"), "another");
    let put = world.run(&["put", &world.at("then/a"), "/dev/null"]);
    assert_eq!(put.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&put.stderr).contains("read-only"), "{put:?}");
    let by_number = world.ok(&["checkout-mount", &path, "1", &world.at("birth")]);
    assert!(by_number.starts_with("Mounted a past version, read-only:"), "{by_number}");
    assert_eq!(world.json(&["ls", &world.at("birth")]), Value::Array(vec![]));
    world.refused(&["checkout-mount", &path, "9999", &world.at("x")], 2, "USAGE", "no version 9999 yet");
    world.refused(&["checkout-mount", &path, "first", &then], 1, "EEXIST", "exists already");
}
