//! A directory that is changed an entry at a time.

use std::{collections::BTreeMap, fmt, ops::ControlFlow, sync::Arc};

use ipfs_traits::{Block, BlockSource, Blockstore, Cid, Error, HashTable, Result};

use super::{Bounds, Size, Target, new::basic};
use crate::{
    Name, Node, Params,
    child::{Child, Sealer},
    data::Mtime,
    hamt::{Shard, Tree},
    node::DirectoryNode,
};

/// A directory that is changed an entry at a time: a value in memory, until it is
/// [written](Self::write).
///
/// A directory that has become too large for one block is spread over many, and gathered again when
/// it fits, at exactly the sizes that [`Params`] say: what it is depends on its entries alone, not
/// on the way they came. Of a directory over many blocks a change loads and writes the blocks on the
/// way of the name's hash, one for each level. To see whether it would fit one block again, a
/// removal must also look at other entries; that is done once for about as many removals as one
/// block has entries.
///
/// ```
/// # use std::sync::Arc;
/// # use ipfs_traits::{memory::MemoryStore, HashTable, Local, VirtualRuntime};
/// use ipfs_unixfs::{DirectoryEditor, Importer, Params, Target};
///
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// let file = Importer::new(store.clone(), Arc::new(runtime.clone())).bytes("hello").await?;
///
/// let source = Arc::new(Local(store.clone()));
/// let mut directory = DirectoryEditor::new(source, &Params::default(), &HashTable::standard());
/// let target = Target { cid: file.cid, dag_size: file.dag_size };
/// directory.insert("hello.txt", target).await?;
/// let written = directory.write(&store).await?;
/// assert_eq!(
///     written.cid.to_string(),
///     "bafybeihgnfm6a6g2kcj75cndwtyb2oqd3oovm4o6yxsyfv6pgrnqnqeyna",
/// );
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone)]
pub struct DirectoryEditor {
    source: Arc<dyn BlockSource>,
    sealer: Sealer,
    bounds: Bounds,
    fanout: usize,
    form: Form,
    mode: Option<u32>,
    mtime: Option<Mtime>,
    /// What was written or opened, if nothing was changed since.
    written: Option<Target>,
}

#[derive(Clone)]
enum Form {
    Basic {
        entries: BTreeMap<Name, Target>,
        size: Size,
    },
    Sharded {
        tree: Box<Tree>,
        /// It is at least so large.
        least: Size,
    },
}

impl Form {
    /// What is known of its size.
    const fn size(&mut self) -> &mut Size {
        match self {
            Self::Basic { size, .. } | Self::Sharded { least: size, .. } => size,
        }
    }
}

impl DirectoryEditor {
    /// A directory without entries, over what `source` has.
    pub fn new(source: Arc<dyn BlockSource>, params: &Params, hashes: &HashTable) -> Self {
        let bounds = Bounds::of(params);
        let form = Form::Basic { entries: BTreeMap::new(), size: bounds.empty(None, None) };
        Self {
            source,
            sealer: Sealer::nodes(params, hashes),
            bounds,
            fanout: params.fanout,
            form,
            mode: None,
            mtime: None,
            written: None,
        }
    }

    /// The directory at `cid`, whose first block is fetched and no other.
    ///
    /// New blocks get CIDs as `params` say, whatever that of the directory is.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory; [`Error::Malformed`], also for one that has
    /// two entries of one name; what the source says.
    pub async fn open(
        source: Arc<dyn BlockSource>,
        cid: &Cid,
        params: &Params,
        hashes: &HashTable,
    ) -> Result<Self> {
        let block = source.get(cid).await?;
        let mut editor = Self::new(source, params, hashes);
        match Node::parse(&block)? {
            Node::Directory(directory) => editor.load(&directory)?,
            Node::Shard(shard) => editor.load_shard(&shard),
            other => {
                let found = other.kind_name();
                return Err(Error::WrongKind { expected: "a directory", found });
            }
        }
        Ok(editor)
    }

