//! Packets that were sent and are not acknowledged yet, as far as all before them are.

use super::packet::Flags;
use super::ranges::Ranges;
use super::rate::Stamp;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Instant;

/// Where a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Under way.
    Flying,
    /// There, though something before it is not.
    Arrived,
    /// Nowhere: it has to be sent again.
    Lost,
}

/// A packet that was sent. Its payload stays what it is, as often as it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) offset: u64,
    pub(super) length: u16,
    pub(super) padding: u8,
    pub(super) flags: Flags,
    pub(super) state: State,
    /// How often it was sent, and how often nothing came for so long that it had to be.
    pub(super) transmits: u8,
    pub(super) strikes: u8,
    /// When, and as which of all that were sent, it was sent last.
    pub(super) time: Instant,
    pub(super) order: u64,
    pub(super) stamp: Stamp,
}

impl Sent {
    /// Its length, without the header.
    pub(super) fn size(&self) -> usize {
        usize::from(self.length) + usize::from(self.padding)
    }
}

/// The packets from the first that is not acknowledged to the last that was sent.
#[derive(Debug)]
pub(super) struct Flight {
    first: u64,
    packets: VecDeque<Sent>,
    arrived: Ranges,
    arrived_count: usize,
    lost: BTreeSet<u64>,
    /// What was sent, in that order; of a packet that was sent again, or is no longer under
    /// way, also when it is not any more.
    sendings: VecDeque<(u64, u64)>,
    next_order: u64,
    bytes: u64,
    flying: usize,
}

impl Flight {
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            packets: VecDeque::new(),
            arrived: Ranges::default(),
            arrived_count: 0,
            lost: BTreeSet::new(),
            sendings: VecDeque::new(),
            next_order: 0,
            bytes: 0,
            flying: 0,
        }
    }

    /// The number of the first that is not acknowledged.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next that is sent.
    pub(super) fn next(&self) -> u64 {
        self.first + self.packets.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many bytes are under way.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many packets are.
    pub(super) fn flying(&self) -> usize {
        self.flying
    }

    /// How many have arrived before others that were sent earlier.
    pub(super) fn arrived(&self) -> usize {
        self.arrived_count
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Sent> {
        self.packets.get(self.index(seq)?)
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first)?).ok()
    }

    /// The lowest that has to be sent again.
    pub(super) fn first_lost(&self) -> Option<u64> {
        self.lost.first().copied()
    }

    /// The highest that has not arrived.
    pub(super) fn last_missing(&self) -> Option<u64> {
        let at = self.packets.iter().rposition(|sent| sent.state != State::Arrived)?;
        Some(self.first + at as u64)
    }

    /// The offset below which all bytes have arrived.
    pub(super) fn offset(&self) -> Option<u64> {
        self.packets.front().map(|sent| sent.offset)
    }

    fn sending(&mut self, seq: u64) -> u64 {
        let order = self.next_order;
        self.next_order += 1;
        self.sendings.push_back((order, seq));
        // Entries that mean nothing any more are mostly at the front, but not all.
        if self.sendings.len() > 2 * self.packets.len() + 64 {
            let (first, packets) = (self.first, &self.packets);
            self.sendings.retain(|(order, seq)| is_current(first, packets, *order, *seq));
        }
        order
    }

    /// A new packet is sent.
    pub(super) fn push(&mut self, mut sent: Sent) -> u64 {
        let seq = self.next();
        self.bytes += sent.size() as u64;
        self.flying += 1;
        self.packets.push_back(sent);
        sent.order = self.sending(seq);
        if let Some(last) = self.packets.back_mut() {
            last.order = sent.order;
        }
        seq
    }

    /// A packet is sent again.
    pub(super) fn resend(&mut self, seq: u64, now: Instant, stamp: Stamp) {
        let order = self.sending(seq);
        let Some(sent) = self.index(seq).and_then(|at| self.packets.get_mut(at)) else { return };
        sent.transmits = sent.transmits.saturating_add(1);
        (sent.time, sent.order, sent.stamp) = (now, order, stamp);
        if sent.state == State::Lost {
            sent.state = State::Flying;
            self.bytes += sent.size() as u64;
            self.flying += 1;
            self.lost.remove(&seq);
        }
    }

    fn land(&mut self, seq: u64, sent: &Sent) {
        match sent.state {
            State::Flying => {
                self.bytes -= sent.size() as u64;
                self.flying -= 1;
            }
            State::Lost => {
                self.lost.remove(&seq);
            }
            State::Arrived => self.arrived_count -= 1,
        }
    }

    /// Everything below `ack` has arrived. Adds those of them that are news.
    pub(super) fn acknowledge(&mut self, ack: u64, news: &mut Vec<(u64, Sent)>) {
        while self.first < ack
            && let Some(sent) = self.packets.pop_front()
        {
            let seq = self.first;
            self.land(seq, &sent);
            self.first += 1;
            if sent.state != State::Arrived {
                news.push((seq, sent));
            }
        }
        self.arrived.forget_below(self.first);
    }

    /// A range has arrived, of packets that were sent.
    pub(super) fn arrive(&mut self, range: Range<u64>, news: &mut Vec<(u64, Sent)>) {
        let range = range.start.max(self.first)..range.end.min(self.next());
        let mut parts = Vec::new();
        self.arrived.insert(range, |part| parts.push(part));
        for seq in parts.into_iter().flatten() {
            let Some(at) = self.index(seq) else { continue };
            let Some(sent) = self.packets.get(at).copied() else { continue };
            self.land(seq, &sent);
            self.packets[at].state = State::Arrived;
            self.arrived_count += 1;
            news.push((seq, sent));
        }
    }

    /// A packet is believed lost. Whether that is news.
    pub(super) fn lose(&mut self, seq: u64) -> Option<u64> {
        let at = self.index(seq)?;
        let sent = self.packets.get_mut(at).filter(|sent| sent.state == State::Flying)?;
        let size = sent.size() as u64;
        sent.state = State::Lost;
        // It goes again without what only filled it up.
        sent.padding = 0;
        self.bytes -= size;
        self.flying -= 1;
        self.lost.insert(seq);
        Some(size)
    }

    /// One more time, nothing came of a packet for too long. How often that was before.
    pub(super) fn strike(&mut self, seq: u64) -> u8 {
        let Some(sent) = self.index(seq).and_then(|at| self.packets.get_mut(at)) else { return 0 };
        let before = sent.strikes;
        sent.strikes = before.saturating_add(1);
        before
    }

    /// Those under way, in the order in which they were sent, as long as `visit` says so.
    pub(super) fn visit(&mut self, mut visit: impl FnMut(u64, &Sent) -> bool) {
        while let Some((order, seq)) = self.sendings.front()
            && !is_current(self.first, &self.packets, *order, *seq)
        {
            self.sendings.pop_front();
        }
        for (order, seq) in &self.sendings {
            if is_current(self.first, &self.packets, *order, *seq)
                && let Some(sent) = self.get(*seq)
                && !visit(*seq, sent)
            {
                return;
            }
        }
    }

    /// Nothing of it matters any more.
    pub(super) fn clear(&mut self) {
        *self = Self { next_order: self.next_order, ..Self::new(self.next()) };
    }
}

/// Whether a sending is the last one of a packet that is under way.
fn is_current(first: u64, packets: &VecDeque<Sent>, order: u64, seq: u64) -> bool {
    let at = seq.checked_sub(first).and_then(|at| usize::try_from(at).ok());
    at.and_then(|at| packets.get(at)).is_some_and(|sent| sent.order == order && sent.state == State::Flying)
}
