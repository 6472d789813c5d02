//! Generated folders of files, and what two folders differ in.

use crate::random::Random;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

const WORDS: &[&str] = &[
    "core",
    "block",
    "drive",
    "mount",
    "topic",
    "fork",
    "seed",
    "peer",
    "log",
    "index",
    "trie",
    "snapshot",
    "été",
    "файл",
    "with space",
    "manifest",
];

/// Fills `root` with `files` files as a source tree has them: nested folders, mostly
/// text of a few KiB, some large, some empty, some executable, and a few links.
///
/// # Panics
/// If the disk refuses.
pub fn generate(root: &Path, files: usize, seed: u64) {
    let mut random = Random::new(seed);
    let mut folders = vec![root.to_owned()];
    fs::create_dir_all(root).expect("the tree's root");
    for i in 0..files {
        if i % 16 == 0 {
            let parent = random.pick(&folders).clone();
            // Not too deep: the longest path stays far below the limits of any program.
            if parent.components().count() < root.components().count() + 6 {
                let folder = parent.join(format!("{}-{i}", random.pick(WORDS)));
                fs::create_dir(&folder).expect("a new folder");
                folders.push(folder);
            }
        }
        let path = random.pick(&folders).join(format!("{}_{i}.rs", random.pick(WORDS)));
        let size = match random.below(100) {
            0 => 0,
            1..=3 => random.below(300_000),
            4..=30 => random.below(20_000),
            _ => random.below(3_000),
        };
        fs::write(&path, text(&mut random, size as usize)).expect("a new file");
        if random.below(20) == 0 {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod of our file");
        }
        if random.below(50) == 0 {
            let target = path.file_name().expect("a file has a name");
            symlink(target, path.with_extension("link")).expect("a new link");
        }
    }
}

/// Text that compresses, but is not the same twice.
fn text(random: &mut Random, size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 64);
    while text.len() < size {
        let line = format!("let {} = {}; // {:x}\n", random.pick(WORDS), random.pick(WORDS), random.number());
        text.extend_from_slice(line.as_bytes());
    }
    text.truncate(size);
    text
}

/// One thing in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder of this mode.
    Folder(u32),
    /// A file of this mode and content.
    File(u32, Vec<u8>),
    /// A link to there.
    Link(String),
}

/// All that is in `root`, by path. `skip` names entries of the root to leave out.
///
/// # Errors
/// What the filesystem says.
pub fn read(root: &Path, skip: &[&str]) -> io::Result<BTreeMap<String, Entry>> {
    let mut entries = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder)? {
            let item = item?;
            let path = item.path();
            let name = path.strip_prefix(root).expect("it lies in the root").to_string_lossy().into_owned();
            if skip.contains(&name.as_str()) {
                continue;
            }
            let metadata = fs::symlink_metadata(&path)?;
            let mode = metadata.mode() & 0o7777;
            let entry = if metadata.is_dir() {
                folders.push(path);
                Entry::Folder(mode)
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(&path)?.to_string_lossy().into_owned())
            } else {
                let content = fs::read(&path)?;
                if content.len() as u64 != metadata.len() {
                    return Err(io::Error::other(format!("{name}: its size is not that of its content")));
                }
                Entry::File(mode, content)
            };
            entries.insert(name, entry);
        }
    }
    Ok(entries)
}

/// Fails if the folders `one` and `two` differ in anything that [`read`] sees.
///
/// # Panics
/// If they do; the first ten differences are named.
pub fn assert_same(one: &Path, two: &Path) {
    let (left, right) = (read(one, &[]).expect("the left folder"), read(two, &[]).expect("the right folder"));
    let mut differences = Vec::new();
    for (path, entry) in &left {
        match right.get(path) {
            None => differences.push(format!("{path}: only in {}", one.display())),
            Some(other) if other != entry => differences.push(format!("{path}: differs")),
            Some(_) => {}
        }
    }
    for path in right.keys().filter(|path| !left.contains_key(*path)) {
        differences.push(format!("{path}: only in {}", two.display()));
    }
    let count = differences.len();
    differences.truncate(10);
    assert!(count == 0, "{count} differences:\n{}", differences.join("\n"));
}
