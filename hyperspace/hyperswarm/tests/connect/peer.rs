//! A peer in the simulated network: a node of the DHT and its streams, on simulated sockets.

use crate::network::{Connected, Machine, Network, SERVER_PORT};
use hyperswarm::KeyPair;
use hyperswarm::dht::{self, Socket, Transmit};
use hyperswarm::hyperdht::connect::{Dialing, Established};
use hyperswarm::hyperdht::{Config, Dht, DialError, Event, ListenOptions, target_of};
use hyperswarm::udx::{self, Mux, Path, SocketId, Taken, Verdict};
use std::collections::{BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a peer tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    Dht(Event),
    /// Something has come by a stream.
    Said {
        stream: u32,
        bytes: Vec<u8>,
    },
}

type Heard = Arc<Mutex<Vec<(u32, SocketId, SocketAddrV4)>>>;

pub struct Peer {
    pub dht: Dht,
    mux: Mux,
    sockets: BTreeSet<Socket>,
    /// They are open for the streams on them.
    unneeded: BTreeSet<Socket>,
    heard: Heard,
    news: VecDeque<News>,
    out: VecDeque<Transmit>,
    pub established: Vec<Established>,
    next_stream: u32,
    /// Is it to be met at a third peer, when that is asked for? The test does it.
    pub relay_through: Option<[u8; 32]>,
}

fn id(socket: Socket) -> SocketId {
    match socket {
        Socket::Server => SocketId(0),
        Socket::Client => SocketId(1),
        Socket::Other(number) => SocketId(number + 2),
    }
}

fn socket(id: SocketId) -> Socket {
    match id.0 {
        0 => Socket::Server,
        1 => Socket::Client,
        number => Socket::Other(number - 2),
    }
}

impl Peer {
    pub fn new(config: dht::Config, seed: [u8; 32], now: Instant) -> Self {
        let wall_clock = Duration::from_secs(1_700_000_000);
        let mut mux = Mux::new();
        let sockets = BTreeSet::from([Socket::Server, Socket::Client]);
        sockets.iter().for_each(|socket| mux.add_socket(id(*socket)));
        Self {
            dht: Dht::new(Config { dht: config, wall_clock }, seed, now),
            mux,
            sockets,
            unneeded: BTreeSet::new(),
            heard: Heard::default(),
            news: VecDeque::new(),
            out: VecDeque::new(),
            established: Vec::new(),
            next_stream: 1,
            relay_through: None,
        }
    }

    fn open(&mut self, now: Instant, stream: u32) {
        // As connections do it: NATs forget.
        let keep_alive = Some(Duration::from_secs(5));
        let config = udx::Config { keep_alive, ..udx::Config::default() };
        self.mux.open(now, stream, Arc::new(config)).expect("its number is free");
        let heard = Arc::clone(&self.heard);
        self.mux.set_firewall(
            stream,
            Box::new(move |socket, from| {
                let SocketAddr::V4(from) = from else { return Verdict::Drop };
                heard.lock().expect("it is not poisoned").push((stream, socket, from));
                Verdict::Take
            }),
        );
    }

    fn close(&mut self, stream: u32) {
        self.mux.destroy(stream);
        self.mux.release(stream);
    }

