//! Everything that reads what a stranger wrote, given a short seeded input: what `scripts/fuzz`
//! does for hours, guided by coverage, here is done for seconds in every run of the tests.

#[path = "../fuzz/src/lib.rs"]
mod targets;

use hyperspace_e2e::random::Random;
use targets::TARGETS;

/// Inputs for each target.
const INPUTS: usize = 10_000;
/// Bytes of an input that is made up.
const LONGEST: u64 = 400;

/// Changes it a little.
fn mutate(random: &mut Random, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() as u64 + 1) as usize;
        let any = random.number() as u8;
        let byte = *random.pick(&[0, 1, 0x7f, 0x80, 0xfc, 0xfd, 0xfe, 0xff, any]);
        match random.below(6) {
            0 => input.insert(at, byte),
            1 => input.truncate(at),
            2 => {
                let from = random.pick(samples);
                let start = random.below(from.len() as u64 + 1) as usize;
                input.splice(at.., from[start..].iter().copied());
            }
            3 if at < input.len() => {
                input.remove(at);
            }
            4 if at < input.len() => input[at] ^= 1 << random.below(8),
            _ if at < input.len() => input[at] = byte,
            _ => input.push(byte),
        }
    }
}

#[test]
fn what_strangers_write_is_read_or_refused() {
    for (name, run, samples) in TARGETS {
        let samples = samples();
        assert!(!samples.is_empty(), "{name}");
        samples.iter().for_each(|sample| run(sample));
        let mut random = Random::new(name.len() as u64);
        for _ in 0..INPUTS {
            let mut input = match random.below(4) {
                0 => {
                    let length = random.below(LONGEST) as usize;
                    random.bytes(length)
                }
                _ => random.pick(&samples).clone(),
            };
            mutate(&mut random, &mut input, &samples);
            // A panic says where; this says of what.
            let outcome = std::panic::catch_unwind(|| run(&input));
            assert!(outcome.is_ok(), "{name}: {input:02x?}");
        }
        println!("{name}: {INPUTS} inputs, made of {} samples", samples.len());
    }
}
