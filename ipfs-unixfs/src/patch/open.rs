//! The directories on the way of a path, open for changes.

use ipfs_traits::{Block, Cid, Error, Result, codes};

use super::{Patcher, plain::Plain};
use crate::{
    Change, DirectoryEditor, Name, Node, Target,
    child::stored,
    dagpb,
    data::{Data, Mtime},
};

/// The most names of a path: deeper than any that a system opens.
const MAX_DEPTH: usize = 1024;

/// New blocks that wait to be put together.
const MAX_PENDING: usize = 256;

/// Bytes of them.
const MAX_PENDING_BYTES: usize = 4 << 20;

/// The directories on the way of the last change, from the root on.
pub(super) struct Way<'a> {
    patcher: &'a Patcher,
    root: Cid,
    open: Vec<Open>,
    pending: Vec<Block>,
}

/// A directory that is open.
struct Open {
    name: Name,
    /// What was opened.
    origin: Target,
    changed: bool,
    form: Form,
}

enum Form {
    Directory(Box<DirectoryEditor>),
    Plain(Plain),
}

/// What becomes of an entry.
enum Set {
    To(Target),
    Nothing,
}

impl<'a> Way<'a> {
    pub(super) const fn new(patcher: &'a Patcher, root: Cid) -> Self {
        Self { patcher, root, open: Vec::new(), pending: Vec::new() }
    }

    pub(super) async fn change(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Changed { path, after, .. } if path.is_empty() => {
                // Whatever was changed before is not part of it any more.
                self.open.clear();
                self.pending.clear();
                self.root = after.cid;
                Ok(())
            }
            Change::Added { path, after } | Change::Changed { path, after, .. } => {
                self.set(path, Set::To(after)).await
            }
            Change::Removed { path, .. } => self.set(path, Set::Nothing).await,
            Change::Touched { path, mode, mtime } => {
                self.go(&path, false).await?.touch(mode, mtime)
            }
        }
    }

    async fn set(&mut self, mut path: Vec<Name>, to: Set) -> Result<()> {
        let Some(name) = path.pop() else {
            return Err(Error::invalid("path", "it has no names"));
        };
        let make = self.patcher.make_parents && matches!(to, Set::To(_));
        let open = self.go(&path, make).await?;
        match to {
            Set::To(target) => {
                let old = open.insert(name, target).await?;
                open.changed |= old != Some(target);
            }
            Set::Nothing => {
                open.remove(&name).await?.ok_or_else(|| no_entry(&name, &open.origin))?;
                open.changed = true;
            }
        }
        Ok(())
    }

    /// Opens the directory at `path`, and closes those that are not on its way.
    async fn go(&mut self, path: &[Name], make: bool) -> Result<&mut Open> {
        if path.len() >= MAX_DEPTH {
            return Err(Error::limit("names of a path", MAX_DEPTH, path.len() + 1));
        }
        let open = self.open.iter().skip(1).map(|open| &open.name);
        let common = std::iter::zip(open, path).take_while(|(open, name)| open == name).count();
        while self.open.len() > common + 1 {
            self.close().await?;
        }
        if self.open.is_empty() {
            let block = self.get(&self.root.clone()).await?;
            let origin = Target::of(&block)?;
            self.open.push(Open::of(self.patcher, Name::default(), &block, origin)?);
        }
        for name in &path[common..] {
            self.enter(name, make).await?;
        }
        self.open.last_mut().ok_or(Error::Closed("the root"))
    }

    /// Opens a directory in the last one.
    async fn enter(&mut self, name: &Name, make: bool) -> Result<()> {
        let (within, found) = match self.open.last_mut() {
            Some(within) => (within.origin, within.get(name).await?),
            None => return Ok(()),
        };
        let open = match found {
            Some(target) => {
                let block = self.get(&target.cid).await?;
                Open::of(self.patcher, name.clone(), &block, target)?
            }
            None if name.is_empty() => {
                return Err(Error::invalid("path", "a name in it is empty"));
            }
            None if make => Open::new(self.patcher, name.clone(), within),
            None => return Err(no_entry(name, &within)),
        };
        self.open.push(open);
        Ok(())
    }

    /// Seals the last directory, and links to it where it stands.
    async fn close(&mut self) -> Result<Option<Target>> {
        let Some(mut open) = self.open.pop() else {
            return Ok(None);
        };
        if !open.changed {
            return Ok(Some(open.origin));
        }
        let target = open.form.seal(&mut self.pending)?;
        if let Some(within) = self.open.last_mut() {
            let old = within.insert(open.name, target).await?;
            within.changed |= old != Some(target);
        }
        let bytes: usize = self.pending.iter().map(Block::len).sum();
        if self.pending.len() >= MAX_PENDING || bytes >= MAX_PENDING_BYTES {
            self.put().await?;
        }
        Ok(Some(target))
    }

    /// Closes all, and gives the new root.
    pub(super) async fn end(mut self) -> Result<Target> {
        let mut root = None;
        while let Some(target) = self.close().await? {
            root = Some(target);
        }
        self.put().await?;
        match root {
            Some(root) => Ok(root),
            None => self.patcher.target(&self.root).await,
        }
    }

    async fn put(&mut self) -> Result<()> {
        if !self.pending.is_empty() {
            self.patcher.store.put_many(&stored(self.pending.clone())).await?;
            self.pending.clear();
        }
        Ok(())
    }

    async fn get(&mut self, cid: &Cid) -> Result<Block> {
        if self.pending.iter().any(|block| block.cid() == cid) {
            self.put().await?;
        }
        self.patcher.source.get(cid).await
    }
}

