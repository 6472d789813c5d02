//! A DHT of real nodes (`hyperspace dht`) on loopback.

use crate::binaries;
use crate::process::Process;
use crate::scratch::Scratch;

/// How many nodes it has.
const NODES: usize = 4;

/// The nodes. They end with this.
#[derive(Debug)]
pub struct Dht {
    _nodes: Vec<Process>,
    bootstrap: String,
    scratch: Scratch,
}

impl Default for Dht {
    fn default() -> Self {
        Self::new()
    }
}

impl Dht {
    /// Starts them; returns when all have found each other.
    ///
    /// # Panics
    /// If they do not.
    pub fn new() -> Self {
        let scratch = Scratch::new();
        let start = |bootstrap: &str| {
            let mut command = scratch.command(binaries::hyperspace());
            let arguments = ["dht", "--host", "127.0.0.1", "--port", "0", "--bootstrap", bootstrap];
            Process::start(command.args(arguments))
        };
        let first = start("none");
        let line = first.wait_for_line("DHT node listening on");
        let bootstrap = line.rsplit(' ').next().expect("an address").to_owned();
        let mut nodes = vec![first];
        nodes.extend((1..NODES).map(|_| start(&bootstrap)));
        nodes.iter().for_each(|node| drop(node.wait_for_line("DHT node is ready")));
        Self { _nodes: nodes, bootstrap, scratch }
    }

    /// The address of the first, through which others enter.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A folder that lasts as long as they do.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }
}
