//! The frames of npm `protomux`, in the order in which two of them exchanged them.

use super::*;

fn hex(text: &str) -> Bytes {
    data_encoding::HEXLOWER.decode(text.as_bytes()).expect("hex").into()
}

/// The frames that side `direction` sent in a scenario.
fn recorded(scenario: &str, direction: &str) -> Vec<Bytes> {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/data/transport-vectors.json")).expect("JSON");
    let steps = vectors["protomux"][scenario].as_array().expect("a list").clone();
    let frames = steps.iter().filter(|step| step["dir"] == direction);
    frames.map(|step| hex(step["hex"].as_str().expect("a string"))).collect()
}

/// Two of ours, and everything they send.
struct Pair {
    a: Muxer,
    b: Muxer,
    sent: [Vec<Bytes>; 2],
}

impl Pair {
    fn new() -> Self {
        Self { a: muxer(), b: muxer(), sent: Default::default() }
    }

    fn carry(&mut self) {
        for from_b in [false, true] {
            let (a, b) = (&mut self.a, &mut self.b);
            let (from, to) = if from_b { (b, a) } else { (a, b) };
            let frames = frames(from);
            self.sent[usize::from(from_b)].extend(frames.iter().cloned());
            frames.into_iter().for_each(|frame| to.receive(frame));
        }
    }
}

