//! A [`Stat`] as the value of a trie node.

use super::wire::{Fields, WireError, put_bytes, put_number};
use crate::stat::{MountRef, Stat};
use bytes::Bytes;
use hyperspace_api::Key;

impl Stat {
    /// The message that Node's hyperdrive 10 writes for it.
    ///
    /// `{1 mode, 2 uid, 3 gid, 4 size, 5 blocks, 6 offset, 7 byteOffset, 8 mtime,
    /// 9 ctime, 10 linkname, 11 mount, 12 metadata}`; numbers are written even when 0.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        put_number(&mut out, 1, self.mode.into());
        put_number(&mut out, 2, self.uid.into());
        put_number(&mut out, 3, self.gid.into());
        put_number(&mut out, 4, self.size);
        put_number(&mut out, 5, self.blocks);
        put_number(&mut out, 6, self.offset);
        put_number(&mut out, 7, self.byte_offset);
        put_number(&mut out, 8, self.mtime);
        put_number(&mut out, 9, self.ctime);
        if let Some(link) = &self.linkname {
            put_bytes(&mut out, 10, link.as_bytes());
        }
        if let Some(mount) = &self.mount {
            put_bytes(&mut out, 11, &encode_mount(mount));
        }
        for (name, value) in &self.metadata {
            let mut entry = Vec::with_capacity(name.len() + value.len() + 8);
            put_bytes(&mut entry, 1, name.as_bytes());
            put_bytes(&mut entry, 2, value);
            put_bytes(&mut out, 12, &entry);
        }
        out.into()
    }

    /// Reads a message. Metadata that Node has removed (a name left without a
    /// value) is not there.
    ///
    /// # Errors
    /// If the bytes are no such message. Numbers too large for their field are
    /// cut to it, as Node does.
    pub fn decode(message: Bytes) -> Result<Self, StatError> {
        Self::read(message).map_err(|_| StatError)
    }

    fn read(message: Bytes) -> Result<Self, WireError> {
        let mut stat = Self::default();
        let mut mode = None;
        let mut fields = Fields::new(message);
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => mode = Some(value.number()? as u32),
                2 => stat.uid = value.number()? as u32,
                3 => stat.gid = value.number()? as u32,
                4 => stat.size = value.number()?,
                5 => stat.blocks = value.number()?,
                6 => stat.offset = value.number()?,
                7 => stat.byte_offset = value.number()?,
                8 => stat.mtime = value.number()?,
                9 => stat.ctime = value.number()?,
                10 => stat.linkname = Some(value.text()?),
                11 => stat.mount = decode_mount(value.bytes()?)?,
                12 => {
                    let (name, value) = decode_entry(value.bytes()?)?;
                    match value {
                        Some(value) => stat.metadata.insert(name, value),
                        None => stat.metadata.remove(&name),
                    };
                }
                _ => {}
            }
        }
        stat.mode = mode.ok_or(WireError)?;
        Ok(stat)
    }
}

/// Bytes that are no [`Stat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a file's record")]
pub struct StatError;

/// `{1 key, 2 version, 3 hash, 4 hypercore}`; Node always writes the last.
fn encode_mount(mount: &MountRef) -> Vec<u8> {
    let mut out = Vec::with_capacity(48);
    put_bytes(&mut out, 1, mount.key.as_bytes());
    if let Some(version) = mount.version {
        put_number(&mut out, 2, version);
    }
    if let Some(hash) = &mount.hash {
        put_bytes(&mut out, 3, hash);
    }
    put_number(&mut out, 4, mount.hypercore.into());
    out
}

/// `None` if its key is not one: Node stores such a thing when given a bad key.
fn decode_mount(message: Bytes) -> Result<Option<MountRef>, WireError> {
    let mut key = None;
    let mut mount = MountRef { key: Key::from([0; 32]), version: None, hash: None, hypercore: false };
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => key = Key::try_from(value.bytes()?.as_ref()).ok(),
            2 => mount.version = Some(value.number()?),
            3 => mount.hash = Some(value.bytes()?),
            4 => mount.hypercore = value.number()? != 0,
            _ => {}
        }
    }
    Ok(key.map(|key| MountRef { key, ..mount }))
}

