//! `~/.hyperspace/config/fuse.json`: the root drive and where it is mounted.
//!
//! The file is the original's (npm `@hyperspace/hyperdrive` 1.0.11):
//! `{"rootDriveKey": "<hex>", "mnt": "<absolute path>"}`, indented by two spaces.
//! Unlike the original, the saved `mnt` is honoured at the next start.

use crate::ServiceError;
use hyperspace_api::Key;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The largest configuration file that is read, in bytes.
const MAX_SIZE: u64 = 64 * 1024;

/// What is remembered between two starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The root drive's key, in hex.
    #[serde(rename = "rootDriveKey", skip_serializing_if = "Option::is_none", default)]
    root_drive_key: Option<String>,
    /// Where it is mounted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mnt: Option<PathBuf>,
}

impl Config {
    /// A configuration of these two facts.
    pub fn new(root: Key, mnt: &Path) -> Self {
        Self { root_drive_key: Some(root.to_string()), mnt: Some(mnt.to_owned()) }
    }

    /// The same with another root drive.
    pub(crate) fn with_root(self, root: Key) -> Self {
        Self { root_drive_key: Some(root.to_string()), ..self }
    }

    /// The root drive's key; an error if the file has something else in its place.
    pub fn root_drive_key(&self) -> Result<Option<Key>, ServiceError> {
        self.root_drive_key
            .as_deref()
            .map(|text| {
                text.parse().map_err(|_| {
                    ServiceError::config(format!(
                        "rootDriveKey in fuse.json is no key: {text:?}. Mend or remove the file."
                    ))
                })
            })
            .transpose()
    }

    /// Reads the file in `dir`; the default if there is none.
    pub fn load(dir: &Path) -> Result<Self, ServiceError> {
        let path = file(dir);
        let failed =
            |e: std::io::Error| ServiceError::config(format!("Could not read {}: {e}", path.display()));
        let text = match std::fs::File::open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(failed(e)),
            Ok(file) => {
                let mut text = String::new();
                std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_SIZE), &mut text)
                    .map_err(failed)?;
                text
            }
        };
        serde_json::from_str(&text).map_err(|e| {
            ServiceError::config(format!("{} is damaged: {e}. Mend or remove it.", path.display()))
        })
    }

    /// Writes the file in `dir`, whole or not at all, readable by its owner only.
    pub fn save(&self, dir: &Path) -> Result<(), ServiceError> {
        let path = file(dir);
        let failed =
            |e: std::io::Error| ServiceError::config(format!("Could not write {}: {e}", path.display()));
        std::fs::create_dir_all(dir).map_err(failed)?;
        let mut text = serde_json::to_string_pretty(self).map_err(|e| failed(e.into()))?;
        text.push('\n');
        // tempfile creates with mode 0600.
        let mut new = tempfile::NamedTempFile::new_in(dir).map_err(failed)?;
        new.write_all(text.as_bytes()).map_err(failed)?;
        new.as_file().sync_all().map_err(failed)?;
        new.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }
}

fn file(dir: &Path) -> PathBuf {
    dir.join("fuse.json")
}

/// `~/.hyperspace/config`.
pub fn default_dir() -> Result<PathBuf, ServiceError> {
    Ok(home()?.join(".hyperspace").join("config"))
}

/// `~/Hyperdrive`.
pub fn default_mnt() -> Result<PathBuf, ServiceError> {
    Ok(home()?.join("Hyperdrive"))
}

fn home() -> Result<PathBuf, ServiceError> {
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| ServiceError::config("The home directory is not known: set HOME.".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn writes_what_the_original_reads() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Config::load(dir.path()).unwrap(), Config::default());
        let config = Config::new(Key::from([1; 32]), Path::new("/mnt/x"));
        config.save(dir.path()).unwrap();
        let path = dir.path().join("fuse.json");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            format!("{{\n  \"rootDriveKey\": \"{}\",\n  \"mnt\": \"/mnt/x\"\n}}\n", "01".repeat(32))
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Config::load(dir.path()).unwrap(), config);
        assert_eq!(config.root_drive_key().unwrap(), Some(Key::from([1; 32])));
    }

    #[test]
    fn damage_is_told_and_nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fuse.json"), "{").unwrap();
        assert!(Config::load(dir.path()).unwrap_err().to_string().contains("damaged"));
        std::fs::write(dir.path().join("fuse.json"), r#"{"rootDriveKey":"zz"}"#).unwrap();
        assert!(Config::load(dir.path()).unwrap().root_drive_key().is_err());
    }
}
