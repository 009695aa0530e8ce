//! Delegated routing: what an endpoint may say, and what it may be asked.

#[path = "../hostile/delegated.rs"]
mod any;
mod client;
mod hostile;
mod listen;
mod peers;
pub(crate) mod server;
pub(crate) mod web;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use ipfs_routing::{
    Routing, Validators,
    delegated::{Options, Server, ServerOptions},
};
use ipfs_traits::{
    Cid, Error, Multihash, PeerInfo, Result, conformance,
    memory::{RoutingTable, peer_id},
};

use self::web::{Direct, Web};

const CID: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";

pub(crate) fn key() -> Multihash {
    *CID.parse::<Cid>().unwrap().hash()
}

fn peer(n: u64) -> PeerInfo {
    PeerInfo::new(peer_id(n), vec![format!("/ip4/192.0.2.1/tcp/{n}").parse().unwrap()])
}

/// A record of a peer, as JSON.
fn record(n: u64) -> String {
    let PeerInfo { id, addresses } = peer(n);
    format!(r#"{{"Schema":"peer","ID":"{id}","Addrs":["{}"]}}"#, addresses[0])
}

async fn providers(router: &impl Routing, want: usize) -> Result<Vec<PeerInfo>> {
    router.find_providers(&key(), want).try_collect().await
}

#[test]
fn keeps_the_promises_of_a_router() {
    let web = Web::new();
    let runtime = Arc::new(web.runtime.clone());
    web.run(conformance::routing(|| {
        let routing = Arc::new(RoutingTable::new().join(peer(1)));
        let server =
            Server::new(routing, Validators::new(), runtime.clone(), ServerOptions::default());
        let router = Direct::router(&runtime, server, Options::default());
        async move { Ok(router) }
    }))
    .unwrap();
}

/// Client and server together: what a router knows is known on the other side.
#[test]
fn a_server_says_what_its_router_knows() {
    let web = Web::new();
    let runtime = Arc::new(web.runtime.clone());
    let table = RoutingTable::new();
    let routing = Arc::new(table.join(peer(1)));
    let options = ServerOptions::default();
    let server = Server::new(routing.clone(), Validators::new(), runtime.clone(), options);
    let router = Direct::router(&runtime, server, Options::default());
    web.run(async {
        for n in 2..40 {
            table.join(peer(n)).provide(vec![key()]).await.unwrap();
        }
        let found = providers(&router, usize::MAX).await.unwrap();
        assert_eq!(found.len(), 38);
        assert!(found.contains(&peer(7)));
        assert_eq!(providers(&router, 5).await.unwrap().len(), 5);
        assert_eq!(router.find_peer(peer_id(9)).await.unwrap(), peer(9));
        let unknown = router.find_peer(peer_id(99)).await;
        assert!(matches!(unknown, Err(Error::Unreachable(..))), "{unknown:?}");
        let closest = router.closest_peers(&key().to_bytes()).await.unwrap();
        assert_eq!(closest, routing.closest_peers(&key().to_bytes()).await.unwrap());
        let none: Vec<_> = router.get_value(b"/other/key").collect().await;
        assert!(matches!(none[..], [Err(Error::Unsupported(_))]));
    });
}
