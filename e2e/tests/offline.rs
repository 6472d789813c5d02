//! Without a network, and with peers that have died: what concerns only what is here waits
//! for nobody.

use hyperspace_api::{DiscoveryKey, Key};
use hyperspace_client::{Endpoint, HyperspaceClient, NetworkConfig};
use hyperspace_e2e::binaries;
use hyperspace_e2e::dht::Dht;
use hyperspace_e2e::machine::{Machine, text};
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell;
use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Nobody is waited for, but for a second or two by what tells all that can be found out. A
/// machine that is busy takes longer. (Whoever waits for the network takes six at least.)
const AT_ONCE: Duration = Duration::from_secs(4);
/// How long what only others have is waited for here.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Does something that concerns nobody else.
#[track_caller]
fn at_once<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    let took = began.elapsed();
    println!("{took:>12?} {what}");
    assert!(took < AT_ONCE, "{what}: {took:?}");
    done
}

fn write(path: &Path, content: &str) {
    fs::write(path, content).expect("a write");
    File::open(path).and_then(|file| file.sync_all()).expect("fsync");
}

/// Everything that one can do alone, while `theirs`, the key of a drive, leads to nobody.
fn a_day_alone(mut machine: Machine, theirs: &str) {
    at_once("a new drive", || machine.create("ours"));
    let file = machine.at("ours/file");
    at_once("a write", || write(&file, "ours"));
    at_once("a read", || assert_eq!(fs::read(&file).expect("the file"), b"ours"));
    at_once("seeding", || machine.hyperdrive(&["seed", text(&machine.at("ours"))]));
    at_once("info", || machine.json(&["info", text(&machine.at("ours"))]));
    at_once("status", || machine.json(&["status"]));
    // Of the mounted drive nothing is here, and it is somebody's only to find out.
    let mounted = at_once("mounting", || machine.attempt(&["mount", text(&machine.at("theirs")), theirs]));
    let said = String::from_utf8_lossy(&mounted.stderr);
    assert!(mounted.status.success() && said.is_empty(), "{said}");
    at_once("info of it by its path", || machine.json(&["info", text(&machine.at("theirs"))]));
    at_once("statistics of all", || machine.json(&["stats", text(&machine.at(""))]));
    at_once("seeding it", || machine.hyperdrive(&["seed", text(&machine.at("theirs"))]));
    at_once("status again", || machine.json(&["status"]));
    at_once("a listing of what is around it", || {
        let names = shell::run(Command::new("ls").arg("-l").arg(machine.scratch().mnt()));
        assert!(names.contains("theirs") && names.contains("ours"), "{names}");
    });
    // Somebody waits for it all the while.
    let waits = machine.at("theirs/file");
    let reader = std::thread::spawn(move || fs::read(waits).map(drop));
    at_once("another write", || write(&file, "again ours"));
    at_once("another read", || assert_eq!(fs::read(&file).expect("the file"), b"again ours"));
    at_once("a rename", || fs::rename(&file, machine.at("ours/renamed")).expect("a rename"));
    at_once("a list of mounts", || machine.hyperdrive(&["ls", text(&machine.at("ours"))]));
    at_once("statistics", || machine.json(&["stats", text(&machine.at("ours"))]));
    at_once("unseeding", || machine.hyperdrive(&["unseed", text(&machine.at("ours"))]));
    at_once("unmounting", || machine.hyperdrive(&["unmount", text(&machine.at("theirs"))]));
    at_once("a stop", || machine.stop());
    // Whatever it is told, it is told.
    let _ = reader.join().expect("no panic").expect_err("nobody has it");
    at_once("a start", || machine.restart());
    let renamed = machine.at("ours/renamed");
    at_once("a read after it", || assert_eq!(fs::read(&renamed).expect("the file"), b"again ours"));
    at_once("a stop after it", || machine.stop());
}

#[test]
fn nobody_answers() {
    // Bound, so that nobody else has them, and read by nobody.
    let (deaf, silent) = (UdpSocket::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (deaf, silent) = (deaf.expect("a port"), silent.expect("a port"));
    let bootstrap = deaf.local_addr().expect("its address").to_string();
    let peers = [silent.local_addr().expect("its address")];
    // To build the programs may take minutes.
    binaries::folder();
    let machine = at_once("the first start", || {
        Machine::start_with(Scratch::new(), &peers, &["--bootstrap", &bootstrap], TIMEOUT)
    });
    a_day_alone(machine, &"5e".repeat(32));
}

/// Announces `topic`, and is killed.
fn announce_and_die(dht: &Dht, topic: DiscoveryKey) {
    let scratch = Scratch::new();
    let server = Server::start_with(&scratch, &["--bootstrap", dht.bootstrap()]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = HyperspaceClient::connect(Endpoint::Unix(scratch.socket())).await.expect("a server");
        let config = NetworkConfig { announce: Some(true), flush: true, ..NetworkConfig::new(topic) };
        client.network().configure(config).await.expect("an announcement");
    });
    server.kill();
}

#[test]
fn whoever_is_announced_has_died() {
    let dht = Dht::new();
    let theirs = Key::from([0x5e; 32]);
    for _ in 0..3 {
        announce_and_die(&dht, theirs.discovery_key());
    }
    let machine = at_once("the first start", || {
        Machine::start_with(Scratch::new(), &[], &["--bootstrap", dht.bootstrap()], TIMEOUT)
    });
    a_day_alone(machine, &theirs.to_string());
}
