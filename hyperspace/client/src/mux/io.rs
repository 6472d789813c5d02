//! Who reads and writes the socket, and when.
//!
//! Waking a thread costs some 50 µs on a virtual machine, ten times what a call
//! needs. So:
//!
//! * A call made alone is written by its caller. Frames of calls made together are
//!   left to be written with one system call by the I/O task, which lets every
//!   task that it woke run before it writes.
//! * In a rhythm of calls, each made alone and answered soon, the caller reads its
//!   own answer: it looks at the socket for at most [`PATIENCE`] before it goes to
//!   sleep. Meanwhile the socket is not registered with epoll, so no other thread
//!   is woken by the answer. Looking in vain twice as long, twice as rarely: see
//!   [`Rhythm`].
//! * With many calls in flight the I/O task looks for [`PATIENCE`], yielding to
//!   other tasks, before it goes to sleep.

use super::{Mux, Role, State, WRITE_AT_ONCE};
use parking_lot::MutexGuard;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long an answer is looked for before going to sleep.
const PATIENCE: Duration = Duration::from_micros(100);

/// An answer that took longer is not part of a rhythm: it waited for something.
const SOON: Duration = Duration::from_micros(400);

/// How often the I/O task looks after a socket that callers read themselves.
const TICK: Duration = Duration::from_millis(1);

/// Reads in a row before the woken tasks get their turn.
const READS: usize = 16;

/// Is the program making one call after the other, each answered soon? Then a
/// caller does well to look for its answer itself.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    /// Soon-answered calls in a row.
    streak: u32,
    /// How many must come before callers look (again).
    needed: u32,
    /// Successes since a caller last looked in vain.
    successes: u32,
    /// Callers that looked, ever.
    looks: u64,
}

impl Rhythm {
    const FIRST: u32 = 2;
    const MOST: u32 = 512;

    /// A call made alone was answered after `time`.
    pub fn answered(&mut self, time: Duration) {
        if time < SOON {
            self.streak = self.streak.saturating_add(1);
        } else {
            self.streak = 0;
        }
    }

    fn looks_pay(&self) -> bool {
        self.streak >= self.needed.max(Self::FIRST)
    }

    fn looked(&mut self, found: bool) {
        self.looks += 1;
        if found {
            self.successes += 1;
            if self.successes >= 8 {
                self.needed = Self::FIRST;
            }
        } else {
            self.successes = 0;
            self.streak = 0;
            self.needed = (self.needed.max(Self::FIRST) * 2).min(Self::MOST);
        }
    }
}

/// How a call was made, for [`Mux::send`].
pub(super) enum Made {
    /// With no other in flight: its caller may read the answer to this id itself.
    Alone(u64),
    /// One of several.
    Among,
    /// The last of several, to be written now.
    Last,
}

impl Mux {
    /// Sees to it that what was queued is written, by this thread or another.
    pub(super) fn send(&self, mut state: MutexGuard<'_, State>, made: Made) {
        let free = matches!(state.role, Role::Nobody | Role::Yielding);
        if let Made::Alone(id) = made
            && free
            && state.rhythm.looks_pay()
        {
            state.role = Role::Caller;
            drop(self.flush(state));
            self.look(|state| state.slots.is_done(id));
            return;
        }
        if state.role != Role::Nobody && state.out.queued() < self.limits.max_queued / 4 {
            return; // whoever it is will write before it sleeps
        }
        match made {
            Made::Among if state.slots.quick() > WRITE_AT_ONCE => self.kick.notify_one(),
            _ => drop(self.flush(state)),
        }
    }

    /// Reads until `done`, at most [`PATIENCE`] long. The caller has set the role.
    fn look(&self, done: impl Fn(&State) -> bool) {
        let leave = Leave(self);
        let mut reader = self.reader.lock();
        let start = Instant::now();
        let found = loop {
            let came = self.read(&mut reader).is_some();
            let mut state = self.state.lock();
            if came && (done(&state) || state.dead.is_some()) {
                break true;
            }
            if state.out.queued() > 0 {
                state = self.flush(state);
            }
            drop(state);
            if !came {
                if start.elapsed() > PATIENCE {
                    break false;
                }
                // Not yielding the processor: who is waited for has another one, or else
                // this is given up soon.
                std::hint::spin_loop();
            }
        };
        drop(reader);
        self.state.lock().rhythm.looked(found);
        drop(leave);
    }
}

