//! HRPC frames: `varint(length) body`, where `body` is
//! `varint(service << 2 | kind) varint(method) varint(id) payload`.
//!
//! Varints are unsigned LEB128 of at most 8 bytes. A length of 0 is a keep-alive.
//! Id 0 asks for no reply. The bytes are those of npm `arpeecee` 2.2.0.

use crate::messages::RpcError;
use crate::methods::{Method, hypercore::Get};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// The largest body that [`Decoder`] takes unless told otherwise: 64 MiB.
///
/// Node's server takes 2 GiB; no client of it can send that much in one piece of
/// work, and a stranger must not make us hold it.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// Longest varint: 8 bytes, 56 bits.
const MAX_VARINT: usize = 8;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A call, or (with id 0) an event.
    Request,
    /// The answer to a call.
    Response,
    /// The failure of a call; the payload is an [`RpcError`].
    Error,
    /// Kind 3: has no meaning; ignore it.
    Unassigned,
}

/// One decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// The service's number.
    pub service: u64,
    /// The method's number.
    pub method: u64,
    /// The call's id; 0 asks for no reply.
    pub id: u64,
    /// The message, shared with the read buffer.
    pub payload: Bytes,
}

/// Bytes that are no HRPC frame. The connection they came from is beyond repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A varint without an end.
    #[error("a varint of more than {MAX_VARINT} bytes")]
    Varint,
    /// The body ends within its own header.
    #[error("a frame too short for its header")]
    Short,
    /// Larger than this side takes.
    #[error("a frame of {0} bytes; at most {1} are taken")]
    TooLarge(u64, usize),
}

/// Takes frames off a byte stream, however it was cut.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    max_body: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(MAX_BODY)
    }
}

impl Decoder {
    /// A decoder that refuses bodies of more than `max_body` bytes.
    pub fn new(max_body: usize) -> Self {
        Self { max_body }
    }

    /// How many more bytes `input` needs to hold its first frame whole, as far as can
    /// be told from what is there: a claim of whoever sent them, to size reads by, and
    /// nothing to trust. 0 when its length is not known yet.
    pub fn missing(&self, input: &[u8]) -> usize {
        match peek_varint(input) {
            Ok(Some((length, prefix))) if length <= self.max_body as u64 => {
                (length as usize + prefix).saturating_sub(input.len())
            }
            _ => 0,
        }
    }

    /// The next frame of `input`, `None` if it is not all there yet. Keep-alives
    /// are skipped. After an error the stream is useless.
    ///
    /// Nothing is allocated for a length before its bytes have come.
    pub fn next(&self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            let Some((length, prefix)) = peek_varint(input)? else {
                return Ok(None);
            };
            if length > self.max_body as u64 {
                return Err(FrameError::TooLarge(length, self.max_body));
            }
            let length = length as usize;
            if length == 0 {
                input.advance(prefix);
                continue;
            }
            if input.len() < prefix + length {
                return Ok(None);
            }
            input.advance(prefix);
            let mut body = input.split_to(length).freeze();
            let header = take_varint(&mut body)?;
            let method = take_varint(&mut body)?;
            let id = take_varint(&mut body)?;
            let kind = match header & 3 {
                0 => Kind::Request,
                1 => Kind::Response,
                2 => Kind::Error,
                _ => Kind::Unassigned,
            };
            return Ok(Some(Frame { kind, service: header >> 2, method, id, payload: body }));
        }
    }
}

fn peek_varint(input: &[u8]) -> Result<Option<(u64, usize)>, FrameError> {
    let mut value = 0u64;
    for (i, byte) in input.iter().take(MAX_VARINT).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    if input.len() >= MAX_VARINT { Err(FrameError::Varint) } else { Ok(None) }
}

fn take_varint(body: &mut Bytes) -> Result<u64, FrameError> {
    let (value, used) = peek_varint(body)?.ok_or(FrameError::Short)?;
    body.advance(used);
    Ok(value)
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends one frame to `out`.
pub fn encode(out: &mut BytesMut, kind: Kind, service: u64, method: u64, id: u64, payload: &impl Message) {
    let kind = match kind {
        Kind::Request => 0,
        Kind::Response => 1,
        Kind::Error => 2,
        Kind::Unassigned => 3,
    };
    let header = service << 2 | kind;
    let body = payload.encoded_len() + varint_len(header) + varint_len(method) + varint_len(id);
    out.reserve(body + MAX_VARINT);
    put_varint(out, body as u64);
    put_varint(out, header);
    put_varint(out, method);
    put_varint(out, id);
    payload.encode_raw(out);
}

/// Appends a call of `M`; id 0 asks for no reply.
pub fn request<M: Method>(out: &mut BytesMut, id: u64, message: &M::Request) {
    encode(out, Kind::Request, M::SERVICE, M::METHOD, id, message);
}

/// Appends the answer to a call of `M`.
pub fn response<M: Method>(out: &mut BytesMut, id: u64, message: &M::Response) {
    encode(out, Kind::Response, M::SERVICE, M::METHOD, id, message);
}

/// Appends all of the answer to a `Hypercore.Get` but its block, of `block` bytes,
/// which must follow: so that a large block need not be copied to be framed.
pub fn get_response_head(out: &mut BytesMut, id: u64, block: usize) {
    const BLOCK_TAG: u8 = 1 << 3 | 2; // field 1, length-delimited
    let header = Get::SERVICE << 2 | 1;
    let message = 1 + varint_len(block as u64) + block;
    let body = varint_len(header) + varint_len(Get::METHOD) + varint_len(id) + message;
    out.reserve(5 * 10);
    put_varint(out, body as u64);
    put_varint(out, header);
    put_varint(out, Get::METHOD);
    put_varint(out, id);
    out.put_u8(BLOCK_TAG);
    put_varint(out, block as u64);
}

/// [`RpcError`] as npm's encoder writes it: a negative `errno` takes 5 bytes (its
/// value + 2^32). The 10 bytes of the protobuf standard confuse npm's decoder.
/// Ours, being prost's, takes both.
#[derive(Clone, PartialEq, Eq, Message)]
struct WireError {
    #[prost(string, required, tag = "1")]
    message: String,
    #[prost(string, optional, tag = "2")]
    code: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    errno: Option<u32>,
    #[prost(string, optional, tag = "4")]
    details: Option<String>,
}

/// Appends the failure of a call.
pub fn error(out: &mut BytesMut, service: u64, method: u64, id: u64, error: &RpcError) {
    let error = WireError {
        message: error.message.clone(),
        code: error.code.clone(),
        errno: error.errno.map(i32::cast_unsigned),
        details: error.details.clone(),
    };
    encode(out, Kind::Error, service, method, id, &error);
}
