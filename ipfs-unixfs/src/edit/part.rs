//! A node of a file that can be changed.

use bytes::Bytes;
use ipfs_traits::{Block, Cid, Error, Result, codes};

use crate::{
    attributes::Attributes,
    child::{Child, Sealer, Unsealed},
    dagpb,
    data::{Data, Kind, NewData},
};

/// A file or a part of one: content of its own, and then that of its children.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// Whether it is a raw block: then it has content and nothing else.
    raw: bool,
    kind: Kind,
    /// None is written otherwise than an empty one.
    pub(super) content: Option<Bytes>,
    pub(super) children: Vec<Child>,
    pub(super) attributes: Attributes,
}

pub(super) fn wrong(reason: &'static str) -> Error {
    Error::malformed("UnixFS file", reason)
}

impl Part {
    /// A file without content.
    pub(super) const fn empty(raw: bool) -> Self {
        Self {
            raw,
            kind: Kind::File,
            content: None,
            children: Vec::new(),
            attributes: Attributes::NONE,
        }
    }

    /// A node with these children.
    pub(super) fn of(children: Vec<Child>) -> Self {
        Self { children, ..Self::empty(false) }
    }

    /// Parses a block. Only trees that say how long their parts are can be changed.
    pub(super) fn parse(block: &Block) -> Result<Self> {
        match block.cid().codec() {
            codes::RAW => Ok(Self { content: Some(block.data().clone()), ..Self::empty(true) }),
            codes::DAG_PB => Self::parse_node(&dagpb::Node::parse(block.data().clone())?),
            other => Err(Error::UnknownCodec(other)),
        }
    }

    fn parse_node(node: &dagpb::Node) -> Result<Self> {
        let data = node.data().ok_or_else(|| wrong("it has no data"))?;
        let data = Data::parse(data)?;
        let kind = data.kind();
        if !matches!(kind, Kind::File | Kind::Raw) {
            return Err(Error::WrongKind { expected: "a file", found: kind.name() });
        }
        if node.len() != data.block_sizes().len() {
            return Err(wrong("it has not as many sizes as links"));
        }
        let children = std::iter::zip(node.links(), data.block_sizes())
            .map(|(link, size)| Child { cid: link.cid, size, tsize: link.tsize.unwrap_or(0) })
            .collect();
        let attributes = Attributes { mode: data.mode(), mtime: data.mtime() };
        let part = Self { raw: false, kind, content: data.content(), children, attributes };
        let size = part
            .children
            .iter()
            .try_fold(part.own(), |sum, child| sum.checked_add(child.size))
            .filter(|size| *size <= i64::MAX as u64)
            .ok_or_else(|| wrong("its sizes are beyond 63 bits"))?;
        match data.file_size() {
            Some(said) if said != size => Err(wrong("its size is not the sum of its parts")),
            _ => Ok(part),
        }
    }

    /// Bytes of its own content.
    pub(super) fn own(&self) -> u64 {
        self.content.as_ref().map_or(0, Bytes::len) as u64
    }

    /// Bytes of the file below it.
    pub(super) fn size(&self) -> u64 {
        self.own() + self.children.iter().map(|child| child.size).sum::<u64>()
    }

    pub(super) const fn is_raw(&self) -> bool {
        self.raw
    }

    pub(super) const fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// How it is linked to, of a block that is stored under `cid`.
    pub(super) fn child(&self, cid: Cid) -> Child {
        let block = self.encode().len() as u64;
        let below = self.children.iter().fold(0, |sum: u64, child| sum.saturating_add(child.tsize));
        Child { cid, size: self.size(), tsize: block.saturating_add(below) }
    }

    /// The same with a mode and a time, for which raw blocks have no room.
    pub(super) fn with_attributes(self, attributes: Attributes) -> Self {
        let raw = self.raw && attributes == Attributes::NONE;
        // An empty file has no content, rather than one of no bytes.
        let content = self.content.filter(|content| raw || !self.raw || !content.is_empty());
        Self { raw, content, attributes, ..self }
    }

    /// The block, whose CID is made as `sealer` says.
    pub(super) fn seal(&self, sealer: &Sealer) -> Result<(Block, Child)> {
        let below = self.children.iter().fold(0, |sum: u64, child| sum.saturating_add(child.tsize));
        match self.raw {
            true => sealer.raw().seal(self.encode(), self.size(), 0),
            false => sealer.seal(self.encode(), self.size(), below),
        }
    }

    fn encode(&self) -> Bytes {
        if self.raw {
            return self.content.clone().unwrap_or_default();
        }
        let data = NewData {
            content: self.content.as_deref(),
            file_size: Some(self.size()),
            block_sizes: self.children.iter().map(|child| child.size).collect(),
            ..self.attributes.data(self.kind)
        };
        let links = self.children.iter().map(|child| child.link(b""));
        dagpb::encode(links, Some(&data.encode())).into()
    }
}

/// The leaves of some pieces, hashed side by side: raw blocks, or dag-pb of this kind.
pub(super) fn leaves(
    sealer: &Sealer,
    kind: Kind,
    raw: bool,
    pieces: Vec<Bytes>,
) -> Result<Vec<(Block, Child)>> {
    let leaf = |piece: Bytes| {
        let size = piece.len() as u64;
        let content = Some(piece).filter(|piece| raw || !piece.is_empty());
        let part = Part { kind, content, ..Part::empty(raw) };
        Unsealed { bytes: part.encode(), size, below: 0 }
    };
    let pieces = pieces.into_iter().map(leaf).collect();
    match raw {
        true => sealer.raw().seal_many(pieces),
        false => sealer.seal_many(pieces),
    }
}