impl Open {
    fn of(patcher: &Patcher, name: Name, block: &Block, origin: Target) -> Result<Self> {
        let form = Form::of(patcher, block)?;
        Ok(Self { name, origin, changed: false, form })
    }

    /// A directory that was not there. Errors that are about it name the one that it is in.
    fn new(patcher: &Patcher, name: Name, origin: Target) -> Self {
        let Patcher { source, params, hashes, .. } = patcher;
        let editor = DirectoryEditor::new(source.clone(), params, hashes);
        Self { name, origin, changed: true, form: Form::Directory(Box::new(editor)) }
    }

    async fn get(&mut self, name: &Name) -> Result<Option<Target>> {
        match &mut self.form {
            Form::Directory(directory) => directory.get(name).await,
            Form::Plain(plain) => Ok(plain.get(name)),
        }
    }

    async fn insert(&mut self, name: Name, target: Target) -> Result<Option<Target>> {
        match &mut self.form {
            Form::Directory(directory) => directory.insert(name, target).await,
            Form::Plain(_) if name.is_empty() => {
                Err(Error::invalid("name of a link", "it is empty"))
            }
            Form::Plain(plain) => Ok(plain.insert(name, target)),
        }
    }

    async fn remove(&mut self, name: &Name) -> Result<Option<Target>> {
        match &mut self.form {
            Form::Directory(directory) => directory.remove(name).await,
            Form::Plain(plain) => Ok(plain.remove(name)),
        }
    }

    fn touch(&mut self, mode: Option<u32>, mtime: Option<Mtime>) -> Result<()> {
        match &mut self.form {
            Form::Directory(directory) => {
                self.changed |= (directory.mode(), directory.mtime()) != (mode, mtime);
                directory.set_stat(mode, mtime);
                Ok(())
            }
            Form::Plain(_) => Err(not_unixfs()),
        }
    }
}

impl Form {
    fn of(patcher: &Patcher, block: &Block) -> Result<Self> {
        let Patcher { source, params, hashes, .. } = patcher;
        if block.cid().codec() == codes::DAG_PB {
            let node = dagpb::Node::parse(block.data().clone())?;
            if node.data().is_none_or(|data| Data::parse(data).is_err()) {
                return match patcher.allow_plain {
                    true => Plain::of(node, block.cid(), params, hashes).map(Self::Plain),
                    false => Err(not_unixfs()),
                };
            }
        }
        let node = Node::parse(block)?;
        let mut editor = DirectoryEditor::of(source.clone(), node, params, hashes)?;
        editor.seal_like(block.cid())?;
        Ok(Self::Directory(Box::new(editor)))
    }

    fn seal(&mut self, out: &mut Vec<Block>) -> Result<Target> {
        match self {
            Self::Directory(directory) => directory.seal(out),
            Self::Plain(plain) => plain.seal(out),
        }
    }
}

fn no_entry(name: &Name, within: &Target) -> Error {
    Error::NoEntry { name: name.to_string(), within: Box::new(within.cid) }
}

fn not_unixfs() -> Error {
    Error::WrongKind { expected: "a directory", found: "a dag-pb node that is not UnixFS" }
}
