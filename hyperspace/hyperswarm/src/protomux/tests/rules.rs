//! What the format leaves open, and the bounds.

use super::*;

#[test]
fn a_channel_that_is_closed_early_is_forgotten_by_both() {
    // Closed before the other side has opened it, and opened there meanwhile.
    let (mut a, mut b) = (muxer(), muxer());
    let first = a.open("x", b"", "1".into()).expect("it opens");
    a.close(first);
    let theirs = b.open("x", b"", Bytes::new()).expect("it opens");
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [opened(theirs, "1"), Event::Closed { channel: theirs, rejected: false }]);
    // Its number is not free before the answer is here.
    let second = a.open("x", b"", "2".into()).expect("it opens");
    assert_eq!(second.number(), 2);
    carry(&mut b, &mut a);
    assert_eq!(poll(&mut a), []);
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), []);
    carry(&mut b, &mut a);
    assert_eq!(poll(&mut a), [Event::Closed { channel: second, rejected: true }]);
    assert_eq!(a.channels(), 0);
    assert_eq!(b.channels(), 0);
}

#[test]
fn a_request_can_be_withdrawn() {
    let (mut a, mut b) = (muxer(), muxer());
    b.pair("x", Some(b"id"));
    let ours = a.open("x", b"id", Bytes::new()).expect("it opens");
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [requested("x", "id", "")]);
    a.close(ours);
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [Event::Withdrawn { protocol: "x".into(), id: "id".into() }]);
    assert_eq!(b.half_open, 0);
    assert_eq!(b.backlog, 0);
    carry(&mut b, &mut a);
    assert_eq!(poll(&mut a), []);
    assert_eq!(a.open("x", b"id", Bytes::new()).expect("it opens").number(), 1, "the number is free again");
}

#[test]
fn a_request_can_be_refused() {
    let (mut a, mut b) = (muxer(), muxer());
    b.pair("x", None);
    let ours = a.open("x", b"id", Bytes::new()).expect("it opens");
    a.send(ours, 3, &["early".into()]).expect("it sends");
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [requested("x", "id", "")]);
    b.refuse("x", b"other");
    b.refuse("x", b"id");
    carry(&mut b, &mut a);
    assert_eq!(poll(&mut a), [Event::Closed { channel: ours, rejected: true }]);
    assert_eq!((b.half_open, b.backlog), (0, 0));
    // No longer asked about, it is rejected without a question.
    b.unpair("x", None);
    a.open("x", b"id", Bytes::new()).expect("it opens");
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), []);
    assert!(b.outgoing_bytes() > 0);
}

#[test]
fn a_second_channel_of_the_same_name_is_rejected() {
    let (mut a, ours, mut b, theirs) = joined();
    b.pair("x", None);
    assert_eq!(a.open("x", b"", Bytes::new()), Err(OpenError::AlreadyOpen));
    b.receive(Bytes::from_static(&[0, 1, 2, 1, b'x', 0]));
    assert_eq!(poll(&mut b), []);
    assert_eq!(frames(&mut b), [Bytes::from_static(&[0, 2, 2])]);
    // The first is as it was.
    a.send(ours, 0, &["still here".into()]).expect("it sends");
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [message(theirs, 0, "still here")]);
}

