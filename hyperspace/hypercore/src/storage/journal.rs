//! Journals: what was committed and is not in the database yet.
//!
//! A journal is a file of records, each one commit:
//!
//! ```text
//! "HSJOURN1"  id: u64                                  the file's header
//! length: u32  crc32c: u32  payload                    a record, as often as there are
//! ```
//!
//! All integers are little endian. The checksum covers the payload and the journal's id, so
//! that no record can pass for one of another journal. The payload is a list of
//! [`Op`]s. A record is written by one `write`: once that has returned, the record survives
//! the end of this process; once the file was flushed, a loss of power.
//!
//! A journal ends where a record is incomplete or fails its check.

use super::StoreError;
use super::lock::open_private;
use super::op::Op;
use super::tail::JournalId;
use crate::encoding::{Reader, Writer};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"HSJOURN1";
const FILE_HEADER: usize = 16;
const RECORD_HEADER: usize = 8;

/// The largest payload: well above what one append may have.
const MAX_PAYLOAD: usize = 1 << 30;

/// The file of a journal.
pub fn path(dir: &Path, id: JournalId) -> PathBuf {
    dir.join(format!("journal-{id:016x}.log"))
}

/// The journals in a directory, oldest first.
pub fn list(dir: &Path) -> Result<Vec<JournalId>, StoreError> {
    let doing = || format!("listing {}", dir.display());
    let mut ids = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(StoreError::io(doing()))? {
        let name = entry.map_err(StoreError::io(doing()))?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".log"));
        ids.extend(id.and_then(|id| JournalId::from_str_radix(id, 16).ok()));
    }
    ids.sort_unstable();
    Ok(ids)
}

/// A record on its way: encoded, and checked but for the journal it goes to.
pub struct Record {
    bytes: Vec<u8>,
    crc: u32,
}

impl Record {
    /// Encodes a commit.
    pub fn new(ops: &[Op]) -> Result<Self, StoreError> {
        let mut out = Writer::with_capacity(256);
        out.raw(&[0; RECORD_HEADER]);
        ops.iter().for_each(|op| op.encode(&mut out));
        let mut bytes = out.into_vec();
        let payload = &bytes[RECORD_HEADER..];
        if payload.len() > MAX_PAYLOAD {
            return Err(StoreError::Invalid("too much for one commit".into()));
        }
        let (crc, length) = (crc32c::crc32c(payload), payload.len() as u32);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        Ok(Self { bytes, crc })
    }

    /// Bytes it takes in a journal.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A journal that is written.
pub struct Journal {
    id: JournalId,
    path: PathBuf,
    file: Arc<File>,
    end: u64,
}

impl Journal {
    /// Makes a journal. Its directory entry is not flushed yet.
    pub fn create(dir: &Path, id: JournalId) -> Result<Self, StoreError> {
        let path = path(dir, id);
        // APPEND, so that a write needs no position; TRUNC, since what a crash may have left
        // here was never used.
        let mut file = open_private(&path, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::APPEND)?;
        let mut header = [0; FILE_HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..].copy_from_slice(&id.to_le_bytes());
        file.write_all(&header).map_err(StoreError::io(format!("writing {}", path.display())))?;
        Ok(Self { id, path, file: Arc::new(file), end: FILE_HEADER as u64 })
    }

    /// Its number.
    pub fn id(&self) -> JournalId {
        self.id
    }

    /// The file, to flush it.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Bytes in the file.
    #[cfg(test)]
    fn end(&self) -> u64 {
        self.end
    }

    /// Writes a record. If that fails, the journal is as it was before; if even that
    /// cannot be had, the error is [`StoreError::Closed`].
    pub fn append(&mut self, mut record: Record) -> Result<(), StoreError> {
        let crc = crc32c::crc32c_append(record.crc, &self.id.to_le_bytes());
        record.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        match (&*self.file).write_all(&record.bytes) {
            Ok(()) => {
                self.end += record.bytes.len() as u64;
                Ok(())
            }
            Err(error) => {
                let error = StoreError::io(format!("writing {}", self.path.display()))(error);
                match self.file.set_len(self.end) {
                    Ok(()) => Err(error),
                    Err(second) => Err(StoreError::Closed(format!(": {error}, and then: {second}"))),
                }
            }
        }
    }
}

/// What a journal has.
#[derive(Debug, Default)]
pub struct Contents {
    /// Its commits.
    pub commits: Vec<Vec<Op>>,
    /// Bytes after the last good record.
    pub cut: u64,
}

/// Reads a journal up to its first bad record.
pub fn read(dir: &Path, id: JournalId) -> Result<Contents, StoreError> {
    let path = path(dir, id);
    let bytes = std::fs::read(&path).map_err(StoreError::io(format!("reading {}", path.display())))?;
    Ok(parse(&bytes, id))
}

fn parse(bytes: &[u8], id: JournalId) -> Contents {
    let mut contents = Contents::default();
    let mut rest = match bytes.split_at_checked(FILE_HEADER) {
        Some((header, rest)) if header[..8] == *MAGIC && header[8..] == id.to_le_bytes() => rest,
        _ => return Contents { cut: bytes.len() as u64, ..contents },
    };
    while let Some((commit, after)) = parse_record(rest, id) {
        contents.commits.push(commit);
        rest = after;
    }
    contents.cut = rest.len() as u64;
    contents
}

fn parse_record(bytes: &[u8], id: JournalId) -> Option<(Vec<Op>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (payload, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(payload), &id.to_le_bytes());
    // An empty payload is never written; a file that the system filled up with zeros after a
    // crash might seem to hold one.
    if payload.is_empty() || expected != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut input = Reader::new(payload);
    let mut ops = Vec::new();
    while !input.is_empty() {
        ops.push(Op::decode(&mut input).ok()?);
    }
    Some((ops, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn commit(at: u8) -> Vec<Op> {
        vec![Op::Setting { key: vec![at].into(), value: Some(vec![at; 40].into()) }, Op::Flushed]
    }

    /// A journal of `count` commits, its file, and where each record ends.
    fn journal(count: u8) -> (Vec<u8>, Vec<usize>) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path(), 7).unwrap();
        let ends = (0..count)
            .map(|at| {
                journal.append(Record::new(&commit(at)).unwrap()).unwrap();
                journal.end() as usize
            })
            .collect();
        assert_eq!(list(dir.path()).unwrap(), [7]);
        (std::fs::read(path(dir.path(), 7)).unwrap(), ends)
    }

    #[test]
    fn torn_anywhere_it_ends_at_the_last_whole_record() {
        let (bytes, ends) = journal(5);
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length).count();
            let contents = parse(&bytes[..length], 7);
            assert_eq!(contents.commits, (0..whole as u8).map(commit).collect::<Vec<_>>());
            // As some filesystems leave it: the right length, but zeros.
            let mut zeros = bytes[..length].to_vec();
            zeros.resize(bytes.len(), 0);
            assert_eq!(parse(&zeros, 7).commits.len(), whole);
        }
        assert!(parse(&bytes, 8).commits.is_empty(), "another journal's");
    }

    proptest! {
        #[test]
        fn a_flipped_bit_ends_it(at in 16usize..300, bit in 0u8..8) {
            let (mut bytes, ends) = journal(5);
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << bit;
            let before = ends.iter().filter(|end| **end <= at).count();
            prop_assert_eq!(parse(&bytes, 7).commits.len(), before);
        }

        #[test]
        fn reads_anything_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut whole = MAGIC.to_vec();
            whole.extend(7u64.to_le_bytes());
            whole.extend(bytes);
            parse(&whole, 7);
        }
    }
}
