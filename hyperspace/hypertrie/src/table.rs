//! The pointers of a node: for each position, the newest nodes of other digits.
//!
//! Written as varints: the positions' count (highest and one more), then for each
//! position that has any pointers the position, a bit field of the slots in use,
//! and a sequence number for each. Slot `d` leads to digit `d`; at a component's
//! boundary, components with equal hashes use `d`, `d + 5`, `d + 10`, ….

use crate::path::is_boundary;

/// Slots a digit apart.
const DIGIT_SLOTS: u32 = 5;
/// Slots at a component's boundary: ten nodes a digit. More would not fit the 53
/// bits that the original reads, and ten components with one 64-bit hash do not occur.
pub(crate) const MAX_SLOTS: u32 = 50;

/// All pointers of one node, kept as they are written, without the count: a third of
/// what they would take unpacked, and read from start to end by every walk anyway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Box<[u8]>,
    /// The highest position and one more; 0 if there are no pointers.
    len: u32,
}

/// One pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) position: u32,
    /// The digit that the node pointed to has there.
    pub(crate) digit: u8,
    pub(crate) seq: u64,
}

/// Why bytes are no table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadTable(pub(crate) &'static str);

impl Table {
    /// Reads the table of block `seq`, whose key has `digits` digits. Every pointer
    /// leads to an earlier block, so that no walk over tables, whoever wrote them,
    /// goes round in circles.
    pub(crate) fn decode(mut bytes: &[u8], seq: u64, digits: u32) -> Result<Self, BadTable> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        varint(&mut bytes)?;
        let rows = bytes;
        let mut len = 0;
        while !bytes.is_empty() {
            let position = varint(&mut bytes)?;
            if position < u64::from(len) || position >= u64::from(digits) {
                return Err(BadTable("a position out of order"));
            }
            let position = position as u32;
            len = position + 1;
            let slots = varint(&mut bytes)?;
            let allowed = if is_boundary(position) { MAX_SLOTS } else { DIGIT_SLOTS };
            if slots >> allowed != 0 {
                return Err(BadTable("too many nodes at one position"));
            }
            for _ in 0..slots.count_ones() {
                let to = varint(&mut bytes)?;
                if to == 0 || to >= seq {
                    return Err(BadTable("a pointer that does not lead back"));
                }
            }
        }
        Ok(Self { rows: rows.into(), len })
    }

    /// As [`decode`](Self::decode) reads it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(3 + self.rows.len());
        put_varint(&mut out, self.len.into());
        out.extend_from_slice(&self.rows);
        out
    }

    /// Every pointer at a position of `range`, by position, then by slot.
    pub(crate) fn range(&self, range: std::ops::Range<u32>) -> Slots<'_> {
        let rows = if range.start < self.len { &*self.rows } else { &[] };
        Slots { rows, range, position: 0, slots: 0 }
    }

    /// The pointers at `position`, by slot.
    pub(crate) fn at(&self, position: u32) -> Slots<'_> {
        self.range(position..position + 1)
    }

    /// The pointers to `digit` at `position`: one, but where hashes collide.
    pub(crate) fn to(&self, position: u32, digit: u8) -> impl Iterator<Item = u64> + Clone {
        self.at(position).filter(move |slot| slot.digit == digit).map(|slot| slot.seq)
    }

    /// Bytes of memory beside the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.rows.len()
    }
}

/// Pointers of a [`Table`], read one by one.
#[derive(Clone)]
pub(crate) struct Slots<'a> {
    rows: &'a [u8],
    range: std::ops::Range<u32>,
    position: u32,
    /// Slots of that position whose pointers come next.
    slots: u64,
}

impl Iterator for Slots<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        while self.slots == 0 {
            // What is here was checked when it was decoded, or built by us: reading
            // fails only at the end.
            let position = varint(&mut self.rows).ok()? as u32;
            let slots = varint(&mut self.rows).ok()?;
            if position >= self.range.end {
                self.rows = &[];
            } else if position < self.range.start {
                skip(&mut self.rows, slots.count_ones());
            } else {
                (self.position, self.slots) = (position, slots);
            }
        }
        let digit = (self.slots.trailing_zeros() % DIGIT_SLOTS) as u8;
        self.slots &= self.slots - 1;
        Some(Slot { position: self.position, digit, seq: varint(&mut self.rows).ok()? })
    }
}

