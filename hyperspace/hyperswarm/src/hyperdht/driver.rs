//! The task that drives a node: it owns the sockets, the streams of connections to be, and
//! the timer, and nothing else.

mod bound;
mod clocks;
mod relaying;
mod sockets;
mod streams;
mod wishes;

pub(super) use bound::Bound;
pub(super) use streams::{Accepts, Reply};
pub(super) use wishes::{Dropped, Request};

use super::DialError;
use super::endpoint::{Handle, NatKind, Status};
use super::node::{Dht, Event};
use super::operations::OperationId;
use crate::dht::bootstrap::{MAX_REMEMBERED, Remembered};
use crate::dht::{self, Socket};
use crate::udx::Datagrams;
use clocks::Clocks;
use relaying::Relaying;
use sockets::{Arrival, Sockets};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime};
use streams::{Heard, Streams};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// The most datagrams that are taken from a socket before the others have their turn.
const BURST: usize = 64;

/// How often the nodes that we know are remembered, and names looked up again.
const REMEMBER_EVERY: Duration = Duration::from_secs(300);
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How often it is looked whether this machine has other addresses.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Long enough.
const IDLE: Duration = Duration::from_secs(3600);

/// Is the node there for others?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    There,
    /// What was announced is being taken back.
    Leaving,
    Suspended,
}

struct Driver {
    dht: Dht,
    sockets: Sockets,
    streams: Streams,
    relaying: Relaying,
    names: Vec<(String, u16)>,
    remembered: Option<Remembered>,
    listeners: HashMap<OperationId, mpsc::UnboundedSender<Event>>,
    local_hosts: Vec<Ipv4Addr>,
    clocks: Clocks,
    presence: Presence,
    suspending: Vec<oneshot::Sender<()>>,
    /// While the last datagrams leave before it is suspended.
    falling_silent: Option<Silence>,
    /// Who waits for the end, and until when servers are taken back.
    closing: Option<(oneshot::Sender<()>, Instant)>,
    /// See [`Status::renewals`].
    renewals: u64,
}

/// Drives the node until it is closed, or nobody holds it any more.
pub(super) async fn run(
    bound: Bound,
    handle: Handle,
    mut requests: mpsc::Receiver<Request>,
    mut dropped: mpsc::UnboundedReceiver<Dropped>,
    status: watch::Sender<Status>,
) {
    let Bound { sockets, mut received, dht, names, remembered, relay_pair } = bound;
    let (streams, mut heard) = Streams::new();
    let mut driver = Driver {
        dht,
        sockets,
        streams,
        relaying: Relaying::new(handle, relay_pair),
        names,
        remembered,
        listeners: HashMap::new(),
        local_hosts: Vec::new(),
        clocks: Clocks::now(),
        presence: Presence::There,
        suspending: Vec::new(),
        falling_silent: None,
        closing: None,
        renewals: 0,
    };
    driver.look_around();
    let mut remember = tokio::time::interval(REMEMBER_EVERY);
    let mut look = tokio::time::interval(LOOK_EVERY);
    let mut lookups = JoinSet::new();
    let mut next_lookup = Instant::now();
    loop {
        driver.settle();
        let current = driver.status();
        status.send_if_modified(|old| {
            let differs = *old != current;
            *old = current;
            differs
        });
        driver.tell_suspended();
        if let Some(done) = driver.take_end() {
            driver.remember().await;
            // Whoever asked for it may not wait.
            let _ = done.send(());
            return;
        }
        if lookups.is_empty()
            && driver.is_lost()
            && driver.presence == Presence::There
            && next_lookup <= Instant::now()
        {
            next_lookup = Instant::now() + RESOLVE_EVERY;
            lookups.spawn(bound::resolve(driver.names.clone()));
        }
        let due = driver.due();
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => driver.requested(request),
                None => return,
            },
            Some(dropped) = dropped.recv() => driver.dropped(dropped),
            Some((datagram, from)) = received.server.recv() => {
                driver.arrived(Socket::Server, from, &datagram);
                driver.more(Socket::Server, &mut received.server);
            }
            Some((datagram, from)) = received.client.recv() => {
                driver.arrived(Socket::Client, from, &datagram);
                driver.more(Socket::Client, &mut received.client);
            }
            Some(arrival) = received.others.recv() => driver.others(arrival, &mut received.others),
            Some(heard) = heard.recv() => driver.heard(heard),
            Some(outcome) = driver.relaying.next() => driver.relaying(outcome),
            () = tokio::time::sleep_until(due.into()) => driver.timeout(),
            () = silence(&mut driver.falling_silent) => driver.silent(),
            Some(Ok(nodes)) = lookups.join_next() => driver.dht.add_bootstrap(Instant::now(), nodes),
            _ = remember.tick() => driver.remember().await,
            _ = look.tick() => driver.look_around(),
        }
    }
}

