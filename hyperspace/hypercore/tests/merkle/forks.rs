//! Rewritten and contradictory histories.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn rewritten_history_is_followed_to_the_last_common_block(
        common in 0u64..40, old in 0u64..40, new in 0u64..40, held in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let shared = distinct(common, "common");
        let before = Original::new(0, [shared.clone(), distinct(old, "old")].concat());
        let after = Original::new(1, [shared, distinct(new, "new")].concat());
        prop_assume!(after.tree.length() > 0);
        // The reader may hold all nodes, or only some.
        let mut reader = Sparse::default();
        if before.tree.length() > 0 {
            let upgrade = Some(UpgradeRequest { start: 0, length: before.tree.length() });
            reader.take(&before.answer(&Request { upgrade, ..Request::default() }).unwrap()).unwrap();
            for index in held {
                let index = index % before.tree.length();
                let nodes = missing_nodes(&reader.nodes, &reader.tree, 2 * index).unwrap();
                let block = Some(BlockRequest { index, nodes });
                reader.take(&before.answer(&Request { block, ..Request::default() }).unwrap()).unwrap();
            }
        }
        let upgrade = Some(UpgradeRequest { start: 0, length: after.tree.length() });
        let proof = after.answer(&Request { upgrade, ..Request::default() }).unwrap();
        let mut reorg = Reorg::new(&reader.nodes, &reader.tree, &proof, &verifier()).unwrap();
        let mut rounds = 0;
        while let Some(wanted) = reorg.wants() {
            rounds += 1;
            prop_assert!(rounds < 10, "each answer halves what is left at least");
            let hash = reorg.request(wanted.start + rounds % (wanted.end - wanted.start));
            let proof = after.answer(&Request { hash, ..Request::default() }).unwrap();
            reorg.narrow(&reader.nodes, &reader.tree, &proof).unwrap();
        }
        prop_assert!(reorg.is_done());
        prop_assert_eq!(&reorg.upgrade().tree, &after.tree);
        // A sparse reader may not know how much is common, but never takes too much.
        prop_assert!(reorg.ancestors() <= common.min(before.tree.length()).min(after.tree.length()));
        for node in reorg.nodes() {
            prop_assert_eq!(Some(node), after.nodes.get(&node.index));
        }
        let full = Reorg::new(&before.nodes, &before.tree, &proof, &verifier());
        if let Ok(mut reorg) = full {
            while let Some(wanted) = reorg.wants() {
                let hash = reorg.request(wanted.end - 1);
                let proof = after.answer(&Request { hash, ..Request::default() }).unwrap();
                reorg.narrow(&before.nodes, &before.tree, &proof).unwrap();
            }
            prop_assert_eq!(reorg.ancestors(), common, "who has all nodes finds all that is common");
        }
    }

    #[test]
    fn two_histories_of_one_fork_are_noticed(common in 0u64..20, ours in 1u64..20, theirs in 1u64..20) {
        let shared = distinct(common, "common");
        let ours = Original::new(0, [shared.clone(), distinct(ours, "ours")].concat());
        let theirs = Original::new(0, [shared, distinct(theirs, "theirs")].concat());
        let length = ours.tree.length().min(theirs.tree.length());
        let probe = Request { upgrade: Some(UpgradeRequest { start: 0, length }), ..Request::default() };
        let conflict = |answerer: &Original| {
            check_conflict(&ours.nodes, &ours.tree, &answerer.answer(&probe).unwrap(), &verifier())
        };
        prop_assert_eq!(conflict(&theirs), Ok(true));
        prop_assert_eq!(conflict(&ours), Ok(false));
        let longer = Original::new(0, [ours.blocks.clone(), distinct(5, "more")].concat());
        prop_assert_eq!(conflict(&longer), Ok(false));
    }

    #[test]
    fn a_contradiction_is_never_taken_over(
        common in 0u64..20, ours in 1u64..20, theirs in 1u64..30, asked in 0u64..20,
    ) {
        let shared = distinct(common, "common");
        let ours = Original::new(0, [shared.clone(), distinct(ours, "ours")].concat());
        let theirs = Original::new(0, [shared, distinct(theirs, "theirs")].concat());
        let mut reader = Sparse::default();
        let ask = |start, length| Request { upgrade: Some(UpgradeRequest { start, length }), ..Request::default() };
        reader.take(&ours.answer(&ask(0, ours.tree.length())).unwrap()).unwrap();
        // Asked for when the reader was shorter, and signed, but not what it has by now.
        let asked = asked.min(common);
        let late = theirs.answer(&ask(asked, theirs.tree.length() - asked)).unwrap();
        let before = reader.tree.clone();
        let refused = reader.take(&late);
        prop_assert!(
            matches!(refused, Err(VerifyError::Conflict | VerifyError::Outdated)),
            "{:?}", refused
        );
        prop_assert_eq!(&reader.tree, &before);
        // Who holds all nodes can always tell what it is, if theirs is no longer than ours.
        if theirs.tree.length() <= ours.tree.length() {
            let told = verify(&ours.nodes, &ours.tree, &late, &verifier());
            prop_assert_eq!(told, Err(VerifyError::Conflict));
        }
    }

    #[test]
    fn nodes_left_over_from_a_longer_tree_do_not_count(cut in 0u64..20, length in 21u64..40) {
        // We had more, and cut it; the same blocks came back in a newer fork.
        let old = Original::new(0, distinct(length, "block"));
        let ours = Tree::load(&old.nodes, 0, cut).unwrap();
        let after = Original::new(1, old.blocks.clone());
        let proof = after.answer(&Request {
            upgrade: Some(UpgradeRequest { start: 0, length }),
            ..Request::default()
        }).unwrap();
        let mut reorg = Reorg::new(&old.nodes, &ours, &proof, &verifier()).unwrap();
        while let Some(wanted) = reorg.wants() {
            let hash = reorg.request(wanted.start);
            let proof = after.answer(&Request { hash, ..Request::default() }).unwrap();
            reorg.narrow(&old.nodes, &ours, &proof).unwrap();
        }
        prop_assert_eq!(reorg.ancestors(), cut);
    }
}
