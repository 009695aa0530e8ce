//! Names of a node: published with its keys, and resolved to paths.

use std::sync::Arc;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use ipfs_routing::names::{PublishOptions, Published, Resolution, Signers};
use ipfs_traits::Result;
use libp2p_identity::Keypair;

use crate::{IntoPath, Key, Keystore, Namespace, Node, NodeEvent, Path};

/// The names of a node.
///
/// ```
/// # use ipfs_core::{Error, Node, memory::{RoutingTable, peer_id}, identity::Keypair};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let table = RoutingTable::new();
/// # let node = Node::builder().routing(table.join(peer_id(1).into())).listen([]).spawn().await?;
/// let page = node.unixfs().add_bytes("hello").await?;
/// let published = node.names().publish("self", page.cid).await?;
/// let path = format!("/ipns/{}", published.name);
/// assert_eq!(node.names().resolve(&path).await?, page.cid.into());
/// // Every call that takes a path takes it.
/// assert_eq!(node.unixfs().resolve(&path).await?, page.cid);
/// # node.close().await?;
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Names {
    node: Node,
}

impl Names {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    /// Publishes a path under the name of a key: `self`, or one of [`Node::keys`]. It is kept alive
    /// while the node runs: brought out again every four hours.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`], [`Keys::export`](crate::Keys::export) and
    /// [`ipfs_routing::names::Names::publish`].
    pub async fn publish(&self, key: &str, path: impl IntoPath) -> Result<Published> {
        self.publish_with(key, path, PublishOptions::default()).await
    }

    /// The same, told how long it is valid, and more.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn publish_with(
        &self,
        key: &str,
        path: impl IntoPath,
        options: PublishOptions,
    ) -> Result<Published> {
        let path = path.into_path()?;
        let key = self.node.keys().export(key).await?;
        let published = self.plain().publish(key.pair(), &path.to_string(), options).await?;
        self.node.emit(NodeEvent::Published { name: published.name, path });
        Ok(published)
    }

    /// What a path in `/ipns` leads to: one in `/ipfs` or `/ipld`. Any other one leads to itself.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`] and [`ipfs_routing::names::Names::resolve_one`].
    pub async fn resolve(&self, path: impl IntoPath) -> Result<Path> {
        let path = path.into_path()?;
        if path.namespace() != Namespace::Ipns {
            return Ok(path);
        }
        Path::canonical(&self.plain().resolve_one(&path.to_string()).await?.path)
    }

    /// What a path leads to, as better answers become known; ends when no better one is to be had.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`]; the stream gives those of [`ipfs_routing::names::Names::resolve`].
    pub fn follow(&self, path: impl IntoPath) -> Result<BoxStream<'static, Result<Resolution>>> {
        Ok(self.plain().resolve(&path.into_path()?.to_string()).boxed())
    }

    /// The names without the node: single records, and keys of one's own.
    pub fn plain(&self) -> &ipfs_routing::names::Names {
        self.node.plain_names()
    }
}

/// The keys of a node, for what outlives a call.
#[derive(Debug)]
pub(crate) struct NodeSigners {
    pub(crate) identity: Option<Key>,
    pub(crate) keystore: Arc<dyn Keystore>,
}

#[async_trait]
impl Signers for NodeSigners {
    async fn keys(&self) -> Result<Vec<Keypair>> {
        crate::keys::pairs(self.identity.as_ref(), &*self.keystore).await
    }
}
