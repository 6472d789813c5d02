//! compact-encoding and flat-tree.

use super::*;
use hypercore::encoding::{Reader, Writer};
use hypercore::flat_tree;

#[test]
fn compact_encodings_are_the_same_both_ways() {
    let mut count = 0;
    for sample in list(section("compact")) {
        let (kind, value) = (text(&sample[0]), &sample[1]);
        let expected = bytes(&sample[2]);
        let mut writer = Writer::new();
        let reader = &mut Reader::new(&expected);
        match kind.split(' ').next().unwrap_or_default() {
            "uint" => {
                writer.uint(number(value));
                assert_eq!(reader.uint(), Ok(number(value)));
            }
            "int" => {
                let value = value.as_i64().expect("a number");
                writer.int(value);
                assert_eq!(reader.int(), Ok(value));
            }
            "lexint" => {
                writer.lexint(number(value));
                assert_eq!(reader.lexint(), Ok(number(value)));
            }
            "uint64" => {
                writer.uint64(number(value));
                assert_eq!(reader.uint64(), Ok(number(value)));
            }
            "buffer" if text(value) == "null/empty" => {
                writer.buffer(&[]);
                assert_eq!(reader.buffer(), Ok(&[][..]));
            }
            "buffer" => {
                writer.buffer(&bytes(value));
                assert_eq!(reader.buffer(), Ok(&bytes(value)[..]));
            }
            "optionalBuffer" => {
                writer.buffer(&[]);
                assert_eq!(reader.optional_buffer(), Ok(None));
            }
            "string" => {
                writer.string(text(value));
                assert_eq!(reader.string(), Ok(text(value)));
            }
            "bool" => {
                writer.bool(value == true);
                assert_eq!(reader.bool(), Ok(value == true));
            }
            "array(uint)" => {
                let items: Vec<u64> = list(value).iter().map(number).collect();
                writer.array(&items, |writer, item| {
                    writer.uint(*item);
                });
                assert_eq!(reader.array(1, |reader| reader.uint()), Ok(items));
            }
            "uint32array" => {
                let words: Vec<u32> = list(value).iter().map(|word| number(word) as u32).collect();
                writer.uint32_array(&words);
                assert_eq!(reader.uint32_array(), Ok(words));
            }
            other => panic!("no test for {other}"),
        }
        assert!(reader.is_empty(), "{sample}");
        assert_eq!(hex(writer.as_slice()), hex(&expected), "{sample}");
        count += 1;
    }
    assert_eq!(count, 37);
}

#[test]
fn full_roots_are_the_same() {
    for length in 0..=20 {
        let expected: Vec<u64> = list(&section("flat")[length.to_string()]).iter().map(number).collect();
        assert_eq!(flat_tree::full_roots(length).collect::<Vec<_>>(), expected, "{length} blocks");
    }
}
