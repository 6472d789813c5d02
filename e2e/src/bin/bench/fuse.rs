//! `bench fuse`: the classic drive service, a passthrough (`bindfs`), the bare disk,
//! and ours, at the same work.

use crate::Plan;
use crate::samples::{Samples, machine, number, ratio, table};
use anyhow::{Context, ensure};
use hyperspace_e2e::mount::{Mount, detach, is_mounted};
use hyperspace_e2e::node;
use hyperspace_e2e::process::Process;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::shell;
use hyperspace_e2e::tree;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const NODE: &str = "Node-FUSE";
const BINDFS: &str = "bindfs";
const DISK: &str = "bare disk";
const OURS: &str = "ours";

/// A row, and whether a smaller value is the better one.
const ROWS: &[(&str, bool)] = &[
    (WRITE, false),
    (COLD, false),
    (WARM, false),
    (CREATE, false),
    (STAT, false),
    (STAT_FRESH, false),
    (DELETE, false),
    (UNTAR, true),
    (CLONE, true),
    (SQLITE_WAL, true),
    (SQLITE_ROLLBACK, true),
];
const WRITE: &str = "sequential write, with fsync (MiB/s)";
const COLD: &str = "cold read, mounted anew (MiB/s)";
const WARM: &str = "warm read (MiB/s)";
const CREATE: &str = "create 2,000 files of 1 KiB (files/s)";
const STAT: &str = "stat them all (files/s)";
const STAT_FRESH: &str = "stat them all, mounted anew (files/s)";
const DELETE: &str = "delete them all (files/s)";
const UNTAR: &str = "untar 2,000 files (s)";
const CLONE: &str = "git clone of 2,000 files (s)";
const SQLITE_WAL: &str = "sqlite3, 10,000 inserts in 1,000 transactions, WAL (s)";
const SQLITE_ROLLBACK: &str = "sqlite3, the same, rollback journal (s)";

/// How many seconds a program may take in a mount before it counts as one that cannot.
const LIMIT: &str = "60";

/// Something mounted, that can be mounted anew with nothing in any cache.
enum Place {
    Node { scratch: Scratch, server: Process, service: Process, key: String },
    Bindfs { scratch: Scratch },
    Disk { scratch: Scratch },
    Ours { scratch: Scratch, mount: Option<Mount> },
}

impl Place {
    fn new(contestant: &'static str) -> anyhow::Result<Self> {
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("bare"))?;
        Ok(match contestant {
            NODE => {
                let server = node_server(&scratch);
                let (service, key) = node_service(&scratch, None)?;
                Self::Node { scratch, server, service, key }
            }
            BINDFS => {
                bindfs(&scratch);
                Self::Bindfs { scratch }
            }
            DISK => Self::Disk { scratch },
            _ => {
                let mount = Some(Mount::start(&scratch));
                Self::Ours { scratch, mount }
            }
        })
    }

    fn scratch(&self) -> &Scratch {
        match self {
            Self::Node { scratch, .. }
            | Self::Bindfs { scratch }
            | Self::Disk { scratch }
            | Self::Ours { scratch, .. } => scratch,
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Disk { scratch } => scratch.join("bare"),
            other => other.scratch().mnt(),
        }
    }

    /// Mounts it anew, by new processes, with the disk's cache dropped.
    fn anew(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Node { scratch, server, service, key } => {
                service.stop();
                server.stop();
                drop_caches()?;
                *server = node_server(scratch);
                (*service, *key) = node_service(scratch, Some(key))?;
            }
            Self::Bindfs { scratch } => {
                unmount(&scratch.mnt());
                drop_caches()?;
                bindfs(scratch);
            }
            Self::Disk { .. } => drop_caches()?,
            Self::Ours { scratch, mount } => {
                if let Some(mount) = mount.take() {
                    ensure!(mount.stop().success(), "the service did not stop well");
                }
                drop_caches()?;
                *mount = Some(Mount::start(scratch));
            }
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::Disk { .. } => {}
            Self::Node { scratch, service, .. } => {
                service.kill();
                detach(&scratch.mnt());
            }
            Self::Bindfs { scratch } => unmount(&scratch.mnt()),
            Self::Ours { mount, .. } => drop(mount.take()),
        }
    }
}

