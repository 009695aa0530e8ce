//! A block as a node of UnixFS: a file, a part of one, a directory, a symbolic link.

use bytes::Bytes;
use ipfs_traits::{Block, Cid, Error, Result, codes};

use crate::{
    dagpb::{self, Link},
    data::{Data, Kind, Mtime},
};

/// A block of UnixFS, parsed.
#[derive(Clone, Debug)]
pub enum Node {
    /// A file, or a part of one.
    File(FileNode),
    /// A directory in one block.
    Directory(DirectoryNode),
    /// A symbolic link.
    Symlink(SymlinkNode),
    /// A directory spread over many blocks, which this version does not read.
    Shard,
}

/// A file or a part of one: some bytes of its own, then those of its children.
#[derive(Clone, Debug)]
pub struct FileNode {
    content: Bytes,
    children: Option<(dagpb::Node, Data)>,
    size: u64,
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

/// A directory in one block.
#[derive(Clone, Debug)]
pub struct DirectoryNode {
    node: dagpb::Node,
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

/// A symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SymlinkNode {
    /// Where it points: a stranger's bytes, which may be any path, or none.
    pub target: Bytes,
    /// Permissions and other bits of the mode.
    pub mode: Option<u32>,
    /// When it was changed.
    pub mtime: Option<Mtime>,
}

impl Node {
    /// Parses a block.
    ///
    /// A dag-pb node without UnixFS data is a directory if it has links, as old tools made them.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownCodec`] for anything but raw and dag-pb; [`Error::Malformed`].
    pub fn parse(block: &Block) -> Result<Self> {
        match block.cid().codec() {
            codes::RAW => Ok(Self::File(FileNode::leaf(block.data().clone()))),
            codes::DAG_PB => Self::parse_dag_pb(dagpb::Node::parse(block.data().clone())?),
            other => Err(Error::UnknownCodec(other)),
        }
    }

    fn parse_dag_pb(node: dagpb::Node) -> Result<Self> {
        let Some(data) = node.data().map(Data::parse).transpose()? else {
            return Ok(Self::Directory(DirectoryNode { node, mode: None, mtime: None }));
        };
        let (mode, mtime) = (data.mode(), data.mtime());
        match data.kind() {
            Kind::File | Kind::Raw => FileNode::parse(node, data).map(Self::File),
            Kind::Directory => Ok(Self::Directory(DirectoryNode { node, mode, mtime })),
            Kind::Symlink => {
                let target = data.content().unwrap_or_default();
                Ok(Self::Symlink(SymlinkNode { target, mode, mtime }))
            }
            Kind::HamtShard => Ok(Self::Shard),
            Kind::Metadata => Err(Error::unsupported("UnixFS metadata")),
        }
    }

    /// The kind in a word, for messages.
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::File(_) => Kind::File.name(),
            Self::Directory(_) => Kind::Directory.name(),
            Self::Symlink(_) => Kind::Symlink.name(),
            Self::Shard => Kind::HamtShard.name(),
        }
    }

    /// The directory that this is.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a sharded one, [`Error::WrongKind`] for anything else.
    pub fn into_directory(self) -> Result<DirectoryNode> {
        match self {
            Self::Directory(directory) => Ok(directory),
            Self::Shard => Err(sharded()),
            other => Err(Error::WrongKind { expected: "a directory", found: other.kind_name() }),
        }
    }

    /// The file that this is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for anything else.
    pub fn into_file(self) -> Result<FileNode> {
        match self {
            Self::File(file) => Ok(file),
            other => Err(Error::WrongKind { expected: "a file", found: other.kind_name() }),
        }
    }
}

/// What every call says of a directory that it cannot read.
pub(crate) fn sharded() -> Error {
    Error::unsupported("a sharded directory")
}

impl FileNode {
    fn leaf(content: Bytes) -> Self {
        let size = content.len() as u64;
        Self { content, children: None, size, mode: None, mtime: None }
    }

    fn parse(node: dagpb::Node, data: Data) -> Result<Self> {
        const WHAT: &str = "UnixFS file";
        let content = data.content().unwrap_or_default();
        if node.len() != data.block_sizes().len() {
            return Err(Error::malformed(WHAT, "it has not as many sizes as links"));
        }
        let size = data
            .block_sizes()
            .try_fold(content.len() as u64, u64::checked_add)
            .ok_or_else(|| Error::malformed(WHAT, "its sizes are beyond 64 bits"))?;
        if data.file_size().is_some_and(|said| said != size) {
            return Err(Error::malformed(WHAT, "its size is not the sum of its parts"));
        }
        let (mode, mtime) = (data.mode(), data.mtime());
        let children = (!node.is_empty()).then_some((node, data));
        Ok(Self { content, children, size, mode, mtime })
    }

    /// How many bytes the file has below this node.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The bytes that the node holds itself, which come before those of its children.
    pub const fn content(&self) -> &Bytes {
        &self.content
    }

    /// Its children, each with how many bytes of the file lie below it.
    pub fn children(&self) -> impl Iterator<Item = (Cid, u64)> + '_ {
        self.children.iter().flat_map(|(node, data)| {
            std::iter::zip(node.links().map(|link| link.cid), data.block_sizes())
        })
    }

    /// The same, keeping alive what they are read from.
    pub(crate) fn into_children(self) -> impl Iterator<Item = (Cid, u64)> + Send + 'static {
        self.children.into_iter().flat_map(|(node, data)| {
            let sizes: Vec<u64> = data.block_sizes().collect();
            std::iter::zip(node.into_links().map(|link| link.cid), sizes)
        })
    }

    /// Permissions and other bits of the mode.
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// When it was changed.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.mtime
    }
}

impl DirectoryNode {
    /// How many entries it has.
    pub const fn len(&self) -> usize {
        self.node.len()
    }

    /// Whether it has no entries.
    pub const fn is_empty(&self) -> bool {
        self.node.is_empty()
    }

    /// The entries, in the order they stand.
    pub fn entries(&self) -> impl Iterator<Item = Link<'_>> {
        self.node.links()
    }

    /// The same, keeping alive what they are read from.
    pub(crate) fn into_entries(self) -> dagpb::IntoLinks {
        self.node.into_links()
    }

    /// The entry of this name; of several, the first.
    pub fn get(&self, name: &[u8]) -> Option<Link<'_>> {
        self.node.links().find(|link| link.name.unwrap_or_default() == name)
    }

    /// Permissions and other bits of the mode.
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// When it was changed.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.mtime
    }
}
