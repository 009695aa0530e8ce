//! Each suite on the plugs in memory, which have to keep every promise.

use std::sync::Arc;

use futures::executor::block_on;
use ipfs_traits::{
    Block, BlockSource, Blockstore, BlockstoreExt, Bytes, Cid, Exchange, Ipld, Local, Network,
    NoRouting, OfflineExchange, PeerInfo, Result, Session, Static, VirtualRuntime, async_trait,
    conformance,
    memory::{
        MemoryDatastore, MemoryHttp, MemoryHub, MemoryResolver, MemoryRouting, MemoryStore,
        RoutingTable, peer_id,
    },
};
use serde_ipld_dagcbor::codec::DagCborCodec;

/// A store that holds these blocks.
pub(crate) async fn store_of(blocks: &[Block]) -> Result<Arc<MemoryStore>> {
    let store = MemoryStore::new();
    store.put_many(blocks).await?;
    Ok(Arc::new(store))
}

#[test]
fn memory_store() {
    block_on(conformance::blockstore(|| async { Ok(MemoryStore::new()) })).unwrap();
    block_on(conformance::blockstore(|| async { Ok(Arc::new(Box::new(MemoryStore::new()))) }))
        .unwrap();
}

#[test]
fn memory_datastore() {
    block_on(conformance::datastore(|| async { Ok(MemoryDatastore::new()) })).unwrap();
    let store = Arc::new(MemoryDatastore::new());
    block_on(conformance::datastore_reopen(|| async { Ok(store.clone()) })).unwrap();
}

#[test]
fn memory_resolver() {
    block_on(conformance::resolver(|zone| async move {
        let resolver = MemoryResolver::new();
        zone.into_iter().for_each(|(name, texts, ttl)| resolver.set_txt(&name, texts, ttl));
        Ok(Arc::new(resolver))
    }))
    .unwrap();
}

#[test]
fn local_source() {
    block_on(conformance::source(|blocks| async move { Ok(Local(store_of(&blocks).await?)) }))
        .unwrap();
}

/// An exchange with the store of a neighbour.
#[derive(Debug)]
pub(crate) struct Neighbour(pub(crate) Arc<MemoryStore>);

#[derive(Debug)]
pub(crate) struct Fetch(pub(crate) Local<Arc<MemoryStore>>);

#[async_trait]
impl BlockSource for Fetch {
    async fn get(&self, cid: &Cid) -> Result<Block> {
        self.0.get(cid).await
    }
    fn get_many(
        &self,
        cids: futures::stream::BoxStream<'static, Cid>,
    ) -> futures::stream::BoxStream<'static, (Cid, Result<Block>)> {
        self.0.get_many(cids)
    }
}

impl Session for Fetch {}

#[async_trait]
impl Exchange for Neighbour {
    fn session(&self, _: Option<&Cid>) -> Arc<dyn Session> {
        Arc::new(Fetch(Local(self.0.clone())))
    }
}

#[test]
fn an_exchange_with_a_neighbour() {
    block_on(conformance::exchange(
        |blocks| async move { Ok(Neighbour(store_of(&blocks).await?)) },
    ))
    .unwrap();
}

#[test]
fn the_offline_exchange_finds_what_is_inline_and_nothing_else() {
    block_on(async {
        let session = OfflineExchange.session(None);
        assert!(session.get(&"bafkqaaa".parse().unwrap()).await.unwrap().is_empty());
        let absent = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
        assert!(session.get(&absent).await.unwrap_err().is_not_found());
    });
}

fn member() -> MemoryRouting {
    RoutingTable::new().join(PeerInfo::from(peer_id(1)))
}

#[test]
fn memory_and_null_routing() {
    block_on(conformance::routing(|| async { Ok(member()) })).unwrap();
    block_on(conformance::routing(|| async { Ok(NoRouting) })).unwrap();
    block_on(async {
        use futures::StreamExt;
        use ipfs_traits::Routing;
        let table = RoutingTable::new();
        let (a, b) = (table.join(peer_id(1).into()), table.join(peer_id(2).into()));
        let key = *Block::inline(&"bafkqaaa".parse().unwrap()).unwrap().hash();
        a.provide(vec![key]).await.unwrap();
        let found: Vec<_> = b.find_providers(&key, 5).map(Result::unwrap).collect().await;
        assert_eq!(found, [PeerInfo::from(peer_id(1))]);
    });
}

#[test]
fn memory_network() {
    let pair = || async {
        let hub = MemoryHub::new();
        let a: Arc<dyn Network> = Arc::new(hub.join(peer_id(1))?);
        let b: Arc<dyn Network> = Arc::new(hub.join(peer_id(2))?);
        Ok((a, b))
    };
    block_on(conformance::network(pair)).unwrap();
    block_on(conformance::network_resets(pair)).unwrap();
}

#[test]
fn memory_http() {
    let client = |served| async move {
        let http = MemoryHttp::new();
        for (path, content) in served {
            http.serve(format!("https://a.example:8443{path}"), Bytes::clone(&content));
        }
        Ok((Arc::new(Box::new(http)), "https://a.example:8443".to_owned()))
    };
    block_on(conformance::http_client(client)).unwrap();
}

#[test]
fn virtual_runtime() {
    let runtime = VirtualRuntime::new();
    runtime.block_on(conformance::runtime(Arc::new(runtime.clone()))).unwrap().unwrap();
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_runtime() {
    use ipfs_traits::{Runtime, TokioRuntime};
    assert!(TokioRuntime::current().is_err());
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::new(tokio.handle().clone()));
    // From outside, on the host's own thread.
    block_on(conformance::runtime(runtime)).unwrap();
    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    single.block_on(async {
        let runtime: Arc<dyn Runtime> = Arc::new(TokioRuntime::current().unwrap());
        conformance::runtime(runtime).await.unwrap();
    });
}

pub(crate) fn some_values() -> Vec<Ipld> {
    let link =
        Ipld::Link("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap());
    let list = Ipld::List(vec![link.clone(), Ipld::Bytes(vec![1, 2]), link.clone(), Ipld::Null]);
    let map = [("a".into(), list.clone()), ("b".into(), Ipld::Float(1.5)), ("c".into(), link)];
    vec![Ipld::Integer(-3), Ipld::String("text".into()), list, Ipld::Map(map.into())]
}

#[test]
fn static_codec() {
    conformance::codec(&Static::<DagCborCodec>::new(), &some_values()).unwrap();
}

#[test]
fn ext_calls_are_batches_of_one() {
    block_on(async {
        let store = store_of(&[]).await.unwrap();
        let block = Block::inline(&"bafkqaaa".parse().unwrap()).unwrap();
        store.put(block.clone()).await.unwrap();
        assert_eq!(store.get(block.cid()).await.unwrap(), Some(block.clone()));
        assert_eq!(store.size(block.cid()).await.unwrap(), Some(0));
        store.delete(block.cid()).await.unwrap();
        assert!(!store.has(block.cid()).await.unwrap());
    });
}