fn decode_entry(message: Bytes) -> Result<(String, Option<Bytes>), WireError> {
    let (mut name, mut data) = (String::new(), None);
    let mut fields = Fields::new(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.text()?,
            2 => data = Some(value.bytes()?),
            _ => {}
        }
    }
    Ok((name, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER_PERMISSIVE;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let text: String = text.split_whitespace().collect();
        HEXLOWER_PERMISSIVE.decode(text.as_bytes()).unwrap()
    }

    /// `/hello.txt`, mode 0600, uid 5, gid 6, 11 bytes, as Node writes it (times 1 and 2).
    fn hello() -> Stat {
        Stat { mode: 0o100600, uid: 5, gid: 6, size: 11, blocks: 1, mtime: 1, ctime: 2, ..Stat::default() }
    }

    const HELLO: &str = "08808302 1005 1806 200b 2801 3000 3800 4001 4802";

    #[test]
    fn the_bytes_of_npm() {
        assert_eq!(hello().encode(), hex(HELLO));

        let mut link = hello();
        link.linkname = Some("hello.txt".into());
        assert_eq!(link.encode(), hex(&format!("{HELLO} 5209 68656c6c6f2e747874")));

        let mut tagged = hello();
        tagged.metadata.insert("user.k".into(), "v1".into());
        assert_eq!(tagged.encode(), hex(&format!("{HELLO} 620c 0a06 757365722e6b 1202 7631")));

        let mut mounted = hello();
        mounted.mount =
            Some(MountRef { key: [7; 32].into(), version: Some(2), hash: None, hypercore: false });
        let key = "07".repeat(32);
        assert_eq!(mounted.encode(), hex(&format!("{HELLO} 5a26 0a20{key} 1002 2000")));

        for stat in [hello(), link, tagged, mounted] {
            assert_eq!(Stat::decode(stat.encode()), Ok(stat));
        }
    }

    #[test]
    fn what_node_removed_is_gone() {
        let stat = Stat::decode(hex(&format!("{HELLO} 6208 0a06 757365722e6b")).into()).unwrap();
        assert_eq!(stat, hello());
        let empty = Stat::decode(hex(&format!("{HELLO} 620a 0a06 757365722e6b 1200")).into()).unwrap();
        assert_eq!(empty.metadata.get("user.k"), Some(&Bytes::new()));
    }

    #[test]
    fn a_mount_of_a_bad_key_is_none() {
        let stat = Stat::decode(hex(&format!("{HELLO} 5a05 0a03 010203")).into()).unwrap();
        assert_eq!(stat.mount, None);
    }

    #[test]
    fn refuses_what_has_no_mode() {
        assert_eq!(Stat::decode(Bytes::new()), Err(StatError));
    }

    proptest! {
        #[test]
        fn every_stat_reads_back(
            numbers: [u64; 6], small: [u32; 3], link: Option<String>,
            metadata in proptest::collection::btree_map(".*", any::<Vec<u8>>().prop_map(Bytes::from), 0..4),
            mount in proptest::option::of((any::<[u8; 32]>(), any::<Option<u64>>(), any::<bool>())),
        ) {
            let stat = Stat {
                mode: small[0], uid: small[1], gid: small[2],
                size: numbers[0], blocks: numbers[1], offset: numbers[2], byte_offset: numbers[3],
                mtime: numbers[4], ctime: numbers[5], linkname: link, metadata,
                mount: mount.map(|(key, version, hypercore)| MountRef { key: key.into(), version, hash: None, hypercore }),
            };
            prop_assert_eq!(Stat::decode(stat.encode()), Ok(stat));
        }

        #[test]
        fn any_bytes_are_a_stat_or_an_error(bytes: Vec<u8>) {
            let _ = Stat::decode(bytes.into());
        }

        #[test]
        fn a_damaged_stat_is_a_stat_or_an_error(at in 0usize..64, byte: u8) {
            let mut bytes = hex(HELLO);
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = Stat::decode(bytes.into());
        }
    }
}
