//! Names: published, resolved, and brought out again.

mod publish;
mod republish;
mod resolve;
mod router;

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    StreamExt,
    future::{Either, select},
};
use ipfs_routing::{
    ipns::{Name, Record},
    names::{Names, Options, PublishOptions, Resolution},
};
use ipfs_traits::{
    Batch, Bytes, Datastore, Error, Result, Routing, Runtime, RuntimeExt, VirtualRuntime,
    async_trait,
    memory::{MemoryDatastore, MemoryResolver, RoutingTable, peer_id},
};
use libp2p_identity::Keypair;

use self::router::Router;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs it, for a month at the most: then what it waits for is not going to come.
pub(crate) fn run<T>(runtime: &VirtualRuntime, future: impl Future<Output = T>) -> T {
    match runtime.block_on(select(pin!(future), runtime.sleep(30 * 24 * HOUR))).unwrap() {
        Either::Left((output, _)) => output,
        Either::Right(_) => panic!("it waits in vain"),
    }
}

/// A node, and what it is made of.
struct Node {
    runtime: VirtualRuntime,
    store: Arc<MemoryDatastore>,
    zone: MemoryResolver,
    router: Router,
    names: Names,
}

impl Node {
    /// One that is alone with a router that does as it is told.
    fn new(runtime: &VirtualRuntime) -> Self {
        Self::with(runtime, Options::default())
    }

    fn with(runtime: &VirtualRuntime, options: Options) -> Self {
        let (router, zone) = (Router::new(runtime), MemoryResolver::new());
        let store = Arc::new(MemoryDatastore::new());
        let names = Names::new(
            Arc::new(runtime.clone()),
            Arc::new(router.clone()),
            store.clone(),
            Some(Arc::new(zone.clone())),
            options,
        );
        Self { runtime: runtime.clone(), store, zone, router, names }
    }

    fn publish(&self, key: &Keypair, value: &str) -> Result<Record> {
        self.publish_with(key, value, PublishOptions::default())
    }

    fn publish_with(&self, key: &Keypair, value: &str, options: PublishOptions) -> Result<Record> {
        let published = run(&self.runtime, self.names.publish(key, value, options))?;
        assert_eq!(published.name, name(key));
        Ok(published.record)
    }

    fn resolve_one(&self, path: impl ToString) -> Result<Resolution> {
        run(&self.runtime, self.names.resolve_one(&path.to_string()))
    }

    fn path_of(&self, path: impl ToString) -> Result<String> {
        self.resolve_one(path).map(|resolution| resolution.path)
    }

    fn stored(&self, key: &Keypair) -> Option<Record> {
        let bytes = run(&self.runtime, self.store.get(&store_key(key))).unwrap();
        bytes.map(|bytes| Record::parse(bytes).unwrap())
    }

    /// A record of this world's time.
    fn sign(&self, key: &Keypair, value: &str, sequence: u64) -> Record {
        Record::sign(key, value, sequence, self.runtime.wall() + HOUR, MINUTE, true).unwrap()
    }
}

fn store_key(key: &Keypair) -> Vec<u8> {
    [b"ipns/", &key.public().to_peer_id().to_bytes()[..]].concat()
}

fn name(key: &Keypair) -> Name {
    Name::from(&key.public())
}

fn new_key() -> Keypair {
    Keypair::generate_ed25519()
}
