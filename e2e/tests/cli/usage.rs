//! Wrong use, help, completions, and commands that need neither server nor drive.

use crate::world::World;
use std::process::{Command, Stdio};

/// Every command, with wrong arguments and what the complaint has to name.
const WRONG: &[(&str, &[&str], &str)] = &[
    ("start", &["--mnt"], "--mnt"),
    ("start", &["--key", "zz"], "is no drive key"),
    ("status", &["extra"], "extra"),
    ("create", &[], "<PATH>"),
    ("mount", &["somewhere"], "<KEY>"),
    ("mount", &["somewhere", "no-key"], "is no drive key"),
    ("mount", &["somewhere", "00", "--version", "x"], "--version"),
    ("unmount", &[], "<PATH>"),
    ("info", &["--key", "zz"], "is no drive key"),
    ("info", &["--root", "--key", "00"], "cannot be used with"),
    ("seed", &["--nonsense"], "--nonsense"),
    ("unseed", &["a", "b"], "b"),
    ("stats", &["--nonsense"], "--nonsense"),
    ("peer", &["add"], "<HOST:PORT>"),
    ("import", &["/nonexistent-folder"], "is not a folder"),
    ("import", &[".", "no-key"], "is no drive key"),
    ("export", &["no-key"], "is no drive key"),
    ("download", &["--nonsense"], "--nonsense"),
    ("ls", &["--nonsense"], "--nonsense"),
    ("cat", &[], "<PATH>"),
    ("put", &[], "<PATH>"),
    ("rm", &[], "<PATH>"),
    ("mkdir", &[], "<PATH>"),
    ("log", &["-n", "few"], "few"),
    ("diff", &["path"], "<FROM>"),
    ("checkout-mount", &["path", "1"], "<AT>"),
    ("tag", &["path", "--delete"], "<NAME>"),
    ("beam", &["short"], "at least 16 characters"),
    ("force-unmount", &["/"], "Nothing is mounted at /"),
    ("fuse-setup", &["extra"], "extra"),
    ("completions", &["no-shell"], "bash"),
    ("help", &["no-command"], "no-command"),
];

#[test]
fn wrong_use_is_one_line_and_exit_code_2() {
    let world = World::empty();
    for (command, arguments, text) in WRONG {
        let whole: Vec<_> = [command].into_iter().chain(*arguments).copied().collect();
        world.refused(&whole, 2, "USAGE", text);
    }
    world.refused(&["no-command"], 2, "USAGE", "no-command");
    world.refused(&["--timeout", "soon", "ls"], 2, "USAGE", "--timeout");
    world.refused(&["--port", "99999", "ls"], 2, "USAGE", "--port");
    assert!(!world.home(".hyperspace").exists(), "none of it made anything");
}

#[test]
fn help_names_every_command_and_all_of_them_are_tried_here() {
    let world = World::empty();
    let help = world.ok(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let listed: Vec<_> = commands
        .expect("a list of commands")
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut tried: Vec<_> = WRONG.iter().map(|(command, ..)| *command).collect();
    tried.dedup();
    assert_eq!(listed, tried);
    for command in listed.iter().filter(|command| **command != "help") {
        let help = world.ok(&[command, "--help"]);
        assert!(help.contains("Usage: hyperdrive"), "{help}");
        assert_eq!(world.ok(&["help", command]), help, "{command}");
    }
    assert!(world.ok(&["--version"]).starts_with("hyperdrive "));
    // Without any argument: the help, where it does not pass for a result.
    let nothing = world.run(&[]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(2), 0));
    assert_eq!(String::from_utf8_lossy(&nothing.stderr).trim_end(), help.trim_end());
}

#[test]
fn completions_are_scripts() {
    let world = World::empty();
    for (shell, start) in [("bash", "_hyperdrive()"), ("zsh", "#compdef hyperdrive"), ("fish", "# Print")] {
        let script = world.ok(&["completions", shell]);
        assert!(script.starts_with(start), "{shell}: {script}");
        assert!(script.contains("checkout-mount"), "{shell}");
    }
    let script = world.ok(&["completions", "bash"]);
    let complete = format!(
        "{script}\nCOMP_WORDS=(hyperdrive checkout-); COMP_CWORD=1\n\
         _hyperdrive hyperdrive checkout- hyperdrive\necho \"${{COMPREPLY[@]}}\""
    );
    let asked = Command::new("bash").args(["-c", &complete]).output().expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "checkout-mount\n", "{asked:?}");
}

/// A reader that leaves early is no failure, and no reason for a stack trace.
#[test]
fn nobody_reads_the_output() {
    let mounted = World::mounted();
    let path = mounted.at(".");
    for arguments in [&["completions", "zsh"][..], &["--help"], &["ls", &path], &["status"], &["info", &path]]
    {
        let mut command = mounted.command(arguments);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let output = output.spawn().and_then(std::process::Child::wait_with_output).expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), said.as_ref()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn before_anything_was_started() {
    let world = World::empty();
    world.refused(&["status"], 1, "NOT_RUNNING", "hyperdrive start");
    let somewhere = world.at("x");
    for command in ["create", "info", "ls", "cat", "rm", "mkdir", "log", "stats", "seed", "unmount"] {
        world.refused(&[command, &somewhere], 1, "CONFIG", "Start the service once: hyperdrive start");
    }
    world.refused(&["import", "."], 1, "CONFIG", "hyperdrive start");
    world.refused(&["export"], 1, "CONFIG", "hyperdrive start");
    world.refused(&["force-unmount"], 2, "USAGE", "Nothing is mounted at");
    assert!(!world.home(".hyperspace").exists());
}

#[test]
fn fuse_setup_tells_what_is_there() {
    let world = World::empty();
    // This computer can mount: the other tests do.
    let said = world.ok(&["fuse-setup"]);
    assert!(said.contains("FUSE device  ok"), "{said}");
    let checks = world.json(&["fuse-setup"]);
    let names: Vec<_> = checks.as_array().expect("a list").iter().map(|check| &check["name"]).collect();
    assert_eq!(names, ["FUSE device", "fusermount3", "allow_other"]);
    for check in checks.as_array().expect("a list") {
        assert!(check["ok"].is_boolean() && check["optional"].is_boolean() && check["found"].is_string());
        assert_eq!(check["mend"].is_string(), check["ok"] == false, "{check}");
    }
    // Without the helper; nobody but root can do without.
    let mut command = world.command(&["--json", "fuse-setup"]);
    let output = command.env("PATH", "/nonexistent").output().expect("it runs");
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&checks[1]["ok"], &checks[1]["found"]), (&false.into(), &"not on the PATH".into()));
    assert!(checks[1]["mend"].as_str().is_some_and(|mend| mend.contains("fuse3")));
    let root = nix::unistd::geteuid().is_root();
    assert_eq!(output.status.code(), Some(if root { 0 } else { 1 }));
}
