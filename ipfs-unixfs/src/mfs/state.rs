//! The tree in memory: the directories that are open, and what was changed in them.
//!
//! Nothing here waits. What needs a block that is not here changes nothing, says which, and is done
//! again when the block has come.

mod files;
mod seal;

use std::{
    collections::{BTreeMap, HashMap},
    task::Waker,
};

use ipfs_traits::{Block, Cid, Error, HashTable, Result};

use self::files::OpenFile;
pub(super) use self::{files::FileId, seal::Sealing};
use super::path::Path;
use crate::{
    Name, Node, Params,
    child::Sealer,
    directory::{Directory, Loads, Target},
};

/// A directory that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DirId(u64);

#[derive(Debug)]
pub(super) struct State {
    pub(super) params: Params,
    pub(super) hashes: HashTable,
    dirs: HashMap<DirId, Dir>,
    files: HashMap<FileId, OpenFile>,
    root: DirId,
    last: u64,
    /// What was flushed last, or opened.
    flushed: Cid,
    /// How many files were closed, and who waits for the next.
    closed: u64,
    waiting: Vec<Waker>,
}

#[derive(Debug)]
struct Dir {
    parent: Option<(DirId, Name)>,
    content: Directory,
    /// Its entries that are open.
    dirs: BTreeMap<Name, DirId>,
    files: BTreeMap<Name, FileId>,
    /// Counts its changes, and those below; 0 when what is stored is all there is.
    changes: u64,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Dir(DirId),
    /// A file, a symbolic link, or what is no UnixFS.
    Other(Target, Box<Result<Node>>),
}

impl State {
    pub(super) fn new(params: Params, hashes: HashTable, root: Directory, flushed: Cid) -> Self {
        let id = DirId(0);
        let mut root = Dir::new(None, root);
        // A new tree is stored by its first flush.
        root.changes = u64::from(root.content.stored().is_none());
        let (dirs, files) = (HashMap::from([(id, root)]), HashMap::new());
        Self {
            params,
            hashes,
            dirs,
            files,
            root: id,
            last: 1,
            flushed,
            closed: 0,
            waiting: Vec::new(),
        }
    }

    pub(super) const fn root(&self) -> DirId {
        self.root
    }

    pub(super) const fn flushed(&self) -> Cid {
        self.flushed
    }

    fn dir(&mut self, id: DirId) -> Result<&mut Dir> {
        self.dirs.get_mut(&id).ok_or(Error::Closed("the directory"))
    }

    /// The entries of a directory.
    pub(super) fn content(&mut self, id: DirId) -> Result<&mut Directory> {
        self.dir(id).map(|dir| &mut dir.content)
    }

    /// Where a directory leads, if nothing was changed in it.
    pub(super) fn unchanged(&mut self, id: DirId) -> Result<Option<Target>> {
        self.dir(id).map(|dir| dir.content.stored().filter(|_| dir.changes == 0))
    }

    const fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// What the entry of this name is; of a directory, it is opened. `None` if blocks are missing.
    pub(super) fn entry(
        &mut self,
        loads: &mut Loads,
        id: DirId,
        name: &Name,
    ) -> Result<Option<Found>> {
        let dir = self.dir(id)?;
        if let Some(open) = dir.dirs.get(name) {
            return Ok(Some(Found::Dir(*open)));
        }
        let Some(target) = dir.content.get(loads, name)? else {
            return Ok(None);
        };
        let Some(target) = target else {
            return Ok(Some(Found::Nothing));
        };
        let inline = Block::inline(&target.cid);
        let Some(block) = inline.or_else(|| loads.get(&target.cid)) else {
            return Ok(None);
        };
        match Node::parse(&block) {
            Ok(node @ (Node::Directory(_) | Node::Shard(_))) => {
                let mut content = Directory::of(node, &self.params, &self.hashes)?;
                content.set_sealer(Sealer::nodes(&self.params, &self.hashes).like(&target.cid)?);
                content.settle(target);
                Ok(Some(Found::Dir(self.open(id, name.clone(), content)?)))
            }
            node => Ok(Some(Found::Other(target, Box::new(node)))),
        }
    }

    /// Opens a directory that stands in another one.
    fn open(&mut self, parent: DirId, name: Name, content: Directory) -> Result<DirId> {
        let id = DirId(self.next());
        self.dirs.insert(id, Dir::new(Some((parent, name.clone())), content));
        self.dir(parent)?.dirs.insert(name, id);
        Ok(id)
    }

    /// The directory at the end of these names. `None` if blocks are missing.
    pub(super) fn walk(&mut self, loads: &mut Loads, names: &[Name]) -> Result<Option<DirId>> {
        let mut at = self.root;
        for name in names {
            match self.entry(loads, at, name)? {
                None => return Ok(None),
                Some(Found::Dir(id)) => at = id,
                Some(Found::Nothing) => return Err(self.no_entry(name)),
                Some(Found::Other(_, node)) => return Err(no_directory(&(*node)?)),
            }
        }
        Ok(Some(at))
    }

    /// What is at the end of a path. `None` if blocks are missing.
    pub(super) fn find(&mut self, loads: &mut Loads, path: &Path) -> Result<Option<Found>> {
        let Ok((directory, name)) = path.split() else {
            return Ok(Some(Found::Dir(self.root)));
        };
        let Some(id) = self.walk(loads, directory)? else {
            return Ok(None);
        };
        match self.entry(loads, id, name)? {
            Some(Found::Nothing) => Err(self.no_entry(name)),
            found => Ok(found),
        }
    }

