//! Mounts a new drive that lives in memory, until it is unmounted or Ctrl-C is pressed.
//!
//! ```sh
//! cargo run -p hyperdrive-fuse --example memory_mount -- /tmp/drive
//! ```

use hyperdrive::{DriveOptions, Drives};
use hyperdrive_fuse::fs::{Filesystem, types::FsOptions};
use hyperdrive_fuse::{MountOptions, mount};
use hyperspace_api::memory::MemoryStore;
use std::error::Error;
use std::path::PathBuf;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("usage: memory_mount MOUNTPOINT")?.into();
    let drives = Drives::new(MemoryStore::new(), DriveOptions::default());
    let root = drives.create().await?;
    let fs = Filesystem::new(drives, root, FsOptions::default());
    let options = MountOptions { force: true, allow_other: true, ..MountOptions::default() };
    let mounted = mount(fs, &path, options).await?;
    println!("mounted at {}", path.display());
    tokio::select! {
        () = mounted.wait() => {}
        _ = tokio::signal::ctrl_c() => mounted.unmount().await?,
    }
    Ok(())
}