    fn load(&mut self, directory: &DirectoryNode) -> Result<()> {
        (self.mode, self.mtime) = (directory.mode(), directory.mtime());
        let mut size = self.bounds.empty(self.mode, self.mtime);
        let mut entries = BTreeMap::new();
        for link in directory.entries() {
            let name = Name::from(link.name.unwrap_or_default());
            let target = Target { cid: link.cid, dag_size: link.tsize.unwrap_or(0) };
            size = size.plus(self.bounds.entry(&name, target.cid, target.dag_size));
            if entries.insert(name, target).is_some() {
                return Err(Error::malformed("directory", "it has two entries of one name"));
            }
        }
        self.form = Form::Basic { entries, size };
        Ok(())
    }

    fn load_shard(&mut self, shard: &Shard) {
        (self.mode, self.mtime) = (shard.mode(), shard.mtime());
        self.fanout = shard.fanout();
        self.form = Form::Sharded { tree: Box::new(Tree::of(shard)), least: Size::default() };
    }

    /// Permissions and other bits of the mode.
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// When it was changed.
    pub const fn mtime(&self) -> Option<Mtime> {
        self.mtime
    }

    /// Sets the mode and the time of change. They count for the size of a directory in one block,
    /// which the next change of an entry looks at.
    pub fn set_stat(&mut self, mode: Option<u32>, mtime: Option<Mtime>) {
        if let Form::Basic { size, .. } = &mut self.form {
            let before = self.bounds.empty(self.mode, self.mtime);
            *size = size.minus(before).plus(self.bounds.empty(mode, mtime));
        }
        (self.mode, self.mtime) = (mode, mtime);
        self.written = None;
    }

    /// Where the entry of this name leads.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::Limit`] for blocks that are no directory's; what the source
    /// says.
    pub async fn get(&mut self, name: impl AsRef<[u8]>) -> Result<Option<Target>> {
        let name = name.as_ref();
        match &mut self.form {
            Form::Basic { entries, .. } => Ok(entries.get(name).copied()),
            Form::Sharded { tree, .. } => tree.get(&*self.source, name).await,
        }
    }

    /// Adds an entry, or changes where it leads; gives where it led before.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a name without bytes; otherwise as [`get`](Self::get). After an error
    /// the directory is as before.
    pub async fn insert(
        &mut self,
        name: impl Into<Name>,
        target: Target,
    ) -> Result<Option<Target>> {
        let name = name.into();
        if name.is_empty() {
            return Err(Error::invalid("name of an entry", "it is empty"));
        }
        let new = self.bounds.entry(&name, target.cid, target.dag_size);
        let old = match &mut self.form {
            Form::Basic { entries, .. } => entries.insert(name.clone(), target),
            Form::Sharded { tree, .. } => tree.insert(&*self.source, name.clone(), target).await?,
        };
        let gone = old.map(|old| self.bounds.entry(&name, old.cid, old.dag_size));
        self.resize_or_undo(&name, old, new, gone.unwrap_or_default()).await?;
        Ok(old)
    }

