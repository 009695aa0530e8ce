//! Writing a tree to disk, where a stranger chose the names.

mod dir;
mod place;
mod remove;
mod resume;
mod stack;
mod writer;

use std::{
    future::poll_fn,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::StreamExt;
use ipfs_traits::{
    Cid, Error, Result, Runtime, RuntimeExt,
    work::{Meter, Work},
};

use self::{dir::Kind, writer::Writer};
use super::{Exporter, Item, Tree};

/// How a tree is written to disk.
///
/// ```
/// # use std::sync::Arc;
/// # use ipfs_traits::{memory::MemoryStore, Local, VirtualRuntime};
/// # use ipfs_unixfs::{Disk, Exporter, Importer};
/// # let runtime = VirtualRuntime::new();
/// # let store = Arc::new(MemoryStore::new());
/// # runtime.block_on(async {
/// # let importer = Importer::new(store.clone(), Arc::new(runtime.clone()));
/// # let root = importer.bytes("hello world").await?.cid;
/// # let exporter = Exporter::new(Arc::new(Local(store)), Arc::new(runtime.clone()));
/// # let folder = tempfile::tempdir()?;
/// # let target = folder.path().join("out");
/// let options = Disk { resume: true, sync: true, ..Disk::default() };
/// exporter.write_with(&root, &target, options).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Whether files and directories get the modes that the tree says, as `ipfs get` does: the rights
    /// to read, write and execute, whatever the umask. Of what says none, and without this, the
    /// system chooses. Set-user-id, set-group-id and the sticky bit are never taken over. On
    /// Windows, a file that its owner may not write is read-only, and no more. Default: yes.
    pub modes: bool,
    /// Whether files, directories and symbolic links get the times of change that the tree says, as
    /// `ipfs get` does; links only on Unix. Default: yes.
    pub mtimes: bool,
    /// Whether what is at the target is replaced: a file or link in one step, a directory with all
    /// that is in it, in one step on Linux and macOS where the file system can. A link is replaced
    /// itself, never what it points to. Devices, pipes and sockets are never replaced. Default: no,
    /// because it cannot be undone.
    pub replace: bool,
    /// Whether an export that is stopped, by an error, by dropping it or by the end of the process,
    /// leaves what it has written, and whether what such a one has left is taken over.
    ///
    /// It stands in the folder `.NAME.CID.partialN` beside the target, until an export of the same
    /// root to the same target comes to its end, or somebody deletes it. A file or symbolic link
    /// gets its name there when all of it is written; so what has its name is kept, neither hashed
    /// nor fetched again, and counted in [`Exported::kept`]. A file that is only begun is fetched
    /// again from its beginning. This trusts the disk, and the user of this process: on Unix a
    /// folder that anybody else may write to is not taken over. After a loss of power, what was not
    /// synced may have its name and not its content, of which only some is seen; then delete the
    /// folder. Two exports cannot write to one folder: the second is refused.
    ///
    /// Default: no; what was written is removed.
    pub resume: bool,
    /// Whether it survives a loss of power when the export is done: all is synced before it is
    /// renamed, on Linux by one call for the whole file system, elsewhere file by file. Default: no,
    /// because it can be exported again.
    pub sync: bool,
}

impl Default for Disk {
    fn default() -> Self {
        Self { modes: true, mtimes: true, replace: false, resume: false, sync: false }
    }
}

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
    /// Of the files, those that an export which was stopped had written.
    pub kept: u64,
}

/// Bytes that are written in one go.
const BATCH_BYTES: usize = 4 << 20;

/// Items that are written in one go.
const BATCH_ITEMS: usize = 1024;

pub(super) fn write(exporter: Exporter, root: Cid, target: PathBuf, options: Disk) -> Export {
    let meter = Meter::default();
    Work::new(meter.clone(), async move {
        let runtime = exporter.runtime.clone();
        let writer = runtime.blocking(move || Writer::begin(target, &root, options)).await??;
        let mut pump = Pump { writer: Some(writer), runtime, meter };
        let poured = pump.all(&exporter, &root).await;
        if let (Some(writer), Err(error)) = (&mut pump.writer, &poured)
            && is_final(error)
        {
            writer.give_up();
        }
        poured?;
        let writer = pump.writer.take().ok_or(LOST)?;
        pump.runtime.blocking(move || writer.finish()).await?
    })
}