/// Hands the socket back, whatever happens.
struct Leave<'a>(&'a Mux);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if state.out.queued() > 0 {
            state = self.0.flush(state);
        }
        state.role = Role::Nobody;
        // Calls that wait for something can wait for the next tick as well.
        let others_wait = state.slots.quick() > 0 || state.out.queued() > 0 || !state.rhythm.looks_pay();
        if state.task_waits || others_wait {
            state.task_waits = false;
            self.0.kick.notify_one();
        }
    }
}

/// Ends the connection if the task that looks after it ends.
struct Owner(Arc<Mux>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.die("the runtime that served the connection was shut down".into());
    }
}

/// The I/O task of a connection.
pub(super) async fn run(mux: Arc<Mux>) {
    let owner = Owner(mux);
    let mux = &*owner.0;
    let mut armed: Option<(AsyncFd<Arc<super::Socket>>, bool)> = None;
    let mut looks = 0;
    loop {
        if !sleep(mux, &mut armed, &mut looks).await {
            return;
        }
        {
            let mut state = mux.state.lock();
            if state.role != Role::Nobody {
                state.task_waits = true;
                continue;
            }
            state.role = Role::Task;
        }
        work(mux).await;
    }
}

/// Sleeps until there may be something to do; `false` when the connection ended.
async fn sleep(mux: &Mux, armed: &mut Option<(AsyncFd<Arc<super::Socket>>, bool)>, looks: &mut u64) -> bool {
    let (detached, blocked) = {
        let state = mux.state.lock();
        if state.dead.is_some() {
            return false;
        }
        (state.rhythm.looks_pay() && state.rhythm.looks != *looks, state.blocked)
    };
    if detached && !blocked {
        *armed = None;
        *looks = mux.state.lock().rhythm.looks;
        tokio::select! {
            () = mux.kick.notified() => {}
            () = tokio::time::sleep(TICK) => {}
        }
        return true;
    }
    if armed.as_ref().is_none_or(|(_, writable)| *writable != blocked) {
        *armed = None;
        let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        #[expect(deprecated, reason = "sound for a socket, whose descriptor stays the same while it lives")]
        let fd = AsyncFd::with_interest(mux.socket.clone(), interest);
        match fd {
            Ok(fd) => *armed = Some((fd, blocked)),
            Err(error) => {
                mux.die(format!("the socket cannot be watched: {error}"));
                return false;
            }
        }
    }
    let Some((fd, _)) = armed.as_ref() else { return false };
    let writable = async {
        if !blocked {
            std::future::pending::<()>().await;
        }
        match fd.writable().await {
            Ok(mut guard) => guard.clear_ready(),
            Err(error) => mux.die(format!("the socket cannot be watched: {error}")),
        }
        mux.state.lock().blocked = false;
    };
    tokio::select! {
        () = mux.kick.notified() => {}
        ready = fd.readable() => match ready {
            // All that is there is read next, whoever does it.
            Ok(mut guard) => guard.clear_ready(),
            Err(error) => mux.die(format!("the socket cannot be watched: {error}")),
        },
        () = writable => {}
    }
    true
}

/// Reads and writes until there is nothing to do. The role is the task's.
async fn work(mux: &Mux) {
    let mut quiet_since = None;
    loop {
        let mut came = false;
        {
            let mut reader = mux.reader.lock();
            for _ in 0..READS {
                if mux.read(&mut reader).is_none() {
                    break;
                }
                came = true;
            }
        }
        if came {
            quiet_since = None;
            // Those just woken make their next calls now.
            mux.state.lock().role = Role::Yielding;
            tokio::task::yield_now().await;
            if !resume(mux) {
                return;
            }
        }
        match rest(mux, came, &mut quiet_since) {
            Rest::Read => {}
            Rest::Yield => tokio::task::yield_now().await,
            Rest::Sleep => return,
        }
    }
}

/// Goes on after a pause, unless a caller is at work.
fn resume(mux: &Mux) -> bool {
    let mut state = mux.state.lock();
    if state.role == Role::Caller {
        state.task_waits = true;
        return false;
    }
    state.role = Role::Task;
    true
}

enum Rest {
    Read,
    Yield,
    Sleep,
}

/// Writes what is queued; then, is there reason to look again?
fn rest(mux: &Mux, came: bool, quiet_since: &mut Option<Instant>) -> Rest {
    let mut state = mux.flush(mux.state.lock());
    if state.dead.is_none() {
        if came {
            return Rest::Read;
        }
        if !state.blocked && state.slots.quick() >= 2 {
            let now = Instant::now();
            if now.duration_since(*quiet_since.get_or_insert(now)) <= PATIENCE {
                return Rest::Yield;
            }
            // These wait for something; they are no reason to look.
            state.slots.set_aside();
        }
    }
    state.role = Role::Nobody;
    Rest::Sleep
}
