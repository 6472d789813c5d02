//! A long line between two peers: TCP, passed on byte by byte, each of them as late and no
//! faster than the line allows.
//!
//! It behaves as a connection over such a line would, and not only as a delay: so much is on
//! its way at first as TCP sends before it has heard anything (ten segments), and as much
//! more as has arrived, each round trip. Nothing is ever lost.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What TCP sends before it has heard anything (RFC 6928).
const FIRST_WINDOW: u64 = 14_600;
/// What one connection has on its way at most: as much as Linux takes in.
const LAST_WINDOW: u64 = 6 << 20;
/// As much waits before the line at most, where it is the rate that holds it up.
const QUEUE: Duration = Duration::from_millis(100);
/// After so long without a byte, TCP begins anew.
const IDLE: Duration = Duration::from_secs(1);
/// Bytes that are passed on at a time.
const PIECE: usize = 16 << 10;

/// What a line is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// From one end to the other and back.
    pub round_trip: Duration,
    /// Bytes a second, each way; `None` for as many as there are.
    pub rate: Option<f64>,
}

/// A line to one address. Dropped, it is cut.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    line: Line,
    to: SocketAddr,
    connections: Mutex<Vec<TcpStream>>,
    carried: AtomicU64,
}

impl Shared {
    fn connect(self: &Arc<Self>, near: TcpStream) -> io::Result<()> {
        let far = TcpStream::connect(self.to)?;
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
            let stream = stream.try_clone()?;
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let (pieces, arriving) = mpsc::channel();
            let shared = self.clone();
            // That a connection ends is no failure of the line; the other end is told.
            thread::spawn(move || Sending::new(shared.line).send(from, &pieces, &shared.carried));
            thread::spawn(move || arrive(to, &arriving));
        }
        Ok(())
    }
}

/// A piece that is on its way, and when it arrives.
type Piece = (Instant, Vec<u8>);

/// One direction of a connection, as its sender sees it.
struct Sending {
    line: Line,
    /// When the line is free again.
    free: Instant,
    /// Bytes that may be on their way.
    window: u64,
    /// How many that may become.
    last_window: u64,
    /// Those that are: when it is known that they have arrived, how many, and whether more
    /// would have been sent if the window were larger.
    flying: VecDeque<(Instant, u64, bool)>,
    flying_bytes: u64,
}

impl Sending {
    fn new(line: Line) -> Self {
        let (free, flying) = (Instant::now(), VecDeque::new());
        let filled = line.rate.map(|rate| (rate * (line.round_trip + QUEUE).as_secs_f64()) as u64);
        let last_window = filled.unwrap_or(LAST_WINDOW).clamp(FIRST_WINDOW, LAST_WINDOW);
        Self { line, free, window: FIRST_WINDOW, last_window, flying, flying_bytes: 0 }
    }

    fn send(
        mut self,
        mut from: TcpStream,
        pieces: &mpsc::Sender<Piece>,
        carried: &AtomicU64,
    ) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
        loop {
            self.wait_for_window();
            let most = (self.window - self.flying_bytes).min(PIECE as u64) as usize;
            let got = from.read(&mut buffer[..most])?;
            if got == 0 {
                return Ok(());
            }
            carried.fetch_add(got as u64, Ordering::Relaxed);
            if pieces.send((self.arrival(got as u64), buffer[..got].to_vec())).is_err() {
                return from.shutdown(Shutdown::Read);
            }
        }
    }

    /// When `bytes` that are sent now arrive.
    fn arrival(&mut self, bytes: u64) -> Instant {
        let now = Instant::now();
        self.heard(now);
        if self.flying.is_empty() && now.saturating_duration_since(self.free) > IDLE {
            self.window = FIRST_WINDOW;
        }
        let takes =
            self.line.rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(bytes as f64 / rate));
        self.free = self.free.max(now) + takes;
        let arrival = self.free + self.line.round_trip / 2;
        self.flying_bytes += bytes;
        let limited = 2 * self.flying_bytes >= self.window;
        self.flying.push_back((arrival + self.line.round_trip / 2, bytes, limited));
        arrival
    }

    /// Takes note of what has arrived.
    fn heard(&mut self, now: Instant) {
        while let Some((_, bytes, limited)) = self.flying.pop_front_if(|(heard, ..)| *heard <= now) {
            self.flying_bytes -= bytes;
            if limited {
                self.window = (self.window + bytes).min(self.last_window);
            }
        }
    }

    fn wait_for_window(&mut self) {
        loop {
            self.heard(Instant::now());
            match self.flying.front() {
                Some((heard, ..)) if self.flying_bytes >= self.window => sleep_until(*heard),
                _ => return,
            }
        }
    }
}

/// Hands over what arrives, when it does.
fn arrive(mut to: TcpStream, pieces: &mpsc::Receiver<Piece>) -> io::Result<()> {
    for (at, piece) in pieces {
        sleep_until(at);
        to.write_all(&piece)?;
    }
    to.shutdown(Shutdown::Write)
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}

impl Link {
    /// A line to `to`.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn new(to: SocketAddr, line: Line) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared { line, to, connections: Mutex::default(), carried: AtomicU64::new(0) });
        let weak = Arc::downgrade(&shared);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Some(shared) = weak.upgrade() else { return };
                // Nobody is there: the caller is told by the end of the connection.
                let _ = shared.connect(near);
            }
        });
        Self { address, shared }
    }

    /// Where to call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that it has carried, both ways together.
    pub fn carried(&self) -> u64 {
        self.shared.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let connections = &self.shared.connections;
        for stream in connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the listener, which then finds that nobody wants it any more.
        let _ = TcpStream::connect(self.address);
    }
}