/// Whether another try would fail as well.
fn is_final(error: &Error) -> bool {
    matches!(
        error.what(),
        Error::Malformed { .. } | Error::Limit { .. } | Error::InUse(_) | Error::WrongKind { .. }
    )
}

/// What is said when the thread that wrote has panicked.
const LOST: Error = Error::Closed("the export");

/// Moves items to a writer, which works where it may block.
struct Pump {
    writer: Option<Writer>,
    runtime: Arc<dyn Runtime>,
    meter: Meter,
}

impl Pump {
    /// Writes all below a root that is not there yet.
    async fn all(&mut self, exporter: &Exporter, root: &Cid) -> Result<()> {
        match self.run(|writer| writer.root()).await? {
            None => self.pour(&mut exporter.tree(root)).await,
            Some(Kind::Directory) => resume::directory(self, exporter, root).await,
            Some(kind) => {
                self.run(move |writer| {
                    writer.keep_root(kind);
                    Ok(())
                })
                .await
            }
        }
    }

    /// Does something with the writer where it may block.
    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Writer) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut writer = self.writer.take().ok_or(LOST)?;
        let working = self.runtime.blocking(move || {
            let result = work(&mut writer);
            (writer, result)
        });
        let (writer, result) = working.await?;
        let (done, told) = (writer.done, self.meter.read());
        self.meter.bytes(done.bytes - told.bytes);
        self.meter.files(done.files - told.files);
        self.writer = Some(writer);
        result
    }

    /// Writes all that a tree gives, and fetches what comes next meanwhile. What came before an error
    /// is written too.
    async fn pour(&mut self, tree: &mut Tree) -> Result<()> {
        let mut batch = Batch::default();
        loop {
            poll_fn(|cx| batch.poll_some(tree, cx)).await;
            let items = batch.take();
            if items.is_empty() {
                return batch.end.unwrap_or(Ok(()));
            }
            let writing =
                self.run(move |writer| items.into_iter().try_for_each(|item| writer.write(item)));
            let mut writing = pin!(writing);
            poll_fn(|cx| {
                batch.fill(tree, cx);
                writing.as_mut().poll(cx)
            })
            .await?;
        }
    }
}

/// What is written next.
#[derive(Default)]
struct Batch {
    items: Vec<Item>,
    bytes: usize,
    /// How the tree has ended.
    end: Option<Result<()>>,
}

impl Batch {
    /// Takes what the tree has, up to what is written in one go.
    fn fill(&mut self, tree: &mut Tree, cx: &mut Context<'_>) {
        while self.end.is_none() && self.bytes < BATCH_BYTES && self.items.len() < BATCH_ITEMS {
            match tree.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(item))) => {
                    self.bytes += item.len();
                    self.items.push(item);
                }
                Poll::Ready(Some(Err(error))) => self.end = Some(Err(error)),
                Poll::Ready(None) => self.end = Some(Ok(())),
                Poll::Pending => return,
            }
        }
    }

    /// The same; it is done when there is something to write, or the tree has ended.
    fn poll_some(&mut self, tree: &mut Tree, cx: &mut Context<'_>) -> Poll<()> {
        self.fill(tree, cx);
        match self.items.is_empty() && self.end.is_none() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    fn take(&mut self) -> Vec<Item> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

/// What was written may have to be removed, which takes its time.
impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.runtime.spawn_blocking(Box::new(move || drop(writer)));
        }
    }
}

/// What went wrong on disk.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
struct DiskError {
    path: PathBuf,
    source: io::Error,
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    |source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::InUse(path.display().to_string().into()),
        _ => Error::component("export", DiskError { path, source }),
    }
}
