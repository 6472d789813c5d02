//! Files.

use crate::Check;
use crate::world::{World, denied, refused};
use hyperspace_e2e::shell;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::process::Command;

pub const CHECKS: &[Check] = &[
    ("S18", writes_anywhere),
    ("S19", truncates),
    ("S20", appends),
    ("S21", exclusive_and_truncating),
    ("S22", unlinked_but_open),
    ("S23", writers_at_once),
    ("S24", allocates),
    ("S25", locks),
];

fn both() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

fn writes_anywhere(world: &mut World) {
    let path = world.folder().join("file");
    let file = both().create_new(true).open(&path).expect("a new file");
    let mut expected = vec![0; 2_500_003];
    for (at, bytes) in [(2_500_000, "end"), (0, "start"), (1_234_567, "middle"), (3, "RT!")] {
        file.write_all_at(bytes.as_bytes(), at).expect("a write");
        expected[at as usize..at as usize + bytes.len()].copy_from_slice(bytes.as_bytes());
    }
    drop(file);
    assert!(fs::read(&path).expect("the file") == expected);
    let file = both().open(&path).expect("the file, again");
    file.write_all_at(b"MIDDLE", 1_234_567).expect("a write");
    expected[1_234_567..1_234_573].copy_from_slice(b"MIDDLE");
    drop(file);
    world.restart();
    assert!(fs::read(&path).expect("the file") == expected);
}

fn truncates(world: &mut World) {
    let path = world.folder().join("file");
    fs::write(&path, "0123456789").expect("a new file");
    let file = both().open(&path).expect("the file");
    file.set_len(4).expect("shorter");
    assert_eq!(fs::read(&path).expect("the file"), b"0123");
    file.set_len(6).expect("longer");
    assert_eq!(fs::read(&path).expect("the file"), b"0123\0\0");
    file.set_len(3_000_000).expect("much longer");
    assert_eq!(fs::metadata(&path).expect("the file").len(), 3_000_000);
    file.set_len(0).expect("empty");
    drop(file);
    assert_eq!(fs::read(&path).expect("the file"), b"");
    shell::run(Command::new("truncate").args(["-s", "5"]).arg(&path));
    world.restart();
    assert_eq!(fs::read(&path).expect("the file"), [0; 5]);
}

fn appends(world: &mut World) {
    let path = world.folder().join("file");
    let open = || OpenOptions::new().append(true).create(true).open(&path).expect("the file");
    let (mut one, mut two) = (open(), open());
    for i in 0..20 {
        one.write_all(format!("one {i}\n").as_bytes()).expect("a write");
        two.write_all(format!("two {i}\n").as_bytes()).expect("a write");
    }
    let expected: String = (0..20).map(|i| format!("one {i}\ntwo {i}\n")).collect();
    assert_eq!(fs::read_to_string(&path).expect("the file"), expected);
    drop((one, two));
    world.restart();
    open().write_all(b"more").expect("a write");
    assert_eq!(fs::read_to_string(&path).expect("the file"), expected + "more");
}

fn exclusive_and_truncating(world: &mut World) {
    let path = world.folder().join("file");
    let exclusive = || both().create_new(true).open(&path);
    exclusive().expect("a new file").write_all(b"content").expect("a write");
    refused(exclusive(), Errno::EEXIST);
    assert_eq!(fs::read(&path).expect("the file"), b"content");
    drop(both().truncate(true).open(&path).expect("the file"));
    assert_eq!(fs::metadata(&path).expect("the file").len(), 0);
}

fn unlinked_but_open(world: &mut World) {
    let folder = world.folder();
    let path = folder.join("file");
    let read = |file: &File| {
        let mut found = [0; 5];
        file.read_exact_at(&mut found, 0).map(|()| found)
    };
    fs::write(&path, "first").expect("a new file");
    let file = both().open(&path).expect("the file");
    fs::remove_file(&path).expect("a removal");
    assert!(!path.exists());
    assert_eq!(&read(&file).expect("a read"), b"first");
    file.write_all_at(b"FIRST", 0).expect("a write");
    assert_eq!(&read(&file).expect("a read"), b"FIRST");
    assert_eq!(file.metadata().expect("its attributes").len(), 5);
    file.set_len(2).expect("shorter");
    drop(file);
    assert_eq!(fs::read_dir(&folder).expect("the folder").count(), 0, "nothing is left behind");

    fs::write(&path, "below").expect("a new file");
    fs::write(folder.join("new"), "above").expect("a new file");
    let file = both().open(&path).expect("the file");
    fs::rename(folder.join("new"), &path).expect("a rename");
    file.write_all_at(b"BELOW", 0).expect("a write to what was renamed over");
    assert_eq!(&read(&file).expect("a read"), b"BELOW");
    drop(file);
    assert_eq!(fs::read(&path).expect("the file"), b"above");
}

fn writers_at_once(world: &mut World) {
    const WRITERS: u64 = 4;
    const PIECES: u64 = 100;
    let path = world.folder().join("file");
    fs::write(&path, "").expect("a new file");
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let path = &path;
            threads.spawn(move || {
                let file = both().open(path).expect("the file");
                for piece in 0..PIECES {
                    let at = (piece * WRITERS + writer) * 1000;
                    file.write_all_at(&[b'a' + writer as u8; 1000], at).expect("a write");
                }
            });
        }
    });
    let found = fs::read(&path).expect("the file");
    assert_eq!(found.len() as u64, WRITERS * PIECES * 1000);
    for (i, piece) in found.chunks(1000).enumerate() {
        let writer = b'a' + (i as u64 % WRITERS) as u8;
        assert!(piece.iter().all(|byte| *byte == writer), "piece {i}");
    }
}

fn allocates(world: &mut World) {
    let path = world.folder().join("file");
    fs::write(&path, "content").expect("a new file");
    let file = both().open(&path).expect("the file");
    fallocate(&file, FallocateFlags::empty(), 0, 100_000).expect("a longer file");
    assert_eq!(file.metadata().expect("its attributes").len(), 100_000);
    fallocate(&file, FallocateFlags::empty(), 0, 10).expect("it is long enough");
    assert_eq!(file.metadata().expect("its attributes").len(), 100_000);
    let mut start = [0; 9];
    (&file).read_exact(&mut start).expect("a read");
    assert_eq!(&start, b"content\0\0");
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    denied(fallocate(&file, punch, 0, 4096), Errno::EOPNOTSUPP);
}

fn locks(world: &mut World) {
    let path = world.folder().join("file");
    fs::write(&path, "").expect("a new file");
    let holder = File::open(&path).expect("the file");
    holder.try_lock().expect("nobody holds it");
    let try_lock = |path| shell::attempt(Command::new("flock").args(["--nonblock"]).arg(path).arg("true"));
    assert!(!try_lock(&path).status.success(), "two programs hold one lock");
    holder.unlock().expect("we hold it");
    assert!(try_lock(&path).status.success(), "nobody holds it now");
    // sqlite's locks are those of fcntl: a second writer finds the database busy.
    let database = path.with_file_name("database");
    let script = "sqlite3 $1 'CREATE TABLE t(x)'
         sqlite3 $1 'BEGIN EXCLUSIVE' \".shell sqlite3 $1 'INSERT INTO t VALUES(1)' 2>&1 || true\" | grep -q locked
         sqlite3 $1 'INSERT INTO t VALUES(2)'";
    shell::run(Command::new("sh").args(["-euc", script, "sh"]).arg(&database));
}
