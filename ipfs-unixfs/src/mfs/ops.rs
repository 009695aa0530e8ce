//! What can be done with a tree, but for the contents of its files.

use cid::Version;
use futures_core::stream::BoxStream;
use ipfs_traits::{Block, BlockSource, Cid, Error, Result, codes};

use super::{
    Mfs,
    path::Path,
    restat::{Restat, restat},
    state::{DirId, Found, State},
};
use crate::{
    Entry, Exporter, Name, Node, Params, StatKind,
    child::Sealer,
    dagpb,
    data::Mtime,
    directory::{Directory, Loads, Target},
};

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// Its root. All blocks of it that were made here are stored.
    pub cid: Cid,
    /// Bytes of all blocks below it, as its blocks say.
    pub dag_size: u64,
    /// What it is.
    pub kind: StatKind,
    /// Permissions and other bits of the mode, where they are kept.
    pub mode: Option<u32>,
    /// When it was changed, where that is kept.
    pub mtime: Option<Mtime>,
}

impl Mfs {
    pub(super) fn exporter(&self) -> Exporter {
        Exporter::new(self.0.parts.source.clone(), self.0.parts.runtime.clone())
    }

    /// What a path leads to.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`], [`Error::WrongKind`] for a path through what is no directory;
    /// [`Error::Invalid`], [`Error::Limit`] for what is no path; what the source and the store say.
    pub async fn stat(&self, path: impl AsRef<[u8]>) -> Result<Stat> {
        let target = self.target(&Path::parse(path.as_ref())?).await?;
        let crate::Stat { kind, mode, mtime, .. } = self.exporter().stat(&target.cid).await?;
        Ok(Stat { cid: target.cid, dag_size: target.dag_size, kind, mode, mtime })
    }

    /// Where a path leads, stored.
    pub(super) async fn target(&self, path: &Path) -> Result<Target> {
        self.relieve().await?;
        let (target, sealing) = self
            .run(|state, loads| {
                let dir = match state.find(loads, path)? {
                    None => return Ok(None),
                    Some(Found::Dir(dir)) => dir,
                    Some(Found::Other(target, _)) => return Ok(Some((target, None))),
                    Some(Found::Nothing) => return Err(state.nothing_at(path)),
                };
                if let Some(target) = state.unchanged(dir)? {
                    return Ok(Some((target, None)));
                }
                let sealing = state.seal(loads)?;
                Ok(sealing.and_then(|sealing| Some((sealing.target(dir)?, Some(sealing)))))
            })
            .await?;
        if let Some(sealing) = sealing {
            self.store(sealing).await?;
        }
        Ok(target)
    }

