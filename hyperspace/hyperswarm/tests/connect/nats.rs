//! Through NATs of all kinds.

use crate::network::{Connected, Network};
use crate::peer::{Peer, Reached, grown, join, listen, reach};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::{DialError, Punches};
use std::time::Duration;

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

/// A peer behind this dials one behind that.
fn meet(
    network: &mut Network<Peer>,
    from: Connected,
    to: Connected,
) -> (Result<Reached, DialError>, Punches, Punches) {
    let (client, server) = (join(network, from), join(network, to));
    let (ours, theirs) = (pair(1), pair(2));
    listen(network, server, &theirs);
    let reached = reach(network, client, server, &ours, theirs.public_key());
    let punches = |host| network.machine(host).dht.punches();
    (reached, punches(client), punches(server))
}

#[test]
fn whoever_can_be_reached_is_reached() {
    use Connected::{BehindFirewall, BehindNat, BehindRandomNat, Openly};
    for (seed, loss) in [(1, 0.0), (2, 0.0), (3, 0.05)] {
        for (from, to) in [
            (Openly, Openly),
            (Openly, BehindNat),
            (BehindNat, Openly),
            (Openly, BehindRandomNat),
            (BehindRandomNat, Openly),
            (BehindFirewall, BehindFirewall),
            (BehindNat, BehindNat),
            (BehindFirewall, BehindNat),
            (BehindNat, BehindRandomNat),
            (BehindRandomNat, BehindNat),
            (BehindFirewall, BehindRandomNat),
            (BehindRandomNat, BehindFirewall),
        ] {
            let mut network = grown(seed, 30);
            network.loss = loss;
            let (reached, ours, theirs) = meet(&mut network, from, to);
            let reached = reached.unwrap_or_else(|error| panic!("{seed}: {from:?} to {to:?}: {error}"));
            println!("{from:?} to {to:?}: {} ms {ours:?} {theirs:?}", reached.time.as_millis());
        }
    }
}

#[test]
fn two_random_nats_are_one_too_many() {
    let mut network = grown(4, 30);
    let random = Connected::BehindRandomNat;
    let (reached, ..) = meet(&mut network, random, random);
    assert_eq!(reached.expect_err("there is no way"), DialError::DoubleRandomizedNats);
    network.run(Duration::from_secs(60));
}
