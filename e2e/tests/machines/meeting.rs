//! Two who meet: what they do, and where each finds the other.

use crate::world::World;
use hyperspace_api::Key;
use hyperspace_e2e::internet::Place;
use hyperspace_e2e::machine::{Machine, text, within};
use hyperspace_e2e::node;
use hyperspace_e2e::process::Process;
use hyperspace_e2e::scratch::Scratch;
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

/// Two who have just started may miss each other at first.
pub const MEETING: Duration = Duration::from_secs(60);

/// Does it read that in the file `report` of the drive that it has mounted?
pub fn reads(machine: &Machine, expected: &str) -> bool {
    fs::read_to_string(machine.at("theirs/report")).is_ok_and(|text| text == expected)
}

/// Makes a drive with a file `report` and seeds it; its key.
pub fn seed(writer: &Machine, report: &str) -> String {
    let key = writer.create("shared");
    fs::write(writer.at("shared/report"), report).expect("a write");
    writer.hyperdrive(&["seed", text(&writer.at("shared"))]);
    key
}

/// One seeds a drive; the other has nothing but its key, and reads it. The key.
pub fn share(writer: &Machine, reader: &Machine) -> String {
    let key = seed(writer, "here it is");
    reader.mount_drive("theirs", &key);
    within(MEETING, "the file", || reads(reader, "here it is"));
    key
}

/// Where the peers are to which a machine is connected.
pub fn peers(machine: &Machine) -> Vec<Ipv4Addr> {
    let status = machine.json(&["status"]);
    let peers = status["network"]["peers"].as_array().expect("peers");
    let host = |peer: &serde_json::Value| {
        let address = peer["remoteAddress"].as_str().and_then(|at| at.split(':').next()?.parse().ok());
        address.unwrap_or_else(|| panic!("no address: {status}"))
    };
    peers.iter().map(host).collect()
}

/// Who of two announces: the other dials.
#[derive(Clone, Copy, Debug)]
pub enum Announced {
    Ours,
    Npm,
}

/// One of ours, and npm's hyperswarm at another place, which have met.
pub struct WithNpm {
    // In this order: programs go before what they run on.
    pub machine: Machine,
    pub npm: Process,
    _home: Scratch,
}

impl WithNpm {
    /// Has them meet; npm's has more arguments.
    pub fn meet(world: &World, machine: Machine, npm: &Place, announced: Announced, more: &[&str]) -> Self {
        let home = world.scratch(npm);
        let start = |topic: &str, how: &str| {
            let arguments = [&["net/machine-peer.js", "meet", world.bootstrap(), topic, how], more].concat();
            Process::start(&mut node::command(&home, &arguments))
        };
        let npm = match announced {
            Announced::Ours => {
                seed(&machine, "here it is");
                let facts = machine.json(&["info", text(&machine.at("shared"))]);
                start(facts["discoveryKey"].as_str().expect("a topic"), "look")
            }
            Announced::Npm => {
                let key = Key::from([7; 32]);
                let npm = start(&key.discovery_key().to_string(), "announce");
                npm.wait_for_line("announced");
                machine.mount_drive("theirs", &key.to_string());
                npm
            }
        };
        within(MEETING, "a connection", || !peers(&machine).is_empty());
        npm.wait_for_line("connected");
        Self { machine, npm, _home: home }
    }
}
