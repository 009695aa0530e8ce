//! What must hold of the UnixFS message whatever it is fed: shared by the test and the fuzz target.

use ipfs_traits::{Block, Bytes, Cid, codes};
use ipfs_unixfs::{Node, data::Data};

/// Parses `input` as a message and as the block of a node, and reads everything there is to read.
pub(crate) fn data(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    if let Ok(data) = crate::memory::bounded(input, || Data::parse(bytes.clone())) {
        crate::memory::bounded(input, || {
            assert_eq!(data.block_sizes().count(), data.block_sizes().len());
        });
        // What the encoder makes of it says the same, and stays the same.
        let made = data.to_new().encode();
        let again = Data::parse(made.clone().into()).expect("its own");
        assert_eq!(again.to_new(), data.to_new());
        assert_eq!(again.to_new().encode(), made);
    }
    let hash = ipfs_traits::HashTable::empty().hash(codes::IDENTITY, b"").expect("it is short");
    let block = Block::trusted(Cid::new_v1(codes::DAG_PB, hash), bytes);
    let node = crate::memory::bounded(input, || Node::parse(&block));
    match node {
        Ok(Node::File(file)) => {
            let below: u64 = file.children().map(|(_, size)| size).sum();
            assert_eq!(file.size(), file.content().len() as u64 + below);
        }
        Ok(Node::Unmeasured(file)) => {
            let children = file.children().count();
            assert!(children > 0);
            if let Ok(measured) = file.measured(vec![7; children]) {
                assert!(measured.children().all(|(_, size)| size == 7));
            }
        }
        Ok(Node::Shard(shard)) => {
            let slots: Vec<usize> = shard.slots().map(|(slot, _)| slot).collect();
            assert!(slots.len() == shard.len() && slots.is_sorted_by(|a, b| a < b));
            assert!(slots.last().is_none_or(|last| *last < shard.fanout()));
        }
        _ => {}
    }
}
