//! The times and limits of streams.

use super::congestion::{Bbr, Controller};
use std::time::Duration;

/// How a stream behaves. The defaults are those of libudx, as far as the other side notices.
#[derive(Clone, Debug)]
pub struct Config {
    /// The number of the first packet that we send. Both sides have to know it; 0.
    pub initial_seq: u32,
    /// The number of the first packet that the other side sends; 0.
    pub initial_ack: u32,
    /// How many bytes are received and kept, before they are read: in order or not, and with
    /// what keeping them costs. The other side learns of what is left of it; 4 MiB.
    pub receive_window: u32,
    /// How many written bytes are kept beyond those that may be under way; 256 KiB.
    pub send_buffer: usize,
    /// How many bytes may be under way, whatever the other side says it can take; 16 MiB.
    pub max_in_flight: u32,
    /// The largest IP packet that is tried, from 1,200 to 1,500; 1,500.
    pub max_mtu: u16,
    /// Asks the other side for a sign of life after so long without data. An answer that
    /// does not come is not noticed, before there is data: as in libudx, this keeps NATs
    /// open, and tells nothing of the other side. Never.
    pub keep_alive: Option<Duration>,
    /// For how long a stream that has ended goes on to answer a peer that did not hear so;
    /// 10 s.
    pub linger: Duration,
    /// For how long a stream that was ended, and is not held any more, waits for the other
    /// side to end as well; 60 s.
    pub detached: Duration,
    /// How many messages wait to be taken or sent, each; what comes beyond is lost; 256.
    pub messages: usize,
    /// Makes what controls congestion, for packets of so many bytes: [`Bbr`].
    pub controller: fn(u64) -> Box<dyn Controller>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_seq: 0,
            initial_ack: 0,
            receive_window: 4 << 20,
            send_buffer: 256 << 10,
            max_in_flight: 16 << 20,
            max_mtu: super::mtu::MAX,
            keep_alive: None,
            linger: Duration::from_secs(10),
            detached: Duration::from_secs(60),
            messages: 256,
            controller: |packet| Box::new(Bbr::new(packet)),
        }
    }
}
