//! A datastore that fails.

use std::sync::{Arc, atomic::Ordering};

use futures::StreamExt;
use ipfs_routing::dht::{
    Dht, Scope,
    message::{Kind, Message},
};
use ipfs_traits::{Datastore, Error, Routing, memory::peer_id};

use crate::{
    dht::driver::net::{Net, Wire, ask, block, framed, options},
    provide::world::Disk,
};

/// Announces so many blocks over one stream.
async fn announce(from: &Wire, to: ipfs_traits::PeerId, blocks: std::ops::Range<u64>) {
    let mut bytes = Vec::new();
    for number in blocks {
        let mut told = Message::new(Kind::AddProvider, block(number).to_bytes());
        told.providers.push(peer_id(1).into());
        bytes.extend(framed(&told.encode()));
    }
    crate::dht::driver::net::send(from, to, &bytes).await;
}

/// The disk takes nothing more: what waits to be written stays bounded, what is beyond is refused,
/// and when it works again all goes on.
#[test]
fn what_cannot_be_written_is_not_taken_without_end() {
    Net::run(async |net| {
        let disk = Arc::new(Disk::default());
        let node = net.spawn(0, options(Scope::Any), disk.clone()).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        disk.commits.store(0, Ordering::Relaxed);
        for from in 0..50 {
            announce(&peer, node.id, from * 100..(from + 1) * 100).await;
        }
        net.wait(60).await;
        assert_eq!(node.dht.records().0, 2048, "what may wait");
        assert!(node.dht.close().await.is_err() || node.dht.stats().peers == 0);
        disk.commits.store(usize::MAX, Ordering::Relaxed);
        node.dht.close().await.unwrap();
        let kept = disk.table.scan(b"dht/");
        let kept: usize =
            kept.map(|page| page.unwrap().len()).collect::<Vec<_>>().await.iter().sum();
        assert_eq!(kept, 2048);
    });
}

/// What cannot be read is an error to who asks here, and the end of the stream to others.
#[test]
fn what_cannot_be_read_is_an_error_and_ends_nothing_else() {
    Net::run(async |net| {
        let disk = Arc::new(Disk::default());
        let node = net.spawn(0, options(Scope::Any), disk.clone()).await;
        let peer = net.peer(1, |_| Box::pin(async {}));
        disk.reads.store(0, Ordering::Relaxed);
        let found = node.dht.find_providers(&block(1), 1).next().await;
        assert!(matches!(found, Some(Err(Error::Component { .. }))), "{found:?}");
        let got = node.dht.get_value(b"/test/a").next().await;
        assert!(matches!(got, Some(Err(Error::Component { .. }))), "{got:?}");
        let request = Message::new(Kind::GetProviders, block(1).to_bytes());
        assert_eq!(ask(&peer, node.id, &request).await, None);
        announce(&peer, node.id, 1..2).await;
        net.wait(1).await;
        assert_eq!(node.dht.records().0, 0);
        let parts = net.parts(node.wire.clone(), disk.clone());
        let mut local = options(Scope::Lan);
        local.protocol = ipfs_routing::dht::message::WAN;
        assert!(matches!(Dht::spawn(&parts, local).await, Err(Error::Component { .. })));

        disk.reads.store(usize::MAX, Ordering::Relaxed);
        announce(&peer, node.id, 1..2).await;
        net.wait(1).await;
        assert_eq!(ask(&peer, node.id, &request).await.unwrap().providers.len(), 1);
    });
}
