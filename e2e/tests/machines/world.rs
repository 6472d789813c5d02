//! An internet with a DHT.

use hyperspace_e2e::binaries;
use hyperspace_e2e::internet::{Internet, Nat, Place};
use hyperspace_e2e::machine::Machine;
use hyperspace_e2e::node;
use hyperspace_e2e::process::Process;
use hyperspace_e2e::scratch::Scratch;
use std::time::Duration;

/// Data that nobody sends is waited for so long.
const TIMEOUT: Duration = Duration::from_secs(15);

pub struct World {
    // In this order: programs go before the machines they run on.
    nodes: Vec<(Process, Scratch)>,
    pub internet: Internet,
    bootstrap: String,
}

impl World {
    /// Nobody but the nodes of the DHT: so many that a machine learns what its router does.
    pub fn new() -> Self {
        let mut internet = Internet::new();
        let first = internet.public();
        let bootstrap = format!("{}:49737", first.public);
        let mut nodes = vec![dht_node(&first, "none")];
        for _ in 0..5 {
            nodes.push(dht_node(&internet.public(), &bootstrap));
        }
        for (process, _) in &nodes {
            process.wait_for_line("DHT node is ready");
        }
        Self { nodes, internet, bootstrap }
    }

    /// A machine that runs `hyperspace` and has its root drive mounted.
    pub fn machine(&self, place: &Place) -> Machine {
        Machine::start_at(place.scratch(&self.bootstrap), &[], TIMEOUT)
    }

    /// The same, with more arguments for the server.
    pub fn machine_with(&self, place: &Place, arguments: &[&str]) -> Machine {
        Machine::start_with(place.scratch(&self.bootstrap), &[], arguments, TIMEOUT)
    }

    /// One that can be put to sleep.
    pub fn machine_that_sleeps(&self, place: &Place) -> Machine {
        Machine::start_at(place.scratch(&self.bootstrap).with_clock(), &[], TIMEOUT)
    }

    /// A relay on a machine, and the key by which it is known.
    pub fn relay(&self, place: &Place) -> (Process, String, Scratch) {
        let scratch = place.scratch(&self.bootstrap);
        let mut command = scratch.command(binaries::hyperspace());
        command.args(["dht", "--host", &place.public.to_string(), "--relay"]).arg(scratch.join("home/relay"));
        let process = Process::start(&mut command);
        let line = process.wait_for_line("--relay");
        let key = line.rsplit(' ').next().expect("a key").to_owned();
        (process, key, scratch)
    }

    /// The same, but npm's.
    pub fn npm_relay(&self, place: &Place) -> (Process, String, Scratch) {
        let scratch = place.scratch(&self.bootstrap);
        let arguments = ["net/machine-peer.js", "relay", &self.bootstrap];
        let process = Process::start(&mut node::command(&scratch, &arguments));
        let line = process.wait_for_line("relaying as");
        let key = line.rsplit(' ').next().expect("a key").to_owned();
        (process, key, scratch)
    }

    /// A place of that kind: behind a router, or not.
    pub fn place(&mut self, nat: Option<Nat>) -> Place {
        match nat {
            None => self.internet.public(),
            Some(nat) => {
                let mut router = self.internet.router(nat);
                self.internet.behind(&mut router)
            }
        }
    }

    /// A home on another machine that everybody reaches.
    pub fn home(&mut self) -> Scratch {
        let place = self.internet.public();
        self.scratch(&place)
    }

    /// A home on a machine.
    pub fn scratch(&self, place: &Place) -> Scratch {
        place.scratch(&self.bootstrap)
    }

    /// Where the DHT is entered.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How many nodes the DHT has.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }
}

fn dht_node(place: &Place, bootstrap: &str) -> (Process, Scratch) {
    let scratch = place.scratch(bootstrap);
    let mut command = scratch.command(binaries::hyperspace());
    command.args(["dht", "--host", &place.public.to_string()]);
    (Process::start(&mut command), scratch)
}
