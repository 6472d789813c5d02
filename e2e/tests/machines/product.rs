//! Seeded on one machine, mounted on others by the key.

use crate::world::World;
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, GetOptions, Key, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient};
use hyperspace_e2e::machine::{Machine, soon, text};
use hyperspace_e2e::node;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::told::hex;
use std::fs;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// So soon after it was written, a change is seen elsewhere.
const SEEN: Duration = Duration::from_secs(2);

/// Bytes of a file that takes several blocks.
const PHOTO: usize = 200_000;

/// npm's corestore 7, on another machine, gets the same raw cores of a drive as its writer
/// has; the bytes of the content.
fn has_raw_cores(world: &mut World, writer: &Machine, key: &str) -> Vec<u8> {
    let facts = writer.json(&["info", text(&writer.at("shared"))]);
    let topic = facts["discoveryKey"].as_str().expect("a topic");
    let home = world.home();
    let folder = home.join("home/store");
    let arguments = ["net/machine-peer.js", "read", world.bootstrap(), topic, text(&folder), key];
    let theirs = node::json(&home, &arguments, "");
    assert_eq!(theirs["metadata"]["key"], key);
    let [_, content] = ["metadata", "content"].map(|name| {
        let key = theirs[name]["key"].as_str().and_then(|key| key.parse().ok()).expect("a key");
        let ours = blocks(writer, key);
        let theirs = theirs[name]["blocks"].as_array().expect("blocks");
        assert!(ours.iter().map(|block| hex(block)).eq(theirs.iter().cloned()), "{name} differs");
        ours
    });
    content.concat()
}

/// All blocks of a core that a machine has.
fn blocks(machine: &Machine, key: Key) -> Vec<Bytes> {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let socket = Endpoint::Unix(machine.scratch().socket());
        let client = HyperspaceClient::connect(socket).await.expect("a client");
        let core = client.corestore(None).open(OpenTarget::Key(key)).await.expect("the core");
        let mut blocks = Vec::new();
        for index in 0..core.length() {
            let here = GetOptions { wait: false, ..GetOptions::default() };
            blocks.push(core.get(index, here).await.expect("it is here"));
        }
        blocks
    })
}

#[test]
fn a_drive_outlives_its_writers_machine() {
    let mut world = World::new();
    let [a, b, c] = [(); 3].map(|()| world.internet.public());
    let [mut writer, mut seeder, reader] = [&a, &b, &c].map(|place| world.machine(place));

    let key = writer.create("shared");
    fs::write(writer.at("shared/report"), "first").expect("a write");
    let photo = Random::new(4).bytes(PHOTO);
    fs::write(writer.at("shared/photo"), &photo).expect("a write");
    writer.hyperdrive(&["seed", text(&writer.at("shared"))]);
    let status = writer.json(&["status"]);
    assert_eq!(status["network"]["dht"]["online"], true, "{status}");
    assert!(status["network"]["dht"]["nodes"].as_u64() >= Some(world.nodes() as u64 - 1), "{status}");

    // Who seeds has all of it.
    seeder.mount_drive("theirs", &key);
    seeder.hyperdrive(&["seed", text(&seeder.at("theirs"))]);
    assert_eq!(fs::read_to_string(seeder.at("theirs/report")).expect("a read"), "first");
    reader.mount_drive("theirs", &key);
    assert_eq!(fs::read_to_string(reader.at("theirs/report")).expect("a read"), "first");

    // A change shows everywhere.
    let written = Instant::now();
    fs::write(writer.at("shared/report"), "second").expect("a write");
    fs::File::open(writer.at("shared/report")).and_then(|file| file.sync_all()).expect("fsync");
    for machine in [&seeder, &reader] {
        soon("the change", || {
            fs::read_to_string(machine.at("theirs/report")).is_ok_and(|text| text == "second")
        });
    }
    let after = written.elapsed();
    assert!(after < SEEN, "seen after {after:?}");

    // The writer goes; a machine that was never connected to him reads what the seeder has.
    seeder.hyperdrive(&["download", text(&seeder.at("theirs"))]);
    writer.stop();
    let place = world.internet.public();
    let late = world.machine(&place);
    late.mount_drive("theirs", &key);
    assert_eq!(fs::read_to_string(late.at("theirs/report")).expect("a read"), "second");
    let peers = late.json(&["status"])["network"]["peers"].clone();
    let addresses: Vec<_> =
        peers.as_array().expect("peers").iter().map(|peer| peer["remoteAddress"].clone()).collect();
    assert!(
        addresses.iter().any(|at| at.as_str().is_some_and(|at| at.starts_with(&b.public.to_string()))),
        "{peers}"
    );

    // He returns, and goes on.
    writer.restart();
    fs::write(writer.at("shared/report"), "third").expect("a write");
    for machine in [&seeder, &reader, &late] {
        soon("what came after", || {
            fs::read_to_string(machine.at("theirs/report")).is_ok_and(|text| text == "third")
        });
    }

    // npm's hyperdrive 10 reads it by the server of one of them,
    let entries = node::json(late.scratch(), &["hyperdrive10.js", "describe", &key], "");
    let report =
        entries.as_array().and_then(|entries| entries.iter().find(|entry| entry["path"] == "/report"));
    assert_eq!(report.expect("the file")["content"], "dGhpcmQ=", "{entries}");
    // and npm's corestore 7 has its raw cores on a machine of its own.
    let content = has_raw_cores(&mut world, &writer, &key);
    let ours = fs::read(late.at("theirs/photo")).expect("a read");
    assert!(ours == photo, "the photo has changed");
    assert!(content.windows(photo.len()).any(|bytes| bytes == photo), "no photo in the content");
    assert!(content.ends_with(b"third"), "no report in the content");
    for machine in [&mut writer, &mut seeder] {
        machine.stop();
    }
}

#[test]
fn a_key_is_enough() {
    let mut world = World::new();
    let (a, b) = (world.internet.public(), world.internet.public());
    let (writer, reader) = (world.machine(&a), world.machine(&b));
    let key = writer.create("shared");
    fs::write(writer.at("shared/report"), "here it is").expect("a write");
    writer.hyperdrive(&["seed", text(&writer.at("shared"))]);
    // Nothing of it is mounted here: by the folder of all drives,
    let inside = reader.at("Network").join(&key).join("report");
    assert_eq!(fs::read_to_string(inside).expect("a read"), "here it is");
    // and by commands that are given the key.
    let copy = reader.scratch().join("home/copy");
    reader.hyperdrive(&["export", &key, text(&copy)]);
    assert_eq!(fs::read_to_string(copy.join("report")).expect("a read"), "here it is");
    let status = reader.json(&["status"]);
    assert_eq!(status["network"]["topics"][0]["lookup"], true, "{status}");
    assert_eq!(status["network"]["topics"][0]["announce"], false, "{status}");
}
