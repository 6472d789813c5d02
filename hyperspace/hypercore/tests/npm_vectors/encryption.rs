//! Encrypted blocks.

use super::*;
use hypercore::crypto::{BlockCipher, hash as blake2b};

#[test]
fn blocks_are_encrypted_the_same() {
    let section = section("encryption");
    let (core, encryption_key) = (key(&section["hypercoreKey"]), hash(&section["encryptionKey"]));
    let mut count = 0;
    for (mode, expected) in section["modes"].as_object().expect("an object") {
        let cipher = match mode.as_str() {
            "default" => BlockCipher::new(&core, &encryption_key, false),
            "compat" => BlockCipher::new(&core, &encryption_key, true),
            "blockKey" => BlockCipher::from_block_key(encryption_key),
            other => panic!("no test for {other}"),
        };
        assert_eq!(blake2b(&[&hash(&expected["block"])]), hash(&expected["blinding"]));
        for sample in list(&expected["samples"]) {
            let (index, fork) = (number(&sample["index"]), number(&sample["fork"]));
            let (plain, encrypted) = (bytes(&sample["plain"]), bytes(&sample["cipher"]));
            assert_eq!(hex(&cipher.encrypt(index, fork, &plain)), hex(&encrypted), "{mode} {sample}");
            assert_eq!(cipher.decrypt(index, &encrypted), Some(plain));
            assert_eq!(cipher.fork(index, &encrypted), Some(fork));
            assert_eq!(cipher.decrypt(index, &encrypted[..7]), None);
            count += 1;
        }
    }
    assert_eq!(count, 12);
}
