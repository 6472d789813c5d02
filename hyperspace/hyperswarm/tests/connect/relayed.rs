//! Two that are met at a third peer, until there is a direct way.

use crate::network::{Connected, Network};
use crate::peer::{News, PATIENCE, Peer, grown, join, listen};
use hyperswarm::KeyPair;
use hyperswarm::hyperdht::connect::{Established, Meeting};
use hyperswarm::hyperdht::{DialError, Event};
use std::time::Duration;

const RELAY: [u8; 32] = [77; 32];

fn pair(seed: u8) -> KeyPair {
    KeyPair::from_seed(&[seed; 32])
}

fn meeting(network: &mut Network<Peer>, host: usize) -> Meeting {
    let meeting = network.wait(host, PATIENCE, |news| match news {
        News::Dht(Event::Meet(meeting)) => Some(meeting),
        _ => None,
    });
    meeting.expect("it is to be met at a third peer")
}

/// A client that wants to meet a server at a third peer, and what both are told of that.
fn world(seed: u64, from: Connected, to: Connected) -> (Network<Peer>, usize, usize, [Meeting; 2]) {
    let mut network = grown(seed, 30);
    let (client, server) = (join(&mut network, from), join(&mut network, to));
    listen(&mut network, server, &pair(2));
    let key = pair(2).public_key();
    network.with(client, |peer, now| {
        peer.relay_through = Some(RELAY);
        peer.dial(now, &pair(1), key)
    });
    let theirs = meeting(&mut network, server);
    let ours = meeting(&mut network, client);
    assert_eq!((ours.through, ours.through.public_key), (theirs.through, RELAY));
    assert!(ours.is_initiator && !theirs.is_initiator);
    (network, client, server, [ours, theirs])
}

/// The third peer, host 0, brings them together.
fn bring_together(network: &mut Network<Peer>, hosts: [usize; 2], meetings: &[Meeting; 2]) {
    let at = network.address(0);
    let ends = [meetings[0].stream, meetings[1].stream];
    let numbers = network.with(0, |peer, now| peer.relay(now, ends));
    for ((host, meeting), number) in hosts.into_iter().zip(meetings).zip(numbers) {
        let established = meeting.established.clone();
        network.with(host, |peer, now| peer.meet_at(now, &established, at, number));
    }
    for (host, other) in hosts.into_iter().zip([2, 1]) {
        hears(network, host, &pair(other).public_key());
    }
}

fn hears(network: &mut Network<Peer>, host: usize, message: &[u8]) {
    let heard = network.wait(host, Duration::from_secs(5), |news| match news {
        News::Said { bytes, .. } if bytes == message => Some(()),
        _ => None,
    });
    assert!(heard.is_some(), "{host} hears it");
}

fn moved(network: &mut Network<Peer>, host: usize) -> Option<Box<Established>> {
    network.wait(host, PATIENCE, |news| match news {
        News::Dht(Event::Moved(established)) => Some(established),
        _ => None,
    })
}

#[test]
fn a_stream_moves_to_a_direct_way_when_there_is_one() {
    use Connected::{BehindNat, BehindRandomNat};
    for (seed, from, to) in [(1, BehindNat, BehindRandomNat), (2, BehindRandomNat, BehindNat)] {
        let (mut network, client, server, meetings) = world(seed, from, to);
        bring_together(&mut network, [client, server], &meetings);
        // One has to guess where the other is: that takes some seconds.
        for host in [client, server] {
            assert!(moved(&mut network, host).is_some(), "{from:?} to {to:?}: {host}");
        }
        network.run(Duration::from_secs(2));
        network.with(0, |peer, now| peer.end_relay(now));
        for (from, to, stream) in [(client, server, meetings[0].stream), (server, client, meetings[1].stream)]
        {
            network.with(from, |peer, now| peer.say(now, stream, b"directly"));
            hears(&mut network, to, b"directly");
        }
        network.run(Duration::from_secs(60));
        assert_eq!(network.machine(client).size().2, (0, 0));
        assert_eq!(network.machine(server).size().2, (0, 0));
    }
}

#[test]
fn a_stream_stays_where_it_is_when_there_is_none() {
    let random = Connected::BehindRandomNat;
    let (mut network, client, server, meetings) = world(3, random, random);
    bring_together(&mut network, [client, server], &meetings);
    network.run(Duration::from_secs(120));
    for (from, to, stream) in [(client, server, meetings[0].stream), (server, client, meetings[1].stream)] {
        network.with(from, |peer, now| peer.say(now, stream, b"by the relay"));
        hears(&mut network, to, b"by the relay");
    }
    // Nothing more is tried, and nothing kept for it.
    for host in [client, server] {
        let (sockets, _, connecting) = network.machine(host).size();
        assert_eq!((sockets, connecting), (2, (0, 0)));
    }
}

#[test]
fn a_relay_that_does_nothing_leaves_the_other_ways() {
    let nat = Connected::BehindNat;
    let (mut network, client, server, meetings) = world(4, nat, nat);
    for (host, meeting) in [(client, &meetings[0]), (server, &meetings[1])] {
        network.with(host, |peer, now| peer.act(now, |dht, now| dht.met(now, meeting.stream, false)));
    }
    let established = network.wait(client, PATIENCE, |news| match news {
        News::Dht(Event::Established(established)) => Some(established),
        _ => None,
    });
    assert_eq!(established.expect("it is reached directly").stream, meetings[0].stream);

    let random = Connected::BehindRandomNat;
    let (mut network, client, server, meetings) = world(5, random, random);
    for (host, meeting) in [(client, &meetings[0]), (server, &meetings[1])] {
        network.with(host, |peer, now| peer.act(now, |dht, now| dht.met(now, meeting.stream, false)));
    }
    let failed = network.wait(client, PATIENCE, |news| match news {
        News::Dht(Event::DialFailed { error, .. }) => Some(error),
        _ => None,
    });
    assert_eq!(failed, Some(DialError::DoubleRandomizedNats));
}

#[test]
fn who_fails_before_the_relay_does_waits_for_it() {
    let random = Connected::BehindRandomNat;
    let (mut network, client, _, meetings) = world(6, random, random);
    // There is no direct way: that is known soon.
    network.run(Duration::from_secs(20));
    assert!(network.events(client).iter().all(|news| !matches!(news, News::Dht(Event::DialFailed { .. }))));
    network.with(client, |peer, now| peer.act(now, |dht, now| dht.met(now, meetings[0].stream, false)));
    let failed = network.wait(client, PATIENCE, |news| match news {
        News::Dht(Event::DialFailed { error, .. }) => Some(error),
        _ => None,
    });
    assert_eq!(failed, Some(DialError::RelayAborted));
}
