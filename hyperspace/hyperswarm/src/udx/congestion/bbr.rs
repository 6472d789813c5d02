//! BBR: measures how fast the path delivers and how long it takes at least, and keeps as
//! much under way as the product of both.
//!
//! It follows draft-cardwell-iccrg-bbr-congestion-control-00 (version 1), as libudx does:
//! losses that come by chance do not slow it down. Unlike there, a loss during the start
//! leaves the window as it is.

use super::filter::Extreme;
use super::{Ack, Controller};
use std::time::{Duration, Instant};

/// Packets that may be under way at first.
const INITIAL: u64 = 10;
/// And at least.
const LEAST: u64 = 4;
/// 2 / ln 2: the rate doubles every round.
const HIGH: f64 = 2.885_39;
const DRAIN: f64 = 1.0 / HIGH;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
/// Of the windows of the last rounds, the window is so much larger than what fits the path.
const WINDOW: f64 = 2.0;
/// A little less than what is measured, so that queues empty.
const MARGIN: f64 = 0.99;
/// For so many rounds, a rate is believed.
const RATE_ROUNDS: u64 = 10;
/// For so long, the shortest round trip is believed; then, the path is emptied for this time.
const RTT_MEMORY: Duration = Duration::from_secs(10);
const RTT_PROBE: Duration = Duration::from_millis(200);
/// The path is full when the rate has not grown by a quarter in three rounds.
const GROWTH: f64 = 1.25;
const GROWTH_ROUNDS: u8 = 3;
/// When so much of a round is lost, it is not by chance: the path is full.
const LOSSY: f64 = 0.1;
/// Acknowledgements may come late and together: so much is sent beyond what fits the path.
const EXTRA_MOST: Duration = Duration::from_millis(100);
/// The time that one go of sending fills: sending and receiving happen in bunches.
const BUNCH: Duration = Duration::from_millis(1);
const BUNCH_MOST: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Doubles the rate each round, until the path is full.
    Startup,
    /// Empties the queue that made.
    Drain,
    /// Tries now and then whether there is more.
    ProbeRate,
    /// Empties the path, to see how short it is.
    ProbeRtt,
}

/// What losses have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recovery {
    None,
    /// There are some; it remains to be seen how many.
    Watching,
    /// Many: for a round, one packet goes for each that has arrived.
    Conserving,
    /// After that, the window grows again to what it was.
    Growing,
}

/// A controller of congestion.
#[derive(Debug)]
pub struct Bbr {
    packet: u64,
    mode: Mode,
    rate: Extreme<u64, u64>,
    shortest: Option<(Duration, Instant)>,
    rtt_known: bool,
    window: u64,
    window_before: u64,
    pacing: u64,
    pacing_gain: f64,
    window_gain: f64,
    round: u64,
    round_ends_at: u64,
    full_rate: u64,
    full_rounds: u8,
    full: bool,
    /// What was acknowledged and lost in this round.
    round_acked: u64,
    round_lost: u64,
    phase: usize,
    phase_since: Option<Instant>,
    recovery: Recovery,
    idle_restart: bool,
    probe_until: Option<Instant>,
    probe_round: bool,
    extra: Extreme<u64, u64>,
    epoch: Option<(Instant, u64)>,
}

impl Bbr {
    /// A controller of packets of this size.
    pub fn new(packet: u64) -> Self {
        let mut bbr = Self {
            packet,
            mode: Mode::Startup,
            rate: Extreme::greatest(),
            shortest: None,
            rtt_known: false,
            window: INITIAL * packet,
            window_before: 0,
            pacing: 0,
            pacing_gain: HIGH,
            window_gain: HIGH,
            round: 0,
            round_ends_at: 0,
            full_rate: 0,
            full_rounds: 0,
            full: false,
            round_acked: 0,
            round_lost: 0,
            phase: 0,
            phase_since: None,
            recovery: Recovery::None,
            idle_restart: false,
            probe_until: None,
            probe_round: false,
            extra: Extreme::greatest(),
            epoch: None,
        };
        bbr.pacing = bbr.initial_pacing(Duration::from_millis(1));
        bbr
    }

    fn initial_pacing(&self, rtt: Duration) -> u64 {
        per_second(INITIAL * self.packet, rtt, HIGH)
    }

    fn rate(&self) -> u64 {
        self.rate.get().unwrap_or(0)
    }

    /// What fits the path, times `gain`.
    fn fits(&self, gain: f64) -> u64 {
        match self.shortest {
            Some((rtt, _)) if self.rate() > 0 => {
                (self.rate() as f64 * rtt.max(Duration::from_micros(50)).as_secs_f64() * gain) as u64
            }
            _ => (INITIAL as f64 * self.packet as f64 * gain) as u64,
        }
    }

