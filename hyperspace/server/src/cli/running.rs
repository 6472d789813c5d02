//! Asking the server that is already there how it is.

use super::say;
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use hyperspace::Endpoint;
use hyperspace_schema::frame::{self, Decoder, Kind};
use hyperspace_schema::messages::{HyperspaceStatusResponse, Void};
use hyperspace_schema::methods::hyperspace::Status;
use prost::Message;
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// Whatever is listening there has this long to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints what the server at `endpoint` says of itself.
pub(super) async fn report(endpoint: &Endpoint) -> Result<()> {
    let status = timeout(PATIENCE, ask(endpoint))
        .await
        .with_context(|| format!("something is listening on {endpoint}, but does not answer"))?
        .with_context(|| format!("something is listening on {endpoint}, but it is no Hyperspace server"))?;
    let holepunchable = match status.holepunchable {
        Some(true) => "true",
        Some(false) => "false",
        None => "unknown",
    };
    let address = status.remote_address.filter(|address| !address.is_empty());
    say!("Server is already running with the following status:");
    say!("  API Version: {}", status.api_version);
    say!("  Holepunchable: {holepunchable}");
    say!("  Remote address: {}", address.as_deref().unwrap_or("unknown"));
    Ok(())
}

async fn ask(endpoint: &Endpoint) -> Result<HyperspaceStatusResponse> {
    match endpoint {
        Endpoint::Unix(path) => ask_over(UnixStream::connect(path).await?).await,
        Endpoint::Tcp(address) => ask_over(TcpStream::connect(address).await?).await,
    }
}

async fn ask_over(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<HyperspaceStatusResponse> {
    let mut wire = BytesMut::new();
    frame::request::<Status>(&mut wire, 1, &Void {});
    stream.write_all(&wire).await?;
    wire.clear();
    let decoder = Decoder::new(64 * 1024);
    loop {
        match decoder.next(&mut wire)? {
            // Node's server may send events first.
            Some(frame) if frame.kind == Kind::Response => {
                return Ok(HyperspaceStatusResponse::decode(frame.payload)?);
            }
            Some(_) => {}
            None if stream.read_buf(&mut wire).await? == 0 => bail!("it closed the connection"),
            None => {}
        }
    }
}
