//! What a stream sends, and when.

use super::{Change, End, Phase, Repair, Stream};
use crate::udx::flight::{Sent, State};
use crate::udx::pacer::bunch;
use crate::udx::packet::{Flags, HEADER, Header};
use crate::udx::path::{Path, Transmit};
use crate::udx::sequence;
use crate::udx::timers::Timer;
use std::time::Instant;

/// So many bytes go at once, at most: what a datagram can hold that the system cuts into
/// segments.
const BATCH: usize = 60_000;

/// So much of the window is worth being sent.
const ROOM: u64 = 4;

/// What is to be sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Destroy,
    Ack,
    Heartbeat,
    Message,
    /// A packet that was sent before.
    Again {
        seq: u64,
        probe: bool,
    },
    New {
        length: usize,
        padding: u8,
        end: bool,
        probe: bool,
    },
}

impl Stream {
    /// Writes packets that are to be sent now behind what is in `into`: up to `segments`, all
    /// of one size but the last, for one address. `None` if there are none.
    pub fn poll_transmit(&mut self, now: Instant, segments: usize, into: &mut Vec<u8>) -> Option<Transmit> {
        let (next, segment) = self.next(now, true)?;
        let path = self.path_of(next)?;
        let start = into.len();
        self.emit(now, next, path, into);
        for _ in 1..segments {
            if into.len() - start + segment > BATCH {
                break;
            }
            let Some((next, size)) = self.next(now, false) else { break };
            if size > segment || self.path_of(next) != Some(path) {
                break;
            }
            self.emit(now, next, path, into);
            if size < segment {
                break;
            }
        }
        Some(Transmit { socket: path.socket, remote: path.remote, segment })
    }

    /// What is to be sent next, and its length. With `bunch`, more will go with it.
    fn next(&mut self, now: Instant, bunch: bool) -> Option<(Next, usize)> {
        self.path?;
        if self.destroy_due {
            return Some((Next::Destroy, HEADER));
        }
        if let Some(length) = self.acks.first() {
            return Some((Next::Ack, length));
        }
        if self.phase != Phase::Open {
            return None;
        }
        if self.heartbeat_due {
            return Some((Next::Heartbeat, HEADER));
        }
        if let Some(message) = self.messages_out.front() {
            return Some((Next::Message, HEADER + message.len()));
        }
        let next = if self.probe_due { self.next_probe() } else { self.next_data(now, bunch) };
        if self.heartbeat_due {
            // There is something to send, but no room for it there.
            return Some((Next::Heartbeat, HEADER));
        }
        let next = next?;
        let size = match next {
            Next::Again { seq, .. } => self.flight.get(seq)?.size(),
            Next::New { length, padding, .. } => length + usize::from(padding),
            _ => 0,
        };
        Some((next, HEADER + size))
    }

    /// Where it goes. What was under way when the path changed goes the old way once more.
    fn path_of(&self, next: Next) -> Option<Path> {
        if let (Next::Again { seq, .. }, Some(Change { old, until })) = (next, self.change)
            && seq < until
            && self.flight.get(seq).is_some_and(|sent| sent.transmits == 1)
        {
            return Some(old);
        }
        self.path
    }

    /// The tail is probed with something new, or else with the last that was sent.
    fn next_probe(&mut self) -> Option<Next> {
        if let Some(Next::New { length, end, .. }) = self.next_new(false) {
            return Some(Next::New { length, padding: 0, end, probe: true });
        }
        match self.flight.last_missing() {
            Some(seq) => Some(Next::Again { seq, probe: true }),
            None => {
                self.probe_due = false;
                None
            }
        }
    }

    fn next_data(&mut self, now: Instant, bunch: bool) -> Option<Next> {
        let again = self.flight.first_lost().map(|seq| Next::Again { seq, probe: false });
        let next = match again {
            Some(again) => again,
            None => match self.next_new(true) {
                Some(new) => new,
                None => {
                    // There is room for more than there is.
                    if self.flight.bytes() < self.controller.window() {
                        self.sampler.app_limited(self.flight.bytes());
                    }
                    return None;
                }
            },
        };
        if self.flight.bytes() >= self.controller.window() {
            return None;
        }
        if let Next::New { length, .. } = next
            && !self.peer_has_room(now, length)
        {
            self.sampler.app_limited(self.flight.bytes());
            return None;
        }
        let bunch = bunch && matches!(next, Next::New { .. }) && self.send.unsent() > self.capacity();
        if bunch && self.waits_for_room() {
            return None;
        }
        let least = (self.capacity() + HEADER) as u64;
        match self.pacer.budget(now, self.controller.pacing_rate(), least, bunch) {
            Ok(_) => Some(next),
            Err(later) => {
                self.timers.set(Timer::Pacing, later);
                None
            }
        }
    }