#[test]
fn large_and_small_messages_keep_their_order() {
    let (mut a, ours, mut b, theirs) = joined();
    let sizes = [1, 20_000, 3, 0, 70_000, 8192, 8193, 5];
    for (kind, size) in sizes.iter().enumerate() {
        let half = Bytes::from(vec![kind as u8; size / 2]);
        let rest = Bytes::from(vec![kind as u8; size - size / 2]);
        a.send(ours, kind as u32, &[half, rest]).expect("it sends");
    }
    carry(&mut a, &mut b);
    let got: Vec<(ChannelId, u32, usize)> = poll(&mut b)
        .into_iter()
        .map(|event| match event {
            Event::Message { channel, kind, payload } => {
                assert!(payload.iter().all(|byte| u32::from(*byte) == kind));
                (channel, kind, payload.len())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: Vec<_> =
        sizes.iter().enumerate().map(|(kind, size)| (theirs, kind as u32, *size)).collect();
    assert_eq!(got, expected);
    assert_eq!(a.outgoing_bytes(), 0);
}

#[test]
fn small_messages_share_frames_of_bounded_size() {
    let (mut a, ours, mut b, _) = joined();
    for _ in 0..10_000 {
        a.send(ours, 0, &[Bytes::from_static(&[7; 50])]).expect("it sends");
    }
    let frames = frames(&mut a);
    assert!(frames.len() < 140, "{} frames", frames.len());
    assert!(frames.iter().all(|frame| frame.len() <= 5 << 10));
    frames.into_iter().for_each(|frame| b.receive(frame));
    assert_eq!(poll(&mut b).len(), 10_000);
}

#[test]
fn numbers_are_bounded() {
    let limits = Limits { channels: 3, ..Limits::default() };
    let (mut a, mut b) = (muxer(), Muxer::new(limits));
    b.pair("x", None);
    for id in 0..4 {
        a.open("x", &[id], Bytes::new()).expect("it opens");
        let opened = b.open("y", &[id], Bytes::new());
        assert_eq!(opened.is_ok(), id < 3);
        assert!(id < 3 || opened == Err(OpenError::TooManyChannels));
    }
    carry(&mut a, &mut b);
    for _ in 0..3 {
        assert!(matches!(b.poll(), Ok(Some(Event::Requested { .. }))));
    }
    assert_eq!(b.poll(), Err(MuxError::TooManyChannels));
}

#[test]
fn lengths_are_bounded() {
    let (mut a, ours, mut b, _) = joined();
    let long = "n".repeat(17 << 10);
    assert_eq!(a.open(&long, b"", Bytes::new()), Err(OpenError::TooLong));
    let mut open = Writer::new();
    open.uint(0).uint(1).uint(2).string("x").buffer(b"").raw(long.as_bytes());
    b.receive(open.into_vec().into());
    assert_eq!(b.poll(), Err(MuxError::OpenTooLong));

    let most = 0xff_ffff - 17 - 18;
    let much = Bytes::from(vec![0; most + 1]);
    assert_eq!(a.send(ours, 0, std::slice::from_ref(&much)), Err(SendError::TooLong(most + 1)));
    a.send(ours, 0, &[much.slice(1..)]).expect("it sends");
    assert_eq!(a.send(ours, 0, &["below the limit, one more is taken".into()]), Ok(()));
    assert_eq!(a.send(ours, 0, &["x".into()]), Err(SendError::Full));
    let mut frame = BytesMut::new();
    assert!(a.transmit(&mut frame));
    assert_eq!(a.send(ours, 0, &["x".into()]), Ok(()), "there is room again");
}

#[test]
fn what_waits_for_the_owner_is_bounded() {
    let limits = Limits { half_open: 2, ..Limits::default() };
    let (mut a, mut b) = (muxer(), Muxer::new(limits));
    b.pair("x", None);
    for id in ["1", "2", "3"] {
        a.open("x", id.as_bytes(), Bytes::new()).expect("it opens");
    }
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [requested("x", "1", ""), requested("x", "2", "")]);
    b.refuse("x", b"1");
    assert_eq!(poll(&mut b), [requested("x", "3", "")]);

    // The same for bytes.
    let limits = Limits { backlog: 10_000, ..Limits::default() };
    let (mut a, mut b) = (muxer(), Muxer::new(limits));
    b.pair("x", None);
    let ours = a.open("x", b"1", Bytes::new()).expect("it opens");
    for _ in 0..100 {
        a.send(ours, 0, &[Bytes::from_static(&[7; 100])]).expect("it sends");
    }
    a.open("x", b"2", Bytes::new()).expect("it opens");
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b), [requested("x", "1", "")]);
    assert!(b.backlog < 11_000, "{}", b.backlog);
    let theirs = b.open("x", b"1", Bytes::new()).expect("it opens");
    let events = poll(&mut b);
    assert_eq!(events.len(), 1 + 100 + 1);
    assert_eq!((&events[0], &events[101]), (&opened(theirs, ""), &requested("x", "2", "")));
}

