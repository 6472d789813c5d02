//! Real programs in the mounted folder; and after each, the service is stopped and
//! started, and all is still there.

use hyperspace_e2e::mount::{Mount, is_mounted};
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::shell::sh;
use hyperspace_e2e::tree;
use std::fs;
use std::path::Path;

const FILES: usize = 2_000;

/// Stops the service as a user would, and starts it again: with `mnt` from its
/// configuration, the same root drive is mounted at the same place.
fn restarted(scratch: &Scratch, mount: Mount) -> Mount {
    let key = mount.key().to_owned();
    let status = mount.stop();
    assert!(status.success(), "the service ended with {status}");
    assert!(!is_mounted(&scratch.mnt()), "still mounted after the stop");
    assert_eq!(fs::read_dir(scratch.mnt()).expect("the mountpoint").count(), 0, "the mountpoint is empty");
    let mount = Mount::start(scratch);
    assert_eq!(mount.key(), key, "another root drive");
    mount
}

/// A folder of 2,000 generated files, outside the mount.
fn source(scratch: &Scratch) -> std::path::PathBuf {
    let source = scratch.join("source");
    tree::generate(&source, FILES, 2020);
    source
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).expect("a text").lines().map(str::to_owned).collect()
}

#[test]
fn an_ordinary_day() {
    let scratch = Scratch::new();
    let mount = Mount::start(&scratch);
    sh(
        &scratch,
        mount.path(),
        r#"
        mkdir -p docs/drafts
        echo one > docs/a.txt
        echo two >> docs/a.txt
        test "$(cat docs/a.txt)" = "one
two"
        mv docs/a.txt docs/b.txt
        test ! -e docs/a.txt
        sed -i 's/one/ONE/' docs/b.txt
        # As editors save: a new file beside it, renamed over it.
        cp docs/b.txt docs/b.txt~
        printf 'three\n' >> docs/b.txt~
        mv docs/b.txt~ docs/b.txt
        mv docs papers
        ln -s ../papers/b.txt papers/link
        dd if=/dev/zero of=papers/zeros bs=64k count=160 status=none
        truncate -s 5000000 papers/zeros
        printf XY | dd of=papers/zeros bs=1 seek=4999998 conv=notrunc status=none
        chmod 640 papers/b.txt
        touch -d '2001-02-03 04:05:06 UTC' papers/b.txt
        setfattr -n user.mood -v calm papers/b.txt
        mkdir gone && touch gone/file && rm -r gone
        "#,
    );
    let check = |mount: &Mount| {
        assert_eq!(lines(&mount.join("papers/b.txt")), ["ONE", "two", "three"]);
        let zeros = fs::read(mount.join("papers/zeros")).expect("the large file");
        assert_eq!(zeros.len(), 5_000_000);
        assert!(zeros[..4_999_998].iter().all(|byte| *byte == 0) && zeros.ends_with(b"XY"));
        let said = sh(
            &scratch,
            &mount.join("papers"),
            "stat -c '%a %Y' b.txt; getfattr --only-values -n user.mood b.txt; echo; readlink link; ls -A ..",
        );
        let said: Vec<&str> = said.lines().collect();
        assert_eq!(said[..3], ["640 981173106", "calm", "../papers/b.txt"]);
        assert!(said.contains(&"papers") && !said.contains(&"docs") && !said.contains(&"gone"), "{said:?}");
    };
    check(&mount);
    let mount = restarted(&scratch, mount);
    check(&mount);
    assert!(mount.stop().success());
}

#[test]
fn git() {
    const GIT: &str = "git -c user.name=Test -c user.email=test@example.org -c gc.auto=0";
    let scratch = Scratch::new();
    let source = source(&scratch);
    let mount = Mount::start(&scratch);
    let repository = mount.join("repository");
    sh(
        &scratch,
        mount.path(),
        &format!(
            "cp -a {} repository && cd repository
             git init -q && git add -A && {GIT} commit -q -m first
             git fsck --full --strict
             test -z \"$(git status --porcelain)\"
             echo more >> README && git add README && {GIT} commit -q -m second
             git checkout -q -b branch HEAD~1 && git checkout -q -
             git gc -q && git fsck --full",
            source.display()
        ),
    );
    let mount = restarted(&scratch, mount);
    let check =
        "git fsck --full --strict && test -z \"$(git status --porcelain)\" && git rev-list --count HEAD";
    assert_eq!(sh(&scratch, &repository, check).trim(), "2");
    let clone = scratch.join("clone");
    sh(
        &scratch,
        scratch.path(),
        &format!("git clone -q --no-local {} clone && rm clone/README", repository.display()),
    );
    sh(&scratch, &clone, "rm -r .git");
    // git keeps no empty folders, and of a mode only whether it is executable.
    sh(&scratch, scratch.path(), "find source -type d -empty -delete; chmod -R u=rwX,go=rX source clone");
    tree::assert_same(&source, &clone);
    assert!(mount.stop().success());
}

