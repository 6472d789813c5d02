//! What a relay does for one connection.

use super::{Counted, Linked, Shared, Side, Waiting};
use crate::blind_relay::messages::{PAIR, PROTOCOL, Pair, Token, UNPAIR, Unpair};
use crate::connection::Connection;
use crate::protomux::{ChannelId, Event};
use crate::udx::{Config, UdxStream, Verdict};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

struct Session {
    shared: Arc<Shared>,
    number: u64,
    connection: Connection,
    channel: ChannelId,
    address: Option<IpAddr>,
    linked: mpsc::UnboundedSender<Linked>,
    /// Pairings that wait, and until when.
    waiting: HashMap<Token, Instant>,
    links: HashMap<Token, tokio::task::AbortHandle>,
    /// Each holds the stream of a link, until it is over.
    streams: JoinSet<Token>,
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.stats.connections -= 1;
        for token in self.waiting.keys() {
            if state.waiting.get(token).is_some_and(|waiting| waiting.side.session == self.number) {
                state.waiting.remove(token);
            }
        }
        state.stats.waiting = state.waiting.len();
    }
}

pub(super) async fn run(shared: Arc<Shared>, connection: Connection, address: Option<IpAddr>) {
    let number = {
        let mut state = shared.state.lock();
        if state.stats.connections >= shared.limits.connections {
            state.stats.refused += 1;
            return;
        }
        state.stats.connections += 1;
        state.next_session += 1;
        state.next_session
    };
    let (linked, mut linking) = mpsc::unbounded_channel();
    let channel = connection.open(PROTOCOL, &connection.remote_public_key(), "");
    let mut session = Session {
        shared,
        number,
        connection,
        // If it was not opened, no number is one of it.
        channel: match channel {
            Ok(channel) => channel,
            Err(error) => {
                tracing::debug!(%error, "nothing can be relayed");
                return;
            }
        },
        address,
        linked,
        waiting: HashMap::new(),
        links: HashMap::new(),
        streams: JoinSet::new(),
    };
    loop {
        let next_due = session.waiting.values().min().copied();
        tokio::select! {
            event = session.connection.next() => match event {
                Some(Event::Message { channel, kind, payload }) if channel == session.channel => {
                    session.told(kind, &payload);
                }
                Some(Event::Closed { channel, .. }) if channel == session.channel => return,
                Some(_) => {}
                None => return,
            },
            Some(linked) = linking.recv() => session.link(linked),
            Some(ended) = session.streams.join_next() => if let Ok(token) = ended {
                session.links.remove(&token);
            },
            () = sleep_until(next_due) => session.expire(),
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Session {
    fn told(&mut self, kind: u32, payload: &[u8]) {
        match kind {
            PAIR => match Pair::decode(payload) {
                Ok(pair) => self.pair(pair),
                // Nobody who keeps to the protocol sends that.
                Err(error) => self.connection.give_up(format!("a pairing cannot be read: {error}")),
            },
            UNPAIR => match Unpair::decode(payload) {
                Ok(unpair) => self.unpair(&unpair.token),
                Err(error) => self.connection.give_up(format!("a pairing cannot be read: {error}")),
            },
            _ => {}
        }
    }

    fn pair(&mut self, pair: Pair) {
        let Pair { is_initiator, token, stream } = pair;
        let limits = &self.shared.limits;
        let is_ours = self.waiting.contains_key(&token) || self.links.contains_key(&token);
        let mut state = self.shared.state.lock();
        let side = Side { session: self.number, stream, address: self.address, linked: self.linked.clone() };
        match state.waiting.get(&token).map(|waiting| waiting.is_initiator) {
            // The other end has to come.
            Some(same) if same == is_initiator => return,
            Some(_) => {}
            None => {
                let full = self.waiting.len() + self.links.len() >= limits.pairs_of_one
                    || state.waiting.len() >= limits.waiting;
                if full || is_ours {
                    state.stats.refused += 1;
                    return;
                }
                self.waiting.insert(token, Instant::now() + limits.patience);
                state.waiting.insert(token, Waiting { is_initiator, side });
                state.stats.waiting = state.waiting.len();
                return;
            }
        }
        if self.waiting.len() + self.links.len() >= limits.pairs_of_one || state.stats.links >= limits.links {
            state.stats.refused += 1;
            return;
        }
        let Some(waiting) = state.waiting.remove(&token) else { return };
        state.stats.waiting = state.waiting.len();
        state.stats.links += 1;
        state.stats.made += 1;
        drop(state);
        let counted = Arc::new(Counted(Arc::clone(&self.shared)));
        let [here, there] = [&side, &waiting.side].map(|side| open(&self.shared, side));
        let (Ok(here), Ok(there)) = (here, there) else { return };
        here.relay_to(&there);
        there.relay_to(&here);
        let halves = [(side, here, is_initiator), (waiting.side, there, !is_initiator)];
        for (side, stream, is_initiator) in halves {
            let linked = Linked { token, is_initiator, stream, _counted: Arc::clone(&counted) };
            // Whoever has gone takes its half with it, and so the other.
            let _ = side.linked.send(linked);
        }
    }

    /// Both ends are there: ours is told, and its stream is held until it is over.
    fn link(&mut self, linked: Linked) {
        let Linked { token, is_initiator, stream, .. } = &linked;
        let (token, pair) =
            (*token, Pair { is_initiator: *is_initiator, token: *token, stream: stream.id() });
        self.waiting.remove(&token);
        if self.connection.send(self.channel, PAIR, pair.encode()).is_err() {
            return;
        }
        let task = self.streams.spawn(hold(linked, self.shared.limits.idle));
        self.links.insert(token, task);
    }

    fn unpair(&mut self, token: &Token) {
        if self.waiting.remove(token).is_some() {
            let mut state = self.shared.state.lock();
            state.waiting.remove(token);
            state.stats.waiting = state.waiting.len();
        } else if let Some(task) = self.links.remove(token) {
            task.abort();
        }
    }

    /// Those whose other end did not come, are forgotten.
    fn expire(&mut self) {
        let now = Instant::now();
        let late: Vec<Token> =
            self.waiting.iter().filter(|(_, until)| **until <= now).map(|(token, _)| *token).collect();
        late.iter().for_each(|token| self.unpair(token));
    }
}

/// Holds a stream until it is over, or nothing has come for it for so long.
async fn hold(linked: Linked, idle: Duration) -> Token {
    let mut passed = linked.stream.passed();
    while tokio::time::timeout(idle, linked.stream.closed()).await.is_err() {
        let before = std::mem::replace(&mut passed, linked.stream.passed());
        if before == passed {
            break;
        }
    }
    linked.token
}

/// A stream for one end: it is connected to where the end's first packet comes from.
fn open(shared: &Shared, side: &Side) -> std::io::Result<UdxStream> {
    let stream = shared.udx.stream(Config::default())?;
    let (address, number) = (side.address.map(|address| address.to_canonical()), side.stream);
    stream.set_firewall(move |_, from: SocketAddr| {
        let expected = address.is_none_or(|address| from.ip().to_canonical() == address);
        if expected && from.port() != 0 { Verdict::Connect(number) } else { Verdict::Drop }
    });
    Ok(stream)
}
