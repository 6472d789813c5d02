//! A DHT of real nodes (`hyperspace dht`) on loopback.

use crate::binaries;
use crate::process::Process;
use crate::scratch::Scratch;

/// How many nodes it has, unless somebody wants more.
const NODES: usize = 4;

/// The nodes. They end with this.
#[derive(Debug)]
pub struct Dht {
    nodes: Vec<Process>,
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
        Self::of(NODES)
    }

    /// The same, with so many nodes: one at least.
    ///
    /// # Panics
    /// If they do not find each other.
    pub fn of(nodes: usize) -> Self {
        let scratch = Scratch::new();
        let first = start(&scratch, "none");
        let line = first.wait_for_line("DHT node listening on");
        let bootstrap = line.rsplit(' ').next().expect("an address").to_owned();
        let mut dht = Self { nodes: vec![first], bootstrap, scratch };
        dht.grow(nodes - 1);
        dht
    }

    /// So many more in a network that is there: of npm's, perhaps.
    ///
    /// # Panics
    /// If they do not find it.
    pub fn joining(bootstrap: String, nodes: usize) -> Self {
        let mut dht = Self { nodes: Vec::new(), bootstrap, scratch: Scratch::new() };
        dht.grow(nodes);
        dht
    }

    fn grow(&mut self, nodes: usize) {
        let before = self.nodes.len();
        self.nodes.extend((0..nodes).map(|_| start(&self.scratch, &self.bootstrap)));
        self.nodes[before..].iter().for_each(|node| drop(node.wait_for_line("DHT node is ready")));
    }

    /// Kills the last of them.
    pub fn kill(&mut self, nodes: usize) {
        let left = self.nodes.len().saturating_sub(nodes);
        self.nodes.truncate(left);
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

fn start(scratch: &Scratch, bootstrap: &str) -> Process {
    let mut command = scratch.command(binaries::hyperspace());
    let arguments = ["dht", "--host", "127.0.0.1", "--port", "0", "--bootstrap", bootstrap];
    Process::start(command.args(arguments))
}
