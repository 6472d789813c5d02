//! Children that do not outlive their test, and whose output can be waited for.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long anything may take to start or to stop.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a child has said so far, on both its streams.
#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Lines>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    said: Vec<String>,
    /// Streams that have not ended yet.
    open: usize,
}

impl Output {
    /// What was said; also when a thread that looked at it has failed its test.
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until more is said, or the streams have ended. `false` when it takes too long.
    fn wait<'a>(&'a self, lines: MutexGuard<'a, Lines>, until: Instant) -> (MutexGuard<'a, Lines>, bool) {
        let left = until.saturating_duration_since(Instant::now());
        let (lines, _) = self.more.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner);
        (lines, Instant::now() < until)
    }

    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        let output = Arc::clone(self);
        output.lines().open += 1;
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(line) = line else { break };
                let mut lines = output.lines();
                lines.said.push(String::from_utf8_lossy(&line).into_owned());
                output.more.notify_all();
            }
            output.lines().open -= 1;
            output.more.notify_all();
        });
    }
}

/// A running program. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

impl Process {
    /// Starts `command`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = Arc::new(Output::default());
        output.follow(child.stdout.take().expect("stdout is a pipe"));
        output.follow(child.stderr.take().expect("stderr is a pipe"));
        Self { name, child, output }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said so far.
    pub fn said(&self) -> String {
        self.output.lines().said.join("\n")
    }

    /// Waits for the first line that contains `text`.
    ///
    /// # Panics
    /// If it ends, or [`PATIENCE`] does, before saying so.
    pub fn wait_for_line(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines();
        loop {
            if let Some(line) = lines.said.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let ended = lines.open == 0;
            let mut in_time = true;
            if !ended {
                (lines, in_time) = self.output.wait(lines, deadline);
            }
            if ended || !in_time {
                let said = lines.said.join("\n");
                drop(lines);
                let how = if ended { "ended without a word of" } else { "runs, but has not said" };
                panic!("{} {how} {text:?}. It said:\n{said}", self.name);
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        // Gone already is as good.
        let _ = kill(Pid::from_raw(self.pid().cast_signed()), signal);
    }

    /// Has it ended?
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end, and for all that it said.
    ///
    /// # Panics
    /// If it takes longer than [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines();
        // A program's streams end with it, unless a child of its own has them.
        while lines.open > 0 {
            let in_time;
            (lines, in_time) = self.output.wait(lines, deadline);
            if !in_time {
                let said = lines.said.join("\n");
                drop(lines);
                panic!("{} does not end. It said:\n{said}", self.name);
            }
        }
        drop(lines);
        self.child.wait().expect("a child can be waited for")
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What the system says of it.
    ///
    /// # Panics
    /// If it has ended.
    pub fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.said());
        }
    }
}

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is resident now, in KiB.
    pub resident: u64,
    /// The most that ever was, in KiB.
    pub peak: u64,
    /// Memory that is not file pages, in KiB.
    pub anonymous: u64,
    /// Open descriptors.
    pub descriptors: usize,
}

impl Usage {
    /// Of the process `pid`.
    ///
    /// # Panics
    /// If there is none.
    pub fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name));
            let number = line.and_then(|line| line.split_whitespace().nth(1));
            number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {status}"))
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process is ours").count();
        Self { resident: field("VmRSS:"), peak: field("VmHWM:"), anonymous: field("RssAnon:"), descriptors }
    }
}

/// A tick of the kernel's accounts: all of Linux's platforms have a hundred a second here.
const TICK: Duration = Duration::from_millis(10);

/// The processor time that a process has taken so far, its own and the kernel's on its behalf.
///
/// # Errors
/// If it has ended.
pub fn processor_time(pid: u32) -> std::io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // After the name, which may hold anything, come the fields from the third on.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<u32>().ok());
    let all = ticks(14).zip(ticks(15)).map(|(own, kernel)| own + kernel);
    all.map(|ticks| TICK * ticks).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
