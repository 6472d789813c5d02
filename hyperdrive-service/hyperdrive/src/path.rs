//! Paths inside a drive.
//!
//! Outside, a path is absolute (`/a/b`, the root is `/`). Inside, it is a trie key
//! (`a/b`, the root is empty). This module is the only place that turns one into
//! the other, and says which names there may be.

use crate::DriveError;

/// Bytes a name may have.
pub const NAME_MAX: usize = 255;
/// Bytes a whole path may have.
pub const PATH_MAX: usize = 16 * 1024;

/// Is `name` one that a directory may hold?
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == 0 || b == b'/')
}

/// The key of `path`: no leading, trailing or doubled slashes.
pub(crate) fn key_of(path: &str) -> Result<String, DriveError> {
    if path.len() > PATH_MAX {
        return Err(DriveError::NameTooLong(format!("{}…", path.chars().take(64).collect::<String>())));
    }
    let mut key = String::with_capacity(path.len());
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if name.len() > NAME_MAX {
            return Err(DriveError::NameTooLong(name.into()));
        }
        if !is_name(name) {
            return Err(DriveError::Invalid(format!("'{}' is no path in a drive", path.escape_debug())));
        }
        if !key.is_empty() {
            key.push('/');
        }
        key.push_str(name);
    }
    Ok(key)
}

/// Is every name of `key` one that a directory may hold? Others may have been
/// stored by a stranger; they cannot be reached.
pub(crate) fn is_key(key: &str) -> bool {
    key.len() <= PATH_MAX && key.split('/').all(is_name)
}

/// The path of `key`.
pub(crate) fn path_of(key: &str) -> String {
    format!("/{key}")
}

/// The directory of `key`, and its name there; `None` for the root.
pub(crate) fn split(key: &str) -> Option<(&str, &str)> {
    match key.rsplit_once('/') {
        Some(parts) => Some(parts),
        None if key.is_empty() => None,
        None => Some(("", key)),
    }
}

/// `dir` and something below it.
pub(crate) fn join(dir: &str, rest: &str) -> String {
    match (dir.is_empty(), rest.is_empty()) {
        (true, _) => rest.into(),
        (_, true) => dir.into(),
        _ => format!("{dir}/{rest}"),
    }
}

/// What follows `dir` in `key`, if `key` is below it; empty if it is `dir` itself.
pub(crate) fn below<'a>(key: &'a str, dir: &str) -> Option<&'a str> {
    if dir.is_empty() {
        return Some(key);
    }
    let rest = key.strip_prefix(dir)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_and_paths() {
        assert_eq!(key_of("/").unwrap(), "");
        assert_eq!(key_of("//a///b/").unwrap(), "a/b");
        assert_eq!(key_of("/é").unwrap(), "é");
        assert!(matches!(key_of("/a/../b"), Err(DriveError::Invalid(_))));
        assert!(matches!(key_of("/a\0b"), Err(DriveError::Invalid(_))));
        assert!(matches!(key_of(&"a".repeat(256)), Err(DriveError::NameTooLong(_))));
        assert!(key_of(&"a".repeat(255)).is_ok());
        assert!(matches!(key_of(&"a/".repeat(PATH_MAX)), Err(DriveError::NameTooLong(_))));
        assert_eq!(split("a/b/c"), Some(("a/b", "c")));
        assert_eq!(split("a"), Some(("", "a")));
        assert_eq!(split(""), None);
        assert_eq!(below("a/b", "a"), Some("b"));
        assert_eq!(below("ab", "a"), None);
        assert_eq!(below("a", "a"), Some(""));
    }

    proptest! {
        #[test]
        fn a_key_is_its_own_path(path in "[a-c/.]{0,12}") {
            if let Ok(key) = key_of(&path) {
                prop_assert_eq!(key_of(&path_of(&key)).unwrap(), key.clone());
                prop_assert!(key.is_empty() || is_key(&key));
            }
        }
    }
}
