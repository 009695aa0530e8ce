//! The entries of a directory under change, in one block or over many.

use std::{collections::BTreeMap, ops::ControlFlow};

use ipfs_traits::{Block, Cid, Error, HashTable, Result};

use super::{Bounds, Loads, Size, Target, new::basic};
use crate::{
    Name, Node, Params,
    attributes::Attributes,
    child::{Child, Sealer},
    hamt::{Shard, Tree},
    node::DirectoryNode,
};

/// A directory under change. Nothing here waits: see [`Loads`].
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    sealer: Sealer,
    bounds: Bounds,
    fanout: usize,
    pub(super) form: Form,
    attributes: Attributes,
    /// What is stored of it, if nothing was changed since.
    stored: Option<Target>,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
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

    fn put(
        &mut self,
        loads: &mut Loads,
        name: &Name,
        target: Target,
    ) -> Result<Option<Option<Target>>> {
        match self {
            Self::Basic { entries, .. } => Ok(Some(entries.insert(name.clone(), target))),
            Self::Sharded { tree, .. } => tree.insert(loads, name, target),
        }
    }

    fn take(&mut self, loads: &mut Loads, name: &[u8]) -> Result<Option<Option<Target>>> {
        match self {
            Self::Basic { entries, .. } => Ok(Some(entries.remove(name))),
            Self::Sharded { tree, .. } => tree.remove(loads, name),
        }
    }
}

impl Directory {
    /// A directory without entries.
    pub(crate) fn new(params: &Params, hashes: &HashTable) -> Self {
        let bounds = Bounds::of(params);
        Self {
            sealer: Sealer::nodes(params, hashes),
            bounds,
            fanout: params.fanout,
            form: Form::Basic { entries: BTreeMap::new(), size: bounds.empty(Attributes::NONE) },
            attributes: Attributes::NONE,
            stored: None,
        }
    }

    /// The directory whose first block this is. New blocks get CIDs as `params` say.
    pub(crate) fn of(node: Node, params: &Params, hashes: &HashTable) -> Result<Self> {
        let mut directory = Self::new(params, hashes);
        match node {
            Node::Directory(node) => directory.load(&node)?,
            Node::Shard(shard) => directory.load_shard(&shard),
            other => {
                let found = other.kind_name();
                return Err(Error::WrongKind { expected: "a directory", found });
            }
        }
        Ok(directory)
    }

    /// From now on new blocks get CIDs like `cid`: see [`Sealer::like`].
    pub(crate) fn seal_like(&mut self, cid: &Cid) -> Result<()> {
        self.sealer = self.sealer.like(cid)?;
        Ok(())
    }

    fn load(&mut self, directory: &DirectoryNode) -> Result<()> {
        self.attributes = Attributes { mode: directory.mode(), mtime: directory.mtime() };
        let mut size = self.bounds.empty(self.attributes);
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
        self.attributes = Attributes { mode: shard.mode(), mtime: shard.mtime() };
        self.fanout = shard.fanout();
        let tree = Box::new(Tree::of(shard));
        self.form = Form::Sharded { tree, least: Size::default() };
    }

    /// How new blocks of it get their CIDs.
    pub(crate) const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Its new blocks get their CIDs so from now on.
    pub(crate) fn set_sealer(&mut self, sealer: Sealer) {
        self.sealer = sealer;
        self.stored = None;
    }

    pub(crate) const fn attributes(&self) -> Attributes {
        self.attributes
    }

    pub(crate) fn set_attributes(&mut self, attributes: Attributes) {
        if let Form::Basic { size, .. } = &mut self.form {
            let before = self.bounds.empty(self.attributes);
            *size = size.minus(before).plus(self.bounds.empty(attributes));
        }
        self.attributes = attributes;
        self.stored = None;
    }

    /// Where the entry of this name leads. `None` if blocks are missing.
    pub(crate) fn get(&mut self, loads: &mut Loads, name: &[u8]) -> Result<Option<Option<Target>>> {
        match &mut self.form {
            Form::Basic { entries, .. } => Ok(Some(entries.get(name).copied())),
            Form::Sharded { tree, .. } => tree.get(loads, name),
        }
    }

    /// Adds an entry, or changes where it leads; gives where it led. `None` if blocks are missing,
    /// and then nothing is changed, nor after an error.
    pub(crate) fn insert(
        &mut self,
        loads: &mut Loads,
        name: &Name,
        target: Target,
    ) -> Result<Option<Option<Target>>> {
        if name.is_empty() {
            return Err(Error::invalid("name of an entry", "it is empty"));
        }
        let Some(old) = self.form.put(loads, name, target)? else {
            return Ok(None);
        };
        if old == Some(target) {
            return Ok(Some(old));
        }
        let gone = old.map(|old| self.bounds.entry(name, old.cid, old.dag_size));
        let new = self.bounds.entry(name, target.cid, target.dag_size);
        self.resize(loads, name, old, (new, gone.unwrap_or_default()))
    }

