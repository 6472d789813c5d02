//! Meeting in a private network: which of the addresses that a peer names is most like one
//! of ours?

use std::net::{Ipv4Addr, SocketAddrV4};

/// How many leading bytes two hosts have in common.
fn common(a: Ipv4Addr, b: Ipv4Addr) -> usize {
    a.octets().iter().zip(b.octets()).take_while(|(a, b)| *a == b).count()
}

/// The one of `theirs` that has most in common with one of `ours`: at least the first
/// byte, and more than the first three do not matter. Of equals, the first.
pub(super) fn best_match(ours: &[SocketAddrV4], theirs: &[SocketAddrV4]) -> Option<SocketAddrV4> {
    let mut best = None;
    for ours in ours {
        for theirs in theirs {
            let same = common(*ours.ip(), *theirs.ip()).min(3);
            if same > best.map_or(0, |(same, _)| same) {
                best = Some((same, *theirs));
            }
        }
    }
    best.map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_network() {
        let list = |hosts: &[&str]| -> Vec<SocketAddrV4> {
            hosts.iter().map(|host| SocketAddrV4::new(host.parse().expect("a host"), 1)).collect()
        };
        let ours = list(&["10.0.0.5", "192.168.7.9"]);
        let best = |theirs: &[&str]| best_match(&ours, &list(theirs)).map(|found| found.ip().to_string());
        assert_eq!(best(&["172.16.0.1", "192.168.7.1", "10.0.1.1"]).as_deref(), Some("192.168.7.1"));
        assert_eq!(best(&["10.1.0.0", "192.168.8.1"]).as_deref(), Some("192.168.8.1"));
        assert_eq!(best(&["10.1.0.0", "10.2.0.0"]).as_deref(), Some("10.1.0.0"));
        assert_eq!(best(&["10.0.0.5", "10.0.0.6"]).as_deref(), Some("10.0.0.5"));
        assert_eq!(best(&["172.16.0.1"]), None);
        assert_eq!(best(&[]), None);
    }
}
