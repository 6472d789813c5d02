//! The clocks of a machine that sleeps.
//!
//! While a computer sleeps, the clock that timers go by stands still, and the one on the wall
//! does not. A test cannot put the computer to sleep that it runs on: it stops the programs
//! of one machine instead, and what they read from both clocks afterwards is what they would
//! after sleep. The kernel has no such clocks for a part of its programs (its time
//! namespaces have one wall), and libfaketime moves both clocks alike, or the one on the
//! wall only, so that the other would tell how long the programs were stopped. So the
//! clocks are a few lines of C of our own, which are preloaded.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Both clocks of a machine.
#[derive(Debug)]
pub(crate) struct Clock {
    library: PathBuf,
    path: PathBuf,
    file: File,
    offsets: Mutex<Offsets>,
}

/// By how much they differ from those of the computer.
#[derive(Debug, Default)]
struct Offsets {
    lag: Duration,
    lead: Duration,
}

impl Clock {
    /// One that shows what others do, kept in that folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, include_str!("clock.c")).expect("a file in the folder");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([&library, &source]);
        let compiled = compile.status().expect("cc runs");
        assert!(compiled.success(), "the clocks do not compile");
        let path = folder.join("clock");
        let file = File::create(&path).expect("a file in the folder");
        let clock = Self { library, path, file, offsets: Mutex::default() };
        clock.show(&Offsets::default());
        clock
    }

    /// Has the program of that command go by it.
    pub(crate) fn preload(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("MACHINE_CLOCK", &self.path);
    }

    /// All who go by it were stopped at `since` and will go on now; that was sleep, which
    /// took `slept`.
    pub(crate) fn slept(&self, since: Instant, slept: Duration) {
        let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = since.elapsed();
        offsets.lag += stopped;
        offsets.lead += slept.saturating_sub(stopped);
        self.show(&offsets);
    }

    fn show(&self, Offsets { lag, lead }: &Offsets) {
        let bytes = [lag, lead].map(|offset| {
            i64::try_from(offset.as_nanos()).expect("nobody sleeps for centuries").to_ne_bytes()
        });
        self.file.write_all_at(bytes.as_flattened(), 0).expect("the file takes it");
    }
}
