//! A block as a node of UnixFS: a file, a part of one, a directory, a symbolic link.

use std::sync::Arc;

use bytes::Bytes;
use ipfs_traits::{Block, Cid, Error, Result, codes, protobuf::Fields};

use crate::{
    dagpb::{self, Link},
    data::{Data, Kind, Mtime},
    hamt::Shard,
};

const FILE: &str = "UnixFS file";

/// A block of UnixFS, parsed.
#[derive(Clone, Debug)]
pub enum Node {
    /// A file, or a part of one.
    File(FileNode),
    /// A file, or a part of one, that does not say how large its parts are.
    Unmeasured(Unmeasured),
    /// A block that describes a file, and links to it.
    Metadata(MetadataNode),
    /// A directory in one block.
    Directory(DirectoryNode),
    /// A symbolic link.
    Symlink(SymlinkNode),
    /// A block of a directory that is spread over many.
    Shard(Shard),
}

/// A file or a part of one: some bytes of its own, then those of its children.
#[derive(Clone, Debug)]
pub struct FileNode {
    content: Bytes,
    children: Option<(dagpb::Node, Sizes)>,
    size: u64,
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

/// How many bytes lie below each child.
#[derive(Clone, Debug)]
enum Sizes {
    Stated(Data),
    Measured(Arc<[u64]>),
}

/// A file or a part of one that does not say how large its parts are: they have to be read to find
/// out.
#[derive(Clone, Debug)]
pub struct Unmeasured {
    node: dagpb::Node,
    data: Data,
}

/// A block that describes a file, and links to it; no longer made by anybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataNode {
    file: Cid,
    message: Bytes,
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
            return Ok(Self::Directory(DirectoryNode::by_names(node)));
        };
        let (mode, mtime) = (data.mode(), data.mtime());
        match data.kind() {
            Kind::File | Kind::Raw if !node.is_empty() && data.block_sizes().len() == 0 => {
                Ok(Self::Unmeasured(Unmeasured { node, data }))
            }
            Kind::File | Kind::Raw => FileNode::parse(node, data).map(Self::File),
            Kind::Directory => Ok(Self::Directory(DirectoryNode { node, mode, mtime })),
            Kind::Symlink => {
                let target = data.content().unwrap_or_default();
                Ok(Self::Symlink(SymlinkNode { target, mode, mtime }))
            }
            Kind::HamtShard => Shard::parse(node, &data).map(Self::Shard),
            Kind::Metadata => MetadataNode::parse(&node, &data).map(Self::Metadata),
        }
    }

    /// The kind in a word, for messages.
    pub const fn kind_name(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Unmeasured(_) => Kind::File.name(),
            Self::Metadata(_) => Kind::Metadata.name(),
            Self::Directory(_) => Kind::Directory.name(),
            Self::Symlink(_) => Kind::Symlink.name(),
            Self::Shard(_) => Kind::HamtShard.name(),
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
            Self::Shard(_) => Err(sharded()),
            other => Err(Error::WrongKind { expected: "a directory", found: other.kind_name() }),
        }
    }

    /// The file that this is.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for one that does not say how large its parts are;
    /// [`Error::WrongKind`] for anything else.
    pub fn into_file(self) -> Result<FileNode> {
        match self {
            Self::File(file) => Ok(file),
            Self::Unmeasured(_) => Err(Error::unsupported("a file that does not state sizes")),
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
        if node.len() != data.block_sizes().len() {
            return Err(Error::malformed(FILE, "it has not as many sizes as links"));
        }
        let size = add_up(&data, data.block_sizes())?;
        let (content, mode, mtime) =
            (data.content().unwrap_or_default(), data.mode(), data.mtime());
        let children = (!node.is_empty()).then_some((node, Sizes::Stated(data)));
        Ok(Self { content, children, size, mode, mtime })
    }

    /// Whether it has no children.
    pub const fn is_leaf(&self) -> bool {
        self.children.is_none()
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
        self.children.iter().flat_map(|(node, sizes)| {
            let (stated, measured) = match sizes {
                Sizes::Stated(data) => (Some(data.block_sizes()), None),
                Sizes::Measured(sizes) => (None, Some(sizes.iter().copied())),
            };
            let sizes = stated.into_iter().flatten().chain(measured.into_iter().flatten());
            std::iter::zip(node.links().map(|link| link.cid), sizes)
        })
    }

    /// The same, keeping alive what they are read from.
    pub(crate) fn into_children(self) -> impl Iterator<Item = (Cid, u64)> + Send + 'static {
        self.children.into_iter().flat_map(|(node, sizes)| {
            let sizes: Arc<[u64]> = match sizes {
                Sizes::Stated(data) => data.block_sizes().collect(),
                Sizes::Measured(sizes) => sizes,
            };
            let sizes = (0..sizes.len()).map(move |at| sizes[at]);
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

/// The bytes of a file with parts of these sizes, if they are what its message says.
fn add_up(data: &Data, sizes: impl IntoIterator<Item = u64>) -> Result<u64> {
    let own = data.content().map_or(0, |content| content.len() as u64);
    let size = sizes
        .into_iter()
        .try_fold(own, u64::checked_add)
        .ok_or_else(|| Error::malformed(FILE, "its sizes are beyond 64 bits"))?;
    match data.file_size().is_some_and(|said| said != size) {
        true => Err(Error::malformed(FILE, "its size is not the sum of its parts")),
        false => Ok(size),
    }
}

impl Unmeasured {
    /// Its children.
    pub fn children(&self) -> impl Iterator<Item = Cid> + '_ {
        self.node.links().map(|link| link.cid)
    }

    /// How many bytes it says that it has.
    pub const fn stated_size(&self) -> Option<u64> {
        self.data.file_size()
    }

    /// Permissions and other bits of the mode.
    pub const fn mode(&self) -> Option<u32> {
        self.data.mode()
    }

    /// When it was changed.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.data.mtime()
    }

    /// The file, with the bytes that lie below each child.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for not as many sizes as children; [`Error::Malformed`] when it states
    /// another size than these give, or one beyond 64 bits.
    pub fn measured(self, sizes: Vec<u64>) -> Result<FileNode> {
        let Self { node, data } = self;
        if sizes.len() != node.len() {
            return Err(Error::invalid("sizes", "there are not as many as children"));
        }
        let size = add_up(&data, sizes.iter().copied())?;
        let (content, mode, mtime) =
            (data.content().unwrap_or_default(), data.mode(), data.mtime());
        Ok(FileNode {
            content,
            children: Some((node, Sizes::Measured(sizes.into()))),
            size,
            mode,
            mtime,
        })
    }
}

impl MetadataNode {
    fn parse(node: &dagpb::Node, data: &Data) -> Result<Self> {
        let first = node.links().next();
        let first = first.ok_or_else(|| Error::malformed("UnixFS metadata", "it is of no file"))?;
        Ok(Self { file: first.cid, message: data.content().unwrap_or_default() })
    }

    /// The file that it describes.
    pub const fn file(&self) -> Cid {
        self.file
    }

    /// The media type of the file, where it is given and text.
    pub fn mime_type(&self) -> Option<&str> {
        const WHAT: &str = "UnixFS metadata";
        let mut fields = Fields::new(&self.message, WHAT).map_while(Result::ok);
        let (_, value) = fields.find(|(number, _)| *number == 1)?;
        std::str::from_utf8(value.bytes(WHAT).ok()?).ok()
    }
}

impl DirectoryNode {
    /// The links of a node as a directory, whatever its data says.
    pub(crate) const fn by_names(node: dagpb::Node) -> Self {
        Self { node, mode: None, mtime: None }
    }

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