    /// The entries of a directory, as it is now.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat), and those of [`Exporter::list`].
    pub async fn list(&self, path: impl AsRef<[u8]>) -> Result<BoxStream<'static, Result<Entry>>> {
        let target = self.target(&Path::parse(path.as_ref())?).await?;
        self.exporter().list(&target.cid).await
    }

    /// Makes a directory; with `parents` also those above it, and it is no error if it is there.
    ///
    /// It gets CIDs as the root has them.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; otherwise as [`stat`](Self::stat).
    pub async fn mkdir(&self, path: impl AsRef<[u8]>, parents: bool) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        if path.names().is_empty() {
            return if parents { Ok(()) } else { Err(Error::Exists(path.to_string())) };
        }
        let (above, name) = path.split()?;
        self.relieve().await?;
        self.run(|state, loads| {
            let new = state.new_directory()?;
            let parent = match parents {
                true => state.walk_or_make(loads, above, &new)?,
                false => state.walk(loads, above)?,
            };
            let Some(parent) = parent else {
                return Ok(None);
            };
            match state.entry(loads, parent, name)? {
                None => Ok(None),
                Some(Found::Nothing) => Ok(state.make(loads, parent, name, new)?.map(drop)),
                Some(Found::Dir(_)) if parents => Ok(Some(())),
                Some(_) => Err(Error::Exists(path.to_string())),
            }
        })
        .await
    }

    /// Copies a file, link or directory, with all below it. Nothing is read but its root: both share
    /// their blocks.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; otherwise as [`stat`](Self::stat).
    pub async fn cp(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        let (from, to) = (Path::parse(from.as_ref())?, Path::parse(to.as_ref())?);
        let target = self.target(&from).await?;
        self.put_new(&to, target).await
    }

    /// Puts what a CID leads to into the tree. Only its root is fetched.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::UnknownCodec`], [`Error::Malformed`] for what is not UnixFS;
    /// otherwise as [`stat`](Self::stat).
    pub async fn put(&self, path: impl AsRef<[u8]>, cid: &Cid) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        let block = self.0.parts.source.get(cid).await?;
        Node::parse(&block)?;
        self.put_new(&path, Target { cid: *cid, dag_size: dag_size(&block)? }).await
    }

    async fn put_new(&self, path: &Path, target: Target) -> Result<()> {
        let (above, name) = path.split()?;
        self.relieve().await?;
        self.run(|state, loads| {
            let Some(dir) = state.walk(loads, above)? else {
                return Ok(None);
            };
            match state.content(dir)?.get(loads, name)? {
                None => Ok(None),
                Some(None) => state.put(loads, dir, name, target),
                Some(Some(_)) => Err(Error::Exists(path.to_string())),
            }
        })
        .await
    }

    /// Moves a file, link or directory, in one step: into `to` if that is a directory, in the place
    /// of `to` if that is a file, else under that name.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] when the directory that it goes into has an entry of that name; [`Error::Invalid`] for a directory
    /// that would go below itself, and for the root; otherwise as [`stat`](Self::stat).
    pub async fn mv(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        let (from, to) = (Path::parse(from.as_ref())?, Path::parse(to.as_ref())?);
        let (from_above, from_name) = from.split()?;
        self.relieve().await?;
        self.run(|state, loads| {
            let Some(source) = state.walk(loads, from_above)? else {
                return Ok(None);
            };
            let Some(to) = state.destination(loads, &to, from_name)? else {
                return Ok(None);
            };
            state.rename(loads, (source, from_name), &to)
        })
        .await
    }

    /// Removes a file or a link; with `recursive` also a directory, with all below it.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for a directory unless `recursive`; [`Error::Invalid`] for the root;
    /// otherwise as [`stat`](Self::stat).
    pub async fn rm(&self, path: impl AsRef<[u8]>, recursive: bool) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        let (above, name) = path.split()?;
        self.relieve().await?;
        self.run(|state, loads| {
            let Some(dir) = state.walk(loads, above)? else {
                return Ok(None);
            };
            // What need not be looked at may be missing or damaged, and goes all the same.
            let there = match recursive {
                true => state.content(dir)?.get(loads, name)?.map(|target| target.is_some()),
                false => match state.entry(loads, dir, name)? {
                    Some(Found::Dir(_)) => {
                        let found = "a directory";
                        return Err(Error::WrongKind { expected: "a file or a link", found });
                    }
                    entry => entry.map(|entry| !matches!(entry, Found::Nothing)),
                },
            };
            match there {
                None => Ok(None),
                Some(false) => Err(state.no_entry(name)),
                Some(true) => state.remove(loads, dir, name),
            }
        })
        .await
    }

    /// Sets permissions and other bits of the mode, or takes them away.
    ///
    /// # Errors
    ///
    /// As [`stat`](Self::stat), and [`Error::Malformed`], [`Error::UnknownCodec`] for what is not
    /// UnixFS.
    pub async fn chmod(&self, path: impl AsRef<[u8]>, mode: Option<u32>) -> Result<()> {
        self.restat(Path::parse(path.as_ref())?, &|old, _| *old = mode).await
    }

    /// Sets the time of change, or takes it away.
    ///
    /// # Errors
    ///
    /// As [`chmod`](Self::chmod).
    pub async fn touch(&self, path: impl AsRef<[u8]>, mtime: Option<Mtime>) -> Result<()> {
        self.restat(Path::parse(path.as_ref())?, &|_, old| *old = mtime).await
    }

    async fn restat(&self, path: Path, change: Restat<'_>) -> Result<()> {
        self.relieve().await?;
        loop {
            let found = self.run(|state, loads| state.restat(loads, &path, change)).await?;
            let Some(old) = found else {
                return Ok(());
            };
            let block = self.0.parts.source.get(&old.cid).await?;
            let options = &self.0.options;
            let (block, new) = restat(&block, old, change, &options.params, &options.hashes)?;
            self.0.parts.store.put_many(&[block]).await?;
            // Unless it became another one meanwhile.
            if self.replace(&path, old, new).await? {
                return Ok(());
            }
        }
    }

    /// Lets an entry lead elsewhere, if it leads where it did.
    async fn replace(&self, path: &Path, old: Target, new: Target) -> Result<bool> {
        let (above, name) = path.split()?;
        self.run(|state, loads| {
            let Some(dir) = state.walk(loads, above)? else {
                return Ok(None);
            };
            match state.content(dir)?.get(loads, name)? {
                None => Ok(None),
                Some(found) if found == Some(old) => {
                    Ok(state.put(loads, dir, name, new)?.map(|()| true))
                }
                Some(_) => Ok(Some(false)),
            }
        })
        .await
    }

    /// Changes the CIDs that a directory gets, and what is made in it from now on: what is in it
    /// keeps its own.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKind`] for what is no directory; [`Error::Invalid`] or
    /// [`Error::UnknownHash`] for what makes no CID; otherwise as [`stat`](Self::stat).
    pub async fn set_cid_format(
        &self,
        path: impl AsRef<[u8]>,
        cid_version: Version,
        hash: u64,
    ) -> Result<()> {
        let path = Path::parse(path.as_ref())?;
        let params = Params { cid_version, hash, ..self.0.options.params.clone() };
        params.check_with(&self.0.options.hashes)?;
        let sealer = Sealer::nodes(&params, &self.0.options.hashes);
        self.run(|state, loads| {
            let Some(dir) = state.walk(loads, path.names())? else {
                return Ok(None);
            };
            state.content(dir)?.set_sealer(sealer.clone());
            state.touch(dir).map(Some)
        })
        .await
    }
}

