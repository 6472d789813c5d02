//! Who sends the garbage.

use super::kinds::{Kinds, handshake, stream_of};
use super::ports::{self, Port};
use hyperswarm::PublicKey;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

/// Strangers at so many hosts.
const HOSTS: u8 = 16;
/// The ports are looked up anew after so many datagrams: some come and go.
const LOOK_EVERY: u64 = 2000;
/// And a stream of our own begun, whose packets are mutated then.
const BEGIN_EVERY: u64 = 5000;
/// So much may wait at a port, before it is waited for that it is taken: what the kernel
/// throws away tests nothing.
const WAITING: u64 = 64 << 10;
/// How long anybody may take to answer a handshake.
const ANSWER: Duration = Duration::from_secs(2);

/// All ports of a process, or some; and the key that is dialled there.
pub(super) struct Target {
    pub pid: Option<u32>,
    pub ports: Vec<u16>,
    pub key: PublicKey,
}

impl Target {
    fn look(&self) -> std::io::Result<Vec<Port>> {
        match self.pid {
            Some(pid) => ports::of(pid),
            None => ports::now(&self.ports),
        }
    }
}

pub(super) struct Stranger {
    targets: Vec<Target>,
    sockets: Vec<UdpSocket>,
    kinds: Kinds,
    ports: Vec<Port>,
    /// What the kernel had thrown away at each port, when it was seen first and last.
    dropped: HashMap<u16, (u64, u64)>,
    rate: u64,
    sent: u64,
    streams: u64,
    bytes: (u64, u64),
}

impl Stranger {
    pub(super) fn new(targets: Vec<Target>, rate: u64) -> std::io::Result<Self> {
        let sockets = (0..HOSTS).map(|host| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, host + 1), 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let sockets = sockets.collect::<std::io::Result<_>>()?;
        let kinds = Kinds::new(1, targets.iter().map(|target| target.key).collect());
        let ports = Vec::new();
        let (dropped, bytes) = (HashMap::new(), (0, 0));
        Ok(Self { targets, sockets, kinds, ports, dropped, rate, sent: 0, streams: 0, bytes })
    }

    /// To how many ports something was sent.
    pub(super) fn ports(&self) -> usize {
        self.dropped.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.values().map(|(first, last)| last - first).sum()
    }

    pub(super) fn streams(&self) -> u64 {
        self.streams
    }

    pub(super) fn bytes(&self) -> (u64, u64) {
        self.bytes
    }

    fn note(&mut self, ports: &[Port]) {
        for port in ports {
            let noted = self.dropped.entry(port.port).or_insert((port.dropped, port.dropped));
            // Another socket may have the number of one that was closed.
            *noted = (noted.0.min(port.dropped), noted.1.max(port.dropped));
        }
    }

    fn look(&mut self) -> std::io::Result<()> {
        let mut ports = Vec::new();
        for target in &self.targets {
            ports.extend(target.look()?);
        }
        if ports.is_empty() {
            return Err(std::io::Error::other("there are no ports to send to"));
        }
        self.note(&ports);
        self.ports = ports;
        Ok(())
    }

    /// Waits until little waits at any port.
    fn wait(&mut self) -> std::io::Result<()> {
        loop {
            let now = ports::now(&self.ports.iter().map(|port| port.port).collect::<Vec<_>>())?;
            self.note(&now);
            if now.iter().all(|port| port.waiting <= WAITING) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Hears what comes back, which is as good as anything to be mutated.
    fn hear(&mut self) {
        let mut buffer = [0; 2048];
        for socket in &self.sockets {
            while let Ok(length) = socket.recv(&mut buffer) {
                self.bytes.1 += length as u64;
                self.kinds.heard(&buffer[..length]);
            }
        }
    }

    fn send_to(&mut self, number: u64, port: u16, datagram: &[u8]) {
        let socket = &self.sockets[(number % u64::from(HOSTS)) as usize];
        // If there is no room for it, it is lost.
        if socket.send_to(datagram, (Ipv4Addr::LOCALHOST, port)).is_ok() {
            self.bytes.0 += datagram.len() as u64;
        }
    }

    /// Dials as anybody may, but does no more than that: the number of the stream that is
    /// opened for us is known then.
    fn begin(&mut self) {
        for target in &self.targets {
            let Ok(ports) = target.look() else { continue };
            let Ok(socket) = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, 100), 0)) else { continue };
            if socket.set_read_timeout(Some(Duration::from_millis(100))).is_err() {
                continue;
            }
            let Some((mut noise, datagram)) = handshake(&target.key) else { continue };
            for port in ports {
                let _ = socket.send_to(&datagram, SocketAddrV4::new(Ipv4Addr::LOCALHOST, port.port));
            }
            let until = Instant::now() + ANSWER;
            let mut buffer = [0; 2048];
            while Instant::now() < until {
                // All of them may be busy.
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                if let Some(stream) = stream_of(&mut noise, &buffer[..length]) {
                    self.kinds.live(stream);
                    self.streams += 1;
                    break;
                }
            }
        }
    }

    /// Sends to each port what has brought down others.
    pub(super) fn send_malformed(&mut self) -> std::io::Result<()> {
        self.look()?;
        for (number, datagram) in self.kinds.malformed().iter().enumerate() {
            for port in self.ports.clone() {
                self.send_to(number as u64, port.port, datagram);
            }
            self.wait()?;
        }
        Ok(())
    }

    /// Sends so many more, each to another port than the one before.
    pub(super) fn send(&mut self, count: u64) -> std::io::Result<()> {
        let (started, before) = (Instant::now(), self.sent);
        let mut paused = Duration::ZERO;
        while self.sent < before + count {
            let done = self.sent - before;
            let due = ((started.elapsed() - paused).as_secs_f64() * self.rate as f64) as u64;
            let burst = due.saturating_sub(done).min(64).min(count - done);
            if burst == 0 {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            for _ in 0..burst {
                if self.sent.is_multiple_of(LOOK_EVERY) {
                    self.look()?;
                }
                if self.sent.is_multiple_of(BEGIN_EVERY) {
                    let begun = Instant::now();
                    self.begin();
                    paused += begun.elapsed();
                }
                let datagram = self.kinds.next();
                let port = self.ports[(self.sent % self.ports.len() as u64) as usize].port;
                self.send_to(self.sent / self.ports.len() as u64, port, &datagram);
                self.sent += 1;
            }
            self.hear();
            let waited = Instant::now();
            self.wait()?;
            // It is not made up for later.
            if waited.elapsed() > Duration::from_millis(50) {
                paused += waited.elapsed();
            }
        }
        Ok(())
    }
}
