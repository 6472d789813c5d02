//! How many round trips it takes to read from a drive that is far away.
//!
//! They are counted by the clock, over a line on which one takes a second: next to that,
//! whatever the programs do by themselves is nothing. A slow machine can only add to it, so
//! that of several tries the quickest counts.

use hyperspace_e2e::far::{Giver, Reader};
use hyperspace_e2e::link::Line;
use std::time::Duration;

const LINE: Line = Line { round_trip: Duration::from_secs(1), rate: None };
/// From the connection to the first byte of a file. The original takes one for each step
/// through the index, and some more.
const MOST: f64 = 6.0;
const TRIES: usize = 3;

#[test]
fn the_first_byte_of_a_deep_file_takes_six_at_most() {
    let giver = Giver::new();
    let source = giver.deep();
    let mut tries = Vec::new();
    while tries.len() < TRIES {
        let reader = Reader::new(&source, giver.address(), LINE);
        let took = reader.first_byte().div_duration_f64(LINE.round_trip);
        // Nothing came by another way.
        assert!(took > 2.0, "that cannot be: {took} round trips");
        println!("{took:.2} round trips, {} bytes", reader.carried());
        tries.push(took);
        if took <= MOST {
            return;
        }
    }
    panic!("{tries:.2?} round trips; {MOST} would do");
}