/// Where something goes that is moved.
struct Destination {
    dir: DirId,
    name: Name,
    /// The path, if what was named is the directory: then nothing is replaced.
    within: Option<String>,
}

impl State {
    /// A new directory, which gets CIDs as the root does.
    pub(super) fn new_directory(&mut self) -> Result<Directory> {
        let mut new = Directory::new(&self.params, &self.hashes);
        let root = self.root();
        new.set_sealer(self.content(root)?.sealer().clone());
        Ok(new)
    }

    /// Changes the mode or the time of a directory; of anything else, gives where it leads. `None`
    /// if blocks are missing.
    fn restat(
        &mut self,
        loads: &mut Loads,
        path: &Path,
        change: Restat<'_>,
    ) -> Result<Option<Option<Target>>> {
        let dir = match self.find(loads, path)? {
            None => return Ok(None),
            Some(Found::Dir(dir)) => dir,
            Some(Found::Other(target, _)) => return Ok(Some(Some(target))),
            Some(Found::Nothing) => return Err(self.nothing_at(path)),
        };
        let content = self.content(dir)?;
        let mut attributes = content.attributes();
        change(&mut attributes.mode, &mut attributes.mtime);
        content.set_attributes(attributes);
        self.touch(dir)?;
        Ok(Some(None))
    }

    fn nothing_at(&self, path: &Path) -> Error {
        self.no_entry(path.names().last().unwrap_or(&Name::default()))
    }

    /// Where something of this name goes that is moved to a path. `None` if blocks are missing.
    fn destination(
        &mut self,
        loads: &mut Loads,
        to: &Path,
        name: &Name,
    ) -> Result<Option<Destination>> {
        let within = |dir| {
            let path = to.clone().join(name.clone()).to_string();
            Destination { dir, name: name.clone(), within: Some(path) }
        };
        let Ok((above, last)) = to.split() else {
            return Ok(Some(within(self.root())));
        };
        let Some(dir) = self.walk(loads, above)? else {
            return Ok(None);
        };
        Ok(self.entry(loads, dir, last)?.map(|entry| match entry {
            Found::Dir(into) => within(into),
            _ => Destination { dir, name: last.clone(), within: None },
        }))
    }

    /// Moves an entry. `None` if blocks are missing.
    fn rename(
        &mut self,
        loads: &mut Loads,
        from: (DirId, &Name),
        to: &Destination,
    ) -> Result<Option<()>> {
        let within = &to.within;
        let to = (to.dir, &to.name);
        let Some(moved) = self.entry(loads, from.0, from.1)? else {
            return Ok(None);
        };
        match moved {
            Found::Nothing => return Err(self.no_entry(from.1)),
            Found::Dir(dir) if self.is_within(to.0, dir) => {
                return Err(Error::invalid("path", "a directory cannot go below itself"));
            }
            _ if from == to => return Ok(Some(())),
            _ => {}
        }
        match (self.entry(loads, to.0, to.1)?, within) {
            (None, _) => return Ok(None),
            (Some(Found::Nothing), _) | (Some(_), None) => {}
            (Some(_), Some(path)) => return Err(Error::Exists(path.clone())),
        }
        // Both steps are tried on copies, which are cheap, so that they happen both or none.
        let Some(target) = self.content(from.0)?.get(loads, from.1)?.flatten() else {
            return Ok(None);
        };
        let mut old = self.content(to.0)?.clone();
        if old.insert(loads, to.1, target)?.is_none() {
            return Ok(None);
        }
        if from.0 == to.0 {
            if old.remove(loads, from.1)?.is_none() {
                return Ok(None);
            }
        } else {
            let mut source = self.content(from.0)?.clone();
            if source.remove(loads, from.1)?.is_none() {
                return Ok(None);
            }
            *self.content(from.0)? = source;
        }
        *self.content(to.0)? = old;
        self.replaced(to.0, to.1)?;
        self.carry(from, to)?;
        self.touch(from.0)?;
        self.touch(to.0)?;
        Ok(Some(()))
    }
}

/// Bytes of a block and of all below it, as it says.
pub(super) fn dag_size(block: &Block) -> Result<u64> {
    let own = block.len() as u64;
    if block.cid().codec() != codes::DAG_PB {
        return Ok(own);
    }
    let node = dagpb::Node::parse(block.data().clone())?;
    Ok(node.links().fold(own, |sum, link| sum.saturating_add(link.tsize.unwrap_or(0))))
}
