//! A line between two UDP sockets of this machine: late, no faster than it is, and lossy.
//!
//! It behaves as a router would: what comes faster than the line waits before it, and what
//! finds the queue full is lost, beside what is lost by chance. A thread a direction takes
//! datagrams in, another hands them over when they have arrived.

use anyhow::Context;
use hyperspace_e2e::random::Random;
use nix::sys::socket::{setsockopt, sockopt};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What the kernel keeps for the line until it looks, in bytes: more than comes at once.
const BUFFER: usize = 4 << 20;
/// What a datagram costs besides its payload: the headers of IP and UDP.
const HEADERS: usize = 28;

/// What a line is like, each way.
#[derive(Clone, Copy, Debug)]
pub struct Properties {
    /// From one end to the other.
    pub delay: Duration,
    /// Datagrams of a hundred that are lost.
    pub loss: u64,
    /// Bytes a second.
    pub rate: f64,
    /// For how long a datagram waits before the line at most.
    pub queue: Duration,
}

/// A line. Dropped, it is gone.
pub struct UdpLine {
    ends: [Arc<UdpSocket>; 2],
    over: Arc<AtomicBool>,
}

impl UdpLine {
    /// Between these two ports. Who sends to [`ports`](Self::ports)`[0]` reaches `ends[1]`, and
    /// the other way round.
    pub fn new(ends: [u16; 2], properties: Properties, seed: u64) -> anyhow::Result<Self> {
        let line = Self { ends: [socket()?, socket()?], over: Arc::default() };
        for from in 0..2 {
            let (inward, outward) = (line.ends[from].clone(), line.ends[1 - from].clone());
            let (queue, arriving) = mpsc::channel();
            let (over, random) = (line.over.clone(), Random::new(seed + from as u64));
            let to = address(ends[1 - from]);
            thread::spawn(move || take_in(&inward, properties, random, &queue, &over));
            thread::spawn(move || hand_over(&outward, to, &arriving));
        }
        Ok(line)
    }

    /// Where each end sends to.
    pub fn ports(&self) -> anyhow::Result<[u16; 2]> {
        let [near, far] = &self.ends;
        Ok([near.local_addr()?.port(), far.local_addr()?.port()])
    }

    /// How many datagrams the kernel had no room for, since the line did not look in time: they
    /// are lost besides.
    pub fn overflowed(&self) -> anyhow::Result<u64> {
        let ports = self.ports()?.map(|port| format!(":{port:04X} "));
        let table = std::fs::read_to_string("/proc/net/udp").context("/proc/net/udp")?;
        let ours = table.lines().filter(|line| ports.iter().any(|port| line.contains(port.as_str())));
        let drops = |line: &str| line.split_whitespace().last().and_then(|drops| drops.parse::<u64>().ok());
        Ok(ours.filter_map(drops).sum())
    }
}

impl Drop for UdpLine {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes the threads that take in; the others end with them.
        for end in &self.ends {
            if let Ok(at) = end.local_addr() {
                let _ = end.send_to(&[], at);
            }
        }
    }
}

fn address(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn socket() -> anyhow::Result<Arc<UdpSocket>> {
    let socket = UdpSocket::bind(address(0))?;
    setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
    Ok(Arc::new(socket))
}

fn take_in(
    socket: &UdpSocket,
    line: Properties,
    mut random: Random,
    queue: &mpsc::Sender<(Instant, Vec<u8>)>,
    over: &AtomicBool,
) {
    let mut buffer = vec![0; 1 << 16];
    let mut free = Instant::now();
    loop {
        // That somebody's port is closed is told here, too.
        let Ok((size, _)) = socket.recv_from(&mut buffer) else { continue };
        if over.load(Ordering::Relaxed) {
            return;
        }
        let now = Instant::now();
        if free.saturating_duration_since(now) > line.queue {
            continue;
        }
        free = free.max(now) + Duration::from_secs_f64((size + HEADERS) as f64 / line.rate);
        if random.below(100) < line.loss {
            continue;
        }
        if queue.send((free + line.delay, buffer[..size].to_vec())).is_err() {
            return;
        }
    }
}

fn hand_over(socket: &UdpSocket, to: SocketAddrV4, arriving: &mpsc::Receiver<(Instant, Vec<u8>)>) {
    for (at, datagram) in arriving {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        // Nobody is there any more: it is lost.
        let _ = socket.send_to(&datagram, to);
    }
}
