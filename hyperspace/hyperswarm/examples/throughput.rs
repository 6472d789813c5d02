//! How fast the layers are, one above the other. For a look, in release mode:
//!
//! ```text
//! cargo run --release -p hyperswarm --example throughput [protomux | stream | connection]
//! ```

use bytes::{Bytes, BytesMut};
use hyperswarm::noise::{Handshake, Pattern};
use hyperswarm::protomux::{Event, Limits, Muxer};
use hyperswarm::secret_stream::{Config, Event as StreamEvent, SecretStream};
use hyperswarm::{Connection, KeyPair, Options};
use std::error::Error;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

const BLOCK: usize = 64 << 10;
const TOTAL: usize = 2 << 30;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn report(what: &str, bytes: usize, messages: usize, time: Duration) {
    let seconds = time.as_secs_f64();
    let (rate, count) = (bytes as f64 / seconds / f64::from(1 << 30), messages as f64 / seconds);
    println!("{what:<44} {rate:7.2} GiB/s {count:12.0} messages/s");
}

/// Protomux alone, there and taken apart again.
fn muxers(size: usize, count: usize) -> Result<()> {
    let (mut a, mut b) = (Muxer::new(Limits::default()), Muxer::new(Limits::default()));
    let channel = a.open("x", b"", Bytes::new())?;
    b.open("x", b"", Bytes::new())?;
    let payload = Bytes::from(vec![7; size]);
    let (mut received, mut frame) = (0, BytesMut::new());
    let begun = Instant::now();
    while received < count {
        for _ in 0..64 {
            a.send(channel, 0, std::slice::from_ref(&payload))?;
        }
        while a.transmit(&mut frame) {
            b.receive(frame.split().freeze());
            while let Some(event) = b.poll()? {
                received += usize::from(matches!(event, Event::Message { .. }));
            }
        }
    }
    report(&format!("protomux, {size} B"), count * size, count, begun.elapsed());
    Ok(())
}

/// Secret streams: one thread encrypts and decrypts.
fn streams(size: usize, count: usize) -> Result<()> {
    let now = Instant::now();
    let pair = KeyPair::generate()?;
    let mut a = SecretStream::new(Handshake::initiator(Pattern::Xx, &pair, b"")?, Config::default(), now)?;
    let mut b = SecretStream::new(Handshake::responder(Pattern::Xx, &pair, b"")?, Config::default(), now)?;
    while !(a.can_send() && b.can_send()) {
        b.read_buffer().unsplit(a.outgoing().split());
        b.poll()?;
        a.read_buffer().unsplit(b.outgoing().split());
        a.poll()?;
    }
    let payload = vec![7; size];
    let mut received = 0;
    let begun = Instant::now();
    while received < count {
        while a.outgoing().len() < 256 << 10 {
            a.send(now, &payload)?;
        }
        b.read_buffer().unsplit(a.outgoing().split());
        while let Some(event) = b.poll()? {
            received += usize::from(matches!(event, StreamEvent::Message(_)));
        }
    }
    report(&format!("secret stream, both sides on one core, {size} B"), count * size, count, begun.elapsed());
    Ok(())
}

async fn connect() -> Result<(Connection, Connection)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr()?), listener.accept());
    let (ours, theirs) = (ours?, theirs?.0);
    ours.set_nodelay(true)?;
    theirs.set_nodelay(true)?;
    let pair = KeyPair::generate()?;
    let (a, b) = tokio::join!(
        Connection::new(ours, true, &pair, Options::default()),
        Connection::new(theirs, false, &pair, Options::default())
    );
    Ok((a?, b?))
}

/// One side sends, the other receives; or both do both.
async fn connections(size: usize, count: usize, both: bool) -> Result<()> {
    let (a, b) = connect().await?;
    let begun = Instant::now();
    let sides = [(a, true), (b, both)].map(|(mut connection, sends)| {
        let payload = Bytes::from(vec![7; size]);
        tokio::spawn(async move {
            let channel = connection.open("x", b"", Bytes::new())?;
            let sender = connection.sender();
            let sending = tokio::spawn(async move {
                for _ in 0..if sends { count } else { 0 } {
                    sender.ready().await;
                    sender.send(channel, 0, payload.clone())?;
                }
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            });
            let expected = if sends && !both { 0 } else { count };
            let mut received = 0;
            while received < expected {
                let event = connection.next().await.ok_or("the connection ended early")?;
                received += usize::from(matches!(event, Event::Message { .. }));
            }
            sending.await??;
            Ok::<_, Box<dyn Error + Send + Sync>>(connection)
        })
    });
    let [a, b] = sides;
    let (a, b) = tokio::join!(a, b);
    let (_a, _b) = (a??, b??);
    let directions = 1 + usize::from(both);
    let what = format!("connection over TCP, {} way, {size} B", if both { "each" } else { "one" });
    report(&what, count * size * directions, count * directions, begun.elapsed());
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let only = std::env::args().nth(1);
    let wanted = |part: &str| only.as_ref().is_none_or(|only| only == part);
    if wanted("protomux") {
        muxers(BLOCK, TOTAL / BLOCK)?;
        muxers(100, 10_000_000)?;
    }
    if wanted("stream") {
        streams(BLOCK, TOTAL / BLOCK)?;
        streams(100, 1_000_000)?;
    }
    for both in [false, true] {
        if wanted("connection") {
            connections(BLOCK, TOTAL / BLOCK, both).await?;
            connections(100, 4_000_000, both).await?;
        }
    }
    Ok(())
}
