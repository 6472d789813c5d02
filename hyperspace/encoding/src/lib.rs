//! compact-encoding: the byte format of everything Hypercore stores, hashes or sends
//! (npm `compact-encoding` 3.5.2).
//!
//! [`Reader`] walks over bytes that a stranger may have sent. It never allocates by a
//! length that it read: what is variable is borrowed from the input, and a list is
//! refused before its first item when the input cannot hold that many items.
//! [`Writer`] appends to a growing buffer, and always writes the shortest form.
//!
//! ```
//! use compact_encoding::{Reader, Writer};
//!
//! let mut writer = Writer::new();
//! writer.uint(300).string("héllo");
//! let bytes = writer.into_vec();
//!
//! let mut reader = Reader::new(&bytes);
//! assert_eq!(reader.uint(), Ok(300));
//! assert_eq!(reader.string(), Ok("héllo"));
//! assert!(reader.is_empty());
//! ```
#![forbid(unsafe_code)]

/// The largest integer that may be read: 2^53 − 1, what a JavaScript number holds.
///
/// Every index, length and size of the protocol obeys it, so that sums and doublings of
/// two of them cannot overflow.
pub const MAX_UINT: u64 = (1 << 53) - 1;

/// The most items that a list may announce.
pub const MAX_ITEMS: u64 = 0x10_0000;

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends before the value does.
    #[error("Out of bounds")]
    OutOfBounds,
    /// An integer above [`MAX_UINT`].
    #[error("an integer is larger than 2^53 - 1")]
    TooLarge,
    /// A list of more than [`MAX_ITEMS`], or of more items than the input can hold.
    #[error("a list is too long")]
    TooLong,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A value that its type does not know.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Reads values off the front of a byte string.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Has everything been read?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(DecodeError::OutOfBounds)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The next `N` bytes (`fixed32`, `fixed64`).
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(DecodeError::OutOfBounds)?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// Everything that is left (`raw`).
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// A little-endian integer of `width` ≤ 8 bytes (`uint8` … `uint56`).
    fn little_endian(&mut self, width: usize) -> Result<u64, DecodeError> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// `uint8`.
    pub fn uint8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.fixed::<1>()?[0])
    }

    /// `uint16`.
    pub fn uint16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_le_bytes)
    }

    /// `uint32`.
    pub fn uint32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_le_bytes)
    }

    /// `uint64`, at most [`MAX_UINT`].
    pub fn uint64(&mut self) -> Result<u64, DecodeError> {
        bounded(u64::from_le_bytes(self.fixed()?))
    }

    /// `uint32be`.
    pub fn uint32be(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// `uint64be`, at most [`MAX_UINT`].
    pub fn uint64be(&mut self) -> Result<u64, DecodeError> {
        bounded(u64::from_be_bytes(self.fixed()?))
    }

    /// `uint`: 1, 3, 5 or 9 bytes; longer forms than needed are fine.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        match self.uint8()? {
            0xfd => self.little_endian(2),
            0xfe => self.little_endian(4),
            0xff => self.uint64(),
            small => Ok(small.into()),
        }
    }

    /// `int`: zig-zag.
    pub fn int(&mut self) -> Result<i64, DecodeError> {
        let value = self.uint()?;
        let half = (value >> 1) as i64;
        Ok(if value & 1 == 0 { half } else { -half - 1 })
    }

    /// `lexint`: sorts by its bytes as by its value. Values from 2^32 come back without
    /// the low bits that the format does not keep.
    pub fn lexint(&mut self) -> Result<u64, DecodeError> {
        let width = match self.uint8()? {
            first @ 0..=0xfa => return Ok(first.into()),
            0xff => return self.lexint_float(),
            first => usize::from(first - 0xfa),
        };
        let mut bytes = [0; 8];
        bytes[8 - width..].copy_from_slice(self.take(width)?);
        Ok(u64::from_be_bytes(bytes) + 251)
    }

    fn lexint_float(&mut self) -> Result<u64, DecodeError> {
        // In range is only −1 (as the byte 255) to 20.
        let exponent = self.uint8()? as i8;
        let mut bytes = [0; 8];
        bytes[2..].copy_from_slice(self.take(6)?);
        let mantissa = u64::from_be_bytes(bytes);
        let value = match exponent {
            -1..=10 => mantissa >> (11 - exponent),
            11..=15 => mantissa << (exponent - 11),
            // A mantissa has 44 bits, so that more than 48 are not reached below 2^60.
            16..=20 if mantissa >> 44 == 0 => mantissa << (exponent - 11),
            _ => return Err(DecodeError::TooLarge),
        };
        bounded(value + 251)
    }

    /// A length that the rest of the input can hold.
    fn length(&mut self) -> Result<usize, DecodeError> {
        match usize::try_from(self.uint()?) {
            Ok(length) if length <= self.bytes.len() => Ok(length),
            _ => Err(DecodeError::OutOfBounds),
        }
    }

    /// `buffer`: its length, then its bytes.
    pub fn buffer(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// `optionalBuffer`: an empty one is none.
    pub fn optional_buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        Ok(Some(self.buffer()?).filter(|bytes| !bytes.is_empty()))
    }

    /// `string`.
    pub fn string(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.buffer()?).map_err(|_| DecodeError::NotUtf8)
    }

    /// `bool`: true only for 1.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.uint8()? == 1)
    }

    /// `array`: how many, then each by `item`, which reads at least `min_item` bytes.
    pub fn array<T>(
        &mut self,
        min_item: usize,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.uint()?;
        if count > MAX_ITEMS || count > (self.bytes.len() / min_item.max(1)) as u64 {
            return Err(DecodeError::TooLong);
        }
        // Grown by need: an item in memory may be larger than its bytes.
        let mut items = Vec::with_capacity(count.min(64) as usize);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// `uint32array`: how many words, then the words.
    pub fn uint32_array(&mut self) -> Result<Vec<u32>, DecodeError> {
        let count = usize::try_from(self.uint()?).map_err(|_| DecodeError::OutOfBounds)?;
        let bytes = self.take(count.checked_mul(4).ok_or(DecodeError::OutOfBounds)?)?;
        let (words, _) = bytes.as_chunks::<4>();
        Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
    }
}

