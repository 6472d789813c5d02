//! Secret streams: bytes of a stranger before and after the handshake.

use hyperswarm::KeyPair;
use hyperswarm::noise::{Handshake, Pattern};
use hyperswarm::secret_stream::{Config, SecretStream};
use std::time::Instant;

fn feed(stream: &mut SecretStream, bytes: &[u8], now: Instant) -> bool {
    stream.read_buffer().extend_from_slice(bytes);
    stream.received(now);
    loop {
        match stream.poll() {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

pub fn run(input: &[u8]) {
    let now = Instant::now();
    let Some((&mode, input)) = input.split_first() else { return };
    let [a, b] = [1, 2].map(|seed| KeyPair::from_seed(&[seed; 32]));
    let config = Config::default();
    let handshake = Handshake::responder(Pattern::Xx, &b, b"").expect("a handshake");
    let mut server = SecretStream::new(handshake, config.clone(), now).expect("a stream");
    if mode & 1 == 1 {
        // First everything as it should be.
        let handshake = Handshake::initiator(Pattern::Xx, &a, b"").expect("a handshake");
        let mut client = SecretStream::new(handshake, config, now).expect("a stream");
        for _ in 0..4 {
            let to = client.outgoing().split();
            assert!(feed(&mut server, &to, now));
            let back = server.outgoing().split();
            assert!(feed(&mut client, &back, now));
        }
    }
    let mut rest = input;
    while let Some((&length, more)) = rest.split_first() {
        let (chunk, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        if !feed(&mut server, chunk, now) {
            return;
        }
    }
    server.received_end();
    while let Ok(Some(_)) = server.poll() {}
}

/// What may come: before the handshake, and after it.
pub fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for mode in [0, 1] {
        for length in [3u8, 36, 100] {
            samples.push([&[mode, length, length - 3, 0, 0][..], &vec![7; usize::from(length) - 3]].concat());
        }
    }
    samples
}