/// Until the last datagram has left.
type Silence = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// May be cancelled.
async fn silence(falling: &mut Option<Silence>) {
    match falling {
        Some(falling) => falling.await,
        None => std::future::pending().await,
    }
}

impl Driver {
    fn arrived(&mut self, socket: Socket, from: SocketAddr, datagram: &[u8]) {
        if let (SocketAddr::V4(from), true) = (from, self.presence != Presence::Suspended) {
            self.dht.handle_datagram(Instant::now(), socket, from, datagram);
        }
    }

    fn more(&mut self, socket: Socket, datagrams: &mut Datagrams) {
        for _ in 1..BURST {
            let Some((datagram, from)) = datagrams.try_recv() else { return };
            self.arrived(socket, from, &datagram);
        }
    }

    fn others(&mut self, first: Arrival, more: &mut mpsc::Receiver<Arrival>) {
        let mut next = Some(first);
        for _ in 0..BURST {
            let Some((socket, from, datagram)) = next else { return };
            self.arrived(socket, from, &datagram);
            next = more.try_recv().ok();
        }
        // One more was taken than is looked at in a turn.
        if let Some((socket, from, datagram)) = next {
            self.arrived(socket, from, &datagram);
        }
    }

    fn heard(&mut self, heard: Heard) {
        if let Some(socket) = self.sockets.named(heard.socket) {
            self.dht.stream_heard(Instant::now(), heard.stream, socket, heard.from);
        }
    }

    fn timeout(&mut self) {
        let now = Instant::now();
        // Who is suspended is as if asleep.
        if self.presence != Presence::Suspended && self.dht.poll_timeout().is_some_and(|due| due <= now) {
            self.dht.handle_timeout(now);
        }
    }

    fn due(&self) -> Instant {
        let awake = self.presence != Presence::Suspended;
        let due = self.dht.poll_timeout().filter(|_| awake);
        let end = self.closing.as_ref().map(|(_, end)| *end);
        due.into_iter().chain(end).min().unwrap_or_else(|| Instant::now() + IDLE)
    }

    /// Takes what has happened, and then sends what there is to send: a socket or a stream
    /// has to be there before anybody hears of it.
    fn settle(&mut self) {
        loop {
            while let Some(event) = self.dht.poll_event() {
                self.happened(event);
            }
            while let Some(transmit) = self.dht.poll_transmit() {
                if self.presence != Presence::Suspended {
                    self.sockets.send(&transmit);
                }
            }
            // Nobody hears any more what an operation has found: it was ended, and perhaps
            // something follows from that.
            match self.dht.poll_event() {
                Some(event) => self.happened(event),
                None => return,
            }
        }
    }