    fn bunch(&self) -> u64 {
        (self.pacing as f64 * BUNCH.as_secs_f64()) as u64
    }

    /// What the window aims at.
    fn target(&self) -> u64 {
        let mut target = self.fits(self.window_gain) + 3 * self.bunch().clamp(self.packet, BUNCH_MOST);
        if self.full {
            let most = (self.rate() as f64 * EXTRA_MOST.as_secs_f64()) as u64;
            target += self.extra.get().unwrap_or(0).min(most);
        }
        target
    }

    fn learn_rate(&mut self, ack: &Ack) -> bool {
        let Some(rate) = ack.rate else { return false };
        let starts = rate.delivered_before >= self.round_ends_at;
        if starts {
            self.round_ends_at = ack.delivered;
            self.round += 1;
            if self.recovery == Recovery::Conserving {
                self.recovery = Recovery::Growing;
            }
        }
        if !rate.app_limited || rate.bytes_per_second >= self.rate() {
            let round = self.round;
            let too_old = |seen: &u64| *seen + RATE_ROUNDS < round;
            self.rate.update(round, rate.bytes_per_second, too_old);
        }
        starts
    }

    /// How much more has come at once than the rate explains.
    fn learn_extra(&mut self, ack: &Ack) {
        let (since, acked) = self.epoch.unwrap_or((ack.now, 0));
        let expected = self.rate() as f64 * ack.now.saturating_duration_since(since).as_secs_f64();
        let acked = acked + ack.acked;
        if acked as f64 <= expected {
            self.epoch = Some((ack.now, 0));
            return;
        }
        self.epoch = Some((since, acked));
        let extra = (acked - expected as u64).min(self.window);
        let round = self.round;
        self.extra.update(round, extra, |seen| *seen + RATE_ROUNDS < round);
    }

    fn next_phase(&mut self, ack: &Ack) {
        if self.mode != Mode::ProbeRate {
            return;
        }
        let Some(((shortest, _), since)) = self.shortest.zip(self.phase_since) else { return };
        let over = ack.now.saturating_duration_since(since) > shortest;
        let next = match self.pacing_gain {
            gain if gain > 1.0 => over && (ack.lost > 0 || ack.before >= self.fits(gain)),
            gain if gain < 1.0 => over || ack.before <= self.fits(1.0),
            _ => over,
        };
        if next {
            self.set_phase(self.phase + 1, ack.now);
        }
    }

    fn set_phase(&mut self, phase: usize, now: Instant) {
        self.phase = phase % CYCLE.len();
        self.phase_since = Some(now);
        self.pacing_gain = CYCLE[self.phase];
        self.window_gain = WINDOW;
    }

    /// Whether this round has lost more than happens by chance.
    fn is_lossy(&self) -> bool {
        self.round_lost as f64 > LOSSY * (self.round_acked + self.round_lost) as f64
            && self.round_lost > LEAST * self.packet
    }

    fn check_full(&mut self, ack: &Ack, round_starts: bool) {
        if !round_starts {
            return;
        }
        let lossy = self.is_lossy();
        (self.round_acked, self.round_lost) = (0, 0);
        // That so much is lost tells of the path, though it may be us who hold back: who repairs
        // has soon filled what the other side can keep.
        if self.full || (!lossy && ack.rate.is_none_or(|rate| rate.app_limited)) {
            return;
        }
        if self.rate() as f64 >= self.full_rate as f64 * GROWTH {
            self.full_rate = self.rate();
            self.full_rounds = 0;
            return;
        }
        self.full_rounds += 1;
        self.full = lossy || self.full_rounds >= GROWTH_ROUNDS;
    }

    fn check_mode(&mut self, ack: &Ack) {
        if self.mode == Mode::Startup && self.full {
            self.mode = Mode::Drain;
            self.pacing_gain = DRAIN;
            self.window_gain = HIGH;
        }
        if self.mode == Mode::Drain && ack.in_flight <= self.fits(1.0) {
            self.mode = Mode::ProbeRate;
            self.set_phase(2, ack.now);
        }
    }

