//! The exchanges captured from npm hyperspace 3.19 (arguments and replies byte for
//! byte), against a live server on a unix socket.

mod support;

use support::*;

/// The fields of a reply that differ from server to server are given as `..` of so
/// many bytes.
enum Part {
    Exactly(&'static str),
    Any(usize),
}
use Part::*;

async fn exchange(client: &mut Client, send: &str, expect: &[Part]) {
    client.send(&unhex(send)).await;
    for part in expect {
        match part {
            Exactly(expected) => {
                let expected = unhex(expected);
                let got = client.raw(expected.len()).await;
                assert_eq!(hex(&got), hex(&expected), "in answer to {send}");
            }
            Any(length) => drop(client.raw(*length).await),
        }
    }
}

#[tokio::test]
async fn every_captured_exchange() {
    let server = server().await;
    let mut c = server.client().await;
    let c = &mut c;

    // Status: api version 1.15.1, no address, our version.
    let version = env!("CARGO_PKG_VERSION").len();
    assert_eq!(version, 5, "the lengths below are for x.y.z");
    let status = [Exactly("14 05 01 01 | 0a06 312e31352e31 | 1a00 | 2205"), Any(version)];
    exchange(c, "03 04 01 01", &status).await;

    // Open by name: OnFeed, then the reply.
    c.send(&unhex("0a 08 01 01 | 0800 | 1a0178 | 2000")).await;
    assert_eq!(hex(&c.raw(6).await), "250802000a20");
    let key = hex(&c.raw(32).await);
    let reply = hex(&c.raw(6 + 32 + 6 + 2 + 32).await);
    assert_eq!(reply[..12], *"4d0901010a20");
    assert_eq!(reply[12..76], key);
    assert_eq!(reply[76..92], *"1000180020013220");

    // Append two blocks: OnAppend, then the reply.
    let send = "13 0c 02 01 | 0800 | 1205 68656c6c6f | 1205 776f726c64";
    exchange(c, send, &[Exactly("09 0c 10 00 0800 1002 180a | 09 0d 02 01 0802 100a 1800")]).await;
    exchange(c, "09 0c 01 01 | 0800 | 1000 | 1800", &[Exactly("0a 0d 01 01 | 0a05 68656c6c6f")]).await;
    let not_here = "19 0e 01 01 | 0a14 426c6f636b206e6f7420646f776e6c6f61646564";
    exchange(c, "0b 0c 01 01 | 0800 1005 1801 2000", &[Exactly(not_here)]).await;
    exchange(c, "07 0c0501 0800 1001", &[Exactly("05 0d0501 0801")]).await;
    exchange(c, "07 0c0401 0800 1006", &[Exactly("07 0d0401 0801 1001")]).await;
    let invalid = "1a 0e0202 | 0a15 496e76616c6964206879706572636f72653a203939";
    exchange(c, "08 0c0202 0863 120161", &[Exactly(invalid)]).await;
    exchange(c, "05 0c0e02 0800", &[Exactly("03 0d0e02")]).await;
    exchange(c, "05 0c0f02 0800", &[Exactly("03 0d0f02")]).await;

    // Open by key, as id 1: no second OnFeed. Its append is told to both ids.
    c.send(&unhex(&format!("27 08 01 02 | 0801 | 1220 {key}"))).await;
    assert_eq!(hex(&c.raw(6).await), "4d0901020a20");
    assert_eq!(hex(&c.raw(32).await), key);
    assert_eq!(hex(&c.raw(8 + 32).await)[..16], *"1002180a20013220");
    let both = "09 0c1000 0800 1003 180b | 09 0c1000 0801 1003 180b | 09 0d0202 0803 100b 1802";
    exchange(c, "08 0c0202 0801 120121", &[Exactly(both)]).await;

    // Close; a keep-alive; an append without reply.
    exchange(c, "05 0c0a02 0801", &[Exactly("03 0d0a02")]).await;
    exchange(c, "00 09 0c 02 00 | 0800 | 1202 6e72", &[Exactly("09 0c1000 0800 1004 180d")]).await;
    // One that fails without reply: nothing comes, the next answer is the next call's.
    exchange(c, "08 0c0200 0863 120161 | 07 0c0501 0800 1003", &[Exactly("05 0d0501 0801")]).await;

    // Network.
    exchange(c, "03 10 01 01", &[Exactly("25 11 01 01 | 0a20"), Any(32)]).await;
    let dk = "bb".repeat(32);
    let send = format!("2f 10 02 02 | 0a28 0a20 {dk} 1001 1801 2001 | 1000");
    c.send(&unhex(&send)).await;
    let expected = format!("2d 11 02 02 | 0a28 0a20 {dk} 1001 1801 2001").replace([' ', '|'], "");
    assert_eq!(hex(&c.raw(0x2e).await), expected);
    let unknown = "cc".repeat(32);
    c.send(&unhex(&format!("25 10 03 02 | 0a20 {unknown}"))).await;
    assert_eq!(hex(&c.raw(4).await), "03110302");
}
