//! The pointers of a node: for each position, the newest nodes of other digits.
//!
//! Written as varints: the positions' count (highest and one more), then for each
//! position that has any pointers the position, a bit field of the slots in use,
//! and a sequence number for each. Slot `d` leads to digit `d`; at a component's
//! boundary, components with equal hashes use `d`, `d + 5`, `d + 10`, ….

use super::path::is_boundary;

/// Slots a digit apart.
const DIGIT_SLOTS: u32 = 5;
/// Slots at a component's boundary: ten nodes a digit. More would not fit the 53
/// bits that the original reads, and ten components with one 64-bit hash do not occur.
pub(crate) const MAX_SLOTS: u32 = 50;

/// All pointers of one node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    rows: Box<[Row]>,
    seqs: Box<[u64]>,
}

/// The pointers at one position.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// A bit for each slot in use.
    slots: u64,
    position: u32,
    /// Where its sequence numbers begin.
    first: u32,
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
    /// Reads the table of block `seq`, whose key has `digits` digits. What it holds
    /// is in proportion to `bytes`, and every pointer leads to an earlier block, so
    /// that no walk over tables, whoever wrote them, goes round in circles.
    pub(crate) fn decode(mut bytes: &[u8], seq: u64, digits: u32) -> Result<Self, BadTable> {
        let mut rows = Vec::new();
        let mut seqs = Vec::new();
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        varint(&mut bytes)?;
        let mut next = 0;
        while !bytes.is_empty() {
            let position = varint(&mut bytes)?;
            if position < next || position >= u64::from(digits) {
                return Err(BadTable("a position out of order"));
            }
            next = position + 1;
            let position = position as u32;
            let slots = varint(&mut bytes)?;
            let allowed = if is_boundary(position) { MAX_SLOTS } else { DIGIT_SLOTS };
            if slots >> allowed != 0 {
                return Err(BadTable("too many nodes at one position"));
            }
            rows.push(Row { slots, position, first: seqs.len() as u32 });
            for _ in 0..slots.count_ones() {
                let to = varint(&mut bytes)?;
                if to == 0 || to >= seq {
                    return Err(BadTable("a pointer that does not lead back"));
                }
                seqs.push(to);
            }
        }
        Ok(Self { rows: rows.into(), seqs: seqs.into() })
    }

    /// As [`decode`](Self::decode) reads it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2 + self.rows.len() * 4 + self.seqs.len() * 3);
        put_varint(&mut out, self.rows.last().map_or(0, |row| u64::from(row.position) + 1));
        for row in &self.rows {
            put_varint(&mut out, row.position.into());
            put_varint(&mut out, row.slots);
            self.seqs_of(row).iter().for_each(|seq| put_varint(&mut out, *seq));
        }
        out
    }

    /// Every pointer at a position of `range`, by position, then by slot.
    pub(crate) fn range(&self, range: std::ops::Range<u32>) -> impl DoubleEndedIterator<Item = Slot> + Clone {
        let from = self.rows.partition_point(|row| row.position < range.start);
        let to = self.rows.partition_point(|row| row.position < range.end);
        self.rows[from..to.max(from)].iter().flat_map(|row| self.slots_of(row))
    }

    /// The pointers at `position`, by slot.
    pub(crate) fn at(&self, position: u32) -> impl DoubleEndedIterator<Item = Slot> + Clone {
        self.range(position..position + 1)
    }

    /// The pointers to `digit` at `position`: one, but where hashes collide.
    pub(crate) fn to(&self, position: u32, digit: u8) -> impl Iterator<Item = u64> + Clone {
        self.at(position).filter(move |slot| slot.digit == digit).map(|slot| slot.seq)
    }

    /// Bytes of memory beside the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.rows) + size_of_val(&*self.seqs)
    }

    fn seqs_of(&self, row: &Row) -> &[u64] {
        let first = row.first as usize;
        &self.seqs[first..first + row.slots.count_ones() as usize]
    }

    fn slots_of(&self, row: &Row) -> impl DoubleEndedIterator<Item = Slot> + Clone + use<'_> {
        let position = row.position;
        let bits = row.slots;
        let seqs = self.seqs_of(row);
        seqs.iter().enumerate().map(move |(nth, seq)| Slot {
            position,
            digit: (nth_bit(bits, nth as u32) % DIGIT_SLOTS) as u8,
            seq: *seq,
        })
    }
}

/// Which bit of `bits` is the `nth` that is set?
fn nth_bit(mut bits: u64, nth: u32) -> u32 {
    for _ in 0..nth {
        bits &= bits - 1;
    }
    bits.trailing_zeros()
}

/// A table in the making. Positions are filled in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    rows: Vec<Row>,
    seqs: Vec<u64>,
    /// The slots of the last position.
    open: Vec<(u32, u64)>,
}

/// More than [`MAX_SLOTS`] allows share a hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Builder {
    /// Adds a pointer in the first slot that is free for its digit.
    pub(crate) fn push(&mut self, slot: Slot) -> Result<(), Full> {
        if self.rows.last().is_none_or(|row| row.position != slot.position) {
            self.close();
            self.rows.push(Row { slots: 0, position: slot.position, first: self.seqs.len() as u32 });
        }
        let Some(row) = self.rows.last_mut() else { return Ok(()) };
        if self.open.iter().any(|(_, seq)| *seq == slot.seq) {
            return Ok(());
        }
        let mut at = u32::from(slot.digit);
        while row.slots >> at & 1 == 1 {
            at += DIGIT_SLOTS;
        }
        if at >= MAX_SLOTS {
            return Err(Full);
        }
        row.slots |= 1 << at;
        self.open.push((at, slot.seq));
        Ok(())
    }

    /// The table.
    pub(crate) fn finish(mut self) -> Table {
        self.close();
        Table { rows: self.rows.into(), seqs: self.seqs.into() }
    }

    fn close(&mut self) {
        self.open.sort_unstable_by_key(|(slot, _)| *slot);
        self.seqs.extend(self.open.drain(..).map(|(_, seq)| seq));
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, BadTable> {
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
                prop_assert!(table.seqs.len() <= bytes.len());
                let again = Table::decode(&table.encode(), seq, digits).unwrap();
                prop_assert!(again.range(0..digits).eq(table.range(0..digits)));
            }
        }
    }
}
