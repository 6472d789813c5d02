//! A drive with something in it, and who has it.

use hyperspace_e2e::machine::{Machine, text};
use hyperspace_e2e::random::Random;
use hyperspace_e2e::{shell, tree};
use nix::errno::Errno;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Data that nobody sends is waited for so long.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Nothing that ends by itself may take longer, however busy the machine is.
pub const BOUND: Duration = Duration::from_secs(30);
/// Bytes of the large file.
pub const GIANT: usize = 64 << 20;

/// A computer that calls nobody.
pub fn alone() -> Machine {
    Machine::start(&[], TIMEOUT)
}

/// A folder of 500 files and one of 64 MiB, in `machine`'s home, and a drive that has the
/// same; the folder, and the drive's key.
pub fn full_drive(machine: &Machine) -> (PathBuf, String) {
    let source = machine.scratch().join("home/source");
    tree::generate(&source, 500, 7);
    fs::write(source.join("giant"), Random::new(11).bytes(GIANT)).expect("a large file");
    let key = machine.create("drive");
    let script = format!("cp -R {}/. {}", text(&source), text(&machine.at("drive")));
    shell::sh(machine.scratch(), machine.scratch().path(), &script);
    sync(&machine.at("drive/giant"));
    (source, key)
}

/// Returns when everything written in the file's drive is committed.
pub fn sync(file: &Path) {
    File::open(file).expect("the file").sync_all().expect("fsync");
}

/// Writes a small file, committed.
pub fn write(file: &Path, content: &str) {
    fs::write(file, content).expect("a write");
    sync(file);
}

/// Fails if `diff -r` finds anything.
#[track_caller]
pub fn same(one: &Path, two: &Path) {
    shell::run(Command::new("diff").arg("-r").args([one, two]));
}

/// Fails unless it failed for want of data.
#[track_caller]
pub fn timed_out<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it was not to be had, and yet is there"),
        Err(error) => {
            assert_eq!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ETIMEDOUT), "{error}")
        }
    }
}

/// Fails unless it is not there.
#[track_caller]
pub fn missing<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it is there"),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}"),
    }
}

/// Bytes that a folder takes on the disk.
pub fn disk_usage(folder: &Path) -> u64 {
    let said = shell::run(Command::new("du").args(["-sB1"]).arg(folder));
    said.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).expect("a number of bytes")
}
