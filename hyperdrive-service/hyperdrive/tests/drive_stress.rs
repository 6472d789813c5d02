//! Many tasks on several threads, two processes (as far as the drive can tell), one
//! drive.

mod common;

use bytes::Bytes;
use common::grouped;
use hyperdrive::{Attrs, CommitPolicy, Content, Drive, DriveOptions, Drives, Op, RenameMode};
use hyperspace_api::Core;
use hyperspace_api::memory::MemoryStore;
use std::time::Duration;

const TASKS: usize = 6;
const FILES: usize = 60;

fn bytes(task: usize, file: usize) -> Bytes {
    // Every so often one of several blocks.
    vec![(task * 31 + file) as u8; if file.is_multiple_of(10) { 150_000 } else { file + 1 }].into()
}

/// Writes, reads at once what it wrote, renames, deletes; all in its own directory.
async fn work(drive: Drive<MemoryStore>, task: usize) {
    let home = format!("/task{task}");
    drive.mkdir(&home, Attrs::dir()).await.unwrap();
    for file in 0..FILES {
        let (new, old) = (format!("{home}/new"), format!("{home}/{file}"));
        if file % 7 == 3 {
            let content = bytes(task, file);
            let extent = drive.write_content(content.clone(), content.len() as u64).await.unwrap();
            let op =
                Op::PutFile { path: new.clone(), attrs: Attrs::file(), content: Content::Extent(extent) };
            drive.apply(vec![op]).await.unwrap();
        } else {
            drive.put_file(&new, bytes(task, file), Attrs::file()).await.unwrap();
        }
        assert!(drive.read_file(&new).await.unwrap() == bytes(task, file));
        drive.rename(&new, &old, RenameMode::Replace).await.unwrap();
        if file % 5 == 4 {
            drive.unlink(&old).await.unwrap();
        }
        if file % 20 == 0 {
            drive.flush().await.unwrap();
        }
        assert_eq!(drive.stat(&old).await.is_err(), file % 5 == 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once() {
    let store = MemoryStore::new();
    let commit = CommitPolicy::Grouped { delay: Duration::from_millis(2), bytes: 100_000 };
    let options = DriveOptions { commit, ..grouped() };
    let one = Drives::new(store.clone(), options).create_named("shared").await.unwrap();
    let two = Drives::new(store.clone(), options).create_named("shared").await.unwrap();
    let mut changes = two.changes();
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(work(if task % 2 == 0 { one.clone() } else { two.clone() }, task)))
        .collect();
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(120), task).await.expect("it hangs").unwrap();
    }
    one.flush().await.unwrap();
    two.flush().await.unwrap();
    let fresh = Drives::new(store, grouped()).open(one.key(), None).await.unwrap();
    for drive in [&one, &two, &fresh] {
        tokio::time::timeout(Duration::from_secs(30), async {
            while drive.version() != drive.metadata_core().length() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .expect("it never sees all");
        for task in 0..TASKS {
            let home = format!("/task{task}");
            let names = drive.readdir(&home).await.unwrap().len();
            assert_eq!(names, FILES - FILES / 5);
            for file in (0..FILES).filter(|file| file % 5 != 4) {
                let read = drive.read_file(&format!("{home}/{file}")).await.unwrap();
                assert!(read == bytes(task, file), "{home}/{file}");
            }
        }
    }
    // What the one did, the other was told.
    assert!(changes.recv().await.is_ok() || changes.recv().await.is_ok());
}
