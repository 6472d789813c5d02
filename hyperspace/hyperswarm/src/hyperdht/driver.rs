//! The task that drives a node: it owns the sockets and the timer, and nothing else.
//!
//! What a socket does not take at once is lost, as if it were lost on the way: whoever
//! asks, asks again.

use super::endpoint::{Options, Status};
use super::node::{Config, Dht, Event};
use super::operations::OperationId;
use crate::dht::bootstrap::{BootstrapNode, MAX_REMEMBERED, Remembered};
use crate::dht::{self, Socket};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Ports that are tried before any is taken.
const PORTS: u16 = 5;

/// Datagrams are never longer on a usual line.
const MAX_DATAGRAM: usize = 2048;

/// The most datagrams that are taken from a socket before the others have their turn.
const BURST: usize = 64;

/// How often the nodes that we know are remembered, and names looked up again.
const REMEMBER_EVERY: Duration = Duration::from_secs(300);
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How long a socket that fails is left alone.
const FAILED: Duration = Duration::from_millis(100);

/// Begins an operation.
pub(super) type Act = Box<dyn FnOnce(&mut Dht, Instant) -> OperationId + Send>;

/// What the program wants.
pub(super) enum Request {
    /// An operation. What it gives is bounded by the nodes that one query asks. When
    /// nobody listens any more, it ends.
    Begin { act: Act, events: mpsc::UnboundedSender<Event> },
    /// The end.
    Close(oneshot::Sender<()>),
}

/// The sockets, and what the node begins with.
pub(super) struct Bound {
    server: UdpSocket,
    client: UdpSocket,
    dht: Dht,
    /// Nodes whose addresses are looked up by their names if nobody else is there.
    names: Vec<(String, u16)>,
    remembered: Option<Remembered>,
    address: SocketAddrV4,
}

async fn bind(host: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    if port != 0 {
        for port in port..=port.saturating_add(PORTS - 1) {
            if let Ok(socket) = UdpSocket::bind((host, port)).await {
                return Ok(socket);
            }
        }
    }
    UdpSocket::bind((host, 0)).await
}

impl Bound {
    pub(super) async fn new(options: Options) -> io::Result<Self> {
        let server = bind(options.host, options.port).await?;
        let client = bind(options.host, 0).await?;
        let port = server.local_addr()?.port();
        let host = if options.host.is_unspecified() { Ipv4Addr::LOCALHOST } else { options.host };
        let address = SocketAddrV4::new(host, port);
        let remembered = options.remember.map(Remembered::at);
        let nodes = match remembered.clone() {
            None => Vec::new(),
            // They are only hints: without them, it takes a little longer.
            Some(file) => tokio::task::spawn_blocking(move || file.read()).await?.unwrap_or_else(|error| {
                tracing::warn!(%error, "the nodes of the last time cannot be read");
                Vec::new()
            }),
        };
        let bootstrap: Vec<_> = options.bootstrap.iter().filter_map(|node| node.address).collect();
        let names = options.bootstrap.into_iter().filter_map(|BootstrapNode { name, .. }| name).collect();
        let config = dht::Config {
            bootstrap,
            nodes,
            ephemeral: options.ephemeral,
            firewalled: options.firewalled,
            public_address: options.is_first.then_some(address),
            server_port: port,
            ..dht::Config::default()
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let dht = Dht::new(Config { dht: config, wall_clock }, seed, Instant::now());
        Ok(Self { server, client, dht, names, remembered, address })
    }

    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Takes what has arrived. A socket that fails does so again: it is left alone a while.
    async fn receive(&mut self, socket: Socket, first: io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        let mut next = first;
        for _ in 0..BURST {
            match next {
                Ok((length, SocketAddr::V4(from))) => {
                    self.dht.handle_datagram(Instant::now(), socket, from, &buffer[..length]);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, ?socket, "a socket fails");
                    return tokio::time::sleep(FAILED).await;
                }
            }
            next = self.socket(socket).try_recv_from(buffer);
        }
    }

    fn socket(&self, socket: Socket) -> &UdpSocket {
        if socket == Socket::Client { &self.client } else { &self.server }
    }

