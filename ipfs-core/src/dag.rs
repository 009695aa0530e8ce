//! Values of the data model, and the links between blocks.

mod car;
mod walk;

use std::sync::Arc;

use ipfs_traits::{Block, BlockSource, Cid, Error, Ipld, Result, codes};
use ipfs_unixfs::Exporter;

pub use self::{car::ImportedCar, walk::Walk};
use crate::{IntoPath, Namespace, Node, NodeSource, Path};

/// Values and links: see [`Node::dag`].
///
/// ```
/// # use std::collections::BTreeMap;
/// # use ipfs_core::{Error, Ipld, Node};
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// # let node = Node::builder().offline().spawn().await?;
/// let leaf = node.dag().put(&Ipld::String("hello".into())).await?;
/// let list = Ipld::List(vec![Ipld::Link(leaf)]);
/// let root = node.dag().put(&Ipld::Map(BTreeMap::from([("all".into(), list)]))).await?;
///
/// let found = node.dag().get(format!("/ipfs/{root}/all/0")).await?;
/// assert_eq!(found, Ipld::String("hello".into()));
/// assert_eq!(node.dag().links(&root).await?, [leaf]);
/// # Ok::<(), Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Dag {
    node: Node,
}

/// Where a path leads: a block, and a way on inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The block.
    pub cid: Cid,
    /// The way on inside its value; empty when the path leads to the block itself.
    pub rest: Vec<String>,
}

impl Dag {
    pub(crate) const fn new(node: Node) -> Self {
        Self { node }
    }

    /// Stores a value as DAG-CBOR under its SHA2-256. Durable after the next flush
    /// ([`Blocks::flush`](crate::Blocks::flush)).
    ///
    /// # Errors
    ///
    /// As [`put_with`](Self::put_with).
    pub async fn put(&self, value: &Ipld) -> Result<Cid> {
        self.put_with(codes::DAG_CBOR, codes::SHA2_256, value).await
    }

    /// Stores a value with a codec and a hash function of the node's tables.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`], [`Error::UnknownHash`]; [`Error::Invalid`] for a value that the
    /// codec cannot express; [`Error::Limit`] for a block beyond 2 MiB; what the store says.
    pub async fn put_with(&self, codec: u64, hash: u64, value: &Ipld) -> Result<Cid> {
        let block = self.node.codecs().encode(codec, hash, value, self.node.hashes())?;
        let cid = *block.cid();
        self.node.blocks().put(block).await?;
        Ok(cid)
    }

    /// The value that a path leads to, through as many blocks as it takes. A link at the end is
    /// followed.
    ///
    /// # Errors
    ///
    /// As [`resolve`](Self::resolve), and those of the codec of the last block.
    pub async fn get(&self, path: impl IntoPath) -> Result<Ipld> {
        let path = path.into_path()?;
        Ok(self.follow(&path).await?.1)
    }

    /// Where a path leads.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`]; [`Error::NoEntry`] for a name that is not there;
    /// [`Error::UnknownCodec`]; what the codecs and [`Blocks::get`](crate::Blocks::get) say.
    pub async fn resolve(&self, path: impl IntoPath) -> Result<Resolved> {
        let path = path.into_path()?;
        if path.segments().is_empty() {
            return Ok(Resolved { cid: *path.root(), rest: Vec::new() });
        }
        Ok(self.follow(&path).await?.0)
    }

    async fn follow(&self, path: &Path) -> Result<(Resolved, Ipld)> {
        let source = self.node.source(path.root());
        let mut at = Walker { dag: self, source, names: path.namespace() };
        at.follow(*path.root(), path.segments()).await
    }

    /// The CIDs that a block links to, in the order in which it does; a CID as often as it stands
    /// there.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`]; what the codec and [`Blocks::get`](crate::Blocks::get) say.
    pub async fn links(&self, cid: &Cid) -> Result<Vec<Cid>> {
        self.node.codecs().links(&self.node.blocks().get(cid).await?)
    }

    /// All blocks below `root`, itself first, each once, fetched side by side.
    ///
    /// Behind the root they come in no particular order. A block that cannot be had, or not be
    /// understood, is the last item, an error: a walk that ends without one is whole. What was
    /// given is held as long as the walk lives.
    pub fn walk(&self, root: &Cid) -> Walk {
        Walk::new(&self.node, *root)
    }
}

/// Follows a path.
struct Walker<'a> {
    dag: &'a Dag,
    source: NodeSource,
    names: Namespace,
}

impl Walker<'_> {
    async fn follow(&mut self, root: Cid, segments: &[String]) -> Result<(Resolved, Ipld)> {
        let (mut cid, mut rest) = (root, segments);
        loop {
            let block = self.source.get(&cid).await?;
            if let Some((name, behind)) = rest.split_first()
                && self.names == Namespace::Ipfs
                && cid.codec() == codes::DAG_PB
            {
                cid = self.entry(&cid, name).await?;
                rest = behind;
                continue;
            }
            match self.inside(&block, rest)? {
                Inside::Link(link, passed) => (cid, rest) = (link, &rest[passed..]),
                Inside::Value(value) => {
                    return Ok((Resolved { cid, rest: rest.to_vec() }, value));
                }
            }
        }
    }

    /// An entry of a directory.
    async fn entry(&self, directory: &Cid, name: &str) -> Result<Cid> {
        let source = Arc::new(self.source.clone());
        let exporter = Exporter::new(source, self.dag.node.runtime().clone());
        exporter.resolve(directory, [name]).await
    }

    fn inside(&self, block: &Block, path: &[String]) -> Result<Inside> {
        let root = self.dag.node.codecs().decode(block)?;
        let mut value = &root;
        for (passed, name) in path.iter().enumerate() {
            if let Ipld::Link(cid) = value {
                return Ok(Inside::Link(*cid, passed));
            }
            value = child(value, name).ok_or_else(|| Error::NoEntry {
                name: name.clone(),
                within: Box::new(*block.cid()),
            })?;
        }
        match value {
            // A block that is nothing but a link is a value.
            Ipld::Link(cid) if !path.is_empty() => Ok(Inside::Link(*cid, path.len())),
            value => Ok(Inside::Value(value.clone())),
        }
    }
}

enum Inside {
    Link(Cid, usize),
    Value(Ipld),
}

fn child<'a>(value: &'a Ipld, name: &str) -> Option<&'a Ipld> {
    match value {
        Ipld::Map(entries) => entries.get(name),
        // A place has one text: no sign, no leading zero.
        Ipld::List(items) => {
            let place: usize = name.parse().ok()?;
            (place.to_string() == name).then(|| items.get(place)).flatten()
        }
        _ => None,
    }
}
