//! Through which nodes the swarm is entered.

use hyperswarm::dht::bootstrap::{BootstrapNode, NotANode, PUBLIC};

/// Names the nodes when no argument does, separated by commas.
pub const BOOTSTRAP_VARIABLE: &str = "HYPERSPACE_BOOTSTRAP";

/// Through which nodes the swarm is entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Bootstrap {
    /// Through none: there is no DHT at all.
    #[default]
    None,
    /// Through those of the public network.
    Public,
    /// Through these, which are those of a network of its own.
    Nodes(Vec<BootstrapNode>),
}

impl Bootstrap {
    /// As it is given on a command line: each `HOST:PORT`, or one `none`; nothing at all is
    /// the public network.
    pub fn parse<T: AsRef<str>>(given: &[T]) -> Result<Self, NotANode> {
        let given: Vec<&str> =
            given.iter().map(|text| text.as_ref().trim()).filter(|text| !text.is_empty()).collect();
        match given[..] {
            [] => Ok(Self::Public),
            ["none"] => Ok(Self::None),
            _ => given.into_iter().map(str::parse).collect::<Result<_, _>>().map(Self::Nodes),
        }
    }

    /// The nodes; `None` if there is to be no DHT.
    pub fn nodes(&self) -> Option<Vec<BootstrapNode>> {
        match self {
            Self::None => None,
            // They are constants, which a test of theirs reads.
            Self::Public => Some(PUBLIC.iter().filter_map(|node| node.parse().ok()).collect()),
            Self::Nodes(nodes) => Some(nodes.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given() {
        let nothing: [&str; 0] = [];
        assert_eq!(Bootstrap::parse(&nothing), Ok(Bootstrap::Public));
        assert_eq!(Bootstrap::parse(&[""]), Ok(Bootstrap::Public));
        assert_eq!(Bootstrap::parse(&["none"]), Ok(Bootstrap::None));
        let Ok(Bootstrap::Nodes(nodes)) = Bootstrap::parse(&["10.0.0.1:5", " example.org:80"]) else {
            panic!("two nodes");
        };
        assert_eq!(nodes.len(), 2);
        for wrong in ["example.org", "none,none", "x:0"] {
            assert!(Bootstrap::parse(&[wrong]).is_err(), "{wrong}");
        }
        assert!(Bootstrap::parse(&["none", "10.0.0.1:5"]).is_err());
        assert_eq!(Bootstrap::Public.nodes().map(|nodes| nodes.len()), Some(PUBLIC.len()));
        assert_eq!(Bootstrap::None.nodes(), None);
    }
}
