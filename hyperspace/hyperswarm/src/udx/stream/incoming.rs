//! What a stream does with a packet that has come.

use super::{End, PeerWindow, Phase, Repair, Stream, StreamError};
use crate::udx::congestion::Ack;
use crate::udx::packet::{Flags, MAX_RANGES, Packet};
use crate::udx::receiver::Outcome;
use crate::udx::sequence;
use crate::udx::timers::Timer;
use bytes::Bytes;
use std::time::Instant;

impl Stream {
    /// Takes a packet that is meant for this stream.
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) {
        self.packets.1 += 1;
        let flags = packet.header.flags;
        match self.phase {
            Phase::Open => {}
            Phase::Lingering => {
                // Somebody who sends has not heard that all has arrived.
                if flags.has(Flags::DATA.and(Flags::END).and(Flags::HEARTBEAT)) {
                    self.push_ack();
                }
                return;
            }
            Phase::Closed(_) => return,
        }
        if flags.has(Flags::HEARTBEAT) {
            self.push_ack();
            return;
        }
        let seq = sequence::expand(self.receiver.next(), packet.header.seq);
        if flags.has(Flags::DESTROY) {
            // An old one may be of somebody who had our number before.
            if seq >= self.receiver.next() {
                // Whoever gives up says what has come by then.
                self.handle_ack(now, seq, packet);
                if self.phase == Phase::Open {
                    self.close(Some(StreamError::Reset));
                }
            }
            return;
        }
        if flags.has(Flags::MESSAGE) && self.messages_in.len() < self.config.messages {
            self.messages_in.push_back(Bytes::copy_from_slice(packet.payload));
            self.happened.message = true;
        }
        let kept = flags.has(Flags::DATA.and(Flags::END)) && self.handle_data(seq, packet);
        self.handle_ack(now, seq, packet);
        if kept && !matches!(self.phase, Phase::Closed(_)) {
            self.push_ack();
        }
        self.check_ended(now);
    }

    fn handle_data(&mut self, seq: u64, packet: &Packet<'_>) -> bool {
        let before = (self.receiver.readable(), self.receiver.ended());
        let payload = if packet.header.flags.has(Flags::DATA) { packet.payload } else { &[] };
        let outcome = self.receiver.insert(seq, payload, packet.header.flags.has(Flags::END));
        if before != (self.receiver.readable(), self.receiver.ended()) {
            self.happened.readable = true;
        }
        outcome == Outcome::Kept
    }

    /// Owes the other side a packet that says what has come.
    pub(super) fn push_ack(&mut self) {
        if self.path.is_none() {
            self.ack_owed = true;
            return;
        }
        let mut header = self.header();
        let mut ranges = self.receiver.early().peekable();
        if ranges.peek().is_some() {
            header.flags = Flags::SACK;
        }
        self.acks.push(|into| {
            header.encode(into);
            for range in ranges {
                crate::udx::packet::encode_range(
                    sequence::shorten(range.start),
                    sequence::shorten(range.end),
                    into,
                );
            }
        });
    }

    fn handle_ack(&mut self, now: Instant, seq: u64, packet: &Packet<'_>) {
        let ack = sequence::expand(self.flight.next(), packet.header.ack);
        // Nobody can have received what was not sent.
        if ack > self.flight.next() {
            return;
        }
        let first = self.flight.first();
        if ack >= first {
            self.learn_window(seq, ack, packet.header.window);
        }
        let before = self.flight.bytes();
        let mut news = std::mem::take(&mut self.news);
        self.flight.acknowledge(ack, &mut news);
        self.take_ranges(packet, &mut news);
        let advanced = self.flight.first() > first;
        let acked = self.learn_of(now, &mut news);
        self.news = news;
        if !advanced && acked == 0 {
            return;
        }
        match self.flight.offset() {
            Some(offset) => self.send.release_below(offset),
            None => self.send.release_below(u64::MAX),
        }
        self.end_episodes(ack);
        if self.end == End::Sent && self.flight.is_empty() {
            self.end = End::Arrived;
            for timer in [Timer::Timeout, Timer::TailProbe, Timer::Reorder, Timer::Pacing] {
                self.timers.stop(timer);
            }
            if !self.check_ended(now) {
                // As libudx does: the other side may wait for it to move on.
                self.push_ack();
                self.restart_keep_alive(now);
            }
            self.happened.acknowledged = true;
            return;
        }
        let lost = self.detect_losses(now);
        self.tell_controller(now, before, acked, lost);
        self.set_timers(now, advanced);
        self.tell_writer();
    }

    /// Of two packets, the later knows better how much room there is.
    fn learn_window(&mut self, seq: u64, ack: u64, size: u32) {
        if (seq, ack) < (self.peer.seq, self.peer.ack) {
            return;
        }
        self.peer = PeerWindow { size, seq, ack };
        if size > 0 {
            self.timers.stop(Timer::ZeroWindow);
        }
    }

    /// Ranges are believed as long as they ascend, and are of what was sent.
    fn take_ranges(&mut self, packet: &Packet<'_>, news: &mut Vec<(u64, crate::udx::flight::Sent)>) {
        let mut least = self.flight.first();
        self.sampler.told(packet.ranges().count() < MAX_RANGES);
        for (start, end) in packet.ranges() {
            let start = sequence::expand(self.flight.next(), start);
            let end = sequence::expand(self.flight.next(), end);
            if start >= end || end > self.flight.next() || start < least {
                continue;
            }
            least = end;
            self.flight.arrive(start..end, news);
        }
    }

    /// What packets that have arrived tell. How many bytes they are.
    fn learn_of(&mut self, now: Instant, news: &mut Vec<(u64, crate::udx::flight::Sent)>) -> u64 {
        let mut acked = 0;
        let mut found = false;
        for (seq, sent) in news.drain(..) {
            if sent.transmits == 1 {
                self.rtt.sample(now, now.saturating_duration_since(sent.time));
            }
            let size = sent.size() as u64;
            acked += size;
            self.sampler.arrived(now, sent.stamp, sent.time, sent.order, size);
            self.rack.arrived(now, seq, sent.time, sent.transmits > 1, self.rtt.shortest());
            found |= self.mtu.arrived(seq);
            self.mtu.begin();
        }
        if found {
            self.update_packet_size();
        }
        acked
    }

    fn end_episodes(&mut self, ack: u64) {
        if self.change.is_some_and(|change| ack >= change.until) {
            self.change = None;
            self.happened.remote_changed = true;
        }
        if self.tail_probe.is_some_and(|probe| ack >= probe.until) {
            self.tail_probe = None;
        }
        match self.repair {
            Repair::Recovery(until) | Repair::AfterTimeout(until) if ack >= until => {
                self.repair = Repair::None;
                self.controller.on_recovered();
            }
            _ => {}
        }
    }

    /// Looks for lost packets. How many bytes they are.
    pub(super) fn detect_losses(&mut self, now: Instant) -> u64 {
        let mut found = std::mem::take(&mut self.lost);
        let open = self.repair == Repair::None;
        let (shortest, smoothed) = (self.rtt.shortest(), self.rtt.smoothed());
        let again = self.rack.detect(now, &mut self.flight, open, shortest, smoothed, &mut found);
        match again {
            Some(at) => self.timers.set(Timer::Reorder, at),
            None => self.timers.stop(Timer::Reorder),
        }
        let mut lost = 0;
        let mut congested = false;
        for seq in found.drain(..) {
            lost += self.flight.lose(seq).unwrap_or(0);
            // A probe that was too large tells nothing of congestion.
            congested |= !self.mtu.lost(seq);
        }
        self.lost = found;
        if congested && open {
            self.repair = Repair::Recovery(self.flight.next());
            self.tail_probe = None;
            self.timers.stop(Timer::TailProbe);
            self.controller.on_recovery();
        }
        if congested { lost } else { 0 }
    }

    pub(super) fn tell_controller(&mut self, now: Instant, before: u64, acked: u64, lost: u64) {
        if acked == 0 && lost == 0 {
            return;
        }
        let rate = if acked > 0 { self.sampler.sample(self.rtt.shortest()) } else { None };
        self.controller.on_ack(&Ack {
            now,
            acked,
            lost,
            before,
            in_flight: self.flight.bytes(),
            delivered: self.sampler.delivered(),
            rate,
            rtt: self.rtt.take_latest(),
        });
    }

    fn set_timers(&mut self, now: Instant, advanced: bool) {
        if self.flight.is_empty() {
            self.timers.stop(Timer::Timeout);
            self.timers.stop(Timer::TailProbe);
            self.restart_keep_alive(now);
            return;
        }
        self.timers.set(Timer::Timeout, now + self.rtt.timeout());
        if advanced {
            self.schedule_tail_probe(now);
        } else if self.flight.arrived() > 0 {
            self.timers.stop(Timer::TailProbe);
        }
    }

    /// There may be room to write again, or nothing left.
    fn tell_writer(&mut self) {
        self.happened.acknowledged |= self.is_acknowledged();
        if self.write_waits && self.room() >= self.config.send_buffer / 4 {
            self.write_waits = false;
            self.happened.writable = true;
        }
    }
}
