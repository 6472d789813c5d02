//! Any sequence of changes, reopenings and crashes, against a plain `Vec`.

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, CoreError, GetOptions};
use hypercore::manifest::Verifier;
use hypercore::merkle::Tree;
use hypercore::{Corestore, LocalCore, StoreOptions};
use proptest::prelude::*;
use std::path::Path;

#[derive(Clone, Debug)]
enum Act {
    /// Blocks of these sizes.
    Append(u8, Vec<usize>),
    Clear(u8, u64, u64),
    Truncate(u8, u64),
    Settle,
    Flush,
    Reopen,
    /// As after kill -9: what is in the directory at this moment is opened.
    Crash,
    Delete(u8),
}

const CORES: u8 = 2;

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0usize..200, 2 => 2000usize..9000, 1 => 16_000usize..70_000]
}

fn act() -> impl Strategy<Value = Act> {
    let core = 0..CORES;
    prop_oneof![
        8 => (core.clone(), prop::collection::vec(size(), 1..6)).prop_map(|(core, sizes)| Act::Append(core, sizes)),
        2 => (core.clone(), prop::collection::vec(0usize..99, 1..200)).prop_map(|(core, sizes)| Act::Append(core, sizes)),
        3 => (core.clone(), 0u64..200, 0u64..200).prop_map(|(core, a, b)| Act::Clear(core, a.min(b), a.max(b))),
        2 => (core.clone(), 0u64..200).prop_map(|(core, length)| Act::Truncate(core, length)),
        2 => Just(Act::Settle),
        1 => Just(Act::Flush),
        2 => Just(Act::Reopen),
        2 => Just(Act::Crash),
        1 => core.prop_map(Act::Delete),
    ]
}

/// What a core should be.
#[derive(Clone, Default)]
struct Model {
    fork: u64,
    /// Every block ever appended, and whether it is still held.
    blocks: Vec<(Bytes, bool)>,
}

fn open(dir: &Path) -> Corestore {
    // A cache so small that it is of little help.
    let options = StoreOptions { cache_bytes: 20_000, idle_cores: 1, ..Default::default() };
    Corestore::open(dir, options).unwrap()
}

async fn check(core: &LocalCore, model: &Model) {
    assert_eq!((core.length(), core.fork()), (model.blocks.len() as u64, model.fork));
    let mut offset = 0;
    for (index, (block, held)) in model.blocks.iter().enumerate() {
        let got = core.get(index as u64, GetOptions::LOCAL).await;
        assert_eq!(
            got,
            if *held { Ok(block.clone()) } else { Err(CoreError::NotDownloaded) },
            "block {index}"
        );
        let seek = core.seek(offset, GetOptions::LOCAL).await.unwrap();
        let first_here = model.blocks[..=index].iter().rposition(|(block, _)| !block.is_empty()).unwrap_or(0);
        if !block.is_empty() {
            assert_eq!((seek.index, seek.offset), (first_here as u64, 0));
        }
        offset += block.len() as u64;
    }
    let held = model.blocks.iter().filter(|(_, held)| *held);
    let info = core.info().await.unwrap();
    assert_eq!(info.byte_length, offset);
    assert_eq!(info.disk_bytes, held.clone().map(|(block, _)| block.len() as u64).sum::<u64>());
    assert_eq!(info.contiguous_length, model.blocks.iter().take_while(|(_, held)| *held).count() as u64);
    assert_eq!(core.downloaded(0, u64::MAX).await.unwrap(), held.count() as u64);
    if model.fork > 0 || !model.blocks.is_empty() {
        let blocks: Vec<_> = model.blocks.iter().map(|(block, _)| block).collect();
        let tree = Tree::new(model.fork).append(&blocks).tree;
        let verifier = Verifier::new(&core.key(), core.manifest().as_ref());
        assert_eq!(verifier.verify(&tree, Some(&core.signature())), Ok(()));
    }
}

/// A copy of a directory as it is, without waiting for anything.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    // Blocks first: what refers to them is written after them.
    for entry in std::fs::read_dir(from.join("segments")).unwrap() {
        let entry = entry.unwrap();
        std::fs::create_dir_all(to.join("segments")).unwrap();
        std::fs::copy(entry.path(), to.join("segments").join(entry.file_name())).unwrap();
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

async fn run(acts: Vec<Act>) {
    let root = tempfile::tempdir().unwrap();
    let mut dir = root.path().join("0");
    let mut store = Some(open(&dir));
    let mut models = vec![Model::default(); usize::from(CORES)];
    let mut filled = 0u8;
    for (step, act) in acts.into_iter().enumerate() {
        let at = store.clone().unwrap();
        let core = |number: u8| at.open_name([number]).unwrap();
        match act {
            Act::Append(number, sizes) => {
                let model = &mut models[usize::from(number)];
                let blocks: Vec<Bytes> = sizes
                    .into_iter()
                    .map(|size| {
                        filled = filled.wrapping_add(1);
                        Bytes::from(vec![filled; size])
                    })
                    .collect();
                model.blocks.extend(blocks.iter().cloned().map(|block| (block, true)));
                let appended = core(number).append(blocks, None).await.unwrap();
                assert_eq!(appended.length, model.blocks.len() as u64);
            }
            Act::Clear(number, start, end) => {
                core(number).clear(start, end).await.unwrap();
                let blocks = &mut models[usize::from(number)].blocks;
                for index in start..end.min(blocks.len() as u64) {
                    blocks[index as usize].1 = false;
                }
            }
            Act::Truncate(number, length) => {
                let model = &mut models[usize::from(number)];
                let length = length.min(model.blocks.len() as u64);
                core(number).truncate(length, None).unwrap();
                model.blocks.truncate(length as usize);
                model.fork += 1;
            }
            Act::Settle => at.settle().await.unwrap(),
            Act::Flush => at.flush().await.unwrap(),
            Act::Reopen => {
                at.close().await.unwrap();
                assert!(
                    !std::fs::read_dir(&dir).unwrap().any(|entry| {
                        entry.unwrap().file_name().to_string_lossy().starts_with("journal-")
                    })
                );
                store = Some(open(&dir));
            }
            Act::Crash => {
                let next = root.path().join((step + 1).to_string());
                // Nothing may be half done while it is copied.
                at.settle().await.unwrap();
                let extra = core(0).append(vec!["after".into()], None).await.unwrap();
                models[0].blocks.push(("after".into(), true));
                assert_eq!(extra.length, models[0].blocks.len() as u64);
                copy(&dir, &next);
                drop((store.take(), at));
                dir = next;
                store = Some(open(&dir));
            }
            Act::Delete(number) => {
                let key = core(number).key();
                at.delete(&key).await.unwrap();
                models[usize::from(number)] = Model::default();
            }
        }
        let at = store.clone().unwrap();
        for (number, model) in models.iter().enumerate() {
            check(&at.open_name([number as u8]).unwrap(), model).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 300, ..Default::default() })]

    #[test]
    fn a_store_behaves_as_a_vec(acts in prop::collection::vec(act(), 1..25)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(acts));
    }
}