#[test]
fn tar_extracts() {
    let scratch = Scratch::new();
    let source = source(&scratch);
    let mount = Mount::start(&scratch);
    sh(&scratch, scratch.path(), "tar cf source.tar source");
    sh(&scratch, mount.path(), &format!("tar xpf {}", scratch.join("source.tar").display()));
    tree::assert_same(&source, &mount.join("source"));
    let mount = restarted(&scratch, mount);
    tree::assert_same(&source, &mount.join("source"));
    sh(&scratch, mount.path(), &format!("tar df {}", scratch.join("source.tar").display()));
    assert!(mount.stop().success());
}

#[test]
fn rsync_there_and_back() {
    let scratch = Scratch::new();
    let source = source(&scratch);
    let mount = Mount::start(&scratch);
    let there = mount.join("there");
    let script = format!(
        "rsync -a source/ {there}/
         diff -r --no-dereference source {there}
         rsync -a {there}/ back/
         diff -r --no-dereference source back
         test -z \"$(rsync -ain --checksum source/ {there}/)\"",
        there = there.display()
    );
    sh(&scratch, scratch.path(), &script);
    tree::assert_same(&source, &scratch.join("back"));
    // What changed, and only that, goes over; what was deleted goes.
    let edit = format!(
        "set -- source/*; echo changed >> \"$(find source -name '*.rs' | sort | head -n 1)\"
         rm \"$(find source -name '*.rs' | sort | tail -n 1)\"
         test \"$(rsync -ai --delete source/ {there}/ | grep -cE '^(>f|\\*deleting)')\" = 2
         diff -r --no-dereference source {there}",
        there = there.display()
    );
    sh(&scratch, scratch.path(), &edit);
    let mount = restarted(&scratch, mount);
    tree::assert_same(&source, &there);
    assert!(mount.stop().success());
}

#[test]
fn sqlite() {
    let scratch = Scratch::new();
    let mount = Mount::start(&scratch);
    let mut inserts = String::new();
    for i in 0..10_000 {
        // One transaction each.
        inserts.push_str(&format!("INSERT INTO t VALUES({i}, 'row {i}', randomblob(100));\n"));
    }
    fs::write(scratch.join("inserts.sql"), inserts).expect("the disk takes it");
    let check = |mode: &str| {
        format!(
            "test \"$(sqlite3 {mode}.db 'PRAGMA integrity_check')\" = ok
             test \"$(sqlite3 {mode}.db 'SELECT count(*), sum(id) FROM t')\" = '10000|49995000'
             test \"$(sqlite3 {mode}.db 'PRAGMA journal_mode')\" = {mode}\n"
        )
    };
    for mode in ["wal", "delete"] {
        let script = format!(
            "(echo 'PRAGMA journal_mode={mode}; CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, data BLOB);'
              cat {}) | sqlite3 -bail {mode}.db > out
             {}",
            scratch.join("inserts.sql").display(),
            // The mode of a database that is not in WAL is not stored, but is `delete`.
            check(mode)
        );
        let started = std::time::Instant::now();
        sh(&scratch, mount.path(), &script);
        println!("{mode}: {:.1?}", started.elapsed());
    }
    let mount = restarted(&scratch, mount);
    for mode in ["wal", "delete"] {
        sh(&scratch, mount.path(), &check(mode));
    }
    sh(
        &scratch,
        mount.path(),
        "sqlite3 wal.db 'DELETE FROM t WHERE id % 2; VACUUM; PRAGMA integrity_check' | grep -qx ok",
    );
    assert!(mount.stop().success());
}
