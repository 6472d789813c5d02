//! Two sides on one virtual clock, joined by a byte stream that cuts as it likes.

use super::*;
use proptest::prelude::*;

const A: usize = 0;
const B: usize = 1;

/// Two streams, and what each has said.
struct Pair {
    sides: [SecretStream; 2],
    now: Instant,
    events: [Vec<Event>; 2],
    /// How many bytes each side has sent.
    sent: [usize; 2],
    /// The lengths of the pieces that arrive, over and over.
    cuts: Vec<usize>,
}

impl Pair {
    fn new(config: Config, cuts: Vec<usize>) -> Self {
        let now = Instant::now();
        let (a, b) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
        let start = |handshake: Result<Handshake, HandshakeError>| {
            SecretStream::new(handshake.expect("it starts"), config.clone(), now).expect("it starts")
        };
        let sides = [
            start(Handshake::initiator(Pattern::Xx, &a, b"")),
            start(Handshake::responder(Pattern::Xx, &b, b"")),
        ];
        Self { sides, now, events: Default::default(), sent: [0; 2], cuts }
    }

    /// Carries one piece over; false if there is nothing to carry.
    fn carry(&mut self, from: usize, count: usize) -> Result<bool, StreamError> {
        let outgoing = self.sides[from].outgoing();
        let count = count.clamp(1, outgoing.len().max(1));
        if outgoing.is_empty() {
            return Ok(false);
        }
        let piece = outgoing.split_to(count);
        self.sent[from] += count;
        let to = &mut self.sides[1 - from];
        to.read_buffer().extend_from_slice(&piece);
        to.received(self.now);
        self.listen(1 - from)?;
        Ok(true)
    }

    fn listen(&mut self, side: usize) -> Result<(), StreamError> {
        while let Some(event) = self.sides[side].poll()? {
            self.events[side].push(event);
        }
        Ok(())
    }

    /// Carries everything over that is under way.
    fn settle(&mut self) -> Result<(), StreamError> {
        self.listen(A)?;
        self.listen(B)?;
        let mut number = 0;
        loop {
            let cut = self.cuts.get(number % self.cuts.len().max(1)).copied().unwrap_or(usize::MAX);
            number += 1;
            if !self.carry(number % 2, cut)? && !self.carry(1 - number % 2, cut)? {
                return Ok(());
            }
        }
    }

    fn connect(config: Config) -> Self {
        let mut pair = Self::new(config, vec![]);
        pair.settle().expect("they connect");
        pair
    }

    /// Lets time pass, and does what is due, up to and including `time`.
    fn sleep(&mut self, time: Duration) -> Result<(), StreamError> {
        let until = self.now + time;
        loop {
            let next = self.sides.iter().filter_map(SecretStream::poll_timeout).min();
            let Some(at) = next.filter(|at| *at <= until) else {
                self.now = until;
                return Ok(());
            };
            self.now = at.max(self.now);
            for side in &mut self.sides {
                side.handle_timeout(at)?;
            }
            self.settle()?;
        }
    }

    fn messages(&self, side: usize) -> Vec<&[u8]> {
        let message = |event: &'_ Event| matches!(event, Event::Message(_));
        let events = self.events[side].iter().filter(|event| message(event));
        events
            .map(|event| match event {
                Event::Message(bytes) => bytes.as_ref(),
                _ => &[],
            })
            .collect()
    }
}

