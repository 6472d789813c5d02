//! Protomux: frames of a stranger, cut as the input says, while channels are opened, refused
//! and closed.

use super::unhex;
use bytes::{Bytes, BytesMut};
use hyperswarm::Event;
use hyperswarm::protomux::{Limits, Muxer};

pub fn run(input: &[u8]) {
    let mut muxer = Muxer::new(Limits::default());
    muxer.pair("a", None);
    let ours = muxer.open("b", b"", Bytes::new()).expect("the first channel");
    let mut rest = input;
    while let Some((&length, more)) = rest.split_first() {
        let (frame, more) = more.split_at(more.len().min(usize::from(length)));
        rest = more;
        muxer.receive(Bytes::copy_from_slice(frame));
        loop {
            match muxer.poll() {
                Ok(Some(Event::Requested { protocol, id, .. })) => match length % 3 {
                    0 => muxer.refuse(&protocol, &id),
                    _ => drop(muxer.open(&protocol, &id, Bytes::new())),
                },
                Ok(Some(Event::Message { channel, kind, payload })) => {
                    let _ = muxer.send(channel, kind, &[payload]);
                    if length % 7 == 0 {
                        muxer.close(channel);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
        let mut out = BytesMut::new();
        while muxer.transmit(&mut out) {
            out.clear();
        }
    }
    muxer.close(ours);
}

/// Frames: channels opened, a batch, a message, a refusal, a farewell.
pub fn samples() -> Vec<Vec<u8>> {
    let frames = ["000101016100", "000102016200", "00000006010101620001", "010005", "000201", "000301"];
    let frames: Vec<_> = frames.iter().map(|frame| unhex(frame)).collect();
    let framed = |frame: &Vec<u8>| [&[frame.len() as u8], &frame[..]].concat();
    let mut samples: Vec<_> = frames.iter().map(framed).collect();
    samples.push(frames.iter().flat_map(framed).collect());
    samples
}
