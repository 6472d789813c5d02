//! A drive against a plain tree in memory: whatever is done, both say the same.

mod common;

use common::{Model, Step, compare, grouped, immediate, op, prelude, run, steps};
use hyperdrive::{DriveOptions, Drives};
use hyperspace_api::memory::MemoryStore;
use proptest::prelude::*;

async fn play(options: DriveOptions, steps: Vec<Step>) {
    let store = MemoryStore::new();
    let drives = Drives::new(store.clone(), options);
    let drive = drives.create().await.unwrap();
    let mut model = Model::of(&prelude());
    drive.apply(prelude()).await.unwrap();
    drive.commit().await.unwrap();
    let mut versions = vec![(drive.version(), model.clone())];
    for step in steps {
        match step {
            Step::Op(op) => {
                let done = drive.apply(vec![op.clone()]).await.map_err(|error| error.errno());
                assert_eq!(done, model.apply(&op), "{op:?}");
            }
            Step::Commit => {
                compare(&drive, &model).await;
                drive.commit().await.unwrap();
                versions.push((drive.version(), model.clone()));
            }
        }
    }
    compare(&drive, &model).await;
    drive.flush().await.unwrap();
    compare(&drive, &model).await;

    // Somebody else's view of it, and the past.
    let others = Drives::new(store.read_only(), grouped());
    compare(&others.open(drive.key(), None).await.unwrap(), &model).await;
    for (version, model) in versions {
        compare(&drive.checkout(version).unwrap(), &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn committed_at_once(steps in steps(40)) {
        run(play(immediate(), steps));
    }

    #[test]
    fn committed_in_groups(steps in steps(60)) {
        run(play(grouped(), steps));
    }

    /// A batch is done as a whole or not at all.
    #[test]
    fn batches(batches in proptest::collection::vec(proptest::collection::vec(op(), 1..6), 1..10), at_once: bool) {
        run(async {
            let options = if at_once { immediate() } else { grouped() };
            let drive = Drives::new(MemoryStore::new(), options).create().await.unwrap();
            let mut model = Model::of(&prelude());
            drive.apply(prelude()).await.unwrap();
            for batch in batches {
                let mut after = model.clone();
                let expected = batch.iter().try_for_each(|op| after.apply(op));
                let done = drive.apply(batch).await.map_err(|error| error.errno());
                assert_eq!(done, expected);
                if done.is_ok() {
                    model = after;
                }
                compare(&drive, &model).await;
            }
        });
    }

    /// Two processes write one drive: all that either was told is done is there, and
    /// both see the same.
    #[test]
    fn two_writers(turns in proptest::collection::vec((any::<bool>(), op()), 1..40), at_once: [bool; 2]) {
        run(async {
            let store = MemoryStore::new();
            let options = at_once.map(|at_once| if at_once { immediate() } else { grouped() });
            let one = Drives::new(store.clone(), options[0]).create_named("shared").await.unwrap();
            let two = Drives::new(store.clone(), options[1]).create_named("shared").await.unwrap();
            assert_eq!(one.key(), two.key());
            let mut model = Model::of(&prelude());
            one.apply(prelude()).await.unwrap();
            one.flush().await.unwrap();
            while two.version() != one.version() {
                tokio::task::yield_now().await;
            }
            for (first, op) in turns {
                let drive = if first { &one } else { &two };
                let done = drive.apply(vec![op.clone()]).await.map_err(|error| error.errno());
                assert_eq!(done, model.apply(&op), "{op:?}");
                // Taking turns: what one has done, the other knows before it goes on.
                drive.commit().await.unwrap();
                let other = if first { &two } else { &one };
                while other.version() != drive.version() {
                    tokio::task::yield_now().await;
                }
                compare(other, &model).await;
            }
        });
    }
}
