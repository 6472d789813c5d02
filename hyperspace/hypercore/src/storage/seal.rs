//! Checksums of database rows.
//!
//! SQLite does not notice a flipped bit in a row. Each row's body ends with a crc32c over
//! the row's number and the body, so that neither a damaged body nor a good body in another
//! row's place is ever believed.

use super::StoreError;

fn checksum(row: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(row), body)
}

/// Appends the checksum of `body` as the row `row`.
pub fn seal(row: impl AsRef<[u8]>, mut body: Vec<u8>) -> Vec<u8> {
    let crc = checksum(row.as_ref(), &body);
    body.extend_from_slice(&crc.to_le_bytes());
    body
}

/// The body of a row, if it is what was stored there.
pub fn unseal<'a>(row: impl AsRef<[u8]>, sealed: &'a [u8], what: &str) -> Result<&'a [u8], StoreError> {
    match sealed.split_last_chunk::<4>() {
        Some((body, crc)) if checksum(row.as_ref(), body) == u32::from_le_bytes(*crc) => Ok(body),
        _ => Err(StoreError::Damaged(format!("{what} fails its check"))),
    }
}
