//! From the socket's bytes to answers and events.

use super::Mux;
use super::slots::{self, Action, Outcome};
use bytes::{Bytes, BytesMut};
use hyperspace_schema::frame::{self, Decoder, Frame, Kind};
use hyperspace_schema::methods::Event;

/// Bytes taken from the socket with one read.
const READ: usize = 256 * 1024;

/// What only the thread that holds the [`Role`] touches.
pub(super) struct Reader {
    scratch: Vec<u8>,
    input: BytesMut,
    decoder: Decoder,
    batch: Vec<(Frame, Outcome)>,
    actions: Vec<Action>,
}

impl Reader {
    pub(super) fn new(max_frame: usize) -> Self {
        Self {
            scratch: vec![0; READ],
            input: BytesMut::new(),
            decoder: Decoder::new(max_frame),
            batch: Vec::new(),
            actions: Vec::new(),
        }
    }
}

impl Mux {
    /// Reads once, and hands out what came. `None`: nothing there.
    pub(super) fn read(&self, reader: &mut Reader) -> Option<()> {
        use std::io::ErrorKind::{Interrupted, WouldBlock};
        let read = match self.socket.read(&mut reader.scratch) {
            Ok(0) if reader.input.is_empty() => Err("the server closed the connection".to_owned()),
            Ok(0) => Err("the server closed the connection within a message".to_owned()),
            Ok(read) => Ok(read),
            Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => return None,
            Err(error) => Err(format!("the connection failed: {error}")),
        };
        let taken = read.and_then(|read| {
            reader.input.extend_from_slice(&reader.scratch[..read]);
            self.take_in(reader)
        });
        if let Err(reason) = taken {
            self.die(reason);
        }
        Some(())
    }

    fn take_in(&self, reader: &mut Reader) -> Result<(), String> {
        let garbage = |error: &dyn std::fmt::Display| format!("the server does not speak HRPC: {error}");
        while let Some(frame) = reader.decoder.next(&mut reader.input).map_err(|e| garbage(&e))? {
            match frame.kind {
                Kind::Response | Kind::Error => {
                    let outcome = if frame.kind == Kind::Response { Outcome::Reply } else { Outcome::Failed };
                    let outcome = outcome(frame.payload.clone());
                    reader.batch.push((frame, outcome));
                }
                Kind::Request => {
                    self.settle(reader).map_err(|e| garbage(&e))?;
                    match Event::decode(frame.service, frame.method, frame.payload) {
                        Ok(event) => (self.events)(event),
                        // A newer server may have events that we do not know.
                        Err(hyperspace_schema::methods::DecodeError::UnknownMethod { .. }) => {}
                        Err(error) => return Err(garbage(&error)),
                    }
                    if frame.id != 0 {
                        let (service, method, id) = (frame.service, frame.method, frame.id);
                        self.tell_with(|out| {
                            let nothing = hyperspace_schema::messages::Void {};
                            frame::encode(out, Kind::Response, service, method, id, &nothing);
                        });
                    }
                }
                Kind::Unassigned => {}
            }
        }
        self.settle(reader).map_err(|e| garbage(&e))
    }

    /// Hands out the replies of a batch under one lock.
    fn settle(&self, reader: &mut Reader) -> Result<(), slots::Unasked> {
        if reader.batch.is_empty() {
            return Ok(());
        }
        let mut failure = None;
        {
            let mut state = self.state.lock();
            if state.dead.is_some() {
                reader.batch.clear();
                return Ok(());
            }
            let crowded = !self.has_room(&state);
            for (frame, outcome) in reader.batch.drain(..) {
                match state.slots.settle(frame.id, frame.service, frame.method, outcome) {
                    Ok((action, started)) => {
                        if let Some(started) = started {
                            state.rhythm.answered(started.elapsed());
                        }
                        reader.actions.push(action);
                    }
                    Err(unasked) => failure = failure.or(Some(unasked)),
                }
            }
            if crowded && self.has_room(&state) {
                self.room.notify_waiters();
            }
        }
        for action in reader.actions.drain(..) {
            self.act(action);
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The payload of a reply that lives longer than the read buffer it came in: small
/// ones are copied, so that a few bytes never hold a whole buffer.
pub(crate) fn unshare(block: Bytes) -> Bytes {
    if block.len() <= 16 * 1024 { Bytes::copy_from_slice(&block) } else { block }
}
