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

/// One end of a line: in which namespace, and what it is called there.
#[derive(Clone, Debug)]
struct End {
    namespace: String,
    name: String,
}

/// Where a machine is.
#[derive(Clone, Debug)]
pub struct Place {
    namespace: String,
    /// The far end of its line: at its router, or in the middle of the internet.
    line: End,
    /// The address that it knows itself by.
    pub own: Ipv4Addr,
    /// The address by which others see it.
    pub public: Ipv4Addr,
}

/// A router, and the network behind it. It passes nothing on from there to its own public
/// address (it does not hairpin): those behind it meet inside, or not at all.
#[derive(Debug)]
pub struct Router {
    namespace: String,
    /// The third byte of the addresses behind it.
    number: u8,
    line: End,
    /// How many machines are or were behind it.
    machines: u8,
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
        bridge(&core);
        internet
    }

    fn namespace(&mut self, name: &str) -> String {
        let namespace = format!("{}-{name}", self.name);
        ip(&format!("netns add {namespace}"));
        ip(&format!("-n {namespace} link set lo up"));
        self.namespaces.push(namespace.clone());
        namespace
    }

    /// A number that nothing else of this internet has.
    fn number(&mut self) -> u8 {
        let number = self.next;
        self.next = number.checked_add(1).expect("an internet is small");
        number
    }

    /// Joins a namespace to the internet; the far end of the line, and the address.
    fn join(&mut self, namespace: &str, name: &str) -> (End, Ipv4Addr) {
        let port = format!("port{}", self.number());
        let line = lay(&self.namespaces[0], &port, namespace, name);
        (line, self.address(namespace, name))
    }

    /// Gives a namespace an address of its own in the internet.
    fn address(&mut self, namespace: &str, name: &str) -> Ipv4Addr {
        // Of no private range: what is in one is not dialled over the internet.
        let address = Ipv4Addr::new(5, 5, 5, self.number());
        ip(&format!("-n {namespace} address add {address}/24 dev {name}"));
        address
    }

    /// A machine that everybody reaches.
    pub fn public(&mut self) -> Place {
        let name = format!("m{}", self.number());
        let namespace = self.namespace(&name);
        let (line, public) = self.join(&namespace, CARD);
        Place { namespace, line, own: public, public }
    }

    /// A router with nobody behind it.
    pub fn router(&mut self, nat: Nat) -> Router {
        let number = self.number();
        let namespace = self.namespace(&format!("r{number}"));
        let (line, public) = self.join(&namespace, OUTSIDE);
        bridge(&namespace);
        ip(&format!("-n {namespace} address add 192.168.{number}.1/24 dev {INSIDE}"));
        in_namespace(&namespace, "sysctl", &["-qw", "net.ipv4.ip_forward=1"], "");
        let masquerade = match nat {
            Nat::Cone => "masquerade",
            Nat::Symmetric => "masquerade random,fully-random",
        };
        // What nobody has asked for is not looked at: it would take the port that the one
        // behind is about to have.
        let rules = format!(
            "table ip nat {{
                chain out {{ type nat hook postrouting priority 100; oifname {OUTSIDE} {masquerade}; }}
                chain in {{
                    type filter hook input priority 0;
                    iifname {OUTSIDE} ct state new drop;
                    iifname {INSIDE} ip daddr != 192.168.{number}.0/24 drop;
                }}
                chain through {{
                    type filter hook forward priority 0;
                    iifname {OUTSIDE} ct state new drop;
                }}
            }}"
        );
        in_namespace(&namespace, "nft", &["-f", "-"], &rules);
        Router { namespace, number, line, machines: 0, public }
    }

    /// One more machine behind a router.
    pub fn behind(&mut self, router: &mut Router) -> Place {
        let name = format!("m{}", self.number());
        let namespace = self.namespace(&name);
        let (line, own) = router.join(&namespace);
        Place { namespace, line, own, public: router.public }
    }

    /// Carries a machine from where it is to behind that router; what runs there stays.
    pub fn carry(&mut self, place: &mut Place, router: &mut Router) {
        place.line.cut();
        (place.line, place.own) = router.join(&place.namespace);
        place.public = router.public;
    }

    /// Gives a router another public address, and lets it forget whom those behind it have
    /// written to.
    pub fn renew(&mut self, router: &mut Router) {
        let Router { namespace, public, .. } = router;
        // When the address that they came from is gone, the kernel forgets what it translated.
        ip(&format!("-n {namespace} address del {public}/24 dev {OUTSIDE}"));
        router.public = self.address(&router.namespace, OUTSIDE);
    }

    /// Takes the line of a machine away, or gives it back.
    pub fn connect(&self, place: &Place, connected: bool) {
        place.line.set(connected);
    }

    /// Takes the line of a router away, or gives it back.
    pub fn connect_router(&self, router: &Router, connected: bool) {
        router.line.set(connected);
    }
}

/// What machines call their end of a line; routers call them so.
const CARD: &str = "eth0";
const OUTSIDE: &str = "wan";
const INSIDE: &str = "lan";

/// Makes a bridge for lines that end in a namespace.
fn bridge(namespace: &str) {
    ip(&format!("-n {namespace} link add {INSIDE} type bridge"));
    ip(&format!("-n {namespace} link set {INSIDE} up"));
}

/// Lays a line from the bridge of one namespace to another; its end at the bridge.
fn lay(from: &str, port: &str, to: &str, name: &str) -> End {
    ip(&format!("-n {from} link add {port} type veth peer name {name} netns {to}"));
    ip(&format!("-n {from} link set {port} master {INSIDE} up"));
    ip(&format!("-n {to} link set {name} up"));
    End { namespace: from.to_owned(), name: port.to_owned() }
}

impl End {
    fn set(&self, connected: bool) {
        let Self { namespace, name } = self;
        ip(&format!("-n {namespace} link set {name} {}", if connected { "up" } else { "down" }));
    }

    fn cut(&self) {
        ip(&format!("-n {} link del {}", self.namespace, self.name));
    }
}

impl Router {
    /// Joins a machine to the network behind it; the far end of its line, and its address.
    fn join(&mut self, namespace: &str) -> (End, Ipv4Addr) {
        self.machines += 1;
        let Self { number, machines, .. } = *self;
        let line = lay(&self.namespace, &format!("port{machines}"), namespace, CARD);
        let own = Ipv4Addr::new(192, 168, number, machines + 1);
        ip(&format!("-n {namespace} address add {own}/24 dev {CARD}"));
        ip(&format!("-n {namespace} route add default via 192.168.{number}.1"));
        (line, own)
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