#[test]
fn answers_that_a_stranger_provokes_are_bounded() {
    // A batch of a million opens that nobody wants.
    let mut batch = vec![0, 0, 0];
    for number in 1..=1_000_000u64 {
        // Each closed again, so that the number can be used.
        let mut open = Writer::new();
        open.uint(1).uint((number - 1) % 4 + 1).string("x").buffer(b"");
        batch.push(open.as_slice().len() as u8);
        batch.extend_from_slice(open.as_slice());
    }
    let mut muxer = muxer();
    muxer.receive(batch.into());
    assert_eq!(muxer.poll(), Ok(None));
    assert_eq!(muxer.replies, MAX_REPLIES);
    assert!(muxer.outgoing_bytes() < MAX_REPLIES * 64);
    assert!(!frames(&mut muxer).is_empty());
    assert_eq!(muxer.poll(), Ok(None));
    assert_eq!(muxer.replies, MAX_REPLIES, "it went on as soon as they were sent");
}

#[test]
fn two_thousand_channels() {
    let (mut a, mut b) = (muxer(), muxer());
    b.pair("hypercore/alpha", None);
    let ours: Vec<ChannelId> = (0..2000u32)
        .map(|id| a.open("hypercore/alpha", &[&id.to_le_bytes()[..]; 8].concat(), "capability".into()))
        .collect::<Result<_, _>>()
        .expect("they open");
    carry(&mut a, &mut b);
    while let Some(event) = b.poll().expect("it keeps to the protocol") {
        if let Event::Requested { protocol, id, .. } = event {
            b.open(&protocol, &id, Bytes::new()).expect("it opens");
        }
    }
    carry(&mut b, &mut a);
    assert_eq!(poll(&mut a).len(), 2000);
    for channel in &ours {
        a.send(*channel, 0, &["x".into()]).expect("it sends");
    }
    carry(&mut a, &mut b);
    assert_eq!(poll(&mut b).len(), 2000);
}

/// What an owner, or a network, may do.
#[derive(Clone, Debug)]
enum Act {
    Open(bool, u8),
    Close(bool, u8),
    Refuse(bool, u8),
    Send(bool, u8, u16),
    Carry(bool, u8),
    Poll(bool, u8),
}

fn act() -> impl Strategy<Value = Act> {
    let id = 0..3u8;
    prop_oneof![
        (any::<bool>(), id.clone()).prop_map(|(side, id)| Act::Open(side, id)),
        (any::<bool>(), id.clone()).prop_map(|(side, id)| Act::Close(side, id)),
        (any::<bool>(), id.clone()).prop_map(|(side, id)| Act::Refuse(side, id)),
        (any::<bool>(), id, 0..20_000u16).prop_map(|(side, id, size)| Act::Send(side, id, size)),
        (any::<bool>(), 1..4u8).prop_map(|(side, count)| Act::Carry(side, count)),
        (any::<bool>(), 1..4u8).prop_map(|(side, count)| Act::Poll(side, count)),
    ]
}

/// One side, its frames under way, and what it believes about each id.
struct Side {
    muxer: Muxer,
    wire: VecDeque<Bytes>,
    channels: [Option<ChannelId>; 3],
    /// How often each was closed or rejected by the other side.
    open: [bool; 3],
}