fn quiet() -> Config {
    Config { keep_alive: None, ..Config::default() }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

proptest! {
    #[test]
    fn messages_arrive_whole_however_the_stream_is_cut(
        messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 1..2000)), 0..20),
        cuts in prop::collection::vec(prop_oneof![1..8usize, 1..3000usize], 0..12),
        early: bool,
    ) {
        let mut pair = Pair::new(quiet(), cuts);
        if !early {
            pair.settle().expect("they connect");
        }
        for (from_b, message) in &messages {
            let from = usize::from(*from_b);
            while !pair.sides[from].can_send() {
                pair.settle().expect("they connect");
            }
            let now = pair.now;
            pair.sides[from].send(now, message).expect("it sends");
        }
        pair.settle().expect("they arrive");
        for (side, from_b) in [(A, true), (B, false)] {
            let expected: Vec<&[u8]> =
                messages.iter().filter(|each| each.0 == from_b).map(|each| each.1.as_slice()).collect();
            prop_assert_eq!(pair.messages(side), expected);
        }
        let keys = [A, B].map(|side| pair.sides[side].keys().map(|keys| keys.handshake_hash));
        prop_assert_eq!(keys[A], keys[B]);
    }

    #[test]
    fn garbage_ends_a_stream_and_costs_no_more_than_its_bytes(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
        side: bool,
        connected: bool,
    ) {
        let mut pair = Pair::new(quiet(), vec![]);
        if connected {
            pair.settle().expect("they connect");
        }
        let stream = &mut pair.sides[usize::from(side)];
        stream.outgoing().clear();
        let mut given = 0;
        for piece in pieces {
            given += piece.len();
            stream.read_buffer().extend_from_slice(&piece);
            match stream.poll() {
                Err(_) => prop_assert_eq!(stream.poll(), Ok(None)),
                Ok(Some(Event::Message(message))) => prop_assert!(false, "{message:?}"),
                Ok(_) => {}
            }
            prop_assert!(stream.read_buffer().capacity() <= 2 * given + 1024);
            prop_assert!(stream.outgoing().len() <= 512);
        }
    }

    #[test]
    fn a_changed_byte_is_noticed(at in 0..59 + 3 + 17 + 5usize, change in 1..=255u8) {
        let mut pair = Pair::new(quiet(), vec![]);
        for step in [A, B, A] {
            // Message 3 and the header go together: all but the header.
            pair.listen(step).expect("so far, all is well");
            let count = if pair.sides[step].can_send() { 67 } else { usize::MAX };
            pair.carry(step, count).expect("so far, all is well");
        }
        let now = pair.now;
        pair.sides[A].send(now, b"hello").expect("it sends");
        pair.sides[A].outgoing()[at] ^= change;
        let carried = pair.carry(A, usize::MAX);
        // A frame that has become longer than there are bytes is waited for.
        prop_assert!(carried.is_err() || pair.messages(B).is_empty());
        pair.sides[B].received_end();
        prop_assert!(carried.is_err() || pair.listen(B).is_err());
    }
}

#[test]
fn keep_alives_are_sent_when_nothing_else_is_and_mean_nothing() {
    let mut pair = Pair::connect(Config { keep_alive: Some(seconds(5)), ..Config::default() });
    let before = pair.sent;
    pair.sleep(Duration::from_millis(4999)).expect("all is well");
    assert_eq!(pair.sent, before);
    pair.sleep(Duration::from_millis(1)).expect("all is well");
    assert_eq!(pair.sent, before.map(|sent| sent + 20));
    // A message takes the place of one.
    pair.sleep(seconds(3)).expect("all is well");
    let now = pair.now;
    pair.sides[A].send(now, b"x").expect("it sends");
    pair.sleep(seconds(3)).expect("all is well");
    assert_eq!(pair.sent, [before[A] + 20 + 21, before[B] + 40]);
    pair.sleep(seconds(100)).expect("all is well");
    assert_eq!(pair.messages(B), [b"x"]);
    assert!(pair.messages(A).is_empty());
}

#[test]
fn keep_alives_do_not_pile_up_before_a_peer_that_does_not_read() {
    let mut pair = Pair::connect(Config::default());
    for round in 1..100 {
        let at = pair.now + seconds(5) * round;
        pair.sides[A].handle_timeout(at).expect("all is well");
    }
    assert_eq!(pair.sides[A].outgoing().len(), 20);
}

#[test]
fn a_silent_peer_is_given_up() {
    let config = Config { timeout: Some(seconds(12)), ..quiet() };
    let mut pair = Pair::connect(config.clone());
    pair.sleep(seconds(11)).expect("all is well");
    assert_eq!(pair.sleep(seconds(1)), Err(StreamError::TimedOut));
    // Keep-alives of the other side are enough.
    let mut pair = Pair::connect(Config { keep_alive: Some(seconds(5)), ..config });
    pair.sleep(seconds(1000)).expect("all is well");
}

