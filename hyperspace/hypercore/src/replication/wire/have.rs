//! The small messages: states, and who has and wants what.

use crate::encoding::{DecodeError, MAX_UINT, Reader, Writer};

/// Words that one [`Bitfield`] may have: four times what npm sends at once, 2,097,152 bits.
pub const MAX_WORDS: usize = 4 * 65_536;

fn flag(on: bool, flag: u64) -> u64 {
    if on { flag } else { 0 }
}

/// The state of one side of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sync {
    /// Can the sender prove how the receiver's tree grows to the sender's?
    pub can_upgrade: bool,
    /// Does it answer requests?
    pub uploading: bool,
    /// Does it want anything?
    pub downloading: bool,
    /// Does it have a manifest to give?
    pub has_manifest: bool,
    /// Does it take data that it did not ask for?
    pub allow_push: bool,
    /// Its fork.
    pub fork: u64,
    /// Its length.
    pub length: u64,
    /// The receiver's length as the sender knows it, 0 if the forks differ: an
    /// acknowledgement.
    pub remote_length: u64,
}

impl Sync {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.uint(
            flag(self.can_upgrade, 1)
                | flag(self.uploading, 2)
                | flag(self.downloading, 4)
                | flag(self.has_manifest, 8)
                | flag(self.allow_push, 16),
        );
        out.uint(self.fork).uint(self.length).uint(self.remote_length);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        Ok(Self {
            can_upgrade: flags & 1 != 0,
            uploading: flags & 2 != 0,
            downloading: flags & 4 != 0,
            has_manifest: flags & 8 != 0,
            allow_push: flags & 16 != 0,
            fork: input.uint()?,
            length: input.uint()?,
            remote_length: input.uint()?,
        })
    }
}

/// Why a request gets no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Not said; older peers never do.
    Unknown,
    /// It is not there.
    NotAvailable,
    /// The request makes no sense.
    InvalidRequest,
}

/// A request gets no data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoData {
    /// Which.
    pub request: u64,
    /// Why.
    pub reason: Reason,
}

impl NoData {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.uint(self.request);
        match self.reason {
            Reason::Unknown => out.uint(0),
            Reason::NotAvailable => out.uint(1).uint(1),
            Reason::InvalidRequest => out.uint(1).uint(2),
        };
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = input.uint()?;
        let flags = if input.is_empty() { 0 } else { input.uint()? };
        let reason = match if flags & 1 != 0 { input.uint()? } else { 0 } {
            1 => Reason::NotAvailable,
            2 => Reason::InvalidRequest,
            _ => Reason::Unknown,
        };
        Ok(Self { request, reason })
    }
}

/// Blocks of which the sender wants to know whether the receiver has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Want {
    /// The first.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// Is any one of them enough?
    pub any: bool,
}

impl Want {
    /// The blocks after the last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.uint(self.start).uint(self.length);
        if self.any {
            out.uint(1);
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (start, length) = (input.uint()?, input.uint()?);
        let flags = if input.is_empty() { 0 } else { input.uint()? };
        Ok(Self { start, length, any: flags & 1 != 0 })
    }
}

/// Which blocks the sender has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    /// The block of the first bit.
    pub start: u64,
    /// The bits, lowest first.
    pub words: Vec<u32>,
}

impl Bitfield {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.uint(self.start).uint32_array(&self.words);
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = input.uint()?;
        let words = input.uint32_array()?;
        if words.len() > MAX_WORDS {
            return Err(DecodeError::TooLong);
        }
        if start + 32 * words.len() as u64 > MAX_UINT {
            return Err(DecodeError::TooLarge);
        }
        Ok(Self { start, words })
    }
}

/// The sender has these blocks, or has them no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Does it have them no longer?
    pub drop: bool,
    /// The first.
    pub start: u64,
    /// How many.
    pub length: u64,
}

impl Range {
    /// The block after the last.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.uint(flag(self.drop, 1) | flag(self.length == 1, 2)).uint(self.start);
        if self.length != 1 {
            out.uint(self.length);
        }
    }

    pub(super) fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        let start = input.uint()?;
        let length = if flags & 2 != 0 { 1 } else { input.uint()? };
        Ok(Self { drop: flags & 1 != 0, start, length })
    }
}
