//! Files that are changed in place: written over, appended to, cut off.

mod balanced;
mod overwrite;
mod part;
mod trickle;

use std::{fmt, sync::Arc};

use bytes::{Bytes, BytesMut};
use ipfs_traits::{
    Block, BlockSource, Blockstore, Cid, Error, HashTable, Result, Runtime, RuntimeExt,
};

use self::part::Part;
use crate::{
    Chunker, Exporter, File, Layout, Params, Target,
    attributes::Attributes,
    child::{Child, Sealer, stored},
    data::Mtime,
};

/// Bytes that are written together. Kubo keeps as many before it writes.
const BUFFER: usize = 2 << 20;

/// The most bytes of zeros by which one call lets a file grow: a stranger who may say where to write
/// cannot fill a disk with one byte.
const MAX_GROWTH: u64 = 4 << 30;

/// A file that is changed in place.
///
/// What is written lies in a buffer of 2 MiB until that is full, something is written elsewhere, or
/// [`flush`](Self::flush) is called; then the leaves that it covers are made anew, and the nodes on
/// the way to them, and no others are read or written. New leaves come at the end. Bytes beyond the
/// end that were never written are zeros.
///
/// The layout of [`Params`] says how a file grows and shrinks:
///
/// - [`Layout::Balanced`]: as if it had been imported with these parameters. With chunks of a fixed
///   size the CID is that of an import of the same content, whatever was written in what order; with
///   others it is so while bytes are only appended or cut off.
/// - [`Layout::Trickle`]: as Kubo's `ipfs files write` does it, CIDs included: what is appended
///   begins a new leaf, room that is jumped over is filled with leaves of 4 KiB, and a file that was
///   cut off keeps its last leaf, which may be empty.
///
/// Nodes that are there keep the version and the hash function of their CIDs, and new ones get those
/// of the file. Its mode and its time stay as they are.
///
/// ```
/// # use std::sync::Arc;
/// # use ipfs_traits::{memory::MemoryStore, HashTable, Local, VirtualRuntime};
/// use ipfs_unixfs::{FileEditor, Params};
///
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// # let source = Arc::new(Local(store.clone()));
/// # let runtime = Arc::new(runtime.clone());
/// let mut file = FileEditor::create(source, store, runtime, &Params::default());
/// file.write_at(0, "hello there").await?;
/// file.write_at(6, "world").await?;
/// let target = file.flush().await?;
/// // What `ipfs add --cid-version=1` says of the same content.
/// assert_eq!(
///     target.cid.to_string(),
///     "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
/// );
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap().unwrap();
/// ```
pub struct FileEditor {
    source: Arc<dyn BlockSource>,
    store: Arc<dyn Blockstore>,
    runtime: Arc<dyn Runtime>,
    params: Params,
    hashes: HashTable,
    /// How new nodes of the file get their CIDs.
    sealer: Sealer,
    /// The root, if anything of the file is stored.
    root: Option<Child>,
    attributes: Attributes,
    /// What is written and not stored, and where.
    buffer: BytesMut,
    start: u64,
}

impl FileEditor {
    /// A new file without content, which is stored by the first [`flush`](Self::flush).
    pub fn create(
        source: Arc<dyn BlockSource>,
        store: Arc<dyn Blockstore>,
        runtime: Arc<dyn Runtime>,
        params: &Params,
    ) -> Self {
        let hashes = HashTable::standard();
        let sealer = Sealer::nodes(params, &hashes);
        let (buffer, params) = (BytesMut::new(), params.clone());
        Self {
            source,
            store,
            runtime,
            params,
            hashes,
            sealer,
            root: None,
            attributes: Attributes::NONE,
            buffer,
            start: 0,
        }
    }

