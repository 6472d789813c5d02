//! A core is asked how it is while it grows.

use hypercore::Corestore;
use hypercore::hyperspace_api::Core;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Long enough for a writer to come between any two looks of whoever asks.
const APPENDS: u64 = 20_000;

#[test]
fn who_asks_and_who_writes_do_not_wait_for_each_other_for_ever() {
    // From outside: threads that wait for each other tell no time.
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
        runtime.expect("threads").block_on(ask_and_write());
        done.send(()).expect("somebody waits");
    });
    wait.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
}

async fn ask_and_write() {
    let store = Corestore::memory().expect("a store");
    let core = store.open_name("core").expect("a core");
    let over = Arc::new(AtomicBool::new(false));
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (core, over) = (core.clone(), over.clone());
            tokio::spawn(async move {
                let mut asked = 0u64;
                while !over.load(Ordering::Relaxed) {
                    let info = core.info().await.expect("it is open");
                    assert_eq!(info.contiguous_length, info.length);
                    asked += 1;
                    tokio::task::yield_now().await;
                }
                asked
            })
        })
        .collect();
    for index in 0..APPENDS {
        core.append(vec![index.to_le_bytes().to_vec().into()], None).await.expect("an append");
    }
    over.store(true, Ordering::Relaxed);
    for asking in asking {
        assert!(asking.await.expect("it does not fail") > 0);
    }
    assert_eq!(core.length(), APPENDS);
}
