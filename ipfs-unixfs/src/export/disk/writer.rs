//! Writing items one after the other.

use std::{ffi::OsStr, fs::File, io, io::Write, path::PathBuf};

use ipfs_traits::{Cid, Error, Result, codes};

use super::{
    Disk, Exported,
    dir::{self, Dir, Kind, SYNCS_ALL},
    disk,
    place::Place,
    stack::Stack,
};
use crate::{Entry, Item, Name, data::Mtime, export::names};

/// What the file is called that is being written, in the folder of an export that may be resumed:
/// only what is whole gets the name that it has in the tree.
const PART: &str = "part";

/// Writes items one after the other, into a place beside the target.
#[derive(Debug)]
pub(super) struct Writer {
    file: Option<Open>,
    stack: Stack,
    /// What is still to be told of the directories that are open, the innermost last.
    metas: Vec<Meta>,
    /// The root, if it was a directory.
    root: Option<(Dir, Meta)>,
    options: Disk,
    pub(super) done: Exported,
    /// Last, because dropping it removes what the others hold open.
    place: Place,
}

/// A file that is being written.
#[derive(Debug)]
struct Open {
    name: Name,
    file: File,
    left: u64,
    meta: Meta,
}

/// What is said of an entry beside its content, as far as it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meta {
    mode: Option<u32>,
    mtime: Option<Mtime>,
}

/// What is there of entries already.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) missing: Vec<Entry>,
    pub(super) directories: Vec<Entry>,
}

impl Writer {
    pub(super) fn begin(target: PathBuf, root: &Cid, options: Disk) -> Result<Self> {
        let (place, folder) = Place::begin(target, root, &options)?;
        let (stack, metas, done) = (Stack::new(folder), Vec::new(), Exported::default());
        let writer = Self { place, stack, metas, file: None, root: None, options, done };
        if options.resume && writer.kind_in_base(PART)?.is_some() {
            writer.stack.base().remove(PART.as_ref()).map_err(writer.failed(PART.as_ref()))?;
        }
        Ok(writer)
    }

    fn kind_in_base(&self, name: &str) -> Result<Option<Kind>> {
        self.stack.base().kind(name.as_ref()).map_err(self.failed(name.as_ref()))
    }

    /// What there is of the root already.
    pub(super) fn root(&self) -> Result<Option<Kind>> {
        self.stack.base().kind(Place::root()).map_err(self.failed(Place::root()))
    }

    /// An error with the path, as it will be, of a name.
    fn failed(&self, name: &OsStr) -> impl FnOnce(io::Error) -> Error + use<> {
        let mut path = self.place.target.clone();
        path.extend(self.stack.names().skip(1));
        if self.stack.depth() > 0 {
            path.push(name);
        }
        disk(&path)
    }

