//! Writing a tree to disk, where a stranger chose the names.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::{StreamExt, future::join};
use ipfs_traits::{
    Error, Result, Runtime, RuntimeExt,
    work::{Meter, Work},
};

use super::{Item, Tree, names};
use crate::Name;

/// An export to disk under way.
pub type Export = Work<Exported>;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// Bytes of files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
}

/// Bytes that are written in one go.
const BATCH_BYTES: usize = 4 << 20;

/// Items that are written in one go.
const BATCH_ITEMS: usize = 1024;

pub(super) fn write(mut tree: Tree, target: PathBuf, runtime: Arc<dyn Runtime>) -> Export {
    let meter = Meter::default();
    Work::new(meter.clone(), async move {
        let start = runtime.blocking(move || Writer::begin(target)).await??;
        let mut guard = Guard { writer: Some(start), runtime: runtime.clone() };
        let mut batch = collect(&mut tree).await?;
        while !batch.is_empty() {
            let mut writer = guard.writer.take().ok_or(Error::Closed("the export"))?;
            let writing = runtime.blocking(move || {
                let result = batch.into_iter().try_for_each(|item| writer.write(item));
                (writer, result)
            });
            // The next batch is fetched while this one is written.
            let (written, next) = join(writing, collect(&mut tree)).await;
            let (writer, result) = written?;
            meter.bytes(writer.done.bytes - meter.read().bytes);
            meter.files(writer.done.files - meter.read().files);
            guard.writer = Some(writer);
            result?;
            batch = next?;
        }
        let writer = guard.writer.take().ok_or(Error::Closed("the export"))?;
        runtime.blocking(move || writer.finish()).await?
    })
}

/// The next items of a tree, some at once; none at the end.
async fn collect(tree: &mut Tree) -> Result<Vec<Item>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH_BYTES && batch.len() < BATCH_ITEMS {
        let Some(item) = tree.next().await.transpose()? else {
            break;
        };
        bytes += item.len();
        batch.push(item);
    }
    Ok(batch)
}

/// Removes what was written if the export fails or is dropped.
struct Guard {
    writer: Option<Writer>,
    runtime: Arc<dyn Runtime>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.runtime.spawn_blocking(Box::new(move || drop(writer)));
        }
    }
}

/// Writes items one after the other, into a place beside the target.
struct Writer {
    target: PathBuf,
    partial: PathBuf,
    /// The directories that are open, the innermost last.
    open: Vec<PathBuf>,
    file: Option<(PathBuf, File)>,
    done: Exported,
    finished: bool,
}

/// What went wrong on disk.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct DiskError {
    path: PathBuf,
    source: io::Error,
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    |source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::InUse(path.display().to_string().into()),
        _ => Error::component("export", DiskError { path, source }),
    }
}

impl Writer {
    /// Finds a place beside the target. Nothing is made yet.
    fn begin(target: PathBuf) -> Result<Self> {
        let Some(name) = target.file_name() else {
            return Err(Error::invalid("target", "it has no name"));
        };
        if fs::symlink_metadata(&target).is_ok() {
            return Err(Error::InUse(target.display().to_string().into()));
        }
        let partial = (0..u32::MAX)
            .map(|number| {
                let mut partial = std::ffi::OsString::from(".");
                partial.push(name);
                partial.push(format!(".partial-{number}"));
                target.with_file_name(partial)
            })
            .find(|partial| fs::symlink_metadata(partial).is_err());
        let partial = partial.ok_or_else(|| Error::InUse("the place beside the target".into()))?;
        let (open, done) = (Vec::new(), Exported::default());
        Ok(Self { target, partial, open, file: None, done, finished: false })
    }

    /// Where the next entry goes. The names of the way there were checked when they were made, and
    /// every directory on it was made here, so that nothing leads through a symbolic link.
    fn path(&self, name: &Name) -> Result<PathBuf> {
        match self.open.last() {
            None => Ok(self.partial.clone()),
            Some(directory) => Ok(directory.join(names::check(name)?)),
        }
    }

    fn write(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Enter { name, .. } => {
                let path = self.path(&name)?;
                fs::create_dir(&path).map_err(disk(&path))?;
                self.open.push(path);
                self.done.directories += 1;
            }
            Item::Leave => drop(self.open.pop()),
            Item::File { name, .. } => {
                let path = self.path(&name)?;
                let options = OpenOptions::new().write(true).create_new(true).open(&path);
                self.file = Some((path.clone(), options.map_err(disk(&path))?));
            }
            Item::Data(data) => {
                if let Some((path, file)) = &mut self.file {
                    file.write_all(&data).map_err(disk(path))?;
                    self.done.bytes += data.len() as u64;
                }
            }
            Item::End => {
                self.file = None;
                self.done.files += 1;
            }
            Item::Symlink { name, target, .. } => {
                let target = names::target(&target)?;
                let path = self.path(&name)?;
                symlink(&target, &path).map_err(disk(&path))?;
                self.done.symlinks += 1;
            }
        }
        Ok(())
    }

    /// Puts all in its place, unless something has come there meanwhile.
    fn finish(mut self) -> Result<Exported> {
        if fs::symlink_metadata(&self.target).is_ok() {
            return Err(Error::InUse(self.target.display().to_string().into()));
        }
        fs::rename(&self.partial, &self.target).map_err(disk(&self.target))?;
        self.finished = true;
        Ok(self.done)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        self.file = None;
        let removed = match fs::symlink_metadata(&self.partial) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&self.partial),
            Ok(_) => fs::remove_file(&self.partial),
            Err(_) => Ok(()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %self.partial.display(), %error, "a partial export is left");
        }
    }
}

#[cfg(unix)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symlink(target: &str, path: &Path) -> io::Result<()> {
    // Whether it points to a directory is not known here; most do not.
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &str, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
