use super::*;
use proptest::prelude::*;

mod rules;
mod vectors;

/// All frames that wait to be sent.
fn frames(muxer: &mut Muxer) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut frame = BytesMut::new();
    while muxer.transmit(&mut frame) {
        frames.push(frame.split().freeze());
    }
    frames
}

fn carry(from: &mut Muxer, to: &mut Muxer) {
    frames(from).into_iter().for_each(|frame| to.receive(frame));
}

fn poll(muxer: &mut Muxer) -> Vec<Event> {
    std::iter::from_fn(|| muxer.poll().expect("it keeps to the protocol")).collect()
}

fn opened(channel: ChannelId, handshake: &'static str) -> Event {
    Event::Opened { channel, handshake: handshake.into() }
}

fn message(channel: ChannelId, kind: u32, payload: &'static str) -> Event {
    Event::Message { channel, kind, payload: payload.into() }
}

fn requested(protocol: &str, id: &'static str, handshake: &'static str) -> Event {
    Event::Requested { protocol: protocol.to_owned(), id: id.into(), handshake: handshake.into() }
}

fn muxer() -> Muxer {
    Muxer::new(Limits::default())
}

/// Two sides with a channel that is open on both.
fn joined() -> (Muxer, ChannelId, Muxer, ChannelId) {
    let (mut a, mut b) = (muxer(), muxer());
    let ours = a.open("x", b"", Bytes::new()).expect("it opens");
    let theirs = b.open("x", b"", Bytes::new()).expect("it opens");
    carry(&mut a, &mut b);
    carry(&mut b, &mut a);
    assert_eq!(poll(&mut a), [opened(ours, "")]);
    assert_eq!(poll(&mut b), [opened(theirs, "")]);
    (a, ours, b, theirs)
}
