//! Encrypted cores of npm hypercore, which we keep and pass on without their key: each block is
//! longer by its padding, and where a byte is has to be found by the bytes without it.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use crate::side::{Side, block};
use hypercore::crypto::{BlockCipher, PADDING};
use hyperspace_api::{Core, GetOptions, Seek};
use serde_json::{Value, json};

const BLOCKS: u64 = 300;
const ENCRYPTION: [u8; 32] = [0x5a; 32];

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Where blocks begin, without padding; and where all of them end.
fn starts() -> Vec<u64> {
    let mut at = 0;
    let mut starts = vec![0];
    starts.extend((0..BLOCKS).map(|index| {
        at += block(index, 0).len() as u64;
        at
    }));
    starts
}

#[tokio::test(flavor = "multi_thread")]
async fn node_finds_its_bytes_in_what_we_pass_on() {
    let [writer, reader] = [(); 2].map(|()| JsPeer::start().expect("node starts"));
    let server = RustPeer::start().await.expect("a server starts");
    let port = writer.run("listen", json!({})).await.expect("it listens")["port"].as_u64();
    server.connect(port.expect("a port") as u16).expect("it calls");
    let secret: String = ENCRYPTION.iter().map(|byte| format!("{byte:02x}")).collect();
    let made = writer.run("createEncrypted", json!({ "name": "secrets", "encryption": secret })).await;
    let key = made.expect("it opens")["key"].as_str().expect("a key").to_owned();
    let append = json!({ "key": key, "from": 0, "to": BLOCKS, "history": 0, "batch": 7 });
    writer.run("append", append).await.expect("written");
    server.open(&key).await.expect("it opens");
    server.reach(&key, BLOCKS, 0).await.expect("it comes");

    // We have what is stored: content and padding.
    let ours = server.core(&key).expect("it is open").local;
    let starts = starts();
    let content = *starts.last().expect("an end");
    assert_eq!(ours.byte_length(), content + PADDING as u64 * BLOCKS);
    let cipher = BlockCipher::new(&ours.key(), &ENCRYPTION, false);
    for index in [0, 1, 150, BLOCKS - 1] {
        let stored = ours.get(index, GetOptions::LOCAL).await.expect("it is held");
        assert_eq!(cipher.decrypt(index, &stored).as_deref(), Some(&block(index, 0)[..]));
        let at = starts[index as usize] + PADDING as u64 * index;
        let found = ours.seek(at, GetOptions::LOCAL).await.expect("it is there");
        assert_eq!(found, Seek { index, offset: 0 });
    }

    // Whoever has the key counts without padding, on either side of us.
    let mut bytes = vec![0, 1, content - 1, content];
    for index in [3usize, 64, 127, 128, 211, 299] {
        let at = starts[index];
        bytes.extend([at - 1, at, at + 1, at + PADDING as u64]);
    }
    let port = server.listen().await.expect("it listens");
    reader.run("connect", json!({ "port": port })).await.expect("it connects");
    reader.run("openEncrypted", json!({ "key": key, "encryption": secret })).await.expect("it opens");
    let seek = json!({ "key": key, "bytes": bytes });
    let theirs = writer.run("seek", seek.clone()).await.expect("it has all");
    let found = reader.run("seek", seek).await.expect("it finds them");
    let expected: Vec<(u64, u64)> = bytes
        .iter()
        .map(|&at| match starts.partition_point(|start| *start <= at) as u64 - 1 {
            BLOCKS => (BLOCKS, 0),
            index => (index, at - starts[index as usize]),
        })
        .collect();
    assert_eq!(theirs["found"], json!(expected));
    assert_eq!(found["found"], json!(expected));
    let info = reader.run("info", json!({ "key": key })).await.expect("it has it");
    assert_eq!([number(&info, "length"), number(&info, "byteLength")], [BLOCKS, content]);
    assert!(number(&info, "blocksIn") < 150, "it has found them by fetching everything: {info}");
    for peer in [&writer, &reader] {
        assert_eq!(peer.faults().await.expect("it answers"), Vec::<String>::new());
    }
    assert_eq!(Side::Rust(server).faults().await.expect("it answers"), Vec::<String>::new());
}
