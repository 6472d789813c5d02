//! Where a node begins: the nodes that are always there, and those it knew the last time,
//! which it remembers in a file.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fmt, fs, io};

/// The nodes of the public network that are always there.
pub const PUBLIC: [&str; 3] = [
    "88.99.3.86@node1.hyperdht.org:49737",
    "142.93.90.113@node2.hyperdht.org:49737",
    "138.68.147.8@node3.hyperdht.org:49737",
];

/// The most nodes that are remembered.
pub const MAX_REMEMBERED: usize = 256;

/// The longest file of them that is read.
const MAX_FILE: u64 = 64 << 10;

/// A node that is always there: `host:port`, `name:port`, or `host@name:port`, of which
/// the host is tried first, and the name is looked up if nobody answers there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapNode {
    /// Where it is.
    pub address: Option<SocketAddrV4>,
    /// Or what its name is, with the port.
    pub name: Option<(String, u16)>,
}

/// A text that names no node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no bootstrap node: it should be HOST:PORT")]
pub struct NotANode(String);

impl From<SocketAddrV4> for BootstrapNode {
    fn from(address: SocketAddrV4) -> Self {
        Self { address: Some(address), name: None }
    }
}

impl FromStr for BootstrapNode {
    type Err = NotANode;

    fn from_str(text: &str) -> Result<Self, NotANode> {
        let wrong = || NotANode(text.to_owned());
        let (host, rest) = match text.split_once('@') {
            Some((host, rest)) => (Some(host), rest),
            None => (None, text),
        };
        let (name, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        if name.is_empty() || name.contains([':', '/', ' ']) {
            return Err(wrong());
        }
        let at = |host: &str| host.parse().map(|host| SocketAddrV4::new(host, port));
        let address = match host {
            Some(host) => Some(at(host).map_err(|_| wrong())?),
            None => at(name).ok(),
        };
        let name = at(name).is_err().then(|| (name.to_owned(), port));
        Ok(Self { address, name })
    }
}

impl fmt::Display for BootstrapNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, &self.name) {
            (Some(address), Some((name, port))) => write!(f, "{}@{name}:{port}", address.ip()),
            (Some(address), None) => write!(f, "{address}"),
            (None, Some((name, port))) => write!(f, "{name}:{port}"),
            (None, None) => Ok(()),
        }
    }
}

/// A file with the nodes that were known the last time, a line each, the best first.
#[derive(Clone, Debug)]
pub struct Remembered(PathBuf);

impl Remembered {
    /// That file, which need not be there yet.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self(path.as_ref().to_owned())
    }

    /// What is in it. Lines that name no node are passed over: it is only a hint.
    pub fn read(&self) -> io::Result<Vec<SocketAddrV4>> {
        let file = match fs::File::open(&self.0) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE), &mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let nodes = text.lines().filter_map(|line| line.trim().parse().ok());
        Ok(nodes.filter(|node: &SocketAddrV4| node.port() != 0).take(MAX_REMEMBERED).collect())
    }

    /// Writes it anew, whole or not at all.
    pub fn write(&self, nodes: &[SocketAddrV4]) -> io::Result<()> {
        let lines: String = nodes.iter().take(MAX_REMEMBERED).map(|node| format!("{node}\n")).collect();
        let beside = self.0.with_extension("new");
        fs::write(&beside, lines)?;
        fs::rename(&beside, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nodes() {
        for text in PUBLIC.into_iter().chain(["127.0.0.1:49737", "node.example.org:1"]) {
            let node: BootstrapNode = text.parse().expect("a node");
            assert_eq!(node.to_string(), text);
        }
        let node: BootstrapNode = PUBLIC[0].parse().expect("a node");
        assert_eq!(node.address, Some("88.99.3.86:49737".parse().expect("an address")));
        assert_eq!(node.name, Some(("node1.hyperdht.org".to_owned(), 49737)));
        for text in ["", "x", ":1", "x:0", "x:65536", "x@y:1", "::1:5", "http://x:1", "1.2.3.4@:1", "a b:1"] {
            assert!(text.parse::<BootstrapNode>().is_err(), "{text}");
        }
    }

    #[test]
    fn nodes_are_remembered() {
        let folder = std::env::temp_dir().join(format!("hyperswarm-nodes-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let file = Remembered::at(folder.join("nodes"));
        assert_eq!(file.read().expect("it is not there"), []);
        let nodes: Vec<SocketAddrV4> =
            (1..=300).map(|port| SocketAddrV4::new([1, 2, 3, 4].into(), port)).collect();
        file.write(&nodes).expect("it is written");
        assert_eq!(file.read().expect("it is there"), nodes[..MAX_REMEMBERED]);
        fs::write(folder.join("nodes"), b"1.2.3.4:5\nnonsense\n\xff\xff\n1.2.3.4:0\n 5.6.7.8:9 \n")
            .expect("written");
        let read: Vec<_> = file.read().expect("it is there").iter().map(ToString::to_string).collect();
        assert_eq!(read, ["1.2.3.4:5", "5.6.7.8:9"]);
        fs::remove_dir_all(folder).expect("it is removed");
    }
}
