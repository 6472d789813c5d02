//! Where the programs under test are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder of the release binaries. They are built first, which costs a second
/// when they are current; `HYPERSPACE_BINARIES` names a folder of others instead.
///
/// # Panics
/// If they do not build.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        if let Some(folder) = std::env::var_os("HYPERSPACE_BINARIES") {
            return folder.into();
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--quiet", "-p", "hyperspace", "-p", "hyperdrive-cli"])
            .current_dir(root())
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the binaries under test do not build");
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(target) => root().join(target).join("release"),
            None => root().join("target/release"),
        }
    })
}

/// The server.
pub fn hyperspace() -> PathBuf {
    folder().join("hyperspace")
}

/// The drive service and its commands.
pub fn hyperdrive() -> PathBuf {
    folder().join("hyperdrive")
}
