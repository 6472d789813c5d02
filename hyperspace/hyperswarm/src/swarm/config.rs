//! What a swarm may be told, and what it does by default.

use std::time::Duration;

/// How many keys at most are remembered because the firewall refused them: the oldest are
/// forgotten, and asked about again.
pub const MAX_REFUSED: usize = 4096;

/// How a swarm behaves. The numbers are those of npm `hyperswarm`, where it has them.
#[derive(Clone, Debug)]
pub struct Config {
    /// With so many connections, in both directions, nobody more is dialled. 64. (With
    /// explicit peers, each connection counts for two to four.)
    pub max_peers: usize,
    /// How many are dialled at a time. 3.
    pub max_parallel: usize,
    /// With so many connections that we have dialled, nobody more is. No limit.
    pub max_client_connections: usize,
    /// With so many connections that others have dialled, further ones are refused. 512.
    pub max_server_connections: usize,
    /// How many peers are remembered that are neither connected nor explicit. 8,192.
    pub max_known: usize,
    /// How many of those may have been found by one topic only: so that the liars of one
    /// topic do not keep out the peers of another. 1,024.
    pub max_known_by_topic: usize,
    /// How many topics are looked up at a time; the others wait. 16.
    pub max_queries: usize,
    /// A topic is looked up again after so long,
    pub refresh: Duration,
    /// and up to so much longer. 10 and 2 minutes.
    pub refresh_jitter: Duration,
    /// A lookup that failed is tried again after so long at first, and twice as long each
    /// time after that. 10 seconds.
    pub refresh_again: Duration,
    /// Waits before a peer is dialled again: short, middle, long, very long. About 1, 5 and
    /// 15 seconds, and 10 minutes.
    pub backoffs: [Duration; 4],
    /// Each of those is up to so much longer in this swarm. Half a second.
    pub backoff_jitter: Duration,
    /// A connection that lasted so long was a good one. 15 seconds.
    pub stable: Duration,
    /// A peer with whom we had a good connection is dialled every few seconds for so long
    /// after it was lost, before we lose patience as with others. 2 minutes.
    pub patience: Duration,
    /// A connection that is younger than this may be half of a double one, if both sides
    /// dialled at once; if it is older, a new one from the same peer means that the peer has
    /// lost the old one. 1 second.
    pub settle: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_peers: 64,
            max_parallel: 3,
            max_client_connections: usize::MAX,
            max_server_connections: 512,
            max_known: 8192,
            max_known_by_topic: 1024,
            max_queries: 16,
            refresh: Duration::from_secs(600),
            refresh_jitter: Duration::from_secs(120),
            refresh_again: Duration::from_secs(10),
            backoffs: [1_250, 5_500, 16_000, 660_000].map(Duration::from_millis),
            backoff_jitter: Duration::from_millis(500),
            stable: Duration::from_secs(15),
            patience: Duration::from_secs(120),
            settle: Duration::from_secs(1),
        }
    }
}