#[test]
fn basic() {
    let mut pair = Pair::new();
    let a = pair.a.open("test/alpha", &[1, 2], "\u{3}hsA".into()).expect("it opens");
    let b = pair.b.open("test/alpha", &[1, 2], "\u{3}hsB".into()).expect("it opens");
    pair.carry();
    assert_eq!(poll(&mut pair.b), [opened(b, "\u{3}hsA")]);
    assert_eq!(poll(&mut pair.a), [opened(a, "\u{3}hsB")]);

    pair.a.send(a, 0, &["\u{2}hi".into()]).expect("it sends");
    pair.carry();
    pair.a.send(a, 1, &[hex("fd2c01")]).expect("it sends");
    pair.carry();
    pair.a.cork();
    pair.a.send(a, 0, &[hex("01"), "a".into()]).expect("it sends");
    pair.a.send(a, 1, &[hex("07")]).expect("it sends");
    pair.a.send(a, 0, &[hex("0162")]).expect("it sends");
    pair.carry();
    pair.a.uncork();
    pair.carry();
    let kinds: Vec<u32> = poll(&mut pair.b)
        .iter()
        .map(|event| match event {
            Event::Message { channel, kind, .. } if *channel == b => *kind,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, [0, 1, 0, 1, 0]);

    let b2 = pair.b.open("test/beta", b"", Bytes::new()).expect("it opens");
    pair.carry();
    let a2 = pair.a.open("test/beta", b"", Bytes::new()).expect("it opens");
    pair.a.send(a2, 0, &[hex("ff00")]).expect("it sends");
    pair.a.send(a, 0, &["\u{1}z".into()]).expect("it sends");
    // npm rejects what nobody there has opened; here, both had at once.
    assert_eq!(pair.a.poll(), Ok(Some(opened(a2, ""))));
    pair.carry();
    let payload = hex("ff00");
    assert_eq!(
        poll(&mut pair.b),
        [opened(b2, ""), Event::Message { channel: b2, kind: 0, payload }, message(b, 0, "\u{1}z")]
    );

    pair.a.close(a);
    pair.carry();
    assert_eq!(poll(&mut pair.b), [Event::Closed { channel: b, rejected: false }]);
    let a3 = pair.a.open("test/alpha", &[1, 2], "\u{1}x".into()).expect("it opens");
    let b3 = pair.b.open("test/alpha", &[1, 2], "\u{1}y".into()).expect("it opens");
    pair.carry();
    assert_eq!(poll(&mut pair.b), [opened(b3, "\u{1}x")]);
    assert_eq!(poll(&mut pair.a), [opened(a3, "\u{1}y")]);
    assert_ne!(a3, a, "the number is used again, the id is not");

    assert_eq!(pair.sent[0], recorded("basic", "A>B"));
    assert_eq!(pair.sent[1], recorded("basic", "B>A"));
}

#[test]
fn reject() {
    let mut pair = Pair::new();
    let a = pair.a.open("nope", b"", Bytes::new()).expect("it opens");
    pair.carry();
    pair.a.send(a, 0, &["\u{5}early".into()]).expect("it sends");
    pair.carry();
    assert_eq!(poll(&mut pair.b), []);
    pair.carry();
    assert_eq!(poll(&mut pair.a), [Event::Closed { channel: a, rejected: true }]);
    assert_eq!(pair.a.send(a, 0, &[]), Err(SendError::Closed));
    assert_eq!(pair.sent[0], recorded("reject", "A>B"));
    assert_eq!(pair.sent[1], recorded("reject", "B>A"));
}

#[test]
fn pairing() {
    let mut pair = Pair::new();
    pair.b.pair("p", None);
    let a = pair.a.open("p", &[0xaa], Bytes::new()).expect("it opens");
    pair.carry();
    pair.a.send(a, 0, &["\u{18}early before remote open".into()]).expect("it sends");
    pair.carry();
    let id = Bytes::from_static(&[0xaa]);
    let request = Event::Requested { protocol: "p".into(), id: id.clone(), handshake: Bytes::new() };
    assert_eq!(poll(&mut pair.b), [request]);
    let b = pair.b.open("p", &id, Bytes::new()).expect("it opens");
    assert_eq!(poll(&mut pair.b), [opened(b, ""), message(b, 0, "\u{18}early before remote open")]);
    pair.carry();
    assert_eq!(poll(&mut pair.a), [opened(a, "")]);
    assert_eq!(pair.sent[0], recorded("pair", "A>B"));
    assert_eq!(pair.sent[1], recorded("pair", "B>A"));
}

#[test]
fn closes_that_cross() {
    let (mut a, ours, mut b, theirs) = joined();
    a.close(ours);
    b.close(theirs);
    let sent = (frames(&mut a), frames(&mut b));
    assert_eq!(sent, (vec![hex("000301")], vec![hex("000301")]));
    sent.0.into_iter().for_each(|frame| b.receive(frame));
    sent.1.into_iter().for_each(|frame| a.receive(frame));
    assert_eq!((poll(&mut a), poll(&mut b)), (vec![], vec![]));
}

/// What one frame of a stranger leads to.
fn answer(frame: &str) -> Result<Option<Event>, MuxError> {
    let mut muxer = muxer();
    muxer.receive(hex(frame));
    muxer.poll()
}

#[test]
fn errors() {
    for harmless in ["090000", "", "0007", "000309"] {
        assert_eq!(answer(harmless), Ok(None), "{harmless}");
    }
    assert_eq!(answer("000100017000"), Err(MuxError::InvalidOpen));
    assert_eq!(answer("000109017000"), Err(MuxError::InvalidOpen));
    assert_eq!(answer("000205"), Err(MuxError::InvalidReject));
    for cut in ["01", "00", "000101ff"] {
        assert_eq!(answer(cut), Err(MuxError::Decode(DecodeError::OutOfBounds)), "{cut}");
    }
    for (scenario, frames) in [
        ("raw_reject_unknown_local", ["000205"]),
        ("raw_truncated_frame", ["01"]),
        ("raw_single_byte_zero", ["00"]),
        ("raw_close_unknown", ["000309"]),
        ("raw_bad_string_len", ["000101ff"]),
    ] {
        assert_eq!(recorded(scenario, "A>B"), frames.map(hex), "{scenario}");
    }
}

#[test]
fn aliases() {
    // npm, with its own name for it, opens; we know that as an alias.
    let opener = recorded("alias_both_created", "A>B").remove(0);
    let mut b = muxer();
    b.alias("old-name", "new-name");
    let channel = b.open("new-name", b"", Bytes::new()).expect("it opens");
    b.receive(opener);
    assert_eq!(poll(&mut b), [opened(channel, "")]);
    assert_eq!(frames(&mut b), [recorded("alias_both_created", "B>A").remove(0)]);
    // It does not know ours, and says so to a channel that is open: npm gives up, as we do.
    b.receive(recorded("alias_both_created", "A>B").remove(1));
    assert_eq!(b.poll(), Err(MuxError::InvalidReject));
    assert_eq!(b.poll(), Err(MuxError::InvalidReject), "for ever");
}

#[test]
fn unknown_kinds_are_the_owners_business() {
    let (_, _, mut b, theirs) = joined();
    let frame = recorded("unknown_message_type", "A>B").pop().expect("a frame");
    b.receive(frame.clone());
    assert_eq!(b.poll(), Ok(Some(Event::Message { channel: theirs, kind: 1, payload: frame.slice(2..) })));
}
