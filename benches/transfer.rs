//! One node fetches a file from another over loopback, both in memory: TCP and QUIC.

#![allow(missing_docs, reason = "criterion's macros make public items")]

#[path = "support.rs"]
mod support;

use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures::TryStreamExt;
use ipfs_core::Node;
use tokio::runtime::Runtime;

const SIZE: usize = 64 << 20;

fn transfer(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("transfer");
    group.throughput(Throughput::Bytes(SIZE as u64)).sample_size(10);
    group.measurement_time(Duration::from_secs(8));
    for (name, address) in
        [("TCP", "/ip4/127.0.0.1/tcp/0"), ("QUIC", "/ip4/127.0.0.1/udp/0/quic-v1")]
    {
        let node = || Node::builder().listen([address.parse().expect("an address")]).spawn();
        let a = runtime.block_on(node()).expect("a node");
        let data = bytes::Bytes::from(support::bytes(SIZE));
        let cid = runtime.block_on(support::add(&a, &data));
        let connected = || {
            runtime.block_on(async {
                let b = node().await.expect("a node");
                b.connect(a.addresses()).await.expect("a connection");
                b
            })
        };
        let fetch = |b: Node| {
            runtime.block_on(async {
                let file = b.unixfs().open(&cid).await.expect("a file");
                file.range(..).try_for_each(|_| async { Ok(()) }).await.expect("its bytes");
            });
            b
        };
        group.bench_function(name, |b| {
            b.iter_batched(connected, fetch, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, transfer);
criterion_main!(benches);
