//! Putting and getting blocks of 4 KiB in the default store, a thousand at a time and one by one.

#![allow(missing_docs, reason = "criterion's macros make public items")]

#[path = "support.rs"]
mod support;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ipfs_core::{Block, Blockstore, Cid, HashTable, Node, codes};
use tokio::runtime::Runtime;

const COUNT: usize = 1000;
const SIZE: usize = 4 << 10;

fn blocks() -> Vec<Block> {
    let (bytes, hashes) = (support::bytes(COUNT * SIZE), HashTable::standard());
    let block = |data: &[u8]| {
        Block::of(codes::RAW, codes::SHA2_256, data.to_vec(), &hashes).expect("a block")
    };
    bytes.chunks(SIZE).map(block).collect()
}

fn put_and_get(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let blocks = blocks();
    let cids: Vec<Cid> = blocks.iter().map(|block| *block.cid()).collect();
    let fresh = || {
        let folder = tempfile::tempdir().expect("a folder");
        let node = Node::builder().data_dir(folder.path()).offline();
        (runtime.block_on(node.spawn()).expect("a node"), folder)
    };
    let mut group = c.benchmark_group("blocks");
    group.throughput(Throughput::Elements(COUNT as u64)).sample_size(10);

    group.bench_function("put and flush", |b| {
        let put = |(node, folder): (Node, _)| {
            runtime.block_on(async {
                node.store().put_many(&blocks).await.expect("a put");
                node.blocks().flush().await.expect("a flush");
            });
            (node, folder)
        };
        b.iter_batched(fresh, put, BatchSize::PerIteration);
    });
    let (node, _folder) = fresh();
    runtime.block_on(node.store().put_many(&blocks)).expect("a put");
    group.bench_function("get together", |b| {
        b.iter(|| runtime.block_on(node.store().get_many(&cids)));
    });
    group.bench_function("get one by one", |b| {
        b.iter(|| {
            runtime.block_on(async {
                for cid in &cids {
                    node.blocks().get(cid).await.expect("a block");
                }
            });
        });
    });
    group.finish();
}

criterion_group!(benches, put_and_get);
criterion_main!(benches);
