//! A key as the trie sees it: a row of digits.
//!
//! Digit 0 tells hidden keys (1) from visible ones (0). Then each component gives
//! 32 digits of two bits, its hash from the lowest bits up, and a 4 ends the row.
//! The last digit of a component stands at a multiple of 32, its *boundary*: only
//! there can two components with one hash be told apart, by their text.

use crate::hash::ComponentHash;

/// Digits that one component gives.
pub(crate) const DIGITS: u32 = 32;
/// The digit after a key's last component.
pub(crate) const END: u8 = 4;

/// A key, split and hashed.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    key: String,
    hidden: bool,
    parts: Box<[Part]>,
}

/// One component.
#[derive(Clone, Copy, Debug)]
struct Part {
    hash: u64,
    start: u32,
    end: u32,
}

impl Path {
    /// The longest key, in bytes: no drive has longer paths, and positions fit 32 bits.
    pub(crate) const MAX_KEY: usize = 64 * 1024;

    /// `None` if the key is longer than [`MAX_KEY`](Self::MAX_KEY).
    ///
    /// One slash before the key goes. One slash after it is kept in the text, but
    /// makes no component: `dir/` is another spelling of `dir`.
    pub(crate) fn new(key: &str, hidden: bool, hash: ComponentHash) -> Option<Self> {
        Self::of(key.to_owned(), hidden, hash)
    }

    /// As [`new`](Self::new).
    pub(crate) fn of(mut key: String, hidden: bool, hash: ComponentHash) -> Option<Self> {
        if key.len() > Self::MAX_KEY {
            return None;
        }
        if key.starts_with('/') {
            key.remove(0);
        }
        let inner = key.strip_prefix('/').unwrap_or(&key);
        let skipped = key.len() - inner.len();
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        let mut parts = Vec::new();
        if !inner.is_empty() {
            let mut start = skipped;
            for text in inner.split('/') {
                let end = start + text.len();
                parts.push(Part { hash: hash(text.as_bytes()), start: start as u32, end: end as u32 });
                start = end + 1;
            }
        }
        Some(Self { key, hidden, parts: parts.into() })
    }

    /// The key's text, as a node stores it.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Has it no component? Such a key cannot be stored.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Components.
    pub(crate) fn depth(&self) -> usize {
        self.parts.len()
    }

    /// The text of component `index`.
    pub(crate) fn component(&self, index: usize) -> Option<&str> {
        let part = self.parts.get(index)?;
        self.key.get(part.start as usize..part.end as usize)
    }

    /// Digits in all, the end included.
    pub(crate) fn len(&self) -> u32 {
        self.prefix_len() + 1
    }

    /// Digits that everything below this key begins with.
    pub(crate) fn prefix_len(&self) -> u32 {
        self.parts.len() as u32 * DIGITS + 1
    }

    /// The digit at `position`.
    pub(crate) fn digit(&self, position: u32) -> u8 {
        let Some(position) = position.checked_sub(1) else {
            return u8::from(self.hidden);
        };
        match self.parts.get((position / DIGITS) as usize) {
            Some(part) => (part.hash >> (2 * (position % DIGITS))) as u8 & 3,
            None => END,
        }
    }

    /// Where two keys part: the first position at which their digits differ, or the
    /// boundary of the first component that differs in its text alone. `None` if
    /// they are the same key.
    pub(crate) fn diverge(&self, other: &Self) -> Option<u32> {
        if self.hidden != other.hidden {
            return Some(0);
        }
        let mut base = 0;
        for index in 0.. {
            match (self.parts.get(index), other.parts.get(index)) {
                (None, None) => break,
                (Some(a), Some(b)) if a.hash != b.hash => {
                    return Some(base + 1 + (a.hash ^ b.hash).trailing_zeros() / 2);
                }
                (Some(_), Some(_)) if self.component(index) != other.component(index) => {
                    return Some(base + DIGITS);
                }
                (Some(_), Some(_)) => base += DIGITS,
                _ => return Some(base + 1),
            }
        }
        None
    }

    /// The component that ends at boundary `position`.
    pub(crate) fn component_at(&self, position: u32) -> Option<&str> {
        self.component((position.checked_sub(1)? / DIGITS) as usize)
    }
}

/// Does a component end at `position`?
pub(crate) fn is_boundary(position: u32) -> bool {
    position > 0 && position.is_multiple_of(DIGITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component_hash;

    fn path(key: &str) -> Path {
        Path::new(key, false, component_hash).unwrap()
    }

    #[test]
    fn digits_of_a_known_hash() {
        let dir = path("/dir");
        assert_eq!((0..5).map(|i| dir.digit(i)).collect::<Vec<_>>(), [0, 2, 1, 2, 1]);
        assert_eq!((dir.len(), dir.digit(33), dir.key()), (34, END, "dir"));
    }

    #[test]
    fn slashes() {
        let components = |key: &str| {
            let path = path(key);
            (0..path.depth()).map(|i| path.component(i).unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(components("a/b"), ["a", "b"]);
        assert_eq!(components("/a/b/"), ["a", "b"]);
        assert_eq!(components("//a"), ["a"]);
        assert_eq!(components("a//b"), ["a", "", "b"]);
        assert_eq!(components("a//"), ["a", ""]);
        assert!(components("").is_empty() && components("/").is_empty() && components("//").is_empty());
        assert_eq!(path("/dir/").key(), "dir/");
        assert_eq!(path("dir/").diverge(&path("dir")), None);
    }

    #[test]
    fn partings() {
        assert_eq!(path("a").diverge(&path("a/b")), Some(33));
        assert_eq!(path("a/b").diverge(&path("a/b")), None);
        let (a, b) = (path("x/dir"), path("x/hello.txt"));
        let at = a.diverge(&b).unwrap();
        assert!((33..65).contains(&at) && a.digit(at) != b.digit(at));
        assert!((0..at).all(|i| a.digit(i) == b.digit(i)));
        let same = |key| Path::new(key, false, |_| 7).unwrap();
        assert_eq!(same("q/a").diverge(&same("q/b")), Some(64));
        assert!(is_boundary(64) && !is_boundary(0) && !is_boundary(33));
    }
}