    /// The file at `cid`, whose first block is fetched and no other.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no file; [`Error::Malformed`]; what the source says.
    pub async fn open(
        source: Arc<dyn BlockSource>,
        store: Arc<dyn Blockstore>,
        runtime: Arc<dyn Runtime>,
        cid: &Cid,
        params: &Params,
    ) -> Result<Self> {
        let part = Part::parse(&source.get(cid).await?)?;
        let mut editor = Self::create(source, store, runtime, params);
        // A raw block may belong to a tree of either version.
        if !part.is_raw() || params.layout == Layout::Trickle {
            editor.sealer = Sealer::nodes(params, &editor.hashes).like(cid)?;
        }
        editor.attributes = part.attributes;
        editor.root = Some(part.child(*cid));
        Ok(editor)
    }

    /// Uses these hash functions.
    #[must_use]
    pub fn hashes(mut self, hashes: HashTable) -> Self {
        self.sealer = self.sealer.with_hashes(&hashes);
        self.hashes = hashes;
        self
    }

    /// Its new nodes get their CIDs so.
    pub(crate) fn seal_by(&mut self, sealer: Sealer) {
        self.sealer = sealer;
    }

    /// Permissions and other bits of the mode.
    pub const fn mode(&self) -> Option<u32> {
        self.attributes.mode
    }

