//! kill -9 at any moment: what was acknowledged is there, whole and signed.

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, GetOptions};
use hypercore::{Corestore, LocalCore, StoreOptions};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const ROUNDS: u64 = 20;
const CHILD: &str = "HYPERCORE_CRASH_TEST_DIR";

fn block(core: u8, index: u64) -> Bytes {
    let size = match index % 13 {
        0 => 20_000,
        1 => 4096,
        2 => 0,
        other => other as usize * 17,
    };
    Bytes::from(vec![core ^ index as u8; size])
}

fn open(dir: &Path) -> Corestore {
    Corestore::open(dir, StoreOptions::default()).unwrap()
}

/// Appends for as long as it lives, and says after each append how long the core is. (It is
/// this very test, run again as another process.)
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&dir));
    let threads: Vec<_> = (0..2u8)
        .map(|number| {
            let core = store.open_name([number]).unwrap();
            std::thread::spawn(move || append_forever(number, &core))
        })
        .collect();
    // The parent's end is closed when the parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
    drop(threads);
    std::process::exit(0);
}

fn append_forever(number: u8, core: &LocalCore) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    loop {
        let length = core.length();
        let batch: Vec<Bytes> = (length..length + 1 + length % 5).map(|index| block(number, index)).collect();
        let appended = runtime.block_on(core.append(batch, Some(length))).unwrap();
        if length.is_multiple_of(7) && length > 40 {
            runtime.block_on(core.clear(length - 40, length - 35)).unwrap();
        }
        println!("acknowledged {number} {}", appended.length);
        // The checks need less data, not more speed.
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut lengths = [0u64; 2];
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // It has begun to append; from here on anything may be cut.
        for line in &mut lines {
            if line.unwrap().contains("acknowledged") {
                break;
            }
        }
        let reader = std::thread::spawn(move || {
            let mut seen = [0u64; 2];
            for line in lines.map_while(Result::ok) {
                let mut words = line.split("acknowledged ").nth(1).unwrap_or("").split(' ');
                if let (Some(Ok(core)), Some(Ok(length))) =
                    (words.next().map(str::parse::<usize>), words.next().map(str::parse::<u64>))
                {
                    seen[core] = seen[core].max(length);
                }
            }
            seen
        });
        // Early and late; sometimes after the journal was folded, a second in.
        let alive = if round % 5 == 4 { 900 + round * 7 } else { round * 37 % 200 };
        tokio::time::sleep(Duration::from_millis(alive)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = reader.join().unwrap();
        let store = open(dir.path());
        for (number, (length, seen)) in lengths.iter_mut().zip(seen).enumerate() {
            let core = store.open_name([number as u8]).unwrap();
            assert!(
                core.length() >= seen.max(*length),
                "{seen} were acknowledged, {} are there",
                core.length()
            );
            // What was checked before need not be checked again and again.
            for index in length.saturating_sub(100)..core.length() {
                if core.has(index).await.unwrap() {
                    let got = core.get(index, GetOptions::LOCAL).await.unwrap();
                    assert_eq!(got, block(number as u8, index), "core {number}, block {index}");
                }
            }
            *length = core.length();
        }
        if round % 10 == 9 {
            let report = hypercore::verify::verify(&store).await.unwrap();
            assert!(report.problems.is_empty(), "{:?}", report.problems);
        }
        store.close().await.unwrap();
    }
    assert!(lengths.iter().all(|length| *length > ROUNDS), "{lengths:?}");
}
