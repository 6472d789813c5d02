//! The hidden record of a mount, kept at `mounts/<path>`.

use super::wire::{Fields, WireError, put_bytes, put_number};
use bytes::Bytes;
use hyperspace_api::Key;

/// `{1 key, 2 localPath, 3 version, 4 remotePath, 5 hash}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountRecord {
    pub(crate) key: Key,
    /// Where it is mounted, without a leading slash.
    pub(crate) local_path: String,
    pub(crate) version: Option<u64>,
    /// The directory inside the mounted drive that is shown, without a leading slash.
    pub(crate) remote_path: Option<String>,
}

impl MountRecord {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, self.key.as_bytes());
        put_bytes(&mut out, 2, self.local_path.as_bytes());
        if let Some(version) = self.version {
            put_number(&mut out, 3, version);
        }
        if let Some(path) = &self.remote_path {
            put_bytes(&mut out, 4, path.as_bytes());
        }
        out.into()
    }

    pub(crate) fn decode(message: Bytes) -> Result<Self, WireError> {
        let (mut key, mut local_path, mut version, mut remote_path) = (None, String::new(), None, None);
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => key = Key::try_from(value.bytes()?.as_ref()).ok(),
                2 => local_path = value.text()?,
                3 => version = Some(value.number()?),
                4 => remote_path = Some(value.text()?).filter(|path| !path.is_empty()),
                _ => {}
            }
        }
        Ok(Self { key: key.ok_or(WireError)?, local_path, version, remote_path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_npm() {
        let mut record =
            MountRecord { key: [7; 32].into(), local_path: "mnt".into(), version: None, remote_path: None };
        let mut expected = vec![0x0a, 0x20];
        expected.extend([7; 32]);
        expected.extend(b"\x12\x03mnt");
        assert_eq!(record.encode(), expected);
        record.version = Some(2);
        expected.extend([0x18, 2]);
        assert_eq!(record.encode(), expected);
        assert_eq!(MountRecord::decode(expected.into()), Ok(record));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(bytes: Vec<u8>) {
            let _ = MountRecord::decode(bytes.into());
        }
    }
}