fn bounded(value: u64) -> Result<u64, DecodeError> {
    if value > MAX_UINT { Err(DecodeError::TooLarge) } else { Ok(value) }
}

/// Appends values to a buffer; each call gives the writer back, to chain.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// What was written.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they are (`raw`, `fixed32`, `fixed64`).
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// `uint8`.
    pub fn uint8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// `uint16`.
    pub fn uint16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// `uint32`.
    pub fn uint32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// `uint64`.
    pub fn uint64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    /// `uint32be`.
    pub fn uint32be(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// `uint64be`.
    pub fn uint64be(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// `uint` in its shortest form. Readers refuse what exceeds [`MAX_UINT`].
    pub fn uint(&mut self, value: u64) -> &mut Self {
        match value {
            0..=0xfc => self.uint8(value as u8),
            0xfd..=0xffff => self.uint8(0xfd).uint16(value as u16),
            0x1_0000..=0xffff_ffff => self.uint8(0xfe).uint32(value as u32),
            _ => self.uint8(0xff).uint64(value),
        }
    }

    /// `int`: zig-zag.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.uint(((value << 1) ^ (value >> 63)) as u64)
    }

    /// `lexint`: sorts by its bytes as by its value. From 2^32 on, only the highest 44
    /// bits are kept.
    pub fn lexint(&mut self, value: u64) -> &mut Self {
        let Some(x) = value.checked_sub(251) else {
            return self.uint8(value as u8);
        };
        let width = match value {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            0x1_0000..=0xff_ffff => 3,
            0x100_0000..=0xffff_ffff => 4,
            _ => return self.lexint_float(x),
        };
        self.uint8(0xfa + width).raw(&x.to_be_bytes()[8 - usize::from(width)..])
    }

    fn lexint_float(&mut self, x: u64) -> &mut Self {
        // From 31 on, since 251 was taken off; npm writes that −1 as the byte 255.
        let bits = x.ilog2();
        let mantissa = if bits < 43 { x << (43 - bits) } else { x >> (bits - 43) };
        self.uint8(0xff).uint8(bits.wrapping_sub(32) as u8).raw(&mantissa.to_be_bytes()[2..])
    }

    /// `buffer`: its length, then its bytes.
    pub fn buffer(&mut self, bytes: &[u8]) -> &mut Self {
        self.uint(bytes.len() as u64).raw(bytes)
    }

    /// `string`.
    pub fn string(&mut self, text: &str) -> &mut Self {
        self.buffer(text.as_bytes())
    }

    /// `bool`.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.uint8(value.into())
    }

    /// `array`: how many, then each by `item`.
    pub fn array<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.uint(items.len() as u64);
        for each in items {
            item(self, each);
        }
        self
    }

    /// `uint32array`: how many words, then the words.
    pub fn uint32_array(&mut self, words: &[u32]) -> &mut Self {
        self.uint(words.len() as u64);
        for word in words {
            self.uint32(*word);
        }
        self
    }
}
