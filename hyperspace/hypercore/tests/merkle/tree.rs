//! Appending, truncating, finding bytes.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn batches_make_the_tree_of_the_definition(batches in prop::collection::vec(prop::collection::vec(block(), 0..40), 0..6)) {
        let mut tree = Tree::new(3);
        let mut nodes = Nodes::new();
        let mut all = Vec::new();
        for batch in batches {
            let made = tree.append(&batch);
            all.extend(batch);
            for node in made.nodes {
                prop_assert_eq!(nodes.insert(node.index, node), None, "a node is made once");
            }
            tree = made.tree;
            let expected = all_nodes(&all);
            prop_assert_eq!(&nodes, &expected);
            prop_assert_eq!(&tree, &Tree::load(&expected, 3, all.len() as u64).unwrap());
            prop_assert_eq!(tree.byte_length(), all.iter().map(|block| block.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn truncating_gives_the_tree_of_what_is_left(blocks in blocks(60), cut in 0usize..60) {
        let writer = Original::new(0, blocks);
        let cut = cut.min(writer.blocks.len());
        let left = Original::new(4, writer.blocks[..cut].to_vec());
        prop_assert_eq!(writer.tree.truncate(&writer.nodes, cut as u64, 4), Ok(left.tree));
        let beyond = writer.tree.length() + 1;
        prop_assert_eq!(writer.tree.truncate(&writer.nodes, beyond, 1), Err(ReadError::OutOfBounds));
    }

    #[test]
    fn bytes_are_found_where_they_are(blocks in blocks(60), padding in prop_oneof![Just(0u64), Just(8)]) {
        let padded: Vec<Bytes> = blocks.iter()
            .map(|block| [&vec![0; padding as usize][..], block].concat().into()).collect();
        let writer = Original::new(0, padded);
        let mut offset = 0;
        for (index, block) in blocks.iter().enumerate() {
            let (index, size) = (index as u64, block.len() as u64);
            for at in [0, size / 2, size.saturating_sub(1)] {
                if at < size {
                    prop_assert_eq!(
                        seek::locate(&writer.nodes, &writer.tree, offset + at, padding),
                        Ok(Position::Block { index, offset: at })
                    );
                }
            }
            let start = offset + index * padding;
            prop_assert_eq!(
                seek::block_bytes(&writer.nodes, &writer.tree, index),
                Ok(start..start + padding + size)
            );
            offset += size;
        }
        let end = Position::Block { index: blocks.len() as u64, offset: 0 };
        prop_assert_eq!(seek::locate(&writer.nodes, &writer.tree, offset, padding), Ok(end));
        prop_assert_eq!(seek::locate(&writer.nodes, &writer.tree, offset + 1, padding), Err(ReadError::OutOfBounds));
    }
}
