//! The bytes of manifests: version 0 has a layout of its own, 1 to 3 share one.

use super::{MAX_SIGNERS, MAX_VERSION, Manifest, Prologue, Signer};
use crate::encoding::{DecodeError, Reader, Writer};
use hyperspace_api::Key;

/// The only hash and the only signature scheme there are.
const BLAKE2B: u8 = 0;
const ED25519: u8 = 0;

/// Kinds of manifest in version 0.
const STATIC: u64 = 0;
const SINGLE: u64 = 1;
const MULTI: u64 = 2;

/// Flags; version 0 has only the first.
const ALLOW_PATCH: u64 = 1;
const PROLOGUE: u64 = 2;
const LINKED: u64 = 4;
const USER_DATA: u64 = 8;

/// Bytes of an encoded signer.
const SIGNER_BYTES: usize = 65;

fn flag(on: bool, flag: u64) -> u64 {
    if on { flag } else { 0 }
}

pub(super) fn encode(manifest: &Manifest, writer: &mut Writer) {
    writer.uint(manifest.version);
    if manifest.version == 0 {
        return encode_v0(manifest, writer);
    }
    let flags = flag(manifest.allow_patch, ALLOW_PATCH)
        | flag(manifest.prologue.is_some(), PROLOGUE)
        | flag(manifest.linked.is_some(), LINKED)
        | flag(manifest.user_data.is_some(), USER_DATA);
    writer.uint(flags).uint8(BLAKE2B).uint(manifest.quorum).array(&manifest.signers, encode_signer);
    if let Some(prologue) = &manifest.prologue {
        writer.raw(&prologue.hash).uint(prologue.length);
    }
    if let Some(linked) = &manifest.linked {
        writer.array(linked, |writer, key| {
            writer.raw(key.as_bytes());
        });
    }
    if let Some(user_data) = &manifest.user_data {
        writer.buffer(user_data);
    }
}

fn encode_v0(manifest: &Manifest, writer: &mut Writer) {
    writer.uint8(BLAKE2B);
    match (&manifest.prologue, manifest.signers.as_slice()) {
        (Some(prologue), []) => {
            writer.uint(STATIC).raw(&prologue.hash);
        }
        (_, [signer]) if manifest.quorum == 1 && !manifest.allow_patch => {
            encode_signer(writer.uint(SINGLE), signer);
        }
        (_, signers) => {
            writer
                .uint(MULTI)
                .uint(flag(manifest.allow_patch, ALLOW_PATCH))
                .uint(manifest.quorum)
                .array(signers, encode_signer);
        }
    }
}

fn encode_signer(writer: &mut Writer, signer: &Signer) {
    writer.uint8(ED25519).raw(&signer.namespace).raw(&signer.public_key);
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Manifest, DecodeError> {
    match reader.uint()? {
        0 => decode_v0(reader),
        version if version <= MAX_VERSION => decode_v1(reader, version),
        _ => Err(DecodeError::Invalid("a manifest of unknown version")),
    }
}

fn decode_v0(reader: &mut Reader<'_>) -> Result<Manifest, DecodeError> {
    decode_hash_type(reader)?;
    let mut manifest = Manifest { version: 0, ..Manifest::unsigned() };
    match reader.uint()? {
        STATIC => manifest.prologue = Some(Prologue { hash: reader.fixed()?, length: 0 }),
        SINGLE => {
            manifest.quorum = 1;
            manifest.signers = vec![decode_signer(reader)?];
        }
        MULTI => {
            manifest.allow_patch = reader.uint()? & ALLOW_PATCH != 0;
            manifest.quorum = reader.uint()?;
            manifest.signers = decode_signers(reader)?;
        }
        _ => return Err(DecodeError::Invalid("a manifest of unknown kind")),
    }
    Ok(manifest)
}

fn decode_v1(reader: &mut Reader<'_>, version: u64) -> Result<Manifest, DecodeError> {
    let flags = reader.uint()?;
    decode_hash_type(reader)?;
    let quorum = reader.uint()?;
    let signers = decode_signers(reader)?;
    let prologue = if flags & PROLOGUE != 0 {
        Some(Prologue { hash: reader.fixed()?, length: reader.uint()? })
    } else {
        None
    };
    let linked = if flags & LINKED != 0 {
        Some(reader.array(32, |reader| reader.fixed::<32>().map(Key::from))?)
    } else {
        None
    };
    let user_data = if flags & USER_DATA != 0 { Some(reader.buffer()?.to_vec()) } else { None };
    let allow_patch = flags & ALLOW_PATCH != 0;
    Ok(Manifest { version, allow_patch, quorum, signers, prologue, linked, user_data })
}

fn decode_hash_type(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    if reader.uint()? == u64::from(BLAKE2B) {
        Ok(())
    } else {
        Err(DecodeError::Invalid("a manifest with an unknown hash"))
    }
}

fn decode_signers(reader: &mut Reader<'_>) -> Result<Vec<Signer>, DecodeError> {
    let signers = reader.array(SIGNER_BYTES, decode_signer)?;
    if signers.len() > MAX_SIGNERS { Err(DecodeError::TooLong) } else { Ok(signers) }
}

fn decode_signer(reader: &mut Reader<'_>) -> Result<Signer, DecodeError> {
    if reader.uint()? != u64::from(ED25519) {
        return Err(DecodeError::Invalid("a signer with an unknown signature scheme"));
    }
    Ok(Signer { namespace: reader.fixed()?, public_key: reader.fixed()? })
}