    /// Dials a key. Gives the number of the stream.
    pub fn dial(&mut self, now: Instant, pair: &KeyPair, key: [u8; 32]) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.open(now, stream);
        self.dht.dial(
            now,
            Dialing {
                stream,
                key,
                pair: pair.clone(),
                relay_addresses: Vec::new(),
                relay_through: self.relay_through,
                local_connection: true,
                fast_open: true,
                holepunch: true,
            },
        );
        self.settle(now);
        stream
    }

    /// Does something with the node.
    pub fn act<T>(&mut self, now: Instant, act: impl FnOnce(&mut Dht, Instant) -> T) -> T {
        let result = act(&mut self.dht, now);
        self.settle(now);
        result
    }

    fn established(&mut self, now: Instant, established: &Established) {
        let path = Path {
            socket: id(established.socket),
            remote: established.remote.into(),
            id: established.remote_stream,
        };
        let hello = established.keys.public_key;
        self.mux.update(established.stream, |stream| {
            stream.connect(now, path);
            stream.write(&hello)
        });
        self.mux.set_firewall(established.stream, Box::new(|_, _| Verdict::Take));
        self.established.push(established.clone());
    }

    /// A stream that is relayed has a direct way.
    fn moved(&mut self, established: &Established) {
        let path = Path {
            socket: id(established.socket),
            remote: established.remote.into(),
            id: established.remote_stream,
        };
        self.mux.update(established.stream, |stream| {
            stream.change_remote(path);
            stream.send_message(Vec::new().into())
        });
        self.mux.set_firewall(established.stream, Box::new(|_, _| Verdict::Take));
    }

    /// A third peer brings our stream together with another: it is to go to that one's
    /// stream, and says who we are.
    pub fn meet_at(&mut self, now: Instant, established: &Established, at: SocketAddrV4, number: u32) {
        let path = Path { socket: id(Socket::Client), remote: at.into(), id: number };
        let hello = established.keys.public_key;
        self.mux.update(established.stream, |stream| {
            stream.connect(now, path);
            stream.write(&hello)
        });
        self.dht.met(now, established.stream, true);
        self.settle(now);
    }

    /// Passes on between two streams of others.
    pub fn relay(&mut self, now: Instant, ends: [u32; 2]) -> [u32; 2] {
        let numbers = [1001, 1002];
        for (number, end) in numbers.into_iter().zip(ends) {
            self.mux.open(now, number, Arc::new(udx::Config::default())).expect("its number is free");
            self.mux.set_firewall(number, Box::new(move |_, _| Verdict::Connect(end)));
        }
        assert!(self.mux.relay(numbers[0], numbers[1]) && self.mux.relay(numbers[1], numbers[0]));
        numbers
    }

    /// And no longer.
    pub fn end_relay(&mut self, now: Instant) {
        [1001, 1002].into_iter().for_each(|number| self.close(number));
        self.settle(now);
    }

    fn happened(&mut self, now: Instant, event: Event) {
        match &event {
            Event::OpenSocket { socket } => {
                self.sockets.insert(Socket::Other(*socket));
                self.mux.add_socket(id(Socket::Other(*socket)));
            }
            Event::CloseSocket { socket } => {
                self.unneeded.insert(Socket::Other(*socket));
            }
            Event::Accepting { stream, .. } => self.open(now, *stream),
            Event::Established(established) => self.established(now, established),
            Event::Moved(established) => self.moved(established),
            Event::GivenUp { stream } | Event::DialFailed { stream, .. } => self.close(*stream),
            _ => {}
        }
        self.news.push_back(News::Dht(event));
    }

    /// Takes what has happened, until nothing more follows from it.
    fn settle(&mut self, now: Instant) {
        loop {
            while let Some(event) = self.dht.poll_event() {
                self.happened(now, event);
            }
            let heard = std::mem::take(&mut *self.heard.lock().expect("it is not poisoned"));
            for (stream, at, from) in &heard {
                self.dht.stream_heard(now, *stream, socket(*at), *from);
            }
            while let Some((stream, happened)) = self.mux.poll() {
                if happened.closed {
                    self.mux.release(stream);
                }
                if happened.readable {
                    let mut bytes = vec![0; 1000];
                    let read = self.mux.update(stream, |stream| stream.read(&mut bytes)).unwrap_or(0);
                    bytes.truncate(read);
                    if read > 0 {
                        self.news.push_back(News::Said { stream, bytes });
                    }
                }
            }
            if heard.is_empty() {
                break;
            }
        }
        while let Some(transmit) = self.dht.poll_transmit() {
            self.out.push_back(transmit);
        }
        for socket in self.sockets.clone() {
            let mut bytes = Vec::new();
            while let Some(transmit) = self.mux.poll_transmit(now, id(socket), 1, &mut bytes) {
                let SocketAddr::V4(to) = transmit.remote else { continue };
                self.out.push_back(Transmit { socket, to, bytes: std::mem::take(&mut bytes), ttl: None });
            }
        }
        while self.mux.poll_woken().is_some() {}
        for socket in self.unneeded.clone() {
            if self.mux.streams_at(id(socket)) == 0 {
                self.unneeded.remove(&socket);
                self.sockets.remove(&socket);
                self.mux.remove_socket(id(socket));
            }
        }
    }

    /// The sockets that are open now.
    pub fn sockets(&self) -> Vec<Socket> {
        self.sockets.iter().copied().collect()
    }

    /// Says something by a stream.
    pub fn say(&mut self, now: Instant, stream: u32, bytes: &[u8]) {
        self.mux.update(stream, |stream| stream.write(bytes));
        self.settle(now);
    }

    /// How much there is of what a peer could make grow.
    pub fn size(&self) -> (usize, usize, (usize, usize)) {
        (self.sockets.len(), self.mux.len(), self.dht.connecting())
    }
}

