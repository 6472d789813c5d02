//! `import` and `export`, once and for as long as one likes.

use crate::world::{World, soon, text};
use hyperspace_e2e::{shell, tree};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The files of a drive, by their paths.
fn files(world: &World, key: &str) -> BTreeSet<String> {
    let stats = world.json(&["stats", "--key", key, "--storage"]);
    let files = stats["storage"].as_object().expect("files by their paths");
    files.keys().map(|path| path.trim_start_matches('/').to_owned()).collect()
}

fn end(lines: &[Value]) -> &Value {
    let end = lines.last().expect("a last line");
    assert_eq!(end["event"], "end", "{lines:?}");
    end
}

#[test]
fn a_folder_goes_into_a_drive_and_comes_out_of_it() {
    let world = World::unmounted();
    let dir = world.home("site");
    fs::create_dir_all(dir.join("sub/deep")).expect("the disk");
    fs::create_dir(dir.join("empty")).expect("the disk");
    fs::write(dir.join("index.html"), "<h1>hello</h1>").expect("the disk");
    fs::write(dir.join("sub/deep/large"), vec![3; 700_000]).expect("the disk");
    std::os::unix::fs::symlink("index.html", dir.join("link")).expect("a link");

    let lines = world.json_lines(&["import", text(&dir)]);
    assert_eq!(lines[0]["event"], "total");
    assert_eq!((&lines[0]["entries"], &lines[0]["bytes"]), (&json!(6), &json!(700_014)));
    let written = lines.iter().filter(|line| line["event"] == "written").count();
    assert_eq!(written, 6, "{lines:?}");
    let done = end(&lines);
    let summary = json!({ "written": 6, "unchanged": 0, "removed": 0, "bytes": 700_014, "failed": 0 });
    assert_eq!(done["summary"], summary);
    let key = done["key"].as_str().expect("the drive").to_owned();
    assert_eq!(world.json(&["info", "--key", &key])["announce"], true, "imported, it is seeded");
    let remembered = fs::read(dir.join(".hyperdrive-import-key")).expect("the folder knows its drive");
    assert_eq!(remembered.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), key);

    // Again, into the same drive: what changed, and what went.
    fs::write(dir.join("index.html"), "<h1>changed</h1>").expect("the disk");
    fs::remove_file(dir.join("link")).expect("the disk");
    let said = world.ok(&["import", text(&dir)]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], format!("Importing {} into {key}...", dir.display()));
    assert_eq!(lines[1..3], ["- link", "+ index.html"]);
    assert_eq!(lines[3], "Import completed: 1 written (16 B), 4 unchanged, 1 removed, 0 failed.");
    fs::remove_file(dir.join("index.html")).expect("the disk");
    let kept = world.json_lines(&["import", text(&dir), "--keep"]);
    assert_eq!(end(&kept)["summary"]["removed"], 0);
    fs::write(dir.join("index.html"), "<h1>last</h1>").expect("the disk");
    world.ok(&["import", text(&dir)]);

    let out = world.home("out");
    let lines = world.json_lines(&["export", &key, text(&out)]);
    assert_eq!(end(&lines)["summary"]["failed"], 0);
    fs::remove_file(dir.join(".hyperdrive-import-key")).expect("the disk");
    fs::remove_file(out.join(".hyperdrive-export-key")).expect("the folder knows its drive");
    tree::assert_same(&dir, &out);

    // Into a folder named by the key, and on from there without a word.
    let said = world.ok(&["export", &key]);
    assert!(said.starts_with(&format!("Exporting {key} into ")), "{said}");
    let named = world.home(&key);
    assert_eq!(fs::read(named.join("index.html")).expect("the file"), b"<h1>last</h1>");
    let again = world.command(&["--json", "export"]).current_dir(&named).output().expect("it runs");
    let again = String::from_utf8(again.stdout).expect("UTF-8");
    let last: Value = serde_json::from_str(again.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["key"], &last["summary"]["written"]), (&json!(key), &json!(0)));
    world.refused(&["export"], 2, "USAGE", "a key must be specified");
}

#[test]
fn what_cannot_be_imported() {
    let world = World::unmounted();
    let dir = world.home("dir");
    fs::create_dir(&dir).expect("the disk");
    fs::write(dir.join("file"), "").expect("the disk");
    let stranger = "ab".repeat(32);
    let refused = ["import", text(&dir), &stranger, "--timeout", "1"];
    world.refused(&refused, 2, "USAGE", "not writable");
    assert!(!dir.join(".hyperdrive-import-key").exists(), "a wrong key is not remembered");
    assert_eq!(world.json(&["info", "--key", &stranger])["announce"], false, "nor seeded");
    world.refused(&["import", text(&dir.join("file"))], 2, "USAGE", "is not a folder");
    fs::write(dir.join(".hyperdrive-import-key"), "short").expect("the disk");
    world.refused(&["import", text(&dir)], 2, "USAGE", "holds no key. Remove it");
}

