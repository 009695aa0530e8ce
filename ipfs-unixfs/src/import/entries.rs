//! A tree that comes as a stream of entries, in any order.

mod entry;
mod forest;

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{AsyncReadExt, StreamExt, TryStreamExt, stream};
use ipfs_traits::{Error, Result, RuntimeExt};

pub use self::entry::{NewContent, NewEntry};
use self::forest::Forest;
use super::{
    Context, FileError,
    assemble::Assembly,
    batch::{BATCH_BYTES, BATCH_COUNT, Content, Found},
    runs::FromReader,
};
use crate::{Name, attributes::Attributes, child::Child};

/// Where an entry goes.
#[derive(Debug)]
enum Place {
    Directory(Vec<Name>, Attributes),
    Entry(Vec<Name>),
}

/// Entries that still come.
pub(super) struct Entries(pub(super) BoxStream<'static, Result<NewEntry>>);

impl Context {
    /// Imports a tree of entries.
    pub(super) async fn entries(&self, entries: Entries) -> Result<Child> {
        let mut forest = Forest::new();
        let mut done = std::pin::pin!(self.outcomes(self.found(entries)));
        while let Some(outcomes) = done.try_next().await? {
            for (place, child) in outcomes {
                match (place, child) {
                    (Place::Directory(path, found), _) => forest.directory(path, found)?,
                    (Place::Entry(path), Some(child)) => forest.entry(path, child)?,
                    (Place::Entry(_), None) => {}
                }
            }
        }
        self.assemble(forest).await
    }

    /// What comes, some entries at a time.
    fn found(&self, entries: Entries) -> BoxStream<'_, Result<Vec<Found<Place>>>> {
        let next = move |mut entries| async move {
            let found = self.some_entries(&mut entries).await?;
            Ok((!found.is_empty()).then_some((found, entries)))
        };
        stream::try_unfold(entries, next).boxed()
    }

    /// Makes the directories, when all that is in them is known.
    async fn assemble(&self, forest: Forest) -> Result<Child> {
        let mut assembly = Assembly::new(self);
        for (place, child) in forest.into_places() {
            assembly.add(place, child).await?;
        }
        assembly.finish().await
    }

    /// The next entries, as many as are worked on together; none at the end.
    async fn some_entries(&self, entries: &mut Entries) -> Result<Vec<Found<Place>>> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        while found.len() < BATCH_COUNT && bytes < BATCH_BYTES {
            let Some(entry) = entries.0.try_next().await? else {
                break;
            };
            let (entry, held) = self.entry(entry).await?;
            found.push(entry);
            bytes += held;
        }
        Ok(found)
    }

    /// An entry as something that was found, and how many bytes of it are held until it is worked
    /// on. What is read is read to its end here: nothing else may come from the stream before.
    async fn entry(&self, entry: NewEntry) -> Result<(Found<Place>, u64)> {
        let NewEntry { path, content, mode, mtime } = entry;
        entry::check(&path)?;
        let attributes = Attributes { mode, mtime };
        let content = match content {
            NewContent::Directory => {
                let place = Place::Directory(path, attributes);
                return Ok((Found { place, content: Content::Nothing, attributes }, 0));
            }
            NewContent::Symlink(target) => Content::Symlink(target),
            NewContent::Bytes(bytes) => Content::Bytes(bytes),
            NewContent::Disk(path) => self.on_disk(path).await?,
            NewContent::Reader(mut reader) => match read_some(&mut reader).await? {
                (start, true) => Content::Bytes(start),
                (start, false) => {
                    let whole = futures_util::io::Cursor::new(start).chain(reader);
                    let runs = FromReader(Box::pin(whole));
                    Content::Done(self.file(runs, None, attributes).await?)
                }
            },
        };
        let held = match &content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Disk { len, .. } => *len,
            _ => 0,
        };
        Ok((Found { place: Place::Entry(path), content, attributes }, held))
    }

    /// A file on disk, as it is now.
    async fn on_disk(&self, path: std::path::PathBuf) -> Result<Content> {
        let refers = self.keep.refers();
        let look = move || {
            let failed = || FileError::read(&path);
            let path =
                if refers { std::path::absolute(&path).map_err(failed())? } else { path.clone() };
            let about = std::fs::metadata(&path).map_err(failed())?;
            if !about.is_file() {
                return Err(Error::invalid("entry", format!("{} is no file", path.display())));
            }
            Ok(Content::Disk { path, len: about.len() })
        };
        self.runtime.blocking(look).await?
    }
}

type Reader = Pin<Box<dyn futures_io::AsyncRead + Send>>;

/// The beginning of what a reader gives, as much as is worked on together with other files, and
/// whether that is all.
async fn read_some(reader: &mut Reader) -> Result<(Bytes, bool)> {
    const READ: usize = 64 << 10;
    const MOST: usize = BATCH_BYTES as usize + 1;
    let mut start = BytesMut::new();
    while start.len() < MOST {
        let filled = start.len();
        start.resize(filled + READ.min(MOST - filled), 0);
        let read = reader.read(&mut start[filled..]).await.map_err(FileError::stream)?;
        start.truncate(filled + read);
        if read == 0 {
            return Ok((start.freeze(), true));
        }
    }
    Ok((start.freeze(), false))
}