/// A table in the making. Positions are filled in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    rows: Vec<u8>,
    /// The last position and one more.
    len: u32,
    /// What is at the last position, by slot.
    open: Vec<(u32, u64)>,
}

/// More than [`MAX_SLOTS`] allows share a hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Builder {
    /// Adds a pointer in the first slot that is free for its digit.
    pub(crate) fn push(&mut self, slot: Slot) -> Result<(), Full> {
        if self.len != slot.position + 1 {
            self.close();
            self.len = slot.position + 1;
        }
        if self.open.iter().any(|(_, seq)| *seq == slot.seq) {
            return Ok(());
        }
        let mut at = u32::from(slot.digit);
        while self.open.iter().any(|(used, _)| *used == at) {
            at += DIGIT_SLOTS;
        }
        if at >= MAX_SLOTS {
            return Err(Full);
        }
        let index = self.open.partition_point(|(used, _)| *used < at);
        self.open.insert(index, (at, slot.seq));
        Ok(())
    }

    /// The table.
    pub(crate) fn finish(mut self) -> Table {
        self.close();
        Table { rows: self.rows.into(), len: self.len }
    }

    /// Writes down the last position.
    fn close(&mut self) {
        if let Some(position) = self.len.checked_sub(1) {
            put_varint(&mut self.rows, position.into());
            put_varint(&mut self.rows, self.open.iter().map(|(slot, _)| 1 << slot).sum());
            self.open.drain(..).for_each(|(_, seq)| put_varint(&mut self.rows, seq));
        }
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, BadTable> {
    if let [byte @ ..0x80, rest @ ..] = bytes {
        *bytes = rest;
        return Ok(u64::from(*byte));
    }
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(BadTable("cut short"))?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(BadTable("a number of more than 64 bits"))
}

/// Skips `count` numbers.
fn skip(bytes: &mut &[u8], count: u32) {
    for _ in 0..count {
        let len = bytes.iter().position(|byte| byte & 0x80 == 0).map_or(bytes.len(), |last| last + 1);
        *bytes = &bytes[len..];
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slot(position: u32, digit: u8, seq: u64) -> Slot {
        Slot { position, digit, seq }
    }

    #[test]
    fn encodes_as_the_format_says() {
        let mut table = Builder::default();
        table.push(slot(3, 1, 1)).unwrap();
        let table = table.finish();
        assert_eq!(table.encode(), [4, 3, 2, 1]);
        assert_eq!(Table::default().encode(), [0]);
        assert_eq!(Table::decode(&[4, 3, 2, 1], 2, 34).unwrap().at(3).collect::<Vec<_>>(), [slot(3, 1, 1)]);
    }

    #[test]
    fn equal_hashes_share_a_digit() {
        let mut table = Builder::default();
        for (digit, seq) in [(2, 9), (0, 8), (2, 7), (2, 9), (2, 6)] {
            table.push(slot(32, digit, seq)).unwrap();
        }
        let table = table.finish();
        assert_eq!(table.encode(), [33, 32, 0b1_0000_1000_0101u16 as u8 | 0x80, 0x21, 8, 9, 7, 6]);
        assert_eq!(table.to(32, 2).collect::<Vec<_>>(), [9, 7, 6]);
        let mut full = Builder::default();
        let held = (1..20).take_while(|seq| full.push(slot(32, 0, *seq)).is_ok()).count();
        assert_eq!(held, 10);
    }

    #[test]
    fn refuses_what_could_mislead() {
        for bad in [
            &[4, 3, 2, 5][..],                                                   // leads forward
            &[4, 3, 2, 0],                                                       // leads to the header
            &[4, 3, 2],                                                          // cut short
            &[4, 3, 0x20, 1],                                                    // six digits
            &[4, 3, 2, 1, 3, 2, 1],                                              // a position twice
            &[99, 34, 2, 1],                                                     // beyond the key
            &[4, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], // too wide
        ] {
            assert!(Table::decode(bad, 5, 34).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn survives_garbage(bytes: Vec<u8>, seq in 0u64..300, digits in 2u32..100) {
            if let Ok(table) = Table::decode(&bytes, seq, digits) {
                prop_assert!(table.range(0..digits).all(|slot| slot.seq < seq && slot.digit < 5));
                prop_assert!(table.heap_bytes() <= bytes.len());
                let again = Table::decode(&table.encode(), seq, digits).unwrap();
                prop_assert!(again.range(0..digits).eq(table.range(0..digits)));
            }
        }
    }
}