/// Git is asked what it would take.
#[test]
fn ignore_files_as_git_has_them() {
    let world = World::unmounted();
    let repository = world.home("repository");
    let script = r#"
        git init -q .
        mkdir -p build src/build src/deep/logs docs node_modules/x src/node_modules/y 'odd names'
        printf '%s\n' '*.log' '!keep.log' '/build' 'logs/' '# a comment' 'docs/*.txt' '\#hash' 'tmp?' \
            'odd\ names/*.o' '**/cache/**' > .gitignore
        printf '%s\n' '!*.log' 'secret' > src/.gitignore
        echo excluded >> .git/info/exclude
        mkdir -p a/cache/b
        for file in a.log keep.log build/out src/build/out src/b.log src/deep/c.log src/deep/logs/x \
            docs/a.txt docs/a.md '#hash' tmp1 tmp12 'odd names/a.o' 'odd names/a.c' a/cache/b/c \
            src/secret secret excluded .hidden node_modules/x/index.js src/node_modules/y/index.js; do
            echo "$file" > "$file"
        done
    "#;
    fs::create_dir(&repository).expect("the disk");
    shell::sh(&world.scratch, &repository, script);
    let git = |dir: &Path| -> BTreeSet<String> {
        let listed = shell::sh(&world.scratch, dir, "git ls-files -z -co --exclude-standard");
        let names = listed.split('\0').filter(|name| !name.is_empty() && !name.contains("node_modules/"));
        names.map(str::to_owned).collect()
    };
    let import = |dir: &Path, more: &[&str]| {
        let arguments: Vec<_> =
            ["import", text(dir), "--no-seed"].into_iter().chain(more.iter().copied()).collect();
        let lines = world.json_lines(&arguments);
        let key = end(&lines)["key"].as_str().expect("the drive").to_owned();
        fs::remove_file(dir.join(".hyperdrive-import-key")).expect("the key");
        files(&world, &key)
    };
    let expected = git(&repository);
    assert!(expected.contains("src/b.log") && !expected.contains("a.log"), "{expected:?}");
    assert_eq!(import(&repository, &[]), expected);
    // What git takes in a folder of it is ruled by the files above it, too.
    assert_eq!(import(&repository.join("src"), &[]), git(&repository.join("src")));

    // Asked for.
    let all = import(&repository, &["--no-ignore"]);
    for file in ["a.log", "build/out", "excluded", "a/cache/b/c"] {
        assert!(all.contains(file), "{file}: {all:?}");
    }
    assert!(!all.iter().any(|file| file.starts_with(".git/") || file.contains("node_modules")), "{all:?}");
    let all = import(&repository, &["--all"]);
    for file in [".git/HEAD", "node_modules/x/index.js", "src/node_modules/y/index.js"] {
        assert!(all.contains(file), "{file}: {all:?}");
    }
    assert!(!all.contains("a.log"), "{all:?}");

    // Outside of any repository; and our own ignore file.
    let plain = world.home("plain");
    let script =
        "echo '*.o' > .gitignore; echo '*.c' > .hyperignore; echo '*.h' > .ignore; touch a.o a.c a.h a.md";
    fs::create_dir(&plain).expect("the disk");
    shell::sh(&world.scratch, &plain, script);
    let taken = import(&plain, &[]);
    assert_eq!(
        taken.iter().map(String::as_str).collect::<Vec<_>>(),
        [".gitignore", ".hyperignore", ".ignore", "a.md"]
    );
}

#[test]
fn a_watched_folder_is_followed() {
    let world = World::mounted();
    let dir = world.home("watched");
    fs::create_dir(&dir).expect("the disk");
    fs::write(dir.join("first"), "1").expect("the disk");
    let mut watch = world.start(&["--json", "import", text(&dir), "--watch", "--no-seed"]);
    let line: Value = serde_json::from_str(&watch.wait_for_line("\"end\"")).expect("JSON");
    let key = line["key"].as_str().expect("the drive").to_owned();
    world.ok(&["mount", &world.at("drive"), &key]);
    let there = |name: &str| fs::read(world.at(&format!("drive/{name}")));
    assert_eq!(there("first").expect("the file"), b"1");

    fs::write(dir.join("second"), "2").expect("the disk");
    soon("a new file", || there("second").is_ok_and(|found| found == b"2"));
    // A folder that is new, with what was in it before it was watched.
    fs::create_dir_all(dir.join("new/deep")).expect("the disk");
    fs::write(dir.join("new/deep/file"), "3").expect("the disk");
    soon("a file in a new folder", || there("new/deep/file").is_ok_and(|found| found == b"3"));
    fs::write(dir.join("new/deep/late"), "4").expect("the disk");
    soon("a file in a folder that was new", || there("new/deep/late").is_ok_and(|found| found == b"4"));
    fs::rename(dir.join("second"), dir.join("moved")).expect("the disk");
    soon("a moved file", || there("second").is_err() && there("moved").is_ok_and(|found| found == b"2"));
    fs::remove_dir_all(dir.join("new")).expect("the disk");
    soon("a removed folder", || there("new/deep/file").is_err());
    assert!(watch.ended().is_none());
    assert!(watch.stop().success(), "SIGTERM ends it well");

    // And the other way, until Ctrl+c.
    let out = world.home("out");
    let mut watch = world.start(&["--json", "export", &key, text(&out), "--watch"]);
    watch.wait_for_line("\"end\"");
    assert_eq!(fs::read(out.join("moved")).expect("exported"), b"2");
    fs::write(world.at("drive/by-mount"), "5").expect("it is mounted");
    soon("an exported change", || fs::read(out.join("by-mount")).is_ok_and(|found| found == b"5"));
    watch.signal(Signal::SIGINT);
    assert!(watch.wait().success(), "Ctrl+c ends it well");
}