    /// Takes an entry out; gives where it led.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn remove(&mut self, name: impl AsRef<[u8]>) -> Result<Option<Target>> {
        let name = name.as_ref();
        let old = match &mut self.form {
            Form::Basic { entries, .. } => entries.remove(name),
            Form::Sharded { tree, .. } => tree.remove(&*self.source, name).await?,
        };
        if let Some(target) = old {
            let gone = self.bounds.entry(name, target.cid, target.dag_size);
            self.resize_or_undo(name, old, Size::default(), gone).await?;
        }
        Ok(old)
    }

    /// [`resize`](Self::resize), after which an entry leads again where it led before if that fails.
    async fn resize_or_undo(
        &mut self,
        name: &[u8],
        old: Option<Target>,
        new: Size,
        gone: Size,
    ) -> Result<()> {
        self.written = None;
        let before = *self.form.size();
        let Err(error) = self.resize(new, gone).await else {
            return Ok(());
        };
        match (&mut self.form, old) {
            (Form::Basic { entries, .. }, Some(old)) => drop(entries.insert(name.into(), old)),
            (Form::Basic { entries, .. }, None) => drop(entries.remove(name)),
            // The way there is loaded.
            (Form::Sharded { tree, .. }, Some(old)) => {
                tree.insert(&*self.source, name.into(), old).await?;
            }
            (Form::Sharded { tree, .. }, None) => drop(tree.remove(&*self.source, name).await?),
        }
        *self.form.size() = before;
        Err(error)
    }

    /// Counts what came and went, and changes the form where it must.
    async fn resize(&mut self, new: Size, gone: Size) -> Result<()> {
        match &mut self.form {
            Form::Basic { size, .. } => {
                *size = size.plus(new).minus(gone);
                if self.bounds.exceeded(*size) {
                    self.spread().await?;
                }
            }
            Form::Sharded { least, .. } => {
                *least = least.plus(new).minus(gone);
                let smaller = gone.bytes > new.bytes || gone.links > new.links;
                if smaller && self.bounds.any() && !self.bounds.exceeded(*least) {
                    self.gather().await?;
                }
            }
        }
        Ok(())
    }

    /// Spreads the entries over many blocks.
    async fn spread(&mut self) -> Result<()> {
        let Form::Basic { entries, size } = &mut self.form else {
            return Ok(());
        };
        let mut tree = Box::new(Tree::new(self.fanout));
        for (name, target) in &*entries {
            tree.insert(&*self.source, name.clone(), *target).await?;
        }
        let least = size.minus(self.bounds.empty(self.mode, self.mtime));
        self.form = Form::Sharded { tree, least };
        Ok(())
    }

    /// Gathers the entries in one block if they fit there, and knows better how many there are if
    /// not.
    async fn gather(&mut self) -> Result<()> {
        let Form::Sharded { tree, least } = &mut self.form else {
            return Ok(());
        };
        let bounds = self.bounds;
        let mut size = bounds.empty(self.mode, self.mtime);
        let mut entries = BTreeMap::new();
        let mut visit = |name: &Name, target: Target| {
            size = size.plus(bounds.entry(name, target.cid, target.dag_size));
            if bounds.exceeded(size) {
                entries.clear();
            } else {
                entries.insert(name.clone(), target);
            }
            match bounds.far_exceeded(size) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        tree.visit(&*self.source, &mut visit).await?;
        if bounds.exceeded(size) {
            *least = size;
        } else {
            self.form = Form::Basic { entries, size };
        }
        Ok(())
    }

    /// Calls `visit` with every entry: by name in a directory of one block, by hash in one of many.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub async fn for_each(&self, mut visit: impl FnMut(&Name, Target) + Send) -> Result<()> {
        match &self.form {
            Form::Basic { entries, .. } => {
                entries.iter().for_each(|(name, target)| visit(name, *target));
                Ok(())
            }
            Form::Sharded { tree, .. } => {
                let mut visit = |name: &Name, target: Target| {
                    visit(name, target);
                    ControlFlow::Continue(())
                };
                tree.visit(&*self.source, &mut visit).await.map(drop)
            }
        }
    }

    /// Stores what was changed, and gives the directory's root. It does not flush the store.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a directory that is to be in one block and has no room there; what the
    /// store says.
    pub async fn write(&mut self, store: &impl Blockstore) -> Result<Target> {
        let mut blocks = Vec::new();
        let target = self.seal(&mut blocks)?;
        store.put_many(&blocks).await?;
        self.settle(target);
        Ok(target)
    }

    /// What was sealed is stored now.
    pub(crate) fn settle(&mut self, sealed: Target) {
        self.written = Some(sealed);
        if let Form::Sharded { tree, .. } = &mut self.form {
            tree.settle();
        }
    }

    /// The root, and in `out` the blocks that are to be stored before anything links to it. Nothing
    /// counts as stored until [`settle`](Self::settle).
    pub(crate) fn seal(&mut self, out: &mut Vec<Block>) -> Result<Target> {
        if let Some(written) = self.written {
            return Ok(written);
        }
        let stat = (self.mode, self.mtime);
        let child: Child = match &mut self.form {
            Form::Basic { entries, .. } => {
                let links = entries.iter().map(|(name, target)| target.link(name));
                let below = entries
                    .values()
                    .fold(0, |sum: u64, target| sum.saturating_add(target.dag_size));
                let (block, child) = self.sealer.seal(basic(links, stat)?, 0, below)?;
                out.push(block);
                child
            }
            Form::Sharded { tree, .. } => tree.seal(&self.sealer, stat, out)?,
        };
        Ok(child.into())
    }
}

impl fmt::Debug for DirectoryEditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sharded = matches!(self.form, Form::Sharded { .. });
        f.debug_struct("DirectoryEditor").field("sharded", &sharded).finish_non_exhaustive()
    }
}