    /// The name that an entry gets where work is done.
    fn name<'a>(&self, name: &'a Name) -> Result<&'a OsStr> {
        match self.stack.depth() {
            0 => Ok(Place::root()),
            _ => names::check(name),
        }
    }

    pub(super) const fn meta(&self, mode: Option<u32>, mtime: Option<Mtime>) -> Meta {
        Meta {
            mode: match (self.options.modes, mode) {
                // None at all is how Kubo says that it was not set.
                (true, Some(mode)) if mode & 0o7777 != 0 => Some(mode),
                _ => None,
            },
            mtime: if self.options.mtimes { mtime } else { None },
        }
    }

    pub(super) fn write(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Enter { name, mode, mtime } => {
                let name = self.name(&name)?;
                self.stack.here().make(name, false).map_err(self.failed(name))?;
                self.enter(name, self.meta(mode, mtime))
            }
            Item::Leave => self.leave(),
            Item::File { name, size, mode, mtime } => {
                let meta = self.meta(mode, mtime);
                self.file = Some(Open { file: self.create(&name)?, name, left: size, meta });
                Ok(())
            }
            Item::Data(data) => self.data(&data),
            Item::End => self.end(),
            Item::Symlink { name, target, mode, mtime } => {
                self.symlink(&name, &target, self.meta(mode, mtime))
            }
        }
    }

    /// Goes down into a directory that is there.
    pub(super) fn enter(&mut self, name: &OsStr, meta: Meta) -> Result<()> {
        self.stack.enter(name).map_err(self.failed(name))?;
        self.metas.push(meta);
        Ok(())
    }

    /// Ends a directory: nothing will be written into it any more, so that it can be told its mode
    /// and its time. The root has to wait until it was renamed.
    fn leave(&mut self) -> Result<()> {
        let failed = self.failed("".as_ref());
        let meta = self.metas.pop();
        let left = self.stack.leave();
        match (left, meta) {
            (Ok(Some((_, dir))), Some(meta)) => {
                self.done.directories += 1;
                if self.stack.depth() == 0 {
                    self.root = Some((dir, meta));
                    return Ok(());
                }
                tell(&dir, meta, &self.options).map_err(failed)
            }
            (Err(error), _) => Err(failed(error)),
            _ => Ok(()),
        }
    }

    fn create(&self, name: &Name) -> Result<File> {
        let name = self.name(name)?;
        if !self.options.resume {
            return self.stack.here().create(name).map_err(self.failed(name));
        }
        match self.stack.here().kind(name).map_err(self.failed(name))? {
            None => self.stack.base().create(PART.as_ref()).map_err(self.failed(name)),
            Some(_) => Err(self.failed(name)(io::ErrorKind::AlreadyExists.into())),
        }
    }

    fn data(&mut self, data: &[u8]) -> Result<()> {
        let Some(open) = &mut self.file else {
            return Ok(());
        };
        let lies = || Error::malformed("UnixFS file", "it has more bytes than it says");
        open.left = open.left.checked_sub(data.len() as u64).ok_or_else(lies)?;
        if let Err(error) = open.file.write_all(data) {
            let name = open.name.clone();
            return Err(self.failed(self.name(&name)?)(error));
        }
        self.done.bytes += data.len() as u64;
        Ok(())
    }

    /// Ends a file: from here on it has the name that it should have.
    fn end(&mut self) -> Result<()> {
        let Some(Open { name, file, left, meta }) = self.file.take() else {
            return Ok(());
        };
        if left > 0 {
            return Err(Error::malformed("UnixFS file", "it has fewer bytes than it says"));
        }
        let name = self.name(&name)?;
        self.finish_file(name, file, meta).map_err(self.failed(name))?;
        self.done.files += 1;
        Ok(())
    }

    fn finish_file(&self, name: &OsStr, file: File, meta: Meta) -> io::Result<()> {
        if let Some(mode) = meta.mode {
            dir::set_mode(&file, mode)?;
        }
        if let Some(mtime) = meta.mtime {
            dir::set_mtime(&file, mtime)?;
        }
        if self.options.sync && !SYNCS_ALL {
            file.sync_all()?;
        }
        drop(file);
        match self.options.resume {
            true => self.stack.base().rename_new(PART.as_ref(), self.stack.here(), name),
            false => Ok(()),
        }
    }

    fn symlink(&mut self, name: &Name, target: &[u8], meta: Meta) -> Result<()> {
        names::check_target(target)?;
        let name = self.name(name)?;
        self.finish_symlink(name, target, meta).map_err(self.failed(name))?;
        self.done.symlinks += 1;
        Ok(())
    }

    fn finish_symlink(&self, name: &OsStr, target: &[u8], meta: Meta) -> io::Result<()> {
        let here = self.stack.here();
        let (dir, first) = match self.options.resume {
            true => (self.stack.base(), PART.as_ref()),
            false => (here, name),
        };
        dir.symlink(target, first)?;
        if let Some(mtime) = meta.mtime {
            dir.set_link_mtime(first, mtime)?;
        }
        match self.options.resume {
            true => dir.rename_new(first, here, name),
            false => Ok(()),
        }
    }

    /// Which of the entries of the directory where work is done are there, and counts those that
    /// are whole.
    pub(super) fn look(&mut self, entries: Vec<Entry>) -> Result<Found> {
        let mut found = Found::default();
        for entry in entries {
            let name = self.name(&entry.name)?;
            let size = match self.stack.here().kind(name).map_err(self.failed(name))? {
                None => {
                    found.missing.push(entry);
                    continue;
                }
                Some(Kind::Directory) => {
                    found.directories.push(entry);
                    continue;
                }
                Some(Kind::Other) => {
                    return Err(self.failed(name)(io::ErrorKind::AlreadyExists.into()));
                }
                Some(Kind::Symlink) => {
                    self.done.symlinks += 1;
                    continue;
                }
                Some(Kind::File(size)) => size,
            };
            // Of a file in one raw block it is known how long it is; what differs was cut off when
            // the power failed.
            let raw = entry.cid.codec() == codes::RAW;
            if raw && entry.dag_size.is_some_and(|said| said != size) {
                self.stack.here().remove(name).map_err(self.failed(name))?;
                found.missing.push(entry);
                continue;
            }
            self.done.files += 1;
            self.done.bytes += size;
            self.done.kept += 1;
        }
        Ok(found)
    }

    /// Ends a directory of which some was there, and which has so many entries.
    pub(super) fn leave_counted(&mut self, entries: u64) -> Result<()> {
        let mut names = self.stack.here().names().map_err(self.failed("".as_ref()))?;
        let count = names.try_fold(0, |count, name| name.map(|_| count + 1));
        let count: u64 = count.map_err(self.failed("".as_ref()))?;
        drop(names);
        if count != entries {
            return Err(Error::malformed(
                "directory",
                "two of its names are one on this disk, or somebody else changed what was written",
            ));
        }
        self.leave()
    }

    /// What was written by an earlier export is the root as a whole.
    pub(super) const fn keep_root(&mut self, kind: Kind) {
        match kind {
            Kind::File(size) => {
                self.done.files = 1;
                self.done.bytes = size;
                self.done.kept = 1;
            }
            _ => self.done.symlinks = 1,
        }
    }

    /// What was written is of no use to a later export either.
    pub(super) const fn give_up(&mut self) {
        self.place.keep = false;
    }

    /// Puts all in its place, unless something has come there meanwhile.
    pub(super) fn finish(mut self) -> Result<Exported> {
        let root = self.root.as_mut().map(|(dir, _)| dir);
        self.place.finish(self.stack.base(), root, &self.options)?;
        if let Some((dir, meta)) = &self.root {
            let sync = self.options.sync;
            tell(dir, *meta, &self.options)
                .and_then(|()| if sync { dir.sync() } else { Ok(()) })
                .map_err(disk(&self.place.target))?;
        }
        Ok(self.done)
    }
}

/// Tells a directory its mode and its time. The time comes first, because it needs no right to write
/// after that.
fn tell(dir: &Dir, meta: Meta, options: &Disk) -> io::Result<()> {
    if let Some(mtime) = meta.mtime {
        dir.set_mtime(mtime)?;
    }
    if let Some(mode) = meta.mode {
        dir.set_mode(mode)?;
    }
    if options.sync && !SYNCS_ALL {
        dir.sync()?;
    }
    Ok(())
}
