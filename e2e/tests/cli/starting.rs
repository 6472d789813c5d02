//! `start` and what is left of it: the configuration, mounts that cannot be made, dead
//! mounts, servers that are somewhere else.

use crate::world::{World, soon, text};
use hyperspace_e2e::mount::{detach, is_mounted};
use hyperspace_e2e::server::Server;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

fn config(world: &World) -> Value {
    let text = fs::read(world.home(".hyperspace/config/fuse.json")).expect("the configuration");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn the_first_command_of_the_manual() {
    let world = World::empty();
    let mnt = world.scratch.mnt();
    let mut service = world.start(&["start", "--mnt", text(&mnt)]);
    service.wait_for_line("Hyperdrive service is running (Ctrl+c to stop)...");
    let said = service.said();
    assert!(said.starts_with("No Hyperspace server was listening: running one in this process."), "{said}");
    let key = world.root_key();
    assert!(said.contains(&format!("Mounted {key} at {}", mnt.display())), "{said}");
    assert!(is_mounted(&mnt));
    assert_eq!(config(&world), json!({ "rootDriveKey": key, "mnt": mnt }));
    let mode = fs::metadata(world.home(".hyperspace/config/fuse.json")).expect("the file").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);

    let status = world.json(&["status"]);
    assert_eq!((&status["mounted"], &status["mountState"]), (&json!(true), &json!("mounted")));
    assert_eq!((&status["mnt"], &status["apiVersion"]), (&json!(mnt), &json!("1.15.1")));
    let said = world.ok(&["status"]);
    assert!(said.starts_with("The Hyperspace server is running:\n"), "{said}");
    assert!(
        said.contains(&format!("  Root Drive:     {key}\n")) && said.contains("  Mounted:        true\n")
    );

    fs::write(world.at("file"), "kept").expect("it is mounted");
    service.signal(Signal::SIGINT);
    assert!(service.wait().success());
    assert!(service.said().ends_with("Shutting down..."), "{}", service.said());
    assert!(!is_mounted(&mnt));
    assert!(!world.scratch.socket().exists(), "the server went with it");

    // Where it was mounted before, though nobody says so.
    let mut service = world.start(&["--json", "start"]);
    let facts: Value = serde_json::from_str(&service.wait_for_line("rootDriveKey")).expect("JSON");
    let expected = json!({
        "event": "started", "rootDriveKey": key, "mnt": mnt, "mounted": true, "embedded": true,
        "listening": [], "replaced": null,
    });
    assert_eq!(facts, expected);
    assert_eq!(fs::read_to_string(world.at("file")).expect("the file"), "kept");
    assert!(service.stop().success());
}

#[test]
fn the_default_is_a_folder_in_the_home() {
    let world = World::empty();
    let mut service = world.start(&["start"]);
    service.wait_for_line("is running");
    let mnt = world.home("Hyperdrive");
    assert!(is_mounted(&mnt));
    fs::write(mnt.join("x"), "").expect("it is mounted");
    assert_eq!(world.ok(&["ls", text(&mnt)]), "x\n");
    // Somebody unmounts it: that is another way to stop.
    assert_eq!(world.json(&["force-unmount"]), json!({ "unmounted": mnt }));
    assert!(service.wait().success());
    assert!(service.said().ends_with("The drive was unmounted."), "{}", service.said());
    world.refused(&["force-unmount"], 2, "USAGE", "Nothing is mounted at");
}

#[test]
fn without_a_mount() {
    let world = World::empty();
    let mut service = world.start(&["start", "--no-fuse", "--mnt", text(&world.scratch.mnt())]);
    service.wait_for_line(", not mounted");
    assert!(!is_mounted(&world.scratch.mnt()));
    let status = world.json(&["status"]);
    assert_eq!((&status["mounted"], &status["mountState"]), (&json!(false), &json!("not-mounted")));
    world.ok_with(&["put", &world.at("x")], b"x");
    assert_eq!(world.ok(&["ls", &world.at(".")]), "x\n");
    assert!(service.stop().success());
}

#[test]
fn what_did_not_work_is_not_remembered() {
    let world = World::empty();
    let file = world.home("file");
    fs::write(&file, "data").expect("the disk");
    world.refused(
        &["start", "--mnt", text(&file)],
        1,
        "MOUNT",
        "is not a directory. Choose a folder with --mnt",
    );
    let key = config(&world)["rootDriveKey"].clone();
    assert_eq!(config(&world), json!({ "rootDriveKey": key }), "but the drive that was made is");
    world.refused(&["start", "--mnt", "/proc/nothing"], 1, "MOUNT", "'/proc/nothing'");

    let mnt = world.scratch.mnt();
    let mut service = world.start(&["start", "--mnt", text(&mnt)]);
    service.wait_for_line("is running");
    assert_eq!(config(&world)["rootDriveKey"], key);
    world.refused(&["start", "--mnt", text(&mnt)], 1, "MOUNT", "hyperdrive force-unmount");
    world.refused(&["start", "--mnt", text(&file)], 1, "MOUNT", "is not a directory");
    assert_eq!(config(&world), json!({ "rootDriveKey": key, "mnt": mnt }));
    assert_eq!(fs::read_to_string(&file).expect("the file"), "data");
    assert!(service.stop().success());
}

