//! A relay: brings ends together, and passes their packets on.

mod session;

use super::messages::Token;
use crate::connection::Connection;
use crate::udx::{Udx, UdxStream};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How much strangers may make a relay keep and do.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time. 1,024.
    pub connections: usize,
    /// Pairings of one connection, those that wait for their other end and those that are
    /// made. 64.
    pub pairs_of_one: usize,
    /// Pairings that wait for their other end, of all. 4,096.
    pub waiting: usize,
    /// Pairings that are made, of all. 4,096.
    pub links: usize,
    /// So long one waits for its other end. 30 seconds.
    pub patience: Duration,
    /// A link is ended when nothing has come from one of its ends for so long. (Ends send
    /// something every 5 seconds.) 60 seconds.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            pairs_of_one: 64,
            waiting: 4096,
            links: 4096,
            patience: Duration::from_secs(30),
            idle: Duration::from_secs(60),
        }
    }
}

/// What a relay does now, and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that are open.
    pub connections: usize,
    /// Pairings that wait for their other end.
    pub waiting: usize,
    /// Pairings that are made, and last.
    pub links: usize,
    /// Pairings that were made.
    pub made: u64,
    /// What was refused, since there was too much.
    pub refused: u64,
}

/// One end of a pairing that is made.
struct Linked {
    token: Token,
    is_initiator: bool,
    stream: UdxStream,
    /// While both ends have it, it counts.
    _counted: Arc<Counted>,
}

/// Counts a link for as long as it lasts.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.state.lock().stats.links -= 1;
    }
}

/// An end that is there.
struct Side {
    session: u64,
    stream: u32,
    address: Option<IpAddr>,
    linked: mpsc::UnboundedSender<Linked>,
}

/// A pairing of which one end is missing.
struct Waiting {
    is_initiator: bool,
    side: Side,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Token, Waiting>,
    stats: Stats,
    next_session: u64,
}

struct Shared {
    udx: Udx,
    limits: Limits,
    state: Mutex<State>,
}

/// A relay. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

impl Server {
    /// A relay whose streams are those of `udx`: the connections of its ends have to be on
    /// the same sockets.
    pub fn new(udx: Udx, limits: Limits) -> Self {
        Self { shared: Arc::new(Shared { udx, limits, state: Mutex::default() }) }
    }

    /// Relays for a peer until its connection is over, or this is dropped; its pairings end
    /// with that. `address` is where the peer is: packets of its streams are taken only from
    /// there. (Anywhere, if it is not known.)
    pub async fn serve(&self, connection: Connection, address: Option<IpAddr>) {
        session::run(Arc::clone(&self.shared), connection, address).await;
    }

    /// What it does.
    pub fn stats(&self) -> Stats {
        self.shared.state.lock().stats
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
