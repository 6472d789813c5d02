//! What one client may cost: every bound that the server puts on strangers.

/// The bounds of a [`Server`](crate::Server). The defaults suit a desktop.
///
/// Where a bound says *back-pressure*, the server stops reading from that client
/// until it is below the bound again; nothing fails. Where it says *refused*, the
/// request gets an error reply. Nothing here can make another session wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; more wait in the kernel's queue.
    pub sessions: usize,
    /// Bytes of one frame; a longer one closes its connection.
    pub frame: usize,
    /// Requests in progress that end by themselves, per session (back-pressure).
    pub in_flight: usize,
    /// Bytes of requests in progress, per session (back-pressure).
    pub in_flight_bytes: usize,
    /// Requests that wait for peers or for other sessions (gets of blocks that are
    /// not here, downloads, updates, locks), per session (refused). They do not
    /// count as `in_flight`, so that a session full of them can still cancel them.
    pub waiting: usize,
    /// Open cores, per session (refused).
    pub cores: usize,
    /// Extensions, pending gets and downloads, per session (refused).
    pub resources: usize,
    /// Topics that one session may configure, and that the server remembers (refused).
    pub topics: usize,
    /// Bytes of replies that wait for a slow client before the server stops taking
    /// its requests (back-pressure). A single reply may exceed it.
    pub out_bytes: usize,
    /// Events that wait for a slow client. `OnAppend` is coalesced (growth to the latest
    /// length, truncations to the deepest) to at most three a core and not counted; beyond this many, `OnDownload` and `OnUpload` are
    /// dropped; beyond eight times as many, the session is closed.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1024,
            frame: hyperspace_schema::frame::MAX_BODY,
            in_flight: 1024,
            in_flight_bytes: 128 << 20,
            waiting: 16 * 1024,
            cores: 64 * 1024,
            resources: 64 * 1024,
            topics: 64 * 1024,
            out_bytes: 1 << 20,
            events: 4096,
        }
    }
}
