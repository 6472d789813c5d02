//! How much is asked of a peer at a time.
//!
//! A window that is too small leaves the line idle; one that is too large only queues up on
//! the other side, where urgent requests then wait behind it. So it follows what the peer
//! delivers in one round trip: twice that, measured anew each round. A peer that delivers
//! all that is asked sees its window double until that is no longer so.

use std::time::{Duration, Instant};

/// Requests that a peer gets at least.
pub const MIN_REQUESTS: usize = 16;

/// And at most.
pub const MAX_REQUESTS: usize = 1024;

/// A peer that answers within this time is near: what its window holds is soon here, and
/// what counts is that there is always something to do.
const NEAR: Duration = Duration::from_millis(30);

/// Bytes that a near peer is always asked for at once.
const MIN_BYTES: u64 = 4 << 20;

/// Bytes that one peer may owe us.
pub const MAX_BYTES: u64 = 16 << 20;

/// How long the shortest round trip is taken for the line's.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// The window of one peer.
#[derive(Clone, Debug)]
pub struct Window {
    requests: usize,
    /// Bytes of an answer, on average.
    size: u64,
    smoothed: Option<Duration>,
    shortest: Option<(Duration, Instant)>,
    /// The round that is measured: when it began, and answers since.
    round: Option<(Instant, usize)>,
}

impl Default for Window {
    fn default() -> Self {
        Self { requests: MIN_REQUESTS, size: 0, smoothed: None, shortest: None, round: None }
    }
}

impl Window {
    /// How many requests may be out.
    pub fn requests(&self) -> usize {
        let near = self.smoothed.is_some_and(|smoothed| smoothed < NEAR);
        let floor = match self.size {
            size if near && size > 0 => ((MIN_BYTES / size) as usize).clamp(MIN_REQUESTS, MAX_REQUESTS / 2),
            _ => MIN_REQUESTS,
        };
        let ceiling = ((MAX_BYTES / self.size.max(1)) as usize).clamp(MIN_REQUESTS / 4, MAX_REQUESTS);
        self.requests.max(floor).min(ceiling)
    }

    /// The time from a request to its answer, smoothed.
    pub fn rtt(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Bytes of an answer, on average; 0 before there was one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Tells it how large answers are going to be, if it has seen none.
    pub fn expect(&mut self, size: u64) {
        if self.size == 0 {
            self.size = size;
        }
    }

    /// An answer has come.
    pub fn answered(&mut self, now: Instant, sent: Instant, bytes: u64) {
        let took = now.saturating_duration_since(sent);
        self.smoothed = Some(self.smoothed.map_or(took, |smoothed| (smoothed * 7 + took) / 8));
        self.size = if self.size == 0 { bytes } else { (self.size * 15 + bytes) / 16 };
        match self.shortest {
            Some((shortest, at)) if took >= shortest => {
                if now.saturating_duration_since(at) >= FORGET_AFTER {
                    // What queues up hides whether the line has changed: let it drain once.
                    self.shortest = Some((took, now));
                    self.requests = (self.requests / 2).max(MIN_REQUESTS);
                    self.round = None;
                }
            }
            _ => self.shortest = Some((took, now)),
        }
        let (began, answers) = self.round.get_or_insert((now, 0));
        *answers += 1;
        let base = self.shortest.map_or(took, |(shortest, _)| shortest).max(Duration::from_millis(1));
        let lasted = now.saturating_duration_since(*began);
        if lasted < base {
            return;
        }
        let per_trip = *answers as f64 * base.as_secs_f64() / lasted.as_secs_f64();
        self.requests = (2.0 * per_trip).ceil().clamp(MIN_REQUESTS as f64, MAX_REQUESTS as f64) as usize;
        self.round = Some((now, 0));
    }

    /// The peer owes us answers for too long.
    pub fn stalled(&mut self) {
        self.requests = (self.requests / 2).max(MIN_REQUESTS);
        self.round = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// Asks a line of that delay and capacity for blocks of 1,000 bytes; gives the window it
    /// settles at.
    fn settle(delay: Duration, per_second: f64) -> usize {
        let mut window = Window::default();
        let start = Instant::now();
        let (mut now, mut free) = (start, start);
        let mut flying: VecDeque<(Instant, Instant)> = VecDeque::new();
        while now < start + Duration::from_secs(20) {
            while flying.len() < window.requests() {
                free = free.max(now) + Duration::from_secs_f64(1.0 / per_second);
                flying.push_back((now, free + delay));
            }
            let Some((sent, at)) = flying.pop_front() else { unreachable!("the window is never 0") };
            now = at;
            window.answered(now, sent, 70_000);
        }
        window.requests()
    }

    #[test]
    fn it_fills_the_line_and_not_much_more() {
        let narrow = settle(Duration::from_millis(100), 200.0);
        assert!((25..=60).contains(&narrow), "20 in flight fill it: {narrow}");
        let wide = settle(Duration::from_millis(100), 1500.0);
        assert!((100..=240).contains(&wide), "150 in flight fill it: {wide}");
        let near = settle(Duration::from_millis(1), 200.0);
        assert!(near <= 64, "one in flight fills it: {near}");
    }
}
