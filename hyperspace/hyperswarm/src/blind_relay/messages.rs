//! What is said on the channel.

use compact_encoding::{DecodeError, Reader, Writer};

/// Names a pairing: 32 bytes that only the two ends know, and the relay.
pub type Token = [u8; 32];

/// The channel's protocol; its id is the public key of the end, not of the relay.
pub(super) const PROTOCOL: &str = "blind-relay";

/// Numbers of the messages.
pub(super) const PAIR: u32 = 0;
pub(super) const UNPAIR: u32 = 1;

/// From an end: here I am, and my stream has that number. From the relay: both are there,
/// and this is the number of the stream that leads to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Which of the two ends it is.
    pub is_initiator: bool,
    /// Of which pairing.
    pub token: Token,
    /// The number of a UDX stream.
    pub stream: u32,
}

impl Pair {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        let flags = reader.uint8()?;
        let token = reader.fixed()?;
        let stream = reader.uint()?;
        // Where its bytes begin: at 0, always.
        reader.uint()?;
        let stream = u32::try_from(stream).map_err(|_| DecodeError::Invalid("a stream of no such number"))?;
        Ok(Self { is_initiator: flags & 1 != 0, token, stream })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.uint8(self.is_initiator.into()).raw(&self.token).uint(self.stream.into()).uint(0);
        writer.into_vec()
    }
}

/// An end does not want that pairing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpair {
    /// Which.
    pub token: Token,
}

impl Unpair {
    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        reader.uint8()?;
        Ok(Self { token: reader.fixed()? })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.uint8(0).raw(&self.token);
        writer.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;
    use serde_json::Value;

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../tests/data/dht-vectors.json")).expect("JSON")
    }

    fn bytes(value: &Value) -> Vec<u8> {
        HEXLOWER.decode(value.as_str().expect("a string").as_bytes()).expect("hex")
    }

    #[test]
    fn as_npm_writes_them() {
        let all = &vectors()["blind_relay"];
        let all = all.as_array().expect("a list");
        for vector in all {
            let token = bytes(&vector["token"]).try_into().expect("32 bytes");
            let encoded = bytes(&vector["hex"]);
            let name = vector["name"].as_str().expect("a name");
            if name == "unpair" {
                let unpair = Unpair { token };
                assert_eq!((Unpair::decode(&encoded), unpair.encode()), (Ok(unpair), encoded));
            } else {
                let stream = vector["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("a number");
                let pair = Pair { is_initiator: name == "pair initiator", token, stream };
                assert_eq!((Pair::decode(&encoded), pair.encode()), (Ok(pair), encoded));
            }
        }
        assert_eq!(all.len(), 3);
    }

    /// What npm's relay has sent and received, while it brought two ends together.
    #[test]
    fn a_session_of_npm() {
        let session = &vectors()["blind_relay_session"];
        let mut pairs = Vec::new();
        for message in session["messages"].as_array().expect("a list") {
            let frame = bytes(&message["hex"]);
            // Channel 1 on each connection; 0 opens it.
            match frame[0] {
                0 => {
                    let (name, id) = frame[4..].split_at(PROTOCOL.len());
                    assert_eq!((name, id[0]), (PROTOCOL.as_bytes(), 32));
                    let prefix = message["peer_key_prefix"].as_str().expect("a string");
                    assert!(HEXLOWER.encode(&id[1..]).starts_with(prefix), "the key of the end");
                }
                _ => {
                    assert_eq!(frame[..2], [1, PAIR as u8]);
                    let pair = Pair::decode(&frame[2..]).expect("it can be read");
                    assert_eq!(pair.encode(), frame[2..]);
                    pairs.push(pair);
                }
            }
        }
        assert_eq!(
            pairs.iter().map(|pair| pair.is_initiator).collect::<Vec<_>>(),
            [false, true, false, true]
        );
        assert!(pairs.iter().all(|pair| pair.token == pairs[0].token));
    }

    proptest! {
        #[test]
        fn nonsense_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(pair) = Pair::decode(&bytes) {
                prop_assert_eq!(Pair::decode(&pair.encode()), Ok(pair));
            }
            if let Ok(unpair) = Unpair::decode(&bytes) {
                prop_assert_eq!(Unpair::decode(&unpair.encode()), Ok(unpair));
            }
        }
    }
}
