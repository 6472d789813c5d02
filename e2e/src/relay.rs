//! A line between two peers: TCP, passed on byte by byte, that can be held and cut.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a line may take to become what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line to one address. Dropped, it is cut for good.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    line: Arc<Line>,
}

#[derive(Debug)]
struct Line {
    to: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Bytes that may still come from the far end.
    allowance: u64,
    /// Somebody has bytes and may not pass them.
    held: bool,
    /// Callers get through.
    open: bool,
    streams: Vec<TcpStream>,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Passes on what comes, as far as it may.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream, counted: bool) -> io::Result<()> {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let got = from.read(&mut buffer)?;
            if got == 0 {
                return to.shutdown(Shutdown::Write);
            }
            if counted {
                self.wait_for_allowance(got as u64);
            }
            to.write_all(&buffer[..got])?;
        }
    }

    fn wait_for_allowance(&self, bytes: u64) {
        let mut state = self.state();
        while state.allowance < bytes && state.open {
            state.held = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.allowance = state.allowance.saturating_sub(bytes);
        state.held = false;
    }

    fn connect(self: &Arc<Self>, near: TcpStream) -> io::Result<()> {
        if !self.state().open {
            return Ok(());
        }
        let far = TcpStream::connect(self.to)?;
        for stream in [&near, &far] {
            stream.set_nodelay(true)?;
            let stream = stream.try_clone()?;
            self.state().streams.push(stream);
        }
        let directions = [(near.try_clone()?, far.try_clone()?, false), (far, near, true)];
        for (from, to, counted) in directions {
            let line = self.clone();
            thread::spawn(move || {
                // That a line breaks is what it is for.
                let _ = line.pass(from.try_clone()?, to.try_clone()?, counted);
                let _ = from.shutdown(Shutdown::Both);
                to.shutdown(Shutdown::Both)
            });
        }
        Ok(())
    }
}

impl Relay {
    /// A line to `to`, on which everything passes.
    ///
    /// # Panics
    /// If there is no port for it.
    pub fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let state = State { allowance: u64::MAX, held: false, open: true, streams: Vec::new() };
        let line = Arc::new(Line { to, state: Mutex::new(state), changed: Condvar::new() });
        let weak = Arc::downgrade(&line);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Some(line) = weak.upgrade() else { return };
                // Nobody is there: the caller is told by the end of the connection.
                let _ = line.connect(near);
            }
        });
        Self { address, line }
    }

    /// Where to call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets so many more bytes come from the far end, and then none.
    pub fn allow(&self, bytes: u64) {
        self.line.change(|state| state.allowance = bytes);
    }

    /// Returns when bytes are being held back.
    ///
    /// # Panics
    /// If that takes too long.
    pub fn wait_until_held(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.line.state();
        while !state.held {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "nothing was held back");
            (state, _) = self.line.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Cuts all connections; new ones come to nothing.
    pub fn cut(&self) {
        self.line.change(|state| {
            state.open = false;
            for stream in state.streams.drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        });
    }

    /// Lets everything pass again.
    pub fn mend(&self) {
        self.line.change(|state| {
            state.open = true;
            state.allowance = u64::MAX;
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.cut();
        // Wakes the listener, which then finds that nobody wants it any more.
        let _ = TcpStream::connect(self.address);
    }
}
