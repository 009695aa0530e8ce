//! Delegated routing over HTTP: our endpoint as Kubo and Helia ask it, and boxo's as ours ask it.

#[path = "../../../../../ipfs-routing/tests/routing/delegated/listen.rs"]
mod listen;

use std::{fs, path::Path, sync::Arc};

use data_encoding::HEXLOWER;
#[cfg(feature = "reqwest")]
use futures::AsyncReadExt;
use ipfs_core::{
    Cid, Node, PeerInfo, Routing,
    memory::{RoutingTable, peer_id},
    routing::{
        Validators,
        delegated::{Server, ServerOptions},
        ipns::{Name, Record},
    },
};
use tokio::task::spawn_blocking;

use super::{Daemon, Kubo, program};
use crate::{
    content,
    kubo::{exchange::Peer, named, text},
    network::{TCP, listening},
};

const SIZE: usize = 600_000;

/// A node with a file, and an endpoint that knows of it.
struct World {
    holder: Node,
    /// Names, by the same table as the endpoint's.
    names: Node,
    cid: Cid,
    url: String,
}

impl World {
    async fn start(seed: u64) -> Self {
        let table = RoutingTable::new();
        let holder = listening(TCP).await.unwrap();
        let cid = holder.unixfs().add_bytes(content::bytes(seed, SIZE)).await.unwrap().cid;
        let info = PeerInfo::new(holder.peer_id(), holder.network().addresses());
        let routing = Arc::new(table.join(info));
        routing.provide(vec![*cid.hash()]).await.unwrap();
        let (rules, runtime) = (Validators::standard(), holder.runtime().clone());
        let server = Server::new(routing, rules, runtime, ServerOptions::default());
        let mut names = ipfs_core::routing::names::Options::default();
        names.cache = 0;
        let names = Node::builder().names(names).routing(table.join(peer_id(1).into()));
        let names = names.listen([]).spawn().await.unwrap();
        Self { holder, names, cid, url: listen::listen(server).await }
    }
}

/// A Kubo that has no routing but this endpoint.
fn kubo(program: &Path, url: &str) -> (Arc<Kubo>, Daemon) {
    let kubo = Kubo::new(program);
    kubo.run(&["config", "Routing.Type", "delegated"]);
    kubo.run(&["config", "Provide.Enabled", "--json", "false"]);
    for key in ["Routing.DelegatedRouters", "Ipns.DelegatedPublishers"] {
        kubo.run(&["config", key, "--json", &format!(r#"["{url}"]"#)]);
    }
    let daemon = kubo.start();
    (Arc::new(kubo), daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn kubo_asks_our_endpoint() {
    let Some(program) = program() else { return };
    let world = World::start(1).await;
    let url = world.url.clone();
    let (kubo, _daemon) = spawn_blocking(move || kubo(&program, &url)).await.unwrap();
    let (holder, cid) = (world.holder.peer_id().to_string(), world.cid.to_string());
    assert_eq!(kubo.call(&["routing", "findprovs", &cid]).await, holder);
    let at = world.holder.network().addresses()[0].to_string();
    assert_eq!(kubo.call(&["routing", "findpeer", &holder]).await, at);
    // It has no other way to the block.
    assert_eq!(kubo.call(&["swarm", "peers"]).await, "");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    kubo.call(&["get", &cid, "-o", text(&file)]).await;
    assert!(fs::read(&file).unwrap() == content::bytes(1, SIZE), "another file");

    for text in ["a page", "its update"] {
        let page = world.names.unixfs().add_bytes(text).await.unwrap().cid;
        let name = world.names.names().publish("self", page).await.unwrap().name;
        let says = kubo.call(&["name", "resolve", "--nocache", &format!("/ipns/{name}")]).await;
        assert_eq!(says, format!("/ipfs/{page}"));
        let page = format!("/ipfs/{page}");
        let name = kubo
            .call(&["name", "publish", "-Q", "--resolve=false", "--allow-delegated", &page])
            .await;
        let found = world.names.names().resolve(&format!("/ipns/{name}")).await.unwrap();
        assert_eq!(found.to_string(), page);
    }
    println!("kubo::routing: Kubo has its routing from our endpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn helia_asks_our_endpoint() {
    let Some(program) = named("IPFS_HELIA") else { return };
    let world = World::start(2).await;
    let mut helia = Peer::start(&program, &format!("node {}", world.url));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let got = helia.ask(&format!("get {} {}", world.cid, text(&file)));
    assert_eq!(got, SIZE.to_string());
    assert!(fs::read(&file).unwrap() == content::bytes(2, SIZE), "another file");

    let page = world.names.unixfs().add_bytes("a page").await.unwrap().cid;
    let published = world.names.names().publish("self", page).await.unwrap();
    let key = HEXLOWER.encode(&published.name.routing_key());
    let record = HEXLOWER.encode(published.record.as_bytes());
    assert_eq!(helia.ask(&format!("value {key}")), record);
    // One that only Helia knows yet.
    let other = Node::builder().offline().spawn().await.unwrap();
    let key = other.keys().export("self").await.unwrap();
    let name = Name::from(&key.pair().public());
    let (validity, ttl) = (published.record.validity(), published.record.ttl());
    let path = format!("/ipfs/{page}");
    let record = Record::sign(key.pair(), &path, 7, validity, ttl, true).unwrap();
    let (key, record) = (HEXLOWER.encode(&name.routing_key()), HEXLOWER.encode(record.as_bytes()));
    assert_eq!(helia.ask(&format!("put {key} {record}")), "kept");
    let found = world.names.names().resolve(&format!("/ipns/{name}")).await.unwrap();
    assert_eq!(found.to_string(), path);
    println!("kubo::routing: Helia has its routing from our endpoint");
}

/// Two nodes that have no routing but boxo's.
#[cfg(feature = "reqwest")]
#[tokio::test(flavor = "multi_thread")]
async fn ours_ask_the_endpoint_of_boxo() {
    use ipfs_core::{
        AddressFilter, ReqwestClient, http_client,
        routing::delegated::{HttpRouter, Options},
    };

    let Some(program) = named("IPFS_ROUTING_PEER") else { return };
    let mut boxo = Peer::start(&program, "serve");
    let mut options = http_client::Options::default();
    options.filter = AddressFilter::Any;
    let client = Arc::new(ReqwestClient::new(options).unwrap());
    let node = || HttpRouter::recipe(client.clone(), &*boxo.address, Options::default());
    let holder = Node::builder().listen([TCP.parse().unwrap()]).routing(node()).spawn();
    let asker = Node::builder().listen([]).routing(node()).spawn();
    let (holder, asker) = (holder.await.unwrap(), asker.await.unwrap());

    let cid = holder.unixfs().add_bytes(content::bytes(3, SIZE)).await.unwrap().cid;
    let (id, address) = (holder.peer_id(), holder.network().addresses()[0].clone());
    boxo.ask(&format!("provider {cid} {id} transport-bitswap {address}"));
    let mut bytes = Vec::new();
    asker.unixfs().open(&cid).await.unwrap().read_to_end(&mut bytes).await.unwrap();
    assert!(bytes == content::bytes(3, SIZE), "another file");
    assert_eq!(asker.peers().await, [id]);
    asker.disconnect(id).await.unwrap();
    boxo.ask(&format!("peer {id} - {address}"));
    asker.connect(id).await.unwrap();

    let name = holder.names().publish("self", cid).await.unwrap().name;
    let found = asker.names().resolve(&format!("/ipns/{name}")).await.unwrap();
    assert_eq!(found, cid.into());
    println!("kubo::routing: ours have their routing from boxo's endpoint");
}