    /// Where the window is nearly full, each acknowledgement makes room for a packet or two. It
    /// is not worth the way to the system, here and there, to send these at once: the next
    /// acknowledgements make room for more.
    fn waits_for_room(&self) -> bool {
        let window = self.controller.window().min(self.peer_window().into());
        let flight = self.flight.bytes();
        let room = window.saturating_sub(flight);
        let worth_it = bunch(self.controller.pacing_rate()).min(window / ROOM).min(BATCH as u64);
        room < worth_it && (self.send.unsent() as u64) > room && flight > window / 2
    }

    /// A new packet, if there is something to fill one with.
    fn next_new(&self, may_probe_mtu: bool) -> Option<Next> {
        let unsent = self.send.unsent();
        let capacity = self.capacity();
        let length = unsent.min(capacity);
        let end = self.end == End::Queued && length == unsent;
        if length == 0 && !end {
            return None;
        }
        let mut padding = 0;
        // Something follows that tells if a probe is lost.
        if may_probe_mtu
            && unsent > 2 * capacity
            && self.change.is_none()
            && self.repair == Repair::None
            && let (Some(wanted), Some(path)) = (self.mtu.wanted(), self.path)
        {
            let plain = usize::from(path.overhead()) + HEADER + length;
            padding = u8::try_from(usize::from(wanted).saturating_sub(plain)).unwrap_or(0);
        }
        Some(Next::New { length, padding, end, probe: false })
    }

    /// Whether the other side can take so much more. If it is known to have no room at all,
    /// it is asked now and then.
    fn peer_has_room(&mut self, now: Instant, length: usize) -> bool {
        let window = u64::from(self.peer_window());
        if window == 0 {
            if self.flight.is_empty() && self.timers.get(Timer::ZeroWindow).is_none() {
                self.heartbeat_due = true;
                self.timers.set(Timer::ZeroWindow, now + self.rtt.timeout());
            }
            return false;
        }
        self.flight.flying() == 0 || self.flight.bytes() + length as u64 <= window
    }

    fn emit(&mut self, now: Instant, next: Next, path: Path, into: &mut Vec<u8>) {
        self.packets.0 += 1;
        match next {
            Next::Destroy => {
                self.destroy_due = false;
                self.plain(Flags::DESTROY).encode(into);
            }
            Next::Ack => self.acks.pop(into),
            Next::Heartbeat => {
                self.heartbeat_due = false;
                self.plain(Flags::HEARTBEAT).encode(into);
            }
            Next::Message => {
                self.plain(Flags::MESSAGE).encode(into);
                if let Some(message) = self.messages_out.pop_front() {
                    into.extend_from_slice(&message);
                }
            }
            Next::Again { seq, probe } => self.emit_again(now, seq, probe, path, into),
            Next::New { length, padding, end, probe } => {
                let seq = self.emit_new(now, length, padding, end, into);
                if padding > 0 {
                    let size = path.overhead() as usize + HEADER + length + usize::from(padding);
                    self.mtu.sent(seq, size as u16);
                }
                if probe {
                    self.probe_due = false;
                    self.tail_probe_sent(now);
                } else {
                    self.schedule_tail_probe(now);
                }
            }
        }
    }

    fn plain(&mut self, flags: Flags) -> Header {
        Header { flags, ..self.header() }
    }

    fn emit_new(&mut self, now: Instant, length: usize, padding: u8, end: bool, into: &mut Vec<u8>) -> u64 {
        let idle = self.flight.is_empty();
        if idle {
            self.controller.on_restart(now);
            self.timers.set(Timer::Timeout, now + self.rtt.timeout());
        }
        let mut flags = if length > 0 { Flags::DATA } else { Flags::ACK };
        if end {
            flags = flags.and(Flags::END);
            self.end = End::Sent;
        }
        let stamp = self.sampler.stamp(now, self.flight.flying() == 0);
        let sent = Sent {
            offset: self.send.send(length),
            length: length as u16,
            padding,
            flags,
            state: State::Flying,
            transmits: 1,
            strikes: 0,
            time: now,
            order: 0,
            stamp,
        };
        let header = self.header();
        self.write_packet(header, &sent, into);
        self.pacer.sent(HEADER + sent.size());
        self.flight.push(sent)
    }

    fn emit_again(&mut self, now: Instant, seq: u64, probe: bool, path: Path, into: &mut Vec<u8>) {
        let stamp = self.sampler.stamp(now, self.flight.flying() == 0);
        self.flight.resend(seq, now, stamp);
        let Some(sent) = self.flight.get(seq).copied() else { return };
        self.retransmits += 1;
        let header = Header { stream_id: path.id, seq: sequence::shorten(seq), ..self.header() };
        self.write_packet(header, &sent, into);
        self.pacer.sent(HEADER + sent.size());
        if probe {
            self.probe_due = false;
            self.tail_probe_sent(now);
        } else if self.timers.get(Timer::Timeout).is_none() {
            self.restart_timeout(now);
        }
    }

    fn write_packet(&self, header: Header, sent: &Sent, into: &mut Vec<u8>) {
        Header { flags: sent.flags, data_offset: sent.padding, ..header }.encode(into);
        into.resize(into.len() + usize::from(sent.padding), 0);
        self.send.copy(sent.offset, usize::from(sent.length), into);
    }
}