    fn happened(&mut self, event: Event) {
        match event {
            Event::Peers { operation, .. }
            | Event::Peer { operation, .. }
            | Event::Immutable { operation, .. }
            | Event::Mutable { operation, .. } => self.tell(operation, event, false),
            Event::Finished { operation, .. } => self.tell(operation, event, true),
            Event::Network(change) => {
                self.renewals += u64::from(change == dht::Network::Online);
                tracing::info!(?change, "the network has changed");
            }
            Event::Woken => self.renewals += 1,
            Event::Ready | Event::Persistent | Event::Ephemeral => {
                tracing::debug!(?event, "the DHT node");
            }
            Event::Listening { server } => {
                self.streams.announced(&server, self.dht.relay_addresses(&server));
            }
            Event::Closed { server } => self.streams.closed(&server),
            Event::OpenSocket { socket } => self.sockets.open(socket),
            Event::CloseSocket { socket } => self.sockets.close(socket),
            Event::Accepting { stream, .. } => {
                if !self.streams.accept(&self.sockets, stream) {
                    self.dht.give_up(Instant::now(), stream);
                }
            }
            Event::Established(established) => {
                self.relaying.end(established.stream);
                self.streams.established(&self.sockets, *established);
            }
            Event::Answered { stream } => self.streams.answered(stream),
            Event::Meet(meeting) => self.relaying.begin(meeting),
            Event::Moved(established) => self.moved(&established),
            Event::GivenUp { stream } => {
                self.relaying.end(stream);
                self.streams.give_up(stream);
            }
            Event::DialFailed { stream, error } => {
                self.relaying.end(stream);
                self.streams.dial_failed(stream, error);
            }
            Event::Rested => self.rested(),
        }
    }

    /// Tells who asked. If nobody listens, there is no reason to go on.
    fn tell(&mut self, operation: OperationId, event: Event, is_last: bool) {
        let heard = self.listeners.get(&operation).is_some_and(|listener| listener.send(event).is_ok());
        if is_last || !heard {
            self.listeners.remove(&operation);
        }
        if !is_last && !heard {
            self.dht.cancel(Instant::now(), operation);
        }
    }

    /// Has the end come?
    fn take_end(&mut self) -> Option<oneshot::Sender<()>> {
        let (_, end) = self.closing.as_ref()?;
        let over =
            self.streams.servers.is_empty() || *end <= Instant::now() || self.presence == Presence::Suspended;
        if over { self.closing.take().map(|(done, _)| done) } else { None }
    }

    /// Was this machine asleep, or is it elsewhere?
    fn look_around(&mut self) {
        let slept = self.clocks.have_slept(SystemTime::now(), Instant::now());
        if slept && self.presence == Presence::There {
            self.dht.woken(Instant::now());
        }
        let hosts = self.sockets.local_hosts();
        if hosts == self.local_hosts {
            return;
        }
        self.dht.set_local_hosts(&hosts);
        let is_first = std::mem::replace(&mut self.local_hosts, hosts).is_empty();
        if !is_first && self.presence == Presence::There {
            self.renewals += 1;
            self.dht.network_changed(Instant::now());
        }
    }

    fn status(&self) -> Status {
        let node = self.dht.node();
        let nat = match node.nat() {
            _ if !node.is_firewalled() => NatKind::Open,
            nat if nat.is_randomized() => NatKind::Random,
            nat if nat.consistent().is_some() => NatKind::Consistent,
            _ => NatKind::Unknown,
        };
        Status {
            ready: node.is_ready(),
            id: node.id(),
            firewalled: node.is_firewalled(),
            online: node.is_online(),
            suspended: self.presence == Presence::Suspended,
            remote_address: node.remote_address(),
            nat,
            known: node.known(),
            stored: self.dht.stored(),
            punches: self.dht.punches(),
            servers: self.streams.servers.len(),
            renewals: self.renewals,
        }
    }

    async fn remember(&self) {
        let Some(file) = self.remembered.clone() else { return };
        let nodes = self.dht.node().nodes(MAX_REMEMBERED);
        // Better those of the last time than none.
        if nodes.is_empty() {
            return;
        }
        let written = tokio::task::spawn_blocking(move || file.write(&nodes)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(error.into())) {
            tracing::warn!(%error, "the nodes that are known cannot be remembered");
        }
    }

    /// Is it time to look names up?
    fn is_lost(&self) -> bool {
        !self.names.is_empty() && self.dht.node().is_ready() && self.dht.node().known() == 0
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.streams.end(DialError::Closed);
    }
}