/// The key of a root drive is in the configuration only: when another takes its place,
/// it is told.
#[test]
fn another_root_drive_and_back() {
    let world = World::empty();
    let start = |more: &[&str]| {
        let mnt = world.scratch.mnt();
        let whole: Vec<_> = ["start", "--mnt", text(&mnt)].into_iter().chain(more.iter().copied()).collect();
        let mut service = world.start(&whole);
        service.wait_for_line("is running");
        let key = world.root_key();
        assert!(service.stop().success());
        (key, service.said())
    };
    let (first, said) = start(&[]);
    assert!(!said.contains("--key"), "{said}");
    // One that is not here yet can be mounted as well.
    let stranger = "ab".repeat(32);
    let (second, said) = start(&["--key", &stranger, "--timeout", "1"]);
    assert_eq!(second, stranger);
    assert!(said.contains(&format!("To go back: hyperdrive start --key {first}")), "{said}");
    assert_eq!(start(&[]).0, stranger);
    assert_eq!(start(&["--key", &first]).0, first);
}

#[test]
fn servers_and_their_storage() {
    let world = World::empty();
    let mnt = world.scratch.mnt();
    let start = ["start", "--mnt", text(&mnt)];
    world.refused(&["start", "--no-embedded"], 1, "FAILED", "leave out --no-embedded");
    let server = Server::start(&world.scratch);
    // Nothing was ever mounted, and the server can be asked all the same.
    let status = world.json(&["status"]);
    assert_eq!((&status["rootDriveKey"], &status["mounted"]), (&Value::Null, &json!(false)));
    assert!(world.ok(&["status"]).contains("none yet"));

    // Another socket, and the storage that this server has.
    let mut other = world.command(&start);
    let refused = other.env("HYPERSPACE_SOCKET", "other").output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("already in use by another server; stop that one"), "{said}");
    let mut nowhere = world.command(&start);
    let refused = nowhere.env("TMPDIR", "/nonexistent").output().expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains("cannot listen on /nonexistent/hyperspace.sock: No such file"), "{said}");

    // The one that is there is used.
    let mut service = world.start(&["--json", "start", "--mnt", text(&mnt), "--no-embedded"]);
    let facts: Value = serde_json::from_str(&service.wait_for_line("rootDriveKey")).expect("JSON");
    assert_eq!(facts["embedded"], false);
    assert!(service.stop().success());
    assert!(server.stop().success());
    world.refused(
        &["ls", &world.at(".")],
        1,
        "NOT_RUNNING",
        "Start it with: hyperdrive start, or: hyperspace",
    );
}

#[test]
fn a_dead_mount_is_told_and_replaced() {
    let mut world = World::mounted();
    let mnt = world.scratch.mnt();
    fs::write(world.at("file"), "here").expect("it is mounted");
    world.ok(&["ls", &world.at(".")]);
    world.mount().kill();
    let status = world.json(&["status"]);
    assert_eq!((&status["mounted"], &status["mountState"]), (&json!(true), &json!("dead")));
    assert!(world.ok(&["status"]).contains("hyperdrive start --force"));
    // Commands go on; the one line of advice is not their result.
    let listed = world.run(&["ls", &world.at(".")]);
    assert_eq!((listed.status.code(), &listed.stdout[..]), (Some(0), &b"file\n"[..]));
    assert!(String::from_utf8_lossy(&listed.stderr).contains("hyperdrive start --force"), "{listed:?}");
    world.refused(&["start"], 1, "MOUNT", "--force");

    let mut service = world.start(&["start", "--force"]);
    service.wait_for_line("is running");
    assert_eq!(fs::read_to_string(world.at("file")).expect("the file"), "here");
    service.kill();
    assert!(is_mounted(&mnt));
    assert_eq!(world.ok(&["force-unmount", text(&mnt)]), format!("Unmounted {}\n", mnt.display()));
    assert!(!is_mounted(&mnt));
}

#[test]
fn a_mount_that_does_not_answer() {
    let mut world = World::mounted();
    world.mount().process().signal(Signal::SIGSTOP);
    assert_eq!(world.json(&["status"])["mountState"], "not-answering");
    world.mount().process().signal(Signal::SIGCONT);
    assert_eq!(world.json(&["status"])["mountState"], "mounted");
}

/// `hyperdrive start | head -1`: the reader is gone, the mount is served and then
/// unmounted as ever.
#[test]
fn nobody_reads_what_the_service_says() {
    let world = World::empty();
    let mnt = world.scratch.mnt();
    let mut command = world.command(&["start", "--mnt", text(&mnt)]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    soon("the mount", || is_mounted(&mnt));
    soon("the service", || fs::write(world.at("file"), "written").is_ok());
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("it runs");
    let ended = child.wait().expect("it ends");
    let left = is_mounted(&mnt);
    detach(&mnt);
    assert!(ended.success() && !left, "{ended}, still mounted: {left}");
}

#[test]
fn a_damaged_configuration_is_left_alone() {
    let world = World::empty();
    let dir = world.home(".hyperspace/config");
    fs::create_dir_all(&dir).expect("the disk");
    fs::write(dir.join("fuse.json"), "{\"rootDriveKey\": ").expect("the disk");
    for command in [&["start"][..], &["status"], &["ls", "/x"]] {
        world.refused(command, 1, "CONFIG", "is damaged");
    }
    assert_eq!(fs::read(dir.join("fuse.json")).expect("the file"), b"{\"rootDriveKey\": ");
    fs::write(dir.join("fuse.json"), "{\"rootDriveKey\": \"zz\"}").expect("the disk");
    world.refused(&["status"], 1, "CONFIG", "Mend or remove");
}