fn node_server(scratch: &Scratch) -> Process {
    let storage = scratch.storage();
    let storage = storage.to_str().expect("temp paths are UTF-8");
    let server = Process::start(&mut node::command(scratch, &["classic-server.js", storage]));
    server.wait_for_line("Listening on");
    server
}

fn node_service(scratch: &Scratch, key: Option<&str>) -> anyhow::Result<(Process, String)> {
    let mnt = scratch.mnt();
    let mut arguments = vec!["classic-mount.js", mnt.to_str().context("a path in UTF-8")?];
    arguments.extend(key);
    let service = Process::start(&mut node::command(scratch, &arguments));
    let line = service.wait_for_line("Mounted ");
    ensure!(is_mounted(&mnt), "Node says that it has mounted, but has not");
    let key = line.rsplit(' ').next().unwrap_or_default().to_owned();
    Ok((service, key))
}

fn bindfs(scratch: &Scratch) {
    shell::run(Command::new("bindfs").arg(scratch.join("bare")).arg(scratch.mnt()));
}

fn unmount(mnt: &Path) {
    // Not lazily: the next mount is to be a new one.
    if shell::attempt(Command::new("fusermount3").arg("-u").arg(mnt)).status.success() {
        return;
    }
    detach(mnt);
}

fn drop_caches() -> anyhow::Result<()> {
    nix::unistd::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").context("only root can drop the disk's cache")
}

/// Material that all contestants work on, on the disk.
struct Material {
    scratch: Scratch,
}

impl Material {
    fn new() -> Self {
        let scratch = Scratch::new();
        tree::generate(&scratch.join("source"), 2_000, 2020);
        shell::sh(
            &scratch,
            scratch.path(),
            "tar cf source.tar source
             cd source && git init -q && git add -A
             git -c user.name=Bench -c user.email=bench@example.org commit -q -m all",
        );
        for mode in ["wal", "delete"] {
            let mut script = format!(
                "PRAGMA journal_mode={mode};\nCREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, data BLOB);\n"
            );
            for transaction in 0..1000 {
                script.push_str("BEGIN;\n");
                for i in 0..10 {
                    let id = transaction * 10 + i;
                    script.push_str(&format!("INSERT INTO t VALUES({id}, 'row {id}', zeroblob(100));\n"));
                }
                script.push_str("COMMIT;\n");
            }
            fs::write(scratch.join(&format!("{mode}.sql")), script).expect("the disk takes it");
        }
        Self { scratch }
    }

    fn path(&self, name: &str) -> String {
        self.scratch.join(name).display().to_string()
    }
}

fn seconds<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

fn write(path: &Path, mib: u64) -> anyhow::Result<f64> {
    let chunk = Random::new(7).bytes(1 << 20);
    let took = seconds(|| {
        let mut file = File::create(path)?;
        for _ in 0..mib {
            for piece in chunk.chunks(64 * 1024) {
                file.write_all(piece)?;
            }
        }
        Ok(file.sync_all()?)
    })?;
    Ok(mib as f64 / took)
}

fn read(path: &Path, mib: u64) -> anyhow::Result<f64> {
    let took = seconds(|| {
        let mut file = File::open(path)?;
        let mut buffer = vec![0; 128 * 1024];
        let mut total = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => total += read as u64,
            }
        }
        ensure!(total == mib << 20, "{total} bytes read of {mib} MiB");
        Ok(())
    })?;
    Ok(mib as f64 / took)
}

fn stat_all(dir: &Path, count: u64) -> anyhow::Result<f64> {
    let took = seconds(|| {
        for i in 0..count {
            ensure!(fs::symlink_metadata(dir.join(format!("file-{i}")))?.len() == 1024, "file-{i}");
        }
        Ok(())
    })?;
    Ok(count as f64 / took)
}

