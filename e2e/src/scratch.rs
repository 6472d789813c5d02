//! A folder of one test: a home, a temp dir and a socket that no other test shares.

use crate::clock::Clock;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder that goes when the test ends.
///
/// Programs started with [`Scratch::command`] find their home and temp dir in it,
/// so their storage, configuration and socket are this test's own.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    bootstrap: String,
    /// The network namespace that its programs run in, if not that of the tests.
    namespace: Option<String>,
    /// The clock that its programs go by, if not that of the tests.
    pub(crate) clock: Option<Clock>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    /// A new one.
    ///
    /// # Panics
    /// If the disk refuses.
    pub fn new() -> Self {
        // Short, since a socket's path may have 107 bytes.
        let dir = tempfile::Builder::new().prefix("hs-").tempdir_in("/tmp").expect("a temp dir");
        for sub in ["home", "tmp", "mnt"] {
            std::fs::create_dir(dir.path().join(sub)).expect("a folder in the temp dir");
        }
        Self { dir, bootstrap: "none".to_owned(), namespace: None, clock: None }
    }

    /// One whose programs run in a network namespace, and enter the swarm through
    /// `bootstrap`.
    pub(crate) fn in_namespace(namespace: &str, bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned(), namespace: Some(namespace.to_owned()), ..Self::new() }
    }

    /// The same, with a clock that its programs go by: so the [machine](crate::machine) can
    /// be put to sleep.
    ///
    /// # Panics
    /// If there is no C compiler.
    #[must_use]
    pub fn with_clock(mut self) -> Self {
        self.clock = Some(Clock::new(&self.join("home")));
        self
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The socket that servers of this test listen at.
    pub fn socket(&self) -> PathBuf {
        self.join("tmp/hyperspace.sock")
    }

    /// Where servers of this test keep their cores, unless told otherwise.
    pub fn storage(&self) -> PathBuf {
        self.join("home/.hyperspace/storage")
    }

    /// Where drives are mounted, unless the test says otherwise.
    pub fn mnt(&self) -> PathBuf {
        self.join("mnt")
    }

    /// `program`, at home in this folder, and with no way to any network but that of its
    /// [`Place`](crate::internet::Place), if it has one.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                // Not `ip netns exec`, which gives it mounts of its own.
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program);
                command
            }
        };
        command
            .env("HOME", self.join("home"))
            .env("TMPDIR", self.join("tmp"))
            .env("HYPERSPACE_BOOTSTRAP", &self.bootstrap)
            .env("HYPERSPACE_SOCKET", "hyperspace")
            .env_remove("HYPERSPACE_HOST")
            .env_remove("RUST_LOG");
        if let Some(clock) = &self.clock {
            clock.preload(&mut command);
        }
        command
    }
}
