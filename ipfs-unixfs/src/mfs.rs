//! A mutable tree of files and directories (MFS): paths, writes and moves, over blocks that never
//! change.
//!
//! What is changed stays in memory, and the contents of files in the store, until
//! [`flush`](Mfs::flush) makes the tree durable with all that was done before, at once: after a
//! crash the tree is as it was at some flush, whole. A change costs the blocks on its way from the
//! root, not those of the tree.
//!
//! Handles are cheap clones of one tree, and work side by side: what waits for a block waits alone,
//! and a call that fails or is dropped has changed nothing. Moves and copies are one step.
//!
//! ```
//! # use std::sync::Arc;
//! # use ipfs_traits::{memory::{MemoryDatastore, MemoryStore}, Local, VirtualRuntime};
//! use ipfs_unixfs::mfs::{Mfs, Options, Parts};
//!
//! # let runtime = VirtualRuntime::new();
//! # let store = Arc::new(MemoryStore::new());
//! # let datastore = Arc::new(MemoryDatastore::new());
//! # runtime.block_on(async {
//! let parts = Parts {
//!     source: Arc::new(Local(store.clone())),
//!     store,
//!     datastore,
//!     runtime: Arc::new(runtime.clone()),
//! };
//! let tree = Mfs::open(parts, Options::default()).await?;
//! tree.mkdir("/notes/2026", true).await?;
//! tree.mv("/notes/2026", "/archive").await?;
//! let root = tree.flush().await?;
//! assert_eq!(tree.stat("/").await?.cid, root);
//! # Ok::<(), ipfs_traits::Error>(())
//! # }).unwrap().unwrap();
//! ```

mod file;
mod flush;
mod ops;
mod path;
mod restat;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use ipfs_traits::{BlockSource, Blockstore, Cid, Datastore, HashTable, Result, Runtime, parse_cid};

pub use self::{
    file::{FileOptions, MfsFile},
    ops::Stat,
};
use self::{ops::dag_size, state::State};
use crate::{
    Node, Params,
    child::Sealer,
    directory::{Directory, Loads, Target},
};

/// A mutable tree. Clones are handles of the same tree.
#[derive(Clone)]
pub struct Mfs(Arc<Inner>);

/// A tree that is closed when nobody else has it.
#[derive(Clone, Debug, Default)]
pub struct WeakMfs(Weak<Inner>);

impl WeakMfs {
    /// The tree, if somebody has it.
    pub fn upgrade(&self) -> Option<Mfs> {
        self.0.upgrade().map(Mfs)
    }
}

struct Inner {
    parts: Parts,
    options: Options,
    state: Mutex<State>,
    /// What the datastore holds; locked by a flush.
    root: futures_util::lock::Mutex<Option<Bytes>>,
}

/// What a tree works on.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where blocks are read from.
    pub source: Arc<dyn BlockSource>,
    /// Where new blocks are put. The source finds them there.
    pub store: Arc<dyn Blockstore>,
    /// Where the root is kept.
    pub datastore: Arc<dyn Datastore>,
    /// Where blocking work goes.
    pub runtime: Arc<dyn Runtime>,
}

/// How a tree is kept.
#[derive(Clone)]
pub struct Options {
    /// How new files and directories are made.
    pub params: Params,
    /// The hash functions.
    pub hashes: HashTable,
    /// The key in the datastore under which the root's CID stands, in its binary form.
    pub key: Bytes,
    /// Is told the root after each flush that changed it, once it is durable, in the order of the
    /// flushes. It must not block: whoever publishes the root under a name notes it down here.
    pub published: Option<Arc<dyn Fn(Cid) + Send + Sync>>,
}

impl Default for Options {
    /// Default parameters, and Kubo's key, so that a repository of Kubo's can be taken over.
    fn default() -> Self {
        Self {
            params: Params::default(),
            hashes: HashTable::standard(),
            key: Bytes::from_static(b"/local/filesroot"),
            published: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { params, key, .. } = self;
        f.debug_struct("Options").field("params", params).field("key", key).finish_non_exhaustive()
    }
}

impl Mfs {
    /// Opens the tree whose root the datastore holds, or an empty one.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`](ipfs_traits::Error::Invalid) for parameters that make no sense; what the
    /// datastore says, and the source of a root that is not here.
    pub async fn open(parts: Parts, options: Options) -> Result<Self> {
        options.params.check_with(&options.hashes)?;
        let root = parts.datastore.get(&options.key).await?;
        let (params, hashes) = (&options.params, &options.hashes);
        let (cid, directory) = match &root {
            None => {
                let mut new = Directory::new(params, hashes);
                (new.seal(&mut Vec::new())?.cid, new)
            }
            Some(bytes) => {
                let cid = parse_cid(bytes)?;
                let block = parts.source.get(&cid).await?;
                let mut directory = Directory::of(Node::parse(&block)?, params, hashes)?;
                directory.set_sealer(Sealer::nodes(params, hashes).like(&cid)?);
                directory.settle(Target { cid, dag_size: dag_size(&block)? });
                (cid, directory)
            }
        };
        let state = State::new(params.clone(), hashes.clone(), directory, cid);
        let (state, root) = (Mutex::new(state), futures_util::lock::Mutex::new(root));
        Ok(Self(Arc::new(Inner { parts, options, state, root })))
    }

    /// A handle that does not keep the tree open.
    pub fn downgrade(&self) -> WeakMfs {
        WeakMfs(Arc::downgrade(&self.0))
    }

    /// Does work on the tree, which waits for nothing but this lock, until no block is missing.
    async fn run<T>(
        &self,
        mut work: impl FnMut(&mut State, &mut Loads) -> Result<Option<T>>,
    ) -> Result<T> {
        Loads::until_done(&*self.0.parts.source, |loads| work(&mut self.state(), loads)).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Mfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mfs").field("flushed", &self.state().flushed()).finish_non_exhaustive()
    }
}
