//! Is this computer fit to mount drives? And getting rid of a dead mount.

use crate::{ServiceError, paths};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// One thing that mounting needs.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What it is.
    pub name: &'static str,
    /// Is it there?
    pub ok: bool,
    /// Can drives be mounted without it?
    pub optional: bool,
    /// What was found.
    pub found: String,
    /// The exact command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// Looks at everything that mounting needs.
pub fn check() -> Vec<Check> {
    vec![device(Path::new("/dev/fuse")), helper(), allow_other(Path::new("/etc/fuse.conf"))]
}

fn device(path: &Path) -> Check {
    let check = |ok, found: String, mend: Option<&str>| Check {
        name: "FUSE device",
        ok,
        optional: false,
        found,
        mend: mend.map(str::to_owned),
    };
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => check(true, format!("{} can be opened", path.display()), None),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            check(false, format!("{}: {e}", path.display()), Some("sudo chmod 0666 /dev/fuse"))
        }
        Err(e) => check(false, format!("{}: {e}", path.display()), Some("sudo modprobe fuse")),
    }
}

fn helper() -> Check {
    let found = find_program("fusermount3");
    let root = nix::unistd::geteuid().is_root();
    Check {
        name: "fusermount3",
        ok: found.is_some(),
        // Root mounts by itself; the helper is what lends others the right to.
        optional: root,
        found: found.map_or_else(|| "not on the PATH".to_owned(), |path| path.display().to_string()),
        mend: find_program("fusermount3").is_none().then(install_command),
    }
}

fn allow_other(conf: &Path) -> Check {
    let root = nix::unistd::geteuid().is_root();
    let text = std::fs::read_to_string(conf).unwrap_or_default();
    let allowed = text.lines().any(|line| line.trim() == "user_allow_other");
    Check {
        name: "allow_other",
        ok: root || allowed,
        optional: true,
        found: match (allowed, root) {
            (true, _) => format!("user_allow_other is set in {}", conf.display()),
            (false, true) => "not needed by root".to_owned(),
            (false, false) => {
                format!("user_allow_other is not set in {} (only --allow-other needs it)", conf.display())
            }
        },
        mend: (!root && !allowed).then(|| format!("echo user_allow_other | sudo tee -a {}", conf.display())),
    }
}

fn install_command() -> String {
    let by = [
        ("apt-get", "sudo apt-get install fuse3"),
        ("dnf", "sudo dnf install fuse3"),
        ("pacman", "sudo pacman -S fuse3"),
        ("apk", "sudo apk add fuse3"),
        ("zypper", "sudo zypper install fuse3"),
    ];
    by.iter()
        .find(|(program, _)| find_program(program).is_some())
        .map_or("install the package fuse3 of your system", |(_, command)| command)
        .to_owned()
}

fn find_program(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Detaches the FUSE mount at `mnt`, dead or alive.
///
/// Fails if there is none.
pub async fn force_unmount(mnt: &Path) -> Result<(), ServiceError> {
    if !is_mounted(mnt)? {
        return Err(ServiceError::usage(format!(
            "Nothing is mounted at {}. What is mounted where: findmnt -t fuse.hyperdrive",
            mnt.display()
        )));
    }
    hyperdrive_fuse::force_unmount(mnt).await.map_err(|e| ServiceError::Mount(e.to_string()))
}

/// How the mount is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountState {
    /// There is none.
    NotMounted,
    /// It answers.
    Mounted,
    /// Its process died.
    Dead,
    /// Its process is there, and does not answer.
    NotAnswering,
}

/// How long a mount may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How is the mount at `mnt`? Waits at most two seconds for one that does not answer.
pub async fn state(mnt: &Path) -> Result<MountState, ServiceError> {
    if !is_mounted(mnt)? {
        return Ok(MountState::NotMounted);
    }
    let at = mnt.to_owned();
    let asked = tokio::task::spawn_blocking(move || nix::sys::statvfs::statvfs(&at));
    Ok(match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(Ok(_))) => MountState::Mounted,
        Ok(Ok(Err(nix::errno::Errno::ENOTCONN))) => MountState::Dead,
        Ok(_) | Err(_) => MountState::NotAnswering,
    })
}

/// Does the kernel list a FUSE mount at `mnt`? Asks the mount table, not the mount: a
/// dead one would not answer.
pub fn is_mounted(mnt: &Path) -> Result<bool, ServiceError> {
    let table = std::fs::read("/proc/self/mounts")
        .map_err(|e| ServiceError::io("Could not read the table of mounts", e))?;
    let mnt = paths::real(&paths::absolute(mnt)?, None);
    Ok(String::from_utf8_lossy(&table).lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (fields.next(), fields.next()) else { return false };
        kind.starts_with("fuse") && Path::new(&unescape(at)) == mnt
    }))
}

/// The mount table writes spaces and the like as `\ooo`.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes
            .get(i + 1..i + 4)
            .filter(|_| bytes[i] == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_has_a_command() {
        for check in check() {
            assert_eq!(check.mend.is_some(), !check.ok, "{check:?}");
        }
        let none = device(Path::new("/nonexistent/fuse"));
        assert_eq!((none.ok, none.mend.as_deref()), (false, Some("sudo modprobe fuse")));
    }

    #[tokio::test]
    async fn nothing_mounted_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mounted(dir.path()).unwrap());
        assert_eq!(state(dir.path()).await.unwrap(), MountState::NotMounted);
        assert!(force_unmount(dir.path()).await.unwrap_err().to_string().contains("Nothing is mounted"));
    }

    #[test]
    fn names_with_blanks() {
        assert_eq!(unescape(r"/mnt/my\040drive\134x"), r"/mnt/my drive\x");
        assert_eq!(unescape(r"/mnt/\9x\"), r"/mnt/\9x\");
    }
}
