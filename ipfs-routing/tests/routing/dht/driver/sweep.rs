//! A provider that announces over a DHT, dropped in the middle and begun again.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use ipfs_routing::{
    dht::Dht,
    provide::{Options, Provider, from_fn},
};
use ipfs_traits::{Multihash, Result, Routing, async_trait};

use super::net::{Net, block};

/// Counts what is announced.
#[derive(Debug)]
struct Counted(Dht, Mutex<BTreeMap<Multihash, usize>>);

#[async_trait]
impl Routing for Counted {
    async fn provide(&self, keys: Vec<Multihash>) -> Result<()> {
        self.0.provide(keys.clone()).await?;
        let mut counts = self.1.lock().unwrap();
        keys.into_iter().for_each(|key| *counts.entry(key).or_default() += 1);
        Ok(())
    }
}

#[test]
fn a_sweep_goes_on_after_a_restart() {
    const INTERVAL: u64 = 22 * 3600;
    Net::run(async |net| {
        let nodes = net.chain(0..20).await;
        let keys: Vec<Multihash> = (0..2000).map(block).collect();
        let router = Arc::new(Counted(nodes[0].dht.clone(), Mutex::default()));
        let start = async || {
            let keys = keys.clone();
            let source = from_fn(move || stream::iter([Ok(keys.clone())]).boxed());
            let (runtime, datastore) = (Arc::new(net.runtime.clone()), nodes[0].datastore.clone());
            let options = Options::default();
            assert_eq!(options.interval, Duration::from_secs(INTERVAL));
            Provider::spawn(runtime, router.clone(), datastore, Arc::new(source), options).await
        };
        let provider = start().await.unwrap();
        net.wait(INTERVAL / 2).await;
        let before = router.1.lock().unwrap().len();
        assert!((500..1500).contains(&before), "{before} of 2000 in half of the time");
        drop(provider);

        let _provider = start().await.unwrap();
        net.wait(INTERVAL / 2 + 3600).await;
        let counts = router.1.lock().unwrap().clone();
        assert_eq!(counts.len(), 2000);
        let twice = counts.values().filter(|count| **count > 1).count();
        assert!(twice <= 200, "{twice} of 2000 were announced again");
        for key in &keys {
            let found: Vec<_> = nodes[13].dht.find_providers(key, 1).try_collect().await.unwrap();
            assert_eq!(found[0].id, nodes[0].id);
        }
    });
}
