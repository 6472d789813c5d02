//! npm `hyperdrive` 10 over npm `@hyperspace/client`, and our mount, on one server at
//! the same time: what either writes, the other shows.

use hyperspace_e2e::mount::Mount;
use hyperspace_e2e::node;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell::sh;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const NODE: &str = "hyperdrive10.js";

/// Standard base64, as the Node side writes bytes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for i in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * i)) as usize & 63];
            out.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

/// Waits until `look` finds what it looks for: another writer's change reaches the
/// mount by an event, soon but not at once.
fn soon<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within ten seconds");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn xattr(path: &Path, name: &str) -> String {
    let mut command = Command::new("getfattr");
    hyperspace_e2e::shell::run(command.args(["--only-values", "-h", "-n", name]).arg(path))
}

fn describe(scratch: &Scratch, key: &str) -> BTreeMap<String, Value> {
    let entries = node::json(scratch, &[NODE, "describe", key], "");
    let entries = entries.as_array().expect("a list of entries").clone();
    entries.into_iter().map(|entry| (entry["path"].as_str().expect("a path").to_owned(), entry)).collect()
}

#[test]
fn node_shows_what_the_mount_wrote() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch);
    let mount = Mount::start(&scratch);
    let large = Random::new(1).bytes(1_500_000);
    sh(
        &scratch,
        mount.path(),
        "mkdir -p dir/sub && printf hello > dir/file && chmod 640 dir/file && chown 5:6 dir/file
         : > empty; printf x > 'with space'; printf y > dir/sub/ünïcödé
         ln -s ../dir/file dir/link
         setfattr -n user.kind -v letter dir/file; setfattr -n user.gone -v x dir/file; setfattr -x user.gone dir/file
         printf before > renamed.tmp; mv renamed.tmp renamed; printf old > removed; rm removed
         mkdir moved && printf in > moved/in && mv moved dir/moved",
    );
    fs::write(mount.join("large"), &large).expect("the large file");
    let created = scratch
        .command(hyperspace_e2e::binaries::hyperdrive())
        .args(["--json", "create", "--no-seed"])
        .arg(mount.join("inner"))
        .output()
        .expect("hyperdrive runs");
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    soon("the new drive in the mount", || mount.join("inner").is_dir().then_some(()));
    let inner = xattr(&mount.join("inner"), "user.hyperdrive.key");
    fs::write(mount.join("inner/file"), "inside").expect("a file in the inner drive");
    sh(&scratch, mount.path(), "sync -f .; sync -f inner");

    // As long as the mount lives, on the same server.
    let entries = describe(&scratch, mount.key());
    let is = |path: &str, expected: Value| {
        let entry = entries.get(path).unwrap_or_else(|| panic!("{path} is missing in {:?}", entries.keys()));
        for (field, value) in expected.as_object().expect("an object") {
            assert_eq!(&entry[field], value, "{path}: {field}");
        }
    };
    is("/dir", json!({"type": "dir", "mode": 0o755}));
    is("/dir/sub", json!({"type": "dir"}));
    let xattrs = json!({"user.kind": base64(b"letter")});
    let content = base64(b"hello");
    is(
        "/dir/file",
        json!({"type": "file", "mode": 0o640, "uid": 5, "gid": 6, "size": 5, "content": content, "xattrs": xattrs}),
    );
    is("/dir/link", json!({"type": "symlink", "target": "../dir/file"}));
    is("/dir/moved/in", json!({"type": "file", "content": base64(b"in")}));
    is("/dir/sub/ünïcödé", json!({"type": "file", "content": base64(b"y")}));
    is("/empty", json!({"type": "file", "size": 0, "content": ""}));
    is("/with space", json!({"type": "file", "content": base64(b"x")}));
    is("/renamed", json!({"type": "file", "content": base64(b"before")}));
    is("/large", json!({"type": "file", "size": large.len(), "content": base64(&large)}));
    is("/inner", json!({"type": "mount", "key": inner}));
    is("/inner/file", json!({"type": "file", "content": base64(b"inside")}));
    for gone in ["/removed", "/renamed.tmp", "/moved", "/moved/in"] {
        assert!(!entries.contains_key(gone), "{gone} is still there");
    }
    assert!(mount.stop().success());
    assert!(server.stop().success());
}