    /// When it was changed, as it says.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.attributes.mtime
    }

    /// How many bytes it has, what is not flushed included.
    pub fn size(&self) -> u64 {
        self.stored_size().max(self.buffered_to())
    }

    /// Where what is buffered ends; 0 if nothing is.
    fn buffered_to(&self) -> u64 {
        match self.buffer.len() as u64 {
            0 => 0,
            len => self.start + len,
        }
    }

    /// Writes over what is at `offset`, and further than the end.
    ///
    /// # Cancel safety
    ///
    /// Of a call that fails or is dropped some bytes may be written. What was written before is
    /// kept, also if it could not be stored.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for an end beyond 2⁶³ bytes, and for more than 4 GiB that are jumped over;
    /// [`Error::Malformed`], [`Error::Unsupported`] for a tree that cannot be changed; what the
    /// source and the store say.
    pub async fn write_at(&mut self, offset: u64, data: impl AsRef<[u8]>) -> Result<()> {
        let mut data = data.as_ref();
        check_end(offset.checked_add(data.len() as u64))?;
        check_growth(self.size(), offset)?;
        if self.buffer.is_empty() || offset != self.buffered_to() {
            self.sync().await?;
            self.start = offset;
        }
        let most = self.buffer_size();
        while !data.is_empty() {
            let room = most.saturating_sub(self.buffer.len()).min(data.len());
            self.buffer.extend_from_slice(&data[..room]);
            data = &data[room..];
            if !data.is_empty() {
                let end = self.buffered_to();
                self.sync().await?;
                self.start = end;
            }
        }
        Ok(())
    }

    /// Writes behind the end.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn append(&mut self, data: impl AsRef<[u8]>) -> Result<()> {
        self.write_at(self.size(), data).await
    }

    /// Whole leaves, where that can be: what is appended in pieces is then as what is appended at
    /// once.
    const fn buffer_size(&self) -> usize {
        match self.params.chunker {
            Chunker::Fixed(size) if size <= BUFFER => BUFFER / size * size,
            Chunker::Fixed(size) => size,
            _ => BUFFER,
        }
    }

    /// Cuts the file off, or lets it grow by zeros.
    ///
    /// # Cancel safety
    ///
    /// A call that fails or is dropped may have written what was in the buffer, and no more.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn truncate(&mut self, size: u64) -> Result<()> {
        check_end(Some(size))?;
        check_growth(self.size(), size)?;
        self.sync().await?;
        let now = self.stored_size();
        if size > now {
            self.grow(size - now).await
        } else if size < now {
            match self.params.layout {
                Layout::Balanced => self.cut_balanced(size).await,
                Layout::Trickle => self.cut_trickle(size).await,
            }
        } else {
            Ok(())
        }
    }

    /// Stores all that was written, and gives where the file leads. It does not flush the store.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn flush(&mut self) -> Result<Target> {
        self.sync().await?;
        let root = match self.root {
            Some(root) if self.params.layout == Layout::Trickle && self.params.raw_leaves => {
                self.as_leaf(root).await?
            }
            Some(root) => root,
            None => {
                let (block, root) = self.root().await?.seal(&self.sealer)?;
                self.set_root(vec![block], root).await?;
                root
            }
        };
        self.root = Some(root);
        Ok(root.into())
    }

    /// Sets the mode and the time of change of the file.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn set_stat(&mut self, mode: Option<u32>, mtime: Option<Mtime>) -> Result<()> {
        self.flush().await?;
        let part = self.root().await?.with_attributes(Attributes { mode, mtime });
        let (block, child) = part.seal(&self.sealer)?;
        self.set_root(vec![block], child).await?;
        self.attributes = Attributes { mode, mtime };
        Ok(())
    }

    /// Opens what is written by now for reading.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn reader(&mut self) -> Result<File> {
        let target = self.flush().await?;
        let exporter = Exporter::new(self.source.clone(), self.runtime.clone());
        exporter.open(&target.cid).await
    }

    /// Stores what is in the buffer. It stays there until that is done.
    async fn sync(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let size = self.stored_size();
        if self.start > size {
            self.grow(self.start - size).await?;
        }
        let data = Bytes::copy_from_slice(&self.buffer);
        // At most what is in the buffer.
        let over = (self.stored_size() - self.start).min(data.len() as u64) as usize;
        if over > 0 {
            self.overwrite(self.start, data.slice(..over)).await?;
        }
        if over < data.len() {
            self.grow_by(data.slice(over..)).await?;
        }
        self.start += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    async fn grow_by(&mut self, data: Bytes) -> Result<()> {
        match self.params.layout {
            Layout::Balanced => self.append_balanced(data).await,
            Layout::Trickle => self.append_trickle(data).await,
        }
    }

    async fn grow(&mut self, count: u64) -> Result<()> {
        match self.params.layout {
            Layout::Balanced => self.zeros_balanced(count).await,
            Layout::Trickle => self.zeros_trickle(count).await,
        }
    }

    /// The root; a file of which nothing is stored has no content.
    async fn root(&self) -> Result<Part> {
        match &self.root {
            Some(root) => self.part(root).await,
            None => {
                let is_raw = self.params.layout == Layout::Balanced && self.params.raw_leaves;
                Ok(Part::empty(is_raw))
            }
        }
    }

    fn stored_size(&self) -> u64 {
        self.root.map_or(0, |root| root.size)
    }

    /// A part of the file, which must be as long as is said.
    async fn part(&self, child: &Child) -> Result<Part> {
        let part = Part::parse(&self.source.get(&child.cid).await?)?;
        match part.size() == child.size {
            true => Ok(part),
            false => Err(part::wrong("a part of it has not the size that it should")),
        }
    }

    /// Stores blocks, of which the last may be the root, and lets the file begin there.
    async fn set_root(&mut self, blocks: Vec<Block>, root: Child) -> Result<()> {
        self.store.put_many(&stored(blocks)).await?;
        self.root = Some(root);
        Ok(())
    }

    /// Leaves of these pieces, where blocking work goes.
    async fn leaves(&self, pieces: Vec<Bytes>, raw: bool) -> Result<Vec<(Block, Child)>> {
        let (sealer, kind) =
            (self.sealer.clone(), crate::layout::Growing::leaf_kind(self.params.layout));
        self.runtime.blocking(move || part::leaves(&sealer, kind, raw, pieces)).await?
    }
}

fn check_end(end: Option<u64>) -> Result<()> {
    match end.filter(|end| *end <= i64::MAX as u64) {
        Some(_) => Ok(()),
        None => Err(Error::Limit {
            what: "bytes of a file",
            limit: i64::MAX as u64,
            actual: end.unwrap_or(u64::MAX),
        }),
    }
}

fn check_growth(size: u64, to: u64) -> Result<()> {
    match to.saturating_sub(size) {
        0..=MAX_GROWTH => Ok(()),
        actual => Err(Error::Limit { what: "bytes jumped over", limit: MAX_GROWTH, actual }),
    }
}

impl fmt::Debug for FileEditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileEditor").field("size", &self.size()).finish_non_exhaustive()
    }
}