    /// Takes an entry out; gives where it led. `None` as for [`insert`](Self::insert).
    pub(crate) fn remove(
        &mut self,
        loads: &mut Loads,
        name: &[u8],
    ) -> Result<Option<Option<Target>>> {
        match self.form.take(loads, name)? {
            Some(Some(old)) => {
                let gone = self.bounds.entry(name, old.cid, old.dag_size);
                self.resize(loads, name, Some(old), (Size::default(), gone))
            }
            nothing => Ok(nothing),
        }
    }

    /// Counts what came and went, and changes the form where it must. If that cannot be done, the
    /// entry leads again where it led before.
    fn resize(
        &mut self,
        loads: &mut Loads,
        name: &[u8],
        old: Option<Target>,
        (new, gone): (Size, Size),
    ) -> Result<Option<Option<Target>>> {
        let stored = self.stored.take();
        let before = *self.form.size();
        *self.form.size() = before.plus(new).minus(gone);
        let done = match &self.form {
            Form::Basic { size, .. } if self.bounds.exceeded(*size) => self.spread(),
            Form::Sharded { least, .. }
                if (gone.bytes > new.bytes || gone.links > new.links)
                    && self.bounds.any()
                    && !self.bounds.exceeded(*least) =>
            {
                self.gather(loads)
            }
            _ => return Ok(Some(old)),
        };
        if let Ok(Some(())) = done {
            return Ok(Some(old));
        }
        // The way there is open, so that this cannot fail.
        match old {
            Some(old) => self.form.put(loads, &name.into(), old)?,
            None => self.form.take(loads, name)?,
        };
        *self.form.size() = before;
        self.stored = stored;
        done.map(|_| None)
    }

    /// Spreads the entries over many blocks.
    fn spread(&mut self) -> Result<Option<()>> {
        let Form::Basic { entries, size } = &self.form else {
            return Ok(Some(()));
        };
        let mut tree = Box::new(Tree::new(self.fanout));
        for (name, target) in entries {
            tree.insert(&mut Loads::default(), name, *target)?;
        }
        let least = size.minus(self.bounds.empty(self.attributes));
        self.form = Form::Sharded { tree, least };
        Ok(Some(()))
    }

    /// Gathers the entries in one block if they fit there, and knows better how many there are if
    /// not.
    fn gather(&mut self, loads: &mut Loads) -> Result<Option<()>> {
        let Form::Sharded { tree, least } = &mut self.form else {
            return Ok(Some(()));
        };
        let bounds = self.bounds;
        let mut size = bounds.empty(self.attributes);
        let mut entries = BTreeMap::new();
        let mut visit = |name: &[u8], target: Target| {
            size = size.plus(bounds.entry(name, target.cid, target.dag_size));
            if bounds.exceeded(size) {
                entries.clear();
            } else {
                entries.insert(name.into(), target);
            }
            match bounds.far_exceeded(size) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        if tree.visit_loaded(loads, &mut visit)?.is_none() {
            return Ok(None);
        }
        if bounds.exceeded(size) {
            *least = size;
        } else {
            self.form = Form::Basic { entries, size };
        }
        Ok(Some(()))
    }

    /// What is stored of it, if nothing was changed since.
    pub(crate) const fn stored(&self) -> Option<Target> {
        self.stored
    }

    /// The root, and in `out` the blocks that are to be stored before anything links to it. Nothing
    /// counts as stored until [`settle`](Self::settle).
    pub(crate) fn seal(&mut self, out: &mut Vec<Block>) -> Result<Target> {
        if let Some(stored) = self.stored {
            return Ok(stored);
        }
        let attributes = self.attributes;
        let child: Child = match &mut self.form {
            Form::Basic { entries, .. } => {
                let links = entries.iter().map(|(name, target)| target.link(name));
                let below = entries
                    .values()
                    .fold(0, |sum: u64, target| sum.saturating_add(target.dag_size));
                let (block, child) = self.sealer.seal(basic(links, attributes)?, 0, below)?;
                out.push(block);
                child
            }
            Form::Sharded { tree, .. } => tree.seal(&self.sealer, attributes, out)?,
        };
        Ok(child.into())
    }

    /// What was sealed is stored now, and nothing was changed since.
    pub(crate) fn settle(&mut self, sealed: Target) {
        self.stored = Some(sealed);
        if let Form::Sharded { tree, .. } = &mut self.form {
            tree.settle();
        }
    }
}
