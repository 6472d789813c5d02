//! An internet of one test's own: machines in network namespaces, with public addresses or
//! behind routers that translate them.

use crate::scratch::Scratch;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// What a router does to the packets of who is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// They come from the same port, whoever they are for; only who was written to may
    /// answer.
    Cone,
    /// They come from another port for everybody they are for.
    Symmetric,
}

/// The machines and routers. Dropped, they are gone.
#[derive(Debug)]
pub struct Internet {
    name: String,
    namespaces: Vec<String>,
    next: u8,
}

/// Where a machine is.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: String,
    /// Its line to the internet: in which namespace, and what it is called there.
    line: (String, String),
    /// The address by which others see it.
    pub public: Ipv4Addr,
}

/// Tells the internets of one process apart.
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Default for Internet {
    fn default() -> Self {
        Self::new()
    }
}

impl Internet {
    /// One without machines.
    ///
    /// # Panics
    /// If namespaces cannot be made: that takes root.
    pub fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut internet =
            Self { name: format!("hs{}-{count}", std::process::id()), namespaces: Vec::new(), next: 1 };
        let core = internet.namespace("core");
        ip(&format!("-n {core} link add lan type bridge"));
        ip(&format!("-n {core} link set lan up"));
        internet
    }

    fn namespace(&mut self, name: &str) -> String {
        let namespace = format!("{}-{name}", self.name);
        ip(&format!("netns add {namespace}"));
        ip(&format!("-n {namespace} link set lo up"));
        self.namespaces.push(namespace.clone());
        namespace
    }

    /// Joins a namespace to the internet; where the line ends, and the address.
    fn join(&mut self, namespace: &str) -> ((String, String), Ipv4Addr) {
        let number = self.next;
        self.next += 1;
        let core = self.namespaces[0].clone();
        // Of no private range: what is in one is not dialled over the internet.
        let address = Ipv4Addr::new(5, 5, 5, number);
        let port = format!("port{number}");
        ip(&format!("-n {core} link add {port} type veth peer name wan netns {namespace}"));
        ip(&format!("-n {core} link set {port} master lan up"));
        ip(&format!("-n {namespace} address add {address}/24 dev wan"));
        ip(&format!("-n {namespace} link set wan up"));
        ((core, port), address)
    }

    /// A machine that everybody reaches.
    pub fn public(&mut self) -> Place {
        let namespace = self.namespace(&format!("m{}", self.next));
        let (line, public) = self.join(&namespace);
        Place { namespace, line, public }
    }

    /// A machine alone behind a router.
    pub fn behind(&mut self, nat: Nat) -> Place {
        let number = self.next;
        let router = self.namespace(&format!("r{number}"));
        let namespace = self.namespace(&format!("m{number}"));
        let (line, public) = self.join(&router);
        ip(&format!("-n {router} link add inside type veth peer name eth0 netns {namespace}"));
        ip(&format!("-n {router} address add 192.168.{number}.1/24 dev inside"));
        ip(&format!("-n {router} link set inside up"));
        ip(&format!("-n {namespace} address add 192.168.{number}.2/24 dev eth0"));
        ip(&format!("-n {namespace} link set eth0 up"));
        ip(&format!("-n {namespace} route add default via 192.168.{number}.1"));
        in_namespace(&router, "sysctl", &["-qw", "net.ipv4.ip_forward=1"], "");
        let masquerade = match nat {
            Nat::Cone => "masquerade",
            Nat::Symmetric => "masquerade random,fully-random",
        };
        // What nobody has asked for is not looked at: it would take the port that the one
        // behind is about to have.
        let rules = format!(
            "table ip nat {{
                chain out {{ type nat hook postrouting priority 100; oifname wan {masquerade}; }}
                chain in {{ type filter hook input priority 0; iifname wan ct state new drop; }}
                chain through {{ type filter hook forward priority 0; iifname wan ct state new drop; }}
            }}"
        );
        in_namespace(&router, "nft", &["-f", "-"], &rules);
        Place { namespace, line, public }
    }

    /// Takes the line of a machine, or of its router, away, or gives it back.
    pub fn connect(&self, place: &Place, connected: bool) {
        let (core, port) = &place.line;
        ip(&format!("-n {core} link set {port} {}", if connected { "up" } else { "down" }));
    }
}

impl Place {
    /// A home on this machine, whose programs enter the swarm there.
    pub fn scratch(&self, bootstrap: &str) -> Scratch {
        Scratch::in_namespace(&self.namespace, bootstrap)
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().rev() {
            // One that is gone already is as good.
            let _ = Command::new("ip").args(["netns", "delete", namespace]).stderr(Stdio::null()).status();
        }
    }
}

fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' ')), "");
}

fn in_namespace(namespace: &str, program: &str, arguments: &[&str], input: &str) {
    run(Command::new("ip").args(["netns", "exec", namespace, program]).args(arguments), input);
}

fn run(command: &mut Command, input: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    child.stdin.take().expect("stdin is a pipe").write_all(input.as_bytes()).expect("it reads its input");
    let output = child.wait_with_output().expect("a child can be waited for");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
