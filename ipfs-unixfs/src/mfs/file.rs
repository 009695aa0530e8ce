//! Files of a tree, open: one writer, or many readers.

use std::{
    future::poll_fn,
    task::Poll,
    time::{SystemTime, UNIX_EPOCH},
};

use cid::Version;
use ipfs_traits::{Error, Result};

use super::{
    Mfs,
    path::Path,
    state::{DirId, FileId, Found, State},
};
use crate::{
    Exporter, File, FileEditor, Layout, Name, Node, Params,
    child::Sealer,
    data::Mtime,
    directory::{Loads, Target},
};

/// How a file is opened. The default is for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// For writing too: then nobody else has it open.
    pub write: bool,
    /// It is made if it is not there. It gets CIDs as its directory has them.
    pub create: bool,
    /// The directories above it are made if they are not there.
    pub parents: bool,
    /// Whether new leaves are raw blocks; `None`: as the CID has version 1 or not, as in Kubo.
    pub raw_leaves: Option<bool>,
}

impl FileOptions {
    /// For writing, and made if it is not there.
    pub const fn write() -> Self {
        Self { write: true, create: true, parents: false, raw_leaves: None }
    }
}

/// A file of a tree, open for reading, or for reading and writing.
///
/// While it is open for writing nobody else has it open; while it is open for reading nobody writes
/// to it, and it does not change. What is written belongs to the tree after [`flush`](Self::flush),
/// and is durable when the tree is [flushed](Mfs::flush) after that. Dropped without a flush, what
/// was written since the last one is lost.
///
/// A file that is removed while it is open goes on, and belongs to nothing.
///
/// It is laid out as Kubo's tree does it: in the trickle layout with 174 links a node, cut by the
/// chunker of the tree's [`Params`].
#[derive(Debug)]
pub struct MfsFile {
    mfs: Mfs,
    id: FileId,
    target: Target,
    /// Of a writer.
    editor: Option<FileEditor>,
    changed: bool,
}

/// What opening a file came to.
enum Opened {
    File(FileId, Target),
    /// It is in use; so many files had been closed by then.
    Busy(u64),
    /// It is not there, and its directory makes CIDs so.
    Missing(DirId, Sealer),
}

impl Mfs {
    /// Opens a file. While it is in use in a way that excludes this one, the call waits.
    ///
    /// # Errors
    ///
    /// [`Error::NoEntry`] for a file that is not there and is not to be made;
    /// [`Error::WrongKind`] for what is no file; otherwise as [`stat`](Self::stat).
    pub async fn open_file(&self, path: impl AsRef<[u8]>, options: FileOptions) -> Result<MfsFile> {
        let path = Path::parse(path.as_ref())?;
        let (above, name) = path.split()?;
        self.relieve().await?;
        loop {
            let opened =
                self.run(|state, loads| state.open_entry(loads, above, name, options)).await?;
            match opened {
                Opened::File(id, target) => {
                    let mut file =
                        MfsFile { mfs: self.clone(), id, target, editor: None, changed: false };
                    if options.write {
                        file.editor = Some(self.editor(&target, options).await?);
                    }
                    return Ok(file);
                }
                Opened::Busy(closed) => self.closed_since(closed).await,
                Opened::Missing(dir, sealer) => self.make_file(dir, name, sealer).await?,
            }
        }
    }

    /// Reads a file, as it is now, without keeping anybody from writing to it.
    ///
    /// # Errors
    ///
    /// As [`open_file`](Self::open_file).
    pub async fn read(&self, path: impl AsRef<[u8]>) -> Result<File> {
        let target = self.target(&Path::parse(path.as_ref())?).await?;
        self.exporter().open(&target.cid).await
    }

    /// Writes bytes into a file at `offset`, and flushes the file.
    ///
    /// # Errors
    ///
    /// Those of [`open_file`](Self::open_file) and [`FileEditor::write_at`].
    pub async fn write(
        &self,
        path: impl AsRef<[u8]>,
        offset: u64,
        data: impl AsRef<[u8]>,
        options: FileOptions,
    ) -> Result<()> {
        let mut file = self.open_file(path, FileOptions { write: true, ..options }).await?;
        file.write_at(offset, data).await?;
        file.flush().await.map(drop)
    }

    /// Cuts a file off, or lets it grow by zeros, and flushes it.
    ///
    /// # Errors
    ///
    /// Those of [`open_file`](Self::open_file) and [`FileEditor::truncate`].
    pub async fn truncate(&self, path: impl AsRef<[u8]>, size: u64) -> Result<()> {
        let options = FileOptions { write: true, ..FileOptions::default() };
        let mut file = self.open_file(path, options).await?;
        file.truncate(size).await?;
        file.flush().await.map(drop)
    }

    async fn editor(&self, target: &Target, options: FileOptions) -> Result<FileEditor> {
        let raw_leaves = options.raw_leaves.unwrap_or(target.cid.version() == Version::V1);
        let params = self.file_params(raw_leaves);
        let parts = &self.0.parts;
        let (source, store) = (parts.source.clone(), parts.store.clone());
        let editor =
            FileEditor::open(source, store, parts.runtime.clone(), &target.cid, &params).await?;
        Ok(editor.hashes(self.0.options.hashes.clone()))
    }

