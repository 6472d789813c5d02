//! The protobuf wire format, as far as drives use it: varints and length-prefixed
//! bytes. Groups and fixed-size fields are skipped or refused, never trusted.

use bytes::Bytes;

/// A message that is not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed message")]
pub(crate) struct WireError;

/// One field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Varint(u64),
    Bytes(Bytes),
    /// A fixed-size value, which no message of ours has.
    Fixed,
}

impl Value {
    pub(crate) fn number(&self) -> Result<u64, WireError> {
        match self {
            Self::Varint(n) => Ok(*n),
            _ => Err(WireError),
        }
    }

    pub(crate) fn bytes(self) -> Result<Bytes, WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError),
        }
    }

    pub(crate) fn text(self) -> Result<String, WireError> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| WireError)
    }
}

/// Appends `n` as a varint.
pub(crate) fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a varint off the front.
pub(crate) fn read_varint(input: &mut &[u8]) -> Result<u64, WireError> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = input.split_first().ok_or(WireError)?;
        *input = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(WireError);
        }
        n |= bits << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(WireError)
}

/// Appends a number field.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, n: u64) {
    varint(out, u64::from(field) << 3);
    varint(out, n);
}

/// Appends a bytes or string field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    varint(out, u64::from(field) << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The fields of a message, one after the other.
pub(crate) struct Fields {
    message: Bytes,
    at: usize,
}

impl Fields {
    pub(crate) fn new(message: Bytes) -> Self {
        Self { message, at: 0 }
    }

    /// The next field: its number and value.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Value)>, WireError> {
        let mut rest = &self.message[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let tag = read_varint(&mut rest)?;
        let value = match tag & 7 {
            0 => Value::Varint(read_varint(&mut rest)?),
            2 => {
                let length = usize::try_from(read_varint(&mut rest)?).map_err(|_| WireError)?;
                let start = self.message.len() - rest.len();
                rest = rest.get(length..).ok_or(WireError)?;
                Value::Bytes(self.message.slice(start..start + length))
            }
            1 => {
                rest = rest.get(8..).ok_or(WireError)?;
                Value::Fixed
            }
            5 => {
                rest = rest.get(4..).ok_or(WireError)?;
                Value::Fixed
            }
            _ => return Err(WireError),
        };
        self.at = self.message.len() - rest.len();
        Ok(Some((tag >> 3, value)))
    }
}

/// `message` with its bytes field `field` passed through `change`; `None` when
/// `change` leaves it as it is, or there is no such field.
pub(crate) fn replace_field(
    message: &Bytes,
    field: u32,
    change: impl FnOnce(Bytes) -> Option<Bytes>,
) -> Result<Option<Bytes>, WireError> {
    let mut fields = Fields::new(message.clone());
    let mut start = 0;
    while let Some((number, value)) = fields.next()? {
        if number == u64::from(field) {
            let Some(new) = change(value.bytes()?) else { return Ok(None) };
            let mut out = Vec::with_capacity(message.len() + 16);
            out.extend_from_slice(&message[..start]);
            put_bytes(&mut out, field, &new);
            out.extend_from_slice(&message[fields.at..]);
            return Ok(Some(out.into()));
        }
        start = fields.at;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_read_back(n: u64) {
            let mut out = Vec::new();
            varint(&mut out, n);
            let mut input = out.as_slice();
            prop_assert_eq!(read_varint(&mut input), Ok(n));
            prop_assert!(input.is_empty());
        }

        #[test]
        fn any_bytes_are_fields_or_an_error(bytes: Vec<u8>) {
            let mut fields = Fields::new(bytes.clone().into());
            while let Ok(Some(_)) = fields.next() {}
            let _ = read_varint(&mut bytes.as_slice());
        }

        #[test]
        fn a_replaced_field_leaves_the_others(a: u64, b: Vec<u8>, c: Vec<u8>, d: u64) {
            let message = |b: &[u8]| {
                let mut out = Vec::new();
                put_number(&mut out, 1, a);
                put_bytes(&mut out, 2, b);
                put_number(&mut out, 4, d);
                Bytes::from(out)
            };
            let replaced = replace_field(&message(&b), 2, |_| Some(c.clone().into())).unwrap();
            prop_assert_eq!(replaced, Some(message(&c)));
            prop_assert_eq!(replace_field(&message(&b), 2, |_| None).unwrap(), None);
            prop_assert_eq!(replace_field(&message(&b), 3, Some).unwrap(), None);
        }
    }
}