    fn send(&mut self) {
        while let Some(transmit) = self.dht.poll_transmit() {
            let socket = self.socket(transmit.socket);
            if let Err(error) = socket.try_send_to(&transmit.bytes, transmit.to.into()) {
                tracing::trace!(%error, to = %transmit.to, "a datagram is lost");
            }
        }
    }

    fn status(&self) -> Status {
        let node = self.dht.node();
        Status {
            ready: node.is_ready(),
            id: node.id(),
            firewalled: node.is_firewalled(),
            online: node.is_online(),
            remote_address: node.remote_address(),
            known: node.known(),
            stored: self.dht.stored(),
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

async fn resolve(names: Vec<(String, u16)>) -> Vec<SocketAddrV4> {
    let mut found = Vec::new();
    for (name, port) in names {
        match tokio::net::lookup_host((name.as_str(), port)).await {
            Ok(addresses) => found.extend(addresses.filter_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            })),
            Err(error) => tracing::debug!(%error, name, "a bootstrap node cannot be found"),
        }
    }
    found
}

/// Drives the node until it is closed, or nobody holds it any more.
pub(super) async fn run(
    mut bound: Bound,
    mut requests: mpsc::Receiver<Request>,
    status: watch::Sender<Status>,
) {
    let (mut from_server, mut from_client) = (vec![0; MAX_DATAGRAM], vec![0; MAX_DATAGRAM]);
    let mut listeners: HashMap<OperationId, mpsc::UnboundedSender<Event>> = HashMap::new();
    let mut remember = tokio::time::interval(REMEMBER_EVERY);
    let mut lookups = JoinSet::new();
    let mut next_lookup = Instant::now();
    loop {
        bound.send();
        while let Some(event) = bound.dht.poll_event() {
            tell(&mut bound.dht, &mut listeners, event);
        }
        bound.send();
        let current = bound.status();
        status.send_if_modified(|old| {
            let differs = *old != current;
            *old = current;
            differs
        });
        if lookups.is_empty() && bound.is_lost() && next_lookup <= Instant::now() {
            next_lookup = Instant::now() + RESOLVE_EVERY;
            lookups.spawn(resolve(bound.names.clone()));
        }
        let due = bound.dht.poll_timeout().unwrap_or_else(|| Instant::now() + FAILED);
        tokio::select! {
            request = requests.recv() => match request {
                Some(Request::Begin { act, events }) => {
                    let operation = act(&mut bound.dht, Instant::now());
                    listeners.insert(operation, events);
                }
                Some(Request::Close(done)) => {
                    bound.remember().await;
                    // Whoever asked for it may not wait.
                    let _ = done.send(());
                    return;
                }
                None => return,
            },
            received = bound.server.recv_from(&mut from_server) => {
                bound.receive(Socket::Server, received, &mut from_server).await;
            }
            received = bound.client.recv_from(&mut from_client) => {
                bound.receive(Socket::Client, received, &mut from_client).await;
            }
            () = tokio::time::sleep_until(due.into()) => bound.dht.handle_timeout(Instant::now()),
            Some(Ok(nodes)) = lookups.join_next() => bound.dht.add_bootstrap(Instant::now(), nodes),
            _ = remember.tick() => bound.remember().await,
        }
    }
}

/// Tells who asked. If nobody listens, there is no reason to go on.
fn tell(dht: &mut Dht, listeners: &mut HashMap<OperationId, mpsc::UnboundedSender<Event>>, event: Event) {
    let (operation, is_last) = match &event {
        Event::Peers { operation, .. }
        | Event::Peer { operation, .. }
        | Event::Immutable { operation, .. }
        | Event::Mutable { operation, .. } => (*operation, false),
        Event::Finished { operation, .. } => (*operation, true),
        Event::Network(change) => return tracing::info!(?change, "the network has changed"),
        Event::Ready | Event::Persistent | Event::Ephemeral => {
            return tracing::debug!(?event, "the DHT node");
        }
    };
    let heard = listeners.get(&operation).is_some_and(|listener| listener.send(event).is_ok());
    if is_last || !heard {
        listeners.remove(&operation);
    }
    if !is_last && !heard {
        dht.cancel(Instant::now(), operation);
    }
}