    fn file_params(&self, raw_leaves: bool) -> Params {
        let params = self.0.options.params.clone();
        Params { raw_leaves, layout: Layout::Trickle, max_links: 174, ..params }
    }

    /// Makes a file without content where there is none. Somebody else may be quicker.
    async fn make_file(&self, dir: DirId, name: &Name, sealer: Sealer) -> Result<()> {
        let parts = &self.0.parts;
        let (source, store) = (parts.source.clone(), parts.store.clone());
        let mut new =
            FileEditor::create(source, store, parts.runtime.clone(), &self.file_params(false));
        new.seal_by(sealer);
        let target = new.flush().await?;
        self.run(|state, loads| {
            // The directory may be gone by now, and is then looked for again.
            let Ok(content) = state.content(dir) else {
                return Ok(Some(()));
            };
            match content.get(loads, name)? {
                None => Ok(None),
                Some(Some(_)) => Ok(Some(())),
                Some(None) => state.put(loads, dir, name, target),
            }
        })
        .await
    }

    /// Waits until a file is closed.
    async fn closed_since(&self, count: u64) {
        poll_fn(|cx| match self.state().closed_since(count, cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl State {
    /// Opens a file that is there. `None` if blocks are missing.
    fn open_entry(
        &mut self,
        loads: &mut Loads,
        above: &[Name],
        name: &Name,
        options: FileOptions,
    ) -> Result<Option<Opened>> {
        let dir = match options.parents && options.create {
            true => {
                let new = self.new_directory()?;
                self.walk_or_make(loads, above, &new)?
            }
            false => self.walk(loads, above)?,
        };
        let Some(dir) = dir else {
            return Ok(None);
        };
        let target = match self.entry(loads, dir, name)? {
            None => return Ok(None),
            Some(Found::Nothing) if options.create => {
                let sealer = self.content(dir)?.sealer().clone();
                return Ok(Some(Opened::Missing(dir, sealer)));
            }
            Some(Found::Nothing) => return Err(self.no_entry(name)),
            Some(Found::Dir(_)) => {
                return Err(Error::WrongKind { expected: "a file", found: "a directory" });
            }
            Some(Found::Other(target, node)) => {
                let node = (*node)?;
                if matches!(node, Node::Symlink(_)) {
                    return Err(Error::WrongKind { expected: "a file", found: node.kind_name() });
                }
                target
            }
        };
        let opened = self.open_file(dir, name, options.write)?;
        Ok(Some(match opened {
            Some(id) => Opened::File(id, target),
            None => Opened::Busy(self.closed_files()),
        }))
    }
}

impl MfsFile {
    /// How many bytes it has, what is not flushed included.
    ///
    /// # Errors
    ///
    /// As [`reader`](Self::reader).
    pub async fn size(&self) -> Result<u64> {
        match &self.editor {
            Some(editor) => Ok(editor.size()),
            None => Ok(self.exporter().open(&self.target.cid).await?.size()),
        }
    }

    fn exporter(&self) -> Exporter {
        self.mfs.exporter()
    }

    /// Opens what it holds for reading; of a writer, all that it has written.
    ///
    /// # Errors
    ///
    /// Those of [`Exporter::open`].
    pub async fn reader(&mut self) -> Result<File> {
        match &mut self.editor {
            Some(editor) => editor.reader().await,
            None => self.exporter().open(&self.target.cid).await,
        }
    }

    fn editor(&mut self) -> Result<&mut FileEditor> {
        match &mut self.editor {
            Some(editor) => {
                self.changed = true;
                Ok(editor)
            }
            None => Err(Error::invalid("file", "it is open for reading alone")),
        }
    }

    /// Writes bytes at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a file that is open for reading; those of [`FileEditor::write_at`].
    pub async fn write_at(&mut self, offset: u64, data: impl AsRef<[u8]>) -> Result<()> {
        self.editor()?.write_at(offset, data).await
    }

    /// Writes bytes behind the end.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn append(&mut self, data: impl AsRef<[u8]>) -> Result<()> {
        self.editor()?.append(data).await
    }

    /// Cuts the file off, or lets it grow by zeros.
    ///
    /// # Errors
    ///
    /// As [`write_at`](Self::write_at).
    pub async fn truncate(&mut self, size: u64) -> Result<()> {
        self.editor()?.truncate(size).await
    }

    /// Lets what was written belong to the tree. A file that has a time of change gets that of now.
    ///
    /// # Errors
    ///
    /// Those of [`FileEditor::flush`]; what the source says of the directory's blocks.
    pub async fn flush(&mut self) -> Result<Target> {
        if !self.changed {
            return Ok(self.target);
        }
        let now = now(self.mfs.0.parts.runtime.wall());
        let editor = self.editor()?;
        if editor.mtime().is_some() {
            editor.set_stat(editor.mode(), Some(now)).await?;
        }
        let target = editor.flush().await?;
        self.mfs.run(|state, loads| state.set_file(loads, self.id, target)).await?;
        (self.target, self.changed) = (target, false);
        Ok(target)
    }
}

fn now(wall: SystemTime) -> Mtime {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    // A whole second has no nanoseconds, rather than 0.
    let nanos = Some(since.subsec_nanos()).filter(|nanos| *nanos > 0);
    Mtime { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos }
}

impl Drop for MfsFile {
    fn drop(&mut self) {
        self.mfs.state().close_file(self.id);
    }
}
