//! The half-built node, and how a plug is built from it.

use std::{future::Future, path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{
    Blockstore, CodecTable, Datastore, Error, Exchange, HashTable, Network, PeerId, Result,
    Routing, Runtime,
};

/// What of a node is built so far.
///
/// A node is built in this order: runtime, store, datastore, network, routing, exchange. Each
/// [`Recipe`] is handed what came before it; asking for what comes later is an error.
#[derive(Clone, Debug)]
pub struct Parts {
    runtime: Arc<dyn Runtime>,
    hashes: HashTable,
    codecs: Arc<CodecTable>,
    peer: PeerId,
    data_dir: Option<PathBuf>,
    store: Option<Arc<dyn Blockstore>>,
    datastore: Option<Arc<dyn Datastore>>,
    network: Option<Arc<dyn Network>>,
    routing: Option<Arc<dyn Routing>>,
}

impl Parts {
    /// A node of which only the runtime, the tables and the name exist.
    pub fn new(
        runtime: Arc<dyn Runtime>,
        hashes: HashTable,
        codecs: Arc<CodecTable>,
        peer: PeerId,
    ) -> Self {
        Self {
            runtime,
            hashes,
            codecs,
            peer,
            data_dir: None,
            store: None,
            datastore: None,
            network: None,
            routing: None,
        }
    }

    /// The runtime.
    pub const fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The hash functions.
    pub const fn hashes(&self) -> &HashTable {
        &self.hashes
    }

    /// The codecs.
    pub const fn codecs(&self) -> &Arc<CodecTable> {
        &self.codecs
    }

    /// Who the node is.
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// The node's folder, if it has one. A plug keeps its files in a folder of its own below it.
    pub const fn data_dir(&self) -> Option<&PathBuf> {
        self.data_dir.as_ref()
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is built later.
    pub fn store(&self) -> Result<&Arc<dyn Blockstore>> {
        built(&self.store, "the store is not built yet")
    }

    /// The datastore.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is built later.
    pub fn datastore(&self) -> Result<&Arc<dyn Datastore>> {
        built(&self.datastore, "the datastore is not built yet")
    }

    /// The network.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is built later.
    pub fn network(&self) -> Result<&Arc<dyn Network>> {
        built(&self.network, "the network is not built yet")
    }

    /// The routing.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when it is built later.
    pub fn routing(&self) -> Result<&Arc<dyn Routing>> {
        built(&self.routing, "the routing is not built yet")
    }

    /// Sets the folder.
    pub fn set_data_dir(&mut self, data_dir: impl Into<PathBuf>) {
        self.data_dir = Some(data_dir.into());
    }

    /// Adds the store.
    pub fn set_store(&mut self, store: Arc<dyn Blockstore>) {
        self.store = Some(store);
    }

    /// Adds the datastore.
    pub fn set_datastore(&mut self, datastore: Arc<dyn Datastore>) {
        self.datastore = Some(datastore);
    }

    /// Adds the network; the node's name is then the network's.
    pub fn set_network(&mut self, network: Arc<dyn Network>) {
        self.peer = network.local_peer();
        self.network = Some(network);
    }

    /// Adds the routing.
    pub fn set_routing(&mut self, routing: Arc<dyn Routing>) {
        self.routing = Some(routing);
    }
}

fn built<'a, T: ?Sized>(part: &'a Option<Arc<T>>, why: &'static str) -> Result<&'a Arc<T>> {
    part.as_ref().ok_or_else(|| Error::invalid("recipe", why))
}

/// How to build a plug of the kind `T` (`dyn Blockstore`, `dyn Exchange`, …) once the parts that it
/// needs are there.
///
/// A plug that is already built is its own recipe, and [`recipe`] makes one of a function:
///
/// ```
/// use std::sync::Arc;
///
/// use ipfs_traits::{memory::MemoryStore, recipe, Blockstore, Exchange, OfflineExchange, Recipe};
///
/// fn takes_store(_: impl Recipe<dyn Blockstore>) {}
/// fn takes_exchange(_: impl Recipe<dyn Exchange>) {}
///
/// takes_store(MemoryStore::new());
/// takes_exchange(recipe(|parts| async move {
///     let _needs = parts.network()?;
///     Ok(Arc::new(OfflineExchange) as Arc<dyn Exchange>)
/// }));
/// ```
#[async_trait]
pub trait Recipe<T: ?Sized>: Send + 'static {
    /// Builds the plug.
    ///
    /// # Errors
    ///
    /// What the plug says when it cannot be opened or started.
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<T>>;
}

macro_rules! built_plugs {
    ($($kind:ident),*) => {$(
        #[async_trait]
        impl<P: $kind> Recipe<dyn $kind> for P {
            async fn build(self: Box<Self>, _: &Parts) -> Result<Arc<dyn $kind>> {
                Ok(Arc::new(*self))
            }
        }
    )*};
}
built_plugs!(Blockstore, Datastore, Exchange, Network, Routing);

/// A recipe from a function.
pub const fn recipe<T, F, R>(build: F) -> FnRecipe<F>
where
    T: ?Sized,
    F: FnOnce(Parts) -> R,
    R: Future<Output = Result<Arc<T>>>,
{
    FnRecipe(build)
}

/// What [`recipe`] gives.
#[derive(Clone, Copy)]
pub struct FnRecipe<F>(F);

impl<F> std::fmt::Debug for FnRecipe<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recipe")
    }
}

#[async_trait]
impl<T, F, R> Recipe<T> for FnRecipe<F>
where
    T: ?Sized + Send + Sync + 'static,
    F: FnOnce(Parts) -> R + Send + 'static,
    R: Future<Output = Result<Arc<T>>> + Send,
{
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<T>> {
        (self.0)(parts.clone()).await
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::{VirtualRuntime, memory};

    fn parts() -> Parts {
        let runtime = Arc::new(VirtualRuntime::new());
        Parts::new(runtime, HashTable::standard(), Arc::default(), memory::peer_id(1))
    }

    #[test]
    fn a_recipe_gets_what_came_before_it_and_no_more() {
        block_on(async {
            let mut parts = parts();
            let store = Box::new(memory::MemoryStore::new());
            let store = Recipe::<dyn Blockstore>::build(store, &parts).await.unwrap();
            parts.set_store(store.clone());
            let wants_network = recipe(|parts: Parts| async move {
                parts.store()?;
                parts.network()?;
                Ok(Arc::new(memory::MemoryStore::new()) as Arc<dyn Blockstore>)
            });
            let error = Box::new(wants_network).build(&parts).await.unwrap_err();
            assert!(matches!(error, Error::Invalid { what: "recipe", .. }), "{error}");
            // An `Arc` of a plug is a plug, and so a recipe too.
            assert!(Recipe::<dyn Blockstore>::build(Box::new(store), &parts).await.is_ok());
        });
    }
}