    fn learn_rtt(&mut self, ack: &Ack, round_starts: bool) {
        let expired = self.shortest.is_some_and(|(_, at)| ack.now.saturating_duration_since(at) > RTT_MEMORY);
        if let Some(rtt) = ack.rtt
            && self.shortest.is_none_or(|(shortest, _)| rtt <= shortest || expired)
        {
            self.shortest = Some((rtt, ack.now));
        }
        if expired && !self.idle_restart && self.mode != Mode::ProbeRtt {
            self.mode = Mode::ProbeRtt;
            self.pacing_gain = 1.0;
            self.window_gain = 1.0;
            self.window_before = self.window_before.max(self.window);
            self.probe_until = None;
        }
        if self.mode == Mode::ProbeRtt {
            match self.probe_until {
                None if ack.in_flight <= LEAST * self.packet => {
                    self.probe_until = Some(ack.now + RTT_PROBE);
                    self.probe_round = false;
                    self.round_ends_at = ack.delivered;
                }
                None => {}
                Some(until) => {
                    self.probe_round |= round_starts;
                    if self.probe_round && ack.now >= until {
                        self.leave_probe(ack.now);
                    }
                }
            }
        }
        self.idle_restart = false;
    }

    fn leave_probe(&mut self, now: Instant) {
        if let Some((rtt, _)) = self.shortest {
            self.shortest = Some((rtt, now));
        }
        self.window = self.window.max(self.window_before);
        self.window_before = 0;
        if self.full {
            self.mode = Mode::ProbeRate;
            self.set_phase(2, now);
        } else {
            self.mode = Mode::Startup;
            self.pacing_gain = HIGH;
            self.window_gain = HIGH;
        }
    }

    /// Losses by chance are repaired beside everything else. Where a queue is full, no more
    /// is sent for a round than what arrives.
    fn conserve(&mut self, ack: &Ack) {
        if self.recovery == Recovery::Watching && self.is_lossy() {
            self.recovery = Recovery::Conserving;
            self.window_before = self.window_before.max(self.window);
            self.window = (ack.in_flight + ack.acked.max(self.packet)).max(LEAST * self.packet);
            self.round_ends_at = ack.delivered;
        }
    }

    fn set_pacing(&mut self, ack: &Ack) {
        if let Some(rtt) = ack.rtt {
            // What was assumed before is of no use any more.
            if !std::mem::replace(&mut self.rtt_known, true) {
                self.pacing = self.initial_pacing(rtt);
            }
        }
        if self.rate() == 0 {
            return;
        }
        let rate = (self.rate() as f64 * self.pacing_gain * MARGIN) as u64;
        // Until the path is full, every measurement is of less than it carries.
        if self.full || rate > self.pacing {
            self.pacing = rate.max(1);
        }
    }

    fn set_window(&mut self, ack: &Ack) {
        let least = LEAST * self.packet;
        if ack.lost > 0 && matches!(self.recovery, Recovery::Conserving | Recovery::Growing) {
            self.window = self.window.saturating_sub(ack.lost).max(self.packet);
        }
        if self.recovery == Recovery::Conserving {
            self.window = self.window.max(ack.in_flight + ack.acked);
        } else {
            let target = self.target();
            if self.full {
                self.window = (self.window + ack.acked).min(target);
            } else if self.window < target || ack.delivered < INITIAL * self.packet {
                self.window += ack.acked;
            }
        }
        self.window = self.window.max(least);
        if self.mode == Mode::ProbeRtt {
            self.window = self.window.min(least);
        }
    }
}

impl Controller for Bbr {
    fn on_ack(&mut self, ack: &Ack) {
        self.round_acked += ack.acked;
        self.round_lost += ack.lost;
        let round_starts = self.learn_rate(ack);
        self.conserve(ack);
        self.learn_extra(ack);
        self.next_phase(ack);
        self.check_full(ack, round_starts);
        self.check_mode(ack);
        self.learn_rtt(ack, round_starts);
        self.set_pacing(ack);
        self.set_window(ack);
    }

    fn on_recovery(&mut self) {
        if self.recovery == Recovery::None {
            self.recovery = Recovery::Watching;
        }
    }

    fn on_recovered(&mut self) {
        if self.mode != Mode::ProbeRtt {
            self.window = self.window.max(self.window_before);
            self.window_before = 0;
        }
        self.recovery = Recovery::None;
    }

    fn on_timeout(&mut self) {
        self.window_before = self.window_before.max(self.window);
        self.recovery = Recovery::Growing;
        self.full_rate = 0;
        self.full_rounds = 0;
        self.window = self.packet;
    }

    fn on_restart(&mut self, now: Instant) {
        self.idle_restart = true;
        self.epoch = Some((now, 0));
        if self.mode == Mode::ProbeRate && self.rate() > 0 {
            self.pacing = ((self.rate() as f64 * MARGIN) as u64).max(1);
        }
    }

    fn set_packet_size(&mut self, bytes: u64) {
        self.packet = bytes;
        self.window = self.window.max(LEAST * bytes);
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn pacing_rate(&self) -> u64 {
        self.pacing
    }
}

fn per_second(bytes: u64, time: Duration, gain: f64) -> u64 {
    (bytes as f64 / time.max(Duration::from_micros(10)).as_secs_f64() * gain) as u64
}
