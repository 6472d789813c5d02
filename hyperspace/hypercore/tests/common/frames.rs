//! What recorded frames hold.

use hypercore::encoding::Reader;

/// The messages of a frame, as (type, body); control messages are left out.
pub fn messages(frame: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let reader = &mut Reader::new(frame);
    let (channel, kind) = (reader.uint().expect("a channel"), reader.uint().expect("a type"));
    if (channel, kind) != (0, 0) {
        return if channel > 0 { vec![(kind, reader.rest().to_vec())] } else { Vec::new() };
    }
    let mut out = Vec::new();
    let mut channel = reader.uint().expect("a batch starts with a channel");
    while !reader.is_empty() {
        let item = reader.buffer().expect("an item");
        if item.is_empty() {
            channel = reader.uint().expect("a channel");
        } else if channel > 0 {
            let item = &mut Reader::new(item);
            out.push((item.uint().expect("a type"), item.rest().to_vec()));
        }
    }
    out
}