impl Machine for Peer {
    type Event = News;

    fn handle_datagram(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, datagram: &[u8]) {
        if self.mux.handle_datagram(now, id(socket), from.into(), datagram) == Taken::NotOurs {
            self.dht.handle_datagram(now, socket, from, datagram);
        }
        self.settle(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.dht.poll_timeout().is_some_and(|due| due <= now) {
            self.dht.handle_timeout(now);
        }
        for socket in self.sockets.clone() {
            if self.mux.poll_timeout(id(socket)).is_some_and(|due| due <= now) {
                self.mux.handle_timeout(now, id(socket));
            }
        }
        self.settle(now);
    }

    fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let streams = self.sockets.iter().filter_map(|socket| self.mux.poll_timeout(id(*socket)));
        self.dht.poll_timeout().into_iter().chain(streams).min()
    }

    fn poll_event(&mut self) -> Option<News> {
        self.news.pop_front()
    }
}

/// A network of so many nodes that everybody reaches.
pub fn grown(seed: u64, nodes: usize) -> Network<Peer> {
    let mut network = Network::new(seed);
    let config = dht::Config {
        ephemeral: Some(false),
        firewalled: false,
        server_port: SERVER_PORT,
        ..dht::Config::default()
    };
    let first = network.random.bytes();
    network.add(Connected::Openly, |now, address| {
        let public_address = Some(SocketAddrV4::new(address, SERVER_PORT));
        Peer::new(dht::Config { public_address, ..config.clone() }, first, now)
    });
    for _ in 1..nodes {
        let bootstrap = vec![network.address(0)];
        let seed = network.random.bytes();
        network.add(Connected::Openly, |now, _| {
            Peer::new(dht::Config { bootstrap, ..config.clone() }, seed, now)
        });
        network.run(Duration::from_millis(20));
    }
    network.run(Duration::from_secs(30));
    network
}

/// One more, with the usual settings, that has found its place.
pub fn join(network: &mut Network<Peer>, connected: Connected) -> usize {
    let bootstrap = vec![network.address(0)];
    let seed = network.random.bytes();
    let host = network.add(connected, |now, _| {
        Peer::new(dht::Config { bootstrap, server_port: SERVER_PORT, ..dht::Config::default() }, seed, now)
    });
    let ready = network.wait(host, PATIENCE, |news| (news == News::Dht(Event::Ready)).then_some(()));
    assert!(ready.is_some(), "{connected:?}");
    host
}

/// A server there, which has announced itself.
pub fn listen(network: &mut Network<Peer>, host: usize, pair: &KeyPair) {
    let server = target_of(&pair.public_key());
    let listens = network
        .with(host, |peer, now| peer.act(now, |dht, now| dht.listen(now, pair, ListenOptions::default())));
    assert!(listens);
    announced(network, host, server);
}

pub fn announced(network: &mut Network<Peer>, host: usize, server: dht::Id) {
    let listening = News::Dht(Event::Listening { server });
    let listening = network.wait(host, PATIENCE, |news| (news == listening).then_some(()));
    assert!(listening.is_some(), "it announces itself");
}

/// How a dial went.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Until the first bytes of the peer had come.
    pub time: Duration,
    pub established: Established,
}

/// Dials, and waits until bytes have come both ways.
pub fn reach(
    network: &mut Network<Peer>,
    from: usize,
    to: usize,
    pair: &KeyPair,
    key: [u8; 32],
) -> Result<Reached, DialError> {
    let started = network.now;
    let stream = network.with(from, |peer, now| peer.dial(now, pair, key));
    let heard = network.wait(from, PATIENCE, |news| match news {
        News::Said { stream: of, bytes } if of == stream => Some(Ok(bytes)),
        News::Dht(Event::DialFailed { stream: of, error }) if of == stream => Some(Err(error)),
        _ => None,
    });
    let said = heard.expect("it ends")?;
    assert_eq!(said, key, "each says its key first");
    let time = network.now - started;
    let ours = pair.public_key();
    let heard = network.wait(to, PATIENCE, |news| match news {
        News::Said { bytes, .. } if bytes == ours => Some(()),
        _ => None,
    });
    assert!(heard.is_some(), "it is heard there, too");
    let mut all = network.machine(from).established.iter();
    let established = all.find(|established| established.stream == stream).expect("it was told").clone();
    Ok(Reached { time, established })
}
