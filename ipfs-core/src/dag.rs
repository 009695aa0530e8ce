//! Values of the data model, and the links between blocks.

mod car;
mod encoded;

use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use ipfs_traits::{Block, BlockSource, Cid, Error, Ipld, Result, codes, work::Work};
use ipfs_unixfs::{DagStat, Exporter, LinksOnPath, Resolution, Walk, WalkOptions, dag_stat};

pub use self::{
    car::{ExportedLocal, ImportOptions, ImportedCar},
    encoded::PutOptions,
};
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
        let path = self.node.immutable(path).await?;
        let source = self.node.source(path.root()?);
        let at = self.locate(&source, &path).await?;
        match inside(&self.node, &source.get(&at.cid).await?, &at.rest)? {
            Inside::Value(value) => Ok(value),
            // The way to a block ends where it does.
            Inside::Link(cid, _) => Ok(Ipld::Link(cid)),
        }
    }

    /// Where a path leads. The block itself is fetched only if the way goes on inside it.
    ///
    /// # Errors
    ///
    /// Those of [`IntoPath`] and [`Names::resolve`](crate::Names::resolve); [`Error::NoEntry`] for a
    /// name that is not there; [`Error::WrongKind`] for a way through a file or a symbolic link;
    /// [`Error::UnknownCodec`]; what the codecs and [`Blocks::get`](crate::Blocks::get) say.
    pub async fn resolve(&self, path: impl IntoPath) -> Result<Resolved> {
        let path = self.node.immutable(path).await?;
        let source = self.node.source(path.root()?);
        self.locate(&source, &path).await
    }

    /// The same, from a source. Blocks on the way are fetched.
    pub(crate) async fn locate<S>(&self, source: &S, path: &Path) -> Result<Resolved>
    where
        S: BlockSource + Clone,
    {
        let (mut cid, mut rest) = (*path.root()?, path.segments());
        let files = path.namespace() == Namespace::Ipfs;
        while !rest.is_empty() {
            if files && cid.codec() == codes::DAG_PB {
                let left;
                (cid, left) = self.through_directories(source, &cid, rest).await?;
                rest = &rest[rest.len() - left..];
                continue;
            }
            match inside(&self.node, &source.get(&cid).await?, rest)? {
                Inside::Link(link, passed) => (cid, rest) = (link, &rest[passed..]),
                Inside::Value(_) => break,
            }
        }
        Ok(Resolved { cid, rest: rest.to_vec() })
    }

    /// How far names lead through directories, and how many are left.
    async fn through_directories<S>(
        &self,
        source: &S,
        root: &Cid,
        names: &[String],
    ) -> Result<(Cid, usize)>
    where
        S: BlockSource + Clone,
    {
        let exporter = Exporter::new(Arc::new(source.clone()), self.node.runtime().clone());
        match exporter.resolve_with(root, names, LinksOnPath::Report).await? {
            Resolution::Foreign { cid, rest, .. } => Ok((cid, rest.len())),
            other => Ok((other.found()?, 0)),
        }
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

    /// All blocks below `root`, itself first, each once and in order, fetched ahead: the blocks of a
    /// [`Walk`].
    ///
    /// A block that cannot be had, or not be understood, is the last item, an error: a walk that
    /// ends without one is whole. What was given is held as long as the walk lives.
    pub fn walk(&self, root: &Cid) -> BoxStream<'static, Result<Block>> {
        self.walk_with(&[*root], WalkOptions::default()).map_ok(|visit| visit.block).boxed()
    }

    /// A walk from some roots, as the options say: each block as often as it is linked to, or only
    /// so far from the roots. [`Walk::edges`] gives the links instead of the blocks.
    pub fn walk_with(&self, roots: &[Cid], options: WalkOptions) -> Walk {
        Walk::new(self.source(roots), self.node.codecs().clone(), roots, options)
    }

    /// How large some DAGs are, and what they share: see [`dag_stat`]. What is not here is fetched.
    pub fn stat(&self, roots: &[Cid]) -> Work<DagStat> {
        dag_stat(self.source(roots), self.node.codecs().clone(), roots)
    }

    fn source(&self, roots: &[Cid]) -> Arc<NodeSource> {
        Arc::new(NodeSource::new(self.node.clone(), roots.first().copied()))
    }
}

/// How far a way leads inside of a block.
fn inside(node: &Node, block: &Block, path: &[String]) -> Result<Inside> {
    let root = node.codecs().decode(block)?;
    let mut value = &root;
    for (passed, name) in path.iter().enumerate() {
        // Nothing is below a block that is nothing but a link.
        if let Ipld::Link(cid) = value
            && passed > 0
        {
            return Ok(Inside::Link(*cid, passed));
        }
        value = child(value, name)
            .ok_or_else(|| Error::NoEntry { name: name.clone(), within: Box::new(*block.cid()) })?;
    }
    match value {
        // A block that is nothing but a link is a value.
        Ipld::Link(cid) if !path.is_empty() => Ok(Inside::Link(*cid, path.len())),
        value => Ok(Inside::Value(value.clone())),
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