#[test]
fn the_mount_shows_what_node_wrote() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch);
    let mount = Mount::start(&scratch);
    fs::write(mount.join("mine"), "here before").expect("a file of ours");
    sh(&scratch, mount.path(), "sync -f .");
    let large = Random::new(2).bytes(1_200_000);
    let entries = json!([
        {"path": "/theirs", "type": "dir", "mode": 0o750},
        {"path": "/theirs/file", "type": "file", "mode": 0o600, "uid": 7, "gid": 8, "content": base64(b"from node"),
            "xattrs": {"user.kind": base64(b"reply")}},
        {"path": "/theirs/large", "type": "file", "mode": 0o644, "content": base64(&large)},
        {"path": "/theirs/empty", "type": "file", "mode": 0o644, "content": ""},
        {"path": "/theirs/link", "type": "symlink", "target": "file"},
        {"path": "/implicit/deep/file", "type": "file", "mode": 0o644, "content": base64(b"deep")},
        {"path": "/inner", "type": "mount"},
        {"path": "/inner/file", "type": "file", "mode": 0o644, "content": base64(b"inside")},
        {"path": "/mine", "type": "file", "mode": 0o644, "content": base64(b"changed by node")},
    ]);
    let written = node::json(&scratch, &[NODE, "write", mount.key()], &entries.to_string());

    soon("the last file that node wrote", || {
        (fs::read(mount.join("mine")).ok()? == b"changed by node").then_some(())
    });
    let theirs = mount.join("theirs");
    assert_eq!(fs::metadata(&theirs).expect("their folder").mode() & 0o7777, 0o750);
    let file = theirs.join("file");
    assert_eq!(fs::read(&file).expect("their file"), b"from node");
    let metadata = fs::metadata(&file).expect("their file");
    assert_eq!((metadata.mode() & 0o7777, metadata.uid(), metadata.gid()), (0o600, 7, 8));
    assert_eq!(xattr(&file, "user.kind"), "reply");
    assert!(fs::read(theirs.join("large")).expect("their large file") == large);
    assert_eq!(fs::read(theirs.join("empty")).expect("their empty file"), b"");
    assert_eq!(fs::read_link(theirs.join("link")).expect("their link"), Path::new("file"));
    assert_eq!(fs::read(theirs.join("link")).expect("what their link names"), b"from node");
    assert_eq!(fs::read(mount.join("implicit/deep/file")).expect("in folders never made"), b"deep");
    assert_eq!(fs::read(mount.join("inner/file")).expect("in their mount"), b"inside");
    assert_eq!(Value::from(xattr(&mount.join("inner"), "user.hyperdrive.key")), written["mounts"]["/inner"]);

    // And on: ours over theirs, theirs away again.
    fs::write(&file, "from the mount").expect("their file is ours too");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
    symlink("large", theirs.join("second")).expect("a link of ours");
    sh(&scratch, mount.path(), "sync -f .");
    let seen = describe(&scratch, mount.key());
    assert_eq!(seen["/theirs/file"]["content"], base64(b"from the mount"));
    assert_eq!(seen["/theirs/file"]["xattrs"], json!({"user.kind": base64(b"reply")}));
    assert_eq!(seen["/theirs/second"]["target"], "large");
    node::json(&scratch, &[NODE, "remove", mount.key(), "/theirs/empty", "/theirs/link", "/inner"], "");
    soon("the end of what node removed", || (!mount.join("inner").exists()).then_some(()));
    assert!(!theirs.join("empty").exists());
    assert!(fs::symlink_metadata(theirs.join("link")).is_err());
    assert!(mount.stop().success());
    assert!(server.stop().success());
}