impl Side {
    fn poll(&mut self) -> bool {
        let Some(event) = self.muxer.poll().expect("both keep to the protocol") else { return false };
        let place = |channel: ChannelId| {
            self.channels.iter().position(|each| *each == Some(channel)).expect("a channel of ours")
        };
        match event {
            Event::Opened { channel, .. } => {
                let at = place(channel);
                assert!(!self.open[at]);
                self.open[at] = true;
            }
            Event::Message { channel, .. } => assert!(self.open[place(channel)]),
            Event::Closed { channel, rejected } => {
                let at = place(channel);
                assert_eq!(self.open[at], !rejected);
                self.open[at] = false;
                self.channels[at] = None;
            }
            Event::Requested { .. } | Event::Withdrawn { .. } => {}
        }
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever two owners do, and however it crosses on the way, neither side finds fault
    /// with the other, and in the end both believe the same.
    #[test]
    fn both_sides_always_agree_in_the_end(acts in prop::collection::vec(act(), 0..80), paired: [bool; 2]) {
        let mut sides = paired.map(|paired| {
            let mut muxer = muxer();
            if paired {
                muxer.pair("x", None);
            }
            Side { muxer, wire: VecDeque::new(), channels: [None; 3], open: [false; 3] }
        });
        for act in acts {
            match act {
                Act::Open(side, id) => {
                    let side = &mut sides[usize::from(side)];
                    if let Ok(channel) = side.muxer.open("x", &[id], Bytes::new()) {
                        side.channels[usize::from(id)] = Some(channel);
                        side.open[usize::from(id)] = false;
                    }
                }
                Act::Close(side, id) => {
                    let side = &mut sides[usize::from(side)];
                    // Stale events of it may wait still: they are taken first.
                    while side.poll() {}
                    if let Some(channel) = side.channels[usize::from(id)].take() {
                        side.muxer.close(channel);
                        side.open[usize::from(id)] = false;
                    }
                }
                Act::Refuse(side, id) => sides[usize::from(side)].muxer.refuse("x", &[id]),
                Act::Send(side, id, size) => {
                    let side = &mut sides[usize::from(side)];
                    if let Some(channel) = side.channels[usize::from(id)] {
                        let _ = side.muxer.send(channel, 0, &[Bytes::from(vec![id; size.into()])]);
                    }
                }
                Act::Carry(from, count) => {
                    let sent = frames(&mut sides[usize::from(from)].muxer);
                    sides[usize::from(from)].wire.extend(sent);
                    for _ in 0..count {
                        if let Some(frame) = sides[usize::from(from)].wire.pop_front() {
                            sides[usize::from(!from)].muxer.receive(frame);
                        }
                    }
                }
                Act::Poll(side, count) => {
                    for _ in 0..count {
                        sides[usize::from(side)].poll();
                    }
                }
            }
        }
        // Everything arrives, and what was not answered is refused.
        for _ in 0..8 {
            for from in [0, 1] {
                let sent = frames(&mut sides[from].muxer);
                sides[from].wire.extend(sent);
                while let Some(frame) = sides[from].wire.pop_front() {
                    sides[1 - from].muxer.receive(frame);
                }
                while sides[1 - from].poll() {}
                for id in 0..3 {
                    sides[1 - from].muxer.refuse("x", &[id]);
                }
            }
        }
        let [a, b] = &sides;
        prop_assert_eq!(a.open, b.open);
        prop_assert_eq!((a.muxer.half_open, a.muxer.backlog), (0, 0));
        prop_assert_eq!((b.muxer.half_open, b.muxer.backlog), (0, 0));
        prop_assert_eq!(a.muxer.channels(), a.open.iter().filter(|open| **open).count());
        prop_assert_eq!(b.muxer.channels(), b.open.iter().filter(|open| **open).count());
    }

    #[test]
    fn garbage_does_no_harm(
        frames in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                prop::collection::vec(0..6u8, 0..60),
            ],
            0..40,
        ),
        paired: bool,
    ) {
        let limits = Limits { channels: 50, half_open: 5, backlog: 4000, ..Limits::default() };
        let mut muxer = Muxer::new(limits);
        if paired {
            for protocol in ["", "\0", "\u{1}", "\u{2}"] {
                muxer.pair(protocol, None);
            }
        }
        muxer.open("", b"", Bytes::new()).expect("it opens");
        for frame in frames {
            muxer.receive(frame.into());
            while let Ok(Some(_)) = muxer.poll() {}
            prop_assert!(muxer.half_open <= 5 && muxer.backlog <= 5000);
            prop_assert!(muxer.table.remotes.len() <= 50);
        }
    }
}
