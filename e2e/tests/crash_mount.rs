//! kill -9 of the drive service while files are written: what was fsynced is there, and
//! the mount is forced and started again.

use hyperspace_e2e::mount::Mount;
use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::shell;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

const KILLS: u32 = 12;
const WRITERS: u64 = 3;

/// What fsync has returned for: each file's content, by name. A file that was being
/// changed when the service died may have its new content too.
type Synced = Mutex<BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>>;

/// Writes new files and changes old ones, each with fsync, until the mount is dead.
fn writes(mnt: &Path, writer: u64, seed: u64, synced: &Synced) {
    let mut random = Random::new(seed << 8 | writer);
    loop {
        let name = format!("{writer}-{}", random.below(8));
        let size = if random.below(4) == 0 { random.below(2_000_000) } else { random.below(50_000) };
        let content = random.bytes(size as usize);
        let replace = random.below(2) == 0;
        let old = synced.lock().expect("no panic under this lock").get(&name).map(|(now, _)| now.clone());
        // In place, from the middle on: a shorter file keeps nothing of the old one.
        let next = match (&old, replace) {
            (Some(old), false) => {
                let keep = old.len() / 2;
                [&old[..keep], &content].concat()
            }
            _ => content,
        };
        if let Some(entry) = synced.lock().expect("no panic under this lock").get_mut(&name) {
            entry.1 = Some(next.clone());
        }
        let keep = if old.is_some() && !replace { old.map_or(0, |old| old.len() / 2) } else { 0 };
        if write(mnt, &name, &next, keep, replace).is_err() {
            return;
        }
        synced.lock().expect("no panic under this lock").insert(name, (next, None));
    }
}

fn write(mnt: &Path, name: &str, content: &[u8], keep: usize, replace: bool) -> io::Result<()> {
    let path = mnt.join(name);
    if replace || !path.try_exists()? {
        // As programs replace files that matter.
        let new = mnt.join(format!("{name}.new"));
        let file = File::create(&new)?;
        file.write_all_at(content, 0)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        return File::open(mnt)?.sync_all();
    }
    let file = OpenOptions::new().write(true).open(&path)?;
    file.write_all_at(&content[keep..], keep as u64)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

fn check(mnt: &Path, synced: &Synced) {
    for (name, (content, started)) in synced.lock().expect("no panic under this lock").iter_mut() {
        let found =
            fs::read(mnt.join(name)).unwrap_or_else(|e| panic!("{name} was fsynced, and is gone: {e}"));
        // A change that was never fsynced may be there: wholly, or, if it was made in
        // place, in part. The first half of what was there before never changes.
        let half = content.len() / 2;
        let in_part = || started.is_some() && found.get(..half) == content.get(..half);
        assert!(
            found == *content || Some(&found) == started.as_ref() || in_part(),
            "{name}: {} bytes that were not fsynced; {} were",
            found.len(),
            content.len()
        );
        *content = found;
        *started = None;
    }
}

fn storm(embedded: bool) {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(12);
    println!("SEED={seed}");
    let mut random = Random::new(seed);
    let scratch = Scratch::new();
    let server = (!embedded).then(|| Server::start(&scratch));
    let synced = Synced::default();
    let mut mount = Mount::start(&scratch);
    for kill in 0..KILLS {
        std::thread::scope(|threads| {
            for writer in 0..WRITERS {
                let (mnt, synced) = (mount.path().to_owned(), &synced);
                threads.spawn(move || writes(&mnt, writer, seed * 1000 + u64::from(kill), synced));
            }
            // A random moment: this is no waiting for something.
            std::thread::sleep(Duration::from_millis(100 + random.below(700)));
            mount.kill();
        });
        assert!(fs::read_dir(scratch.mnt()).is_err(), "the mount is dead");
        let again = Mount::start_with(&scratch, &scratch.mnt(), &["--force"]);
        // Its guard would detach the new mount.
        std::mem::forget(std::mem::replace(&mut mount, again));
        check(mount.path(), &synced);
    }
    let files = synced.lock().expect("no panic under this lock").len();
    println!("{KILLS} kills, {files} files");
    assert!(files > 0, "nothing was written");
    assert!(mount.stop().success());
    if let Some(server) = server {
        assert!(server.stop().success());
    }
    let mut verify = scratch.command(hyperspace_e2e::binaries::hyperspace());
    println!("{}", shell::run(verify.arg("verify").arg("--storage").arg(scratch.storage())));
}

#[test]
fn killed_while_writing() {
    storm(false);
}

#[test]
fn killed_while_writing_with_the_server_in_it() {
    storm(true);
}