    pub(super) fn no_entry(&self, name: &Name) -> Error {
        Error::NoEntry { name: name.to_string(), within: Box::new(self.flushed) }
    }

    /// The directory at the end of these names, made where it is missing. `None` if blocks are
    /// missing.
    pub(super) fn walk_or_make(
        &mut self,
        loads: &mut Loads,
        names: &[Name],
        new: &Directory,
    ) -> Result<Option<DirId>> {
        let mut at = self.root;
        for name in names {
            at = match self.entry(loads, at, name)? {
                None => return Ok(None),
                Some(Found::Dir(id)) => id,
                Some(Found::Nothing) => match self.make(loads, at, name, new.clone())? {
                    None => return Ok(None),
                    Some(id) => id,
                },
                Some(Found::Other(_, node)) => return Err(no_directory(&(*node)?)),
            };
        }
        Ok(Some(at))
    }

    /// Makes a directory where nothing is. `None` if blocks are missing.
    pub(super) fn make(
        &mut self,
        loads: &mut Loads,
        parent: DirId,
        name: &Name,
        content: Directory,
    ) -> Result<Option<DirId>> {
        // Where it leads is said when it is sealed, but its name has to be there.
        let target = content.clone().seal(&mut Vec::new())?;
        if self.put(loads, parent, name, target)?.is_none() {
            return Ok(None);
        }
        let id = self.open(parent, name.clone(), content)?;
        self.touch(id)?;
        Ok(Some(id))
    }

    /// Sets where an entry leads. `None` if blocks are missing.
    pub(super) fn put(
        &mut self,
        loads: &mut Loads,
        id: DirId,
        name: &Name,
        target: Target,
    ) -> Result<Option<()>> {
        if self.content(id)?.insert(loads, name, target)?.is_none() {
            return Ok(None);
        }
        self.touch(id)?;
        Ok(Some(()))
    }

    /// Takes an entry out, with what is open below it. `None` if blocks are missing.
    pub(super) fn remove(
        &mut self,
        loads: &mut Loads,
        id: DirId,
        name: &Name,
    ) -> Result<Option<()>> {
        if self.content(id)?.remove(loads, name)?.is_none() {
            return Ok(None);
        }
        let dir = self.dir(id)?;
        let (below, file) = (dir.dirs.remove(name), dir.files.remove(name));
        if let Some(below) = below {
            self.close(below);
        }
        self.orphan(file);
        self.touch(id)?;
        Ok(Some(()))
    }

    /// What was open under a name is no longer what stands there.
    pub(super) fn replaced(&mut self, id: DirId, name: &Name) -> Result<()> {
        let file = self.dir(id)?.files.remove(name);
        self.orphan(file);
        Ok(())
    }

    /// Closes a directory and all below it.
    fn close(&mut self, id: DirId) {
        let mut ids = vec![id];
        while let Some(dir) = ids.pop().and_then(|id| self.dirs.remove(&id)) {
            dir.files.into_values().for_each(|file| self.orphan(Some(file)));
            ids.extend(dir.dirs.into_values());
        }
    }

    /// A file that is open has no place any more.
    fn orphan(&mut self, file: Option<FileId>) {
        if let Some(file) = file.and_then(|file| self.files.get_mut(&file)) {
            file.place = None;
        }
    }

    /// Puts what is open under one name under another one.
    pub(super) fn carry(&mut self, from: (DirId, &Name), to: (DirId, &Name)) -> Result<()> {
        let dir = self.dir(from.0)?;
        let (below, file) = (dir.dirs.remove(from.1), dir.files.remove(from.1));
        if let Some(below) = below {
            self.dir(to.0)?.dirs.insert(to.1.clone(), below);
            self.dir(below)?.parent = Some((to.0, to.1.clone()));
        }
        if let Some(file) = file {
            self.dir(to.0)?.files.insert(to.1.clone(), file);
            if let Some(file) = self.files.get_mut(&file) {
                file.place = Some((to.0, to.1.clone()));
            }
        }
        Ok(())
    }

    /// Whether one directory is the other or stands below it.
    pub(super) fn is_within(&self, mut id: DirId, within: DirId) -> bool {
        loop {
            if id == within {
                return true;
            }
            match self.dirs.get(&id).and_then(|dir| dir.parent.as_ref()) {
                Some((parent, _)) => id = *parent,
                None => return false,
            }
        }
    }

    /// A directory was changed, and so was all above it.
    pub(super) fn touch(&mut self, id: DirId) -> Result<()> {
        let count = self.next();
        let mut at = Some(id);
        while let Some(id) = at {
            let dir = self.dir(id)?;
            dir.changes = count;
            at = dir.parent.as_ref().map(|(parent, _)| *parent);
        }
        Ok(())
    }
}

impl Dir {
    const fn new(parent: Option<(DirId, Name)>, content: Directory) -> Self {
        Self { parent, content, dirs: BTreeMap::new(), files: BTreeMap::new(), changes: 0 }
    }
}

fn no_directory(node: &Node) -> Error {
    Error::WrongKind { expected: "a directory", found: node.kind_name() }
}
