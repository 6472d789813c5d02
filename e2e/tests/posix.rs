//! Other people's test programs for filesystems: pjdfstest (what each system call must
//! do) and fsx (random reads, writes, mappings and truncations of one file).

use hyperspace_e2e::binaries::root;
use hyperspace_e2e::mount::Mount;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::shell;
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What a drive cannot do, and pjdfstest asks for: `doc/SEMANTICS.md` says so, too.
const LIMITS: &[(&str, &[&str])] = &[
    (
        "no hard links",
        &[
            "link::changed_ctime_success::regular",
            "link::remove_link::regular",
            "link::share_metadata::regular",
            "rename::preserve_metadata::regular",
            "rename::to_multiply_linked::regular",
            "unlink::unchanged_ctime_failed::regular",
            "unlink::update_ctime_success::regular",
        ],
    ),
    (
        "no pipes, sockets and devices",
        &[
            "mkfifo::changed_time_fields_success",
            "mkfifo::permission_bits_from_mode",
            "mkfifo::uid_gid_eq_euid_egid",
            "mknod::changed_time_fields_success",
            "mknod::permission_bits_from_mode",
            "mknod::uid_gid_eq_euid_egid",
            "open::fifo_nonblock_wronly",
            "open::socket_error",
        ],
    ),
    (
        "the access time is that of the last change",
        &[
            "utimensat::changes_timestamps::dir",
            "utimensat::changes_timestamps::regular",
            "utimensat::follow_symlink",
            "utimensat::subsecond",
            "utimensat::utime_omit",
            "utimensat::y2038",
        ],
    ),
    ("directories have two links", &["rename::updates_link_parent"]),
];

/// The same, for tests that are run once for each type of file.
const TYPES_WITHOUT: [&str; 4] = ["::fifo", "::socket", "::char", "::block"];

/// They start a program and do not wait until it runs: on a busy machine they fail on any
/// filesystem.
const RACES: [&str; 1] = ["open::etxtbsy"];

/// Fewer tests than this would be another test suite.
const PASSED_AT_LEAST: usize = 185;

/// A program that `scripts/test` installs.
fn tool(name: &str) -> PathBuf {
    let path = root().join("target/tools/bin").join(name);
    assert!(path.exists(), "{} is missing: scripts/test installs it", path.display());
    path
}

#[test]
fn system_calls_do_what_posix_says() {
    assert!(nix::unistd::geteuid().is_root(), "pjdfstest changes users, which takes root");
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).expect("our own folder");
    let mount = Mount::start_with(&scratch, &scratch.mnt(), &["--allow-other"]);
    let config = scratch.join("pjdfstest.toml");
    fs::write(
        &config,
        r#"
        [features]
        posix_fallocate = {}
        utime_now = {}
        utimensat = {}
        [settings]
        naptime = 0.01
        allow_remount = false
        [dummy_auth]
        entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
        "#,
    )
    .expect("a new file");
    let folder = mount.join("posix");
    fs::create_dir(&folder).expect("a new folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("our own folder");

    let output =
        shell::attempt(scratch.command(tool("pjdfstest")).arg("-c").arg(&config).arg("-p").arg(&folder));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let results = |word: &str| -> BTreeSet<String> {
        let ends = |line: &&str| line.split_whitespace().next_back() == Some(word) && line.contains("::");
        text.lines()
            .filter(ends)
            .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
            .collect()
    };
    let (passed, failed) = (results("ok"), results("FAILED"));
    let limits: BTreeSet<&str> = LIMITS.iter().flat_map(|(_, tests)| tests.iter().copied()).collect();
    let unexpected: Vec<&String> = failed
        .iter()
        .filter(|test| {
            !limits.contains(test.as_str())
                && !RACES.contains(&test.as_str())
                && !TYPES_WITHOUT.iter().any(|kind| test.ends_with(kind))
        })
        .collect();
    assert!(unexpected.is_empty(), "pjdfstest: {unexpected:#?}\n{text}");
    let better: Vec<&&str> = limits.iter().filter(|test| !failed.contains(**test)).collect();
    assert!(better.is_empty(), "no limits any more, take them off the list: {better:?}");
    assert!(passed.len() >= PASSED_AT_LEAST, "only {} tests passed\n{text}", passed.len());
    assert!(mount.stop().success());
}

#[test]
fn random_io_of_one_file() {
    let scratch = Scratch::new();
    let mount = Mount::start(&scratch);
    let config = scratch.join("fsx.toml");
    fs::write(
        &config,
        "flen = 3000000\n[weights]\nclose_open = 2\ninvalidate = 1\nfsync = 2\nfdatasync = 1\nread = 10\n\
         write = 10\nmapread = 5\nmapwrite = 5\ntruncate = 3\npunch_hole = 0\ncopy_file_range = 2\n\
         sendfile = 2\nposix_fallocate = 1\nposix_fadvise = 1\n",
    )
    .expect("a new file");
    for seed in ["1", "2"] {
        let mut fsx = scratch.command(tool("fsx"));
        fsx.arg("-f").arg(&config).args(["-N", "6000", "-S", seed, "-P"]).arg(scratch.join("tmp"));
        let said = shell::run(fsx.arg(mount.join(&format!("fsx-{seed}"))));
        assert!(said.contains("A-OK"), "{said}");
    }
    assert!(mount.stop().success());
}