#[test]
fn a_handshake_takes_only_so_long() {
    let mut pair = Pair::new(Config::default(), vec![]);
    pair.sides[A].outgoing().clear();
    assert_eq!(pair.sleep(seconds(21)), Err(StreamError::HandshakeTimedOut));
    // A header belongs to it: until then, the other side has proved nothing.
    let mut pair = Pair::new(quiet(), vec![]);
    for side in [A, B, A] {
        pair.listen(side).expect("they connect");
        pair.carry(side, usize::MAX).expect("they connect");
    }
    assert!(pair.sides.iter().all(SecretStream::can_send));
    pair.sides[B].outgoing().clear();
    assert_eq!(pair.sleep(seconds(21)), Err(StreamError::HandshakeTimedOut));
}

#[test]
fn the_answer_to_a_handshake_is_timed() {
    let mut pair = Pair::new(Config::default(), vec![]);
    for side in [A, B, A] {
        pair.listen(side).expect("they connect");
        pair.now += Duration::from_millis(20);
        pair.carry(side, usize::MAX).expect("they connect");
    }
    let expected = Some(Duration::from_millis(40));
    assert_eq!(pair.sides.each_ref().map(SecretStream::round_trip), [expected; 2]);
}

#[test]
fn each_side_ends_for_itself() {
    let mut pair = Pair::connect(Config::default());
    let now = pair.now;
    pair.sides[A].send(now, b"last").expect("it sends");
    pair.sides[A].end();
    assert_eq!(pair.sides[A].send(now, b"more"), Err(StreamError::NotOpen));
    pair.settle().expect("all is well");
    pair.sides[B].received_end();
    pair.sides[B].send(now, b"answer").expect("it sends");
    pair.settle().expect("all is well");
    assert_eq!(pair.events[B][1..], [Event::Message("last".into()), Event::End]);
    assert_eq!(pair.messages(A), [b"answer"]);
    assert_eq!(pair.sides[A].poll_timeout(), None, "nothing is kept alive that has ended");
}

#[test]
fn an_early_end_is_an_error() {
    let mut pair = Pair::connect(quiet());
    pair.sides[B].read_buffer().extend_from_slice(&[17, 0, 0, 1]);
    pair.sides[B].received_end();
    assert_eq!(pair.sides[B].poll(), Err(StreamError::EndedEarly));
    let mut pair = Pair::new(quiet(), vec![]);
    pair.sides[B].received_end();
    assert_eq!(pair.sides[B].poll(), Err(StreamError::EndedEarly));
}

#[test]
fn lengths_are_bounded() {
    let mut pair = Pair::connect(Config { max_message: 100, ..quiet() });
    let now = pair.now;
    pair.sides[A].send(now, &[7; 100]).expect("it sends");
    pair.settle().expect("so much is accepted");
    pair.sides[A].send(now, &[7; 101]).expect("it sends");
    assert_eq!(pair.settle(), Err(StreamError::TooLong(118)));

    // Before somebody has authenticated himself, little is accepted of him.
    let mut pair = Pair::new(quiet(), vec![]);
    pair.sides[B].read_buffer().extend_from_slice(&[1, 2, 0]);
    assert_eq!(pair.sides[B].poll(), Err(StreamError::TooLong(513)));

    let mut pair = Pair::connect(quiet());
    let sent = pair.sides[A].send(now, &vec![0; MAX_MESSAGE + 1]);
    assert_eq!(sent, Err(StreamError::CannotSend(MAX_MESSAGE + 1)));
    pair.sides[A].send(now, &vec![9; MAX_MESSAGE]).expect("it sends");
    pair.settle().expect("it arrives");
    assert_eq!(pair.messages(B), [vec![9; MAX_MESSAGE]]);
}

#[test]
fn our_own_header_is_not_taken_for_theirs() {
    let mut pair = Pair::new(quiet(), vec![]);
    for side in [A, B] {
        pair.listen(side).expect("they connect");
        pair.carry(side, usize::MAX).expect("they connect");
    }
    let outgoing = pair.sides[A].outgoing().split();
    pair.sides[A].read_buffer().extend_from_slice(&outgoing[67..]);
    assert_eq!(pair.sides[A].poll(), Err(StreamError::InvalidHeader));
}
