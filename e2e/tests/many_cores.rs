//! 10,000 cores in one store: opened, appended to, there after a restart that takes
//! no time, and never more than a few descriptors.

use hyperspace_e2e::random::Random;
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use hyperspace_e2e::wire::Wire;
use hyperspace_schema::messages::{AppendRequest, GetRequest, Void};
use hyperspace_schema::methods::hypercore::{Append, Get};
use hyperspace_schema::methods::hyperspace::Status;
use std::time::{Duration, Instant};

const CORES: u32 = 10_000;
const DESCRIPTORS: usize = 64;

fn name(core: u32) -> String {
    format!("core-{core}")
}

#[test]
fn ten_thousand_cores() {
    let scratch = Scratch::new();
    let server = Server::start(&scratch);
    let mut wire = Wire::connect(server.socket()).expect("the server listens");
    let started = Instant::now();
    for core in 0..CORES {
        let opened = wire.open(core, &name(core)).expect("a new core");
        assert_eq!(opened.length, 0);
        let block = format!("the first of {core}").into_bytes().into();
        let append = AppendRequest { id: core, blocks: vec![block], ..AppendRequest::default() };
        wire.call::<Append>(&append).expect("its first block");
    }
    let usage = server.usage();
    println!("{CORES} cores opened and appended to in {:.1?}: {usage:?}", started.elapsed());
    assert!(usage.descriptors < DESCRIPTORS, "{} descriptors", usage.descriptors);
    drop(wire);
    assert!(server.stop().success());

    let started = Instant::now();
    let server = Server::start(&scratch);
    let mut wire = Wire::connect(server.socket()).expect("the server listens");
    wire.call::<Status>(&Void {}).expect("the server answers");
    let restart = started.elapsed();
    println!("restarted in {restart:.1?}");
    assert!(restart < Duration::from_secs(2), "the restart took {restart:.1?}");

    let mut random = Random::new(5);
    for id in 0..1_000 {
        let core = random.below(u64::from(CORES)) as u32;
        let opened = wire.open(id, &name(core)).expect("a core of before");
        assert_eq!(opened.length, 1, "{}", name(core));
        let get = GetRequest { id, seq: 0, wait: Some(false), ..GetRequest::default() };
        let block = wire.call::<Get>(&get).expect("its first block").block;
        assert_eq!(block.as_deref(), Some(format!("the first of {core}").as_bytes()));
    }
    let usage = server.usage();
    println!("after 1,000 opens: {usage:?}");
    assert!(usage.descriptors < DESCRIPTORS, "{} descriptors", usage.descriptors);
}
