//! A line between two peers that is as long as one likes: TCP, passed on some time later.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Reads that are on their way, in each direction.
const ON_THE_WAY: usize = 1024;

/// A line to the peer at a port of this machine. Dropped, it is cut.
pub struct Line {
    port: u16,
    _callers: JoinSet<()>,
}

impl Line {
    /// What is sent arrives `later`, either way.
    pub async fn to(far: u16, later: Duration) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let mut callers = JoinSet::new();
        callers.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(join(near, far, later));
            }
        });
        Ok(Self { port, _callers: callers })
    }

    /// Where to call.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn join(near: TcpStream, far: u16, later: Duration) {
    let Ok(far) = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], far))).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (near, far) = (near.into_split(), far.into_split());
    tokio::join!(pass(near.0, far.1, later), pass(far.0, near.1, later));
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, later: Duration) {
    let (send, mut coming) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if send.send((Instant::now() + later, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = coming.recv().await {
            tokio::time::sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