fn measure(
    contestant: &'static str,
    plan: Plan,
    material: &Material,
    samples: &mut Samples,
    cannot: &mut BTreeSet<&'static str>,
) -> anyhow::Result<()> {
    let mut place = Place::new(contestant)?;
    let root = place.path();
    let mib = plan.scaled(256);
    let large = root.join("large");
    samples.add(contestant, WRITE, write(&large, mib)?);
    place.anew()?;
    samples.add(contestant, COLD, read(&large, mib)?);
    samples.add(contestant, WARM, read(&large, mib)?);

    let count = plan.scaled(2_000);
    let dir = root.join("many");
    fs::create_dir(&dir)?;
    let content = Random::new(8).bytes(1024);
    let took = seconds(|| {
        for i in 0..count {
            fs::write(dir.join(format!("file-{i}")), &content)?;
        }
        Ok(())
    })?;
    samples.add(contestant, CREATE, count as f64 / took);
    samples.add(contestant, STAT, stat_all(&dir, count)?);
    place.anew()?;
    samples.add(contestant, STAT_FRESH, stat_all(&dir, count)?);
    let took = seconds(|| {
        for i in 0..count {
            fs::remove_file(dir.join(format!("file-{i}")))?;
        }
        Ok(())
    })?;
    samples.add(contestant, DELETE, count as f64 / took);

    let programs = [
        (UNTAR, format!("tar xf {}", material.path("source.tar"))),
        (CLONE, format!("git clone -q --no-local {} clone", material.path("source"))),
        (SQLITE_WAL, sqlite(material, "wal")),
        (SQLITE_ROLLBACK, sqlite(material, "delete")),
    ];
    for (row, script) in programs {
        if contestant == NODE && cannot.contains(row) {
            continue;
        }
        // A service that an earlier program has hung up would only hang the next.
        let mut command = place.scratch().command("timeout");
        command.args([LIMIT, "sh", "-euc", &script]).current_dir(&root);
        let start = Instant::now();
        let output = shell::attempt(&mut command);
        let took = start.elapsed().as_secs_f64();
        if output.status.success() {
            samples.add(contestant, row, took);
        } else {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("no word").to_owned();
            eprintln!("  {contestant}: {row}: {}: {said}", output.status);
            ensure!(contestant == NODE, "{contestant} cannot: {row}");
            cannot.insert(row);
        }
    }
    Ok(())
}

fn sqlite(material: &Material, mode: &str) -> String {
    format!(
        "sqlite3 -bail {mode}.db < {} > {mode}.out; test \"$(sqlite3 {mode}.db 'SELECT count(*) FROM t')\" = 10000",
        material.path(&format!("{mode}.sql"))
    )
}

/// Runs it and prints the table.
pub fn run(plan: Plan) -> anyhow::Result<()> {
    let material = Material::new();
    let mut samples = Samples::default();
    // What Node's mount has failed at, it is not asked for again.
    let mut cannot = BTreeSet::new();
    for turn in 1..=plan.alternations {
        for contestant in [NODE, BINDFS, DISK, OURS] {
            eprintln!("turn {turn} of {}: {contestant}", plan.alternations);
            measure(contestant, plan, &material, &mut samples, &mut cannot).context(contestant)?;
        }
    }
    println!("Medians of {} alternations; {}.\n", plan.alternations, machine());
    let rows: Vec<Vec<String>> = ROWS
        .iter()
        .map(|(row, less)| {
            let value = |contestant| samples.median(contestant, row);
            vec![
                (*row).to_owned(),
                number(value(NODE)),
                number(value(BINDFS)),
                number(value(DISK)),
                number(value(OURS)),
                ratio(value(OURS), value(NODE), *less),
                ratio(value(OURS), value(BINDFS), *less),
            ]
        })
        .collect();
    table(&["", NODE, BINDFS, DISK, OURS, "ours to Node-FUSE", "ours to bindfs"], &rows);
    Ok(())
}
