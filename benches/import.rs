//! Importing a file: into memory, and into the default store on disk with its flush.

#![allow(missing_docs, reason = "criterion's macros make public items")]

#[path = "support.rs"]
mod support;

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ipfs_core::Node;
use tokio::runtime::Runtime;

const SIZE: usize = 64 << 20;

fn import(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let data = bytes::Bytes::from(support::bytes(SIZE));
    let mut group = c.benchmark_group("import");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    group.measurement_time(Duration::from_secs(8));

    group.bench_function("memory", |b| {
        b.iter_batched(
            || runtime.block_on(Node::builder().offline().spawn()).expect("a node"),
            |node| runtime.block_on(support::add(&node, &data)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("store", |b| {
        b.iter_batched(
            || {
                let folder = tempfile::tempdir().expect("a folder");
                let node = Node::builder().data_dir(folder.path()).offline();
                (runtime.block_on(node.spawn()).expect("a node"), folder)
            },
            |(node, folder)| {
                runtime.block_on(support::add(&node, &data));
                (node, folder)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, import);
criterion_main!(benches);
