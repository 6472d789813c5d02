//! How much may be under way, and how fast it is sent.

mod bbr;
pub(in crate::udx) mod filter;

pub use bbr::Bbr;

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// What an acknowledgement tells of the path. All counts are of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When it came.
    pub now: Instant,
    /// How much it acknowledges that no other has.
    pub acked: u64,
    /// How much of it makes us believe lost.
    pub lost: u64,
    /// How much was under way before it came.
    pub before: u64,
    /// How much is under way now.
    pub in_flight: u64,
    /// How much was ever acknowledged.
    pub delivered: u64,
    /// How fast it arrives.
    pub rate: Option<Rate>,
    /// How long the latest of it took, if it was sent but once.
    pub rtt: Option<Duration>,
}

/// How fast packets were delivered while one of them was under way.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// How much had been delivered when that packet was sent.
    pub delivered_before: u64,
    /// We sent as much as there was, not as much as there might have been.
    pub app_limited: bool,
}

/// Decides how much may be under way, and how fast it is sent.
pub trait Controller: Debug + Send {
    /// Packets were acknowledged, or lost.
    fn on_ack(&mut self, ack: &Ack);
    /// After a time without losses, there are some: those packets are repaired.
    fn on_recovery(&mut self);
    /// All of them have arrived.
    fn on_recovered(&mut self);
    /// Nothing came for so long that everything is believed lost.
    fn on_timeout(&mut self);
    /// Sending begins again, after nothing was under way.
    fn on_restart(&mut self, now: Instant);
    /// Packets are this large from now on.
    fn set_packet_size(&mut self, bytes: u64);
    /// How much may be under way.
    fn window(&self) -> u64;
    /// Bytes a second.
    fn pacing_rate(&self) -> u64;
}
