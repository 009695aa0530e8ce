//! A file that is open.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_blockstore::files::OpenFile;

use super::{Content, Faulty};

#[derive(Debug)]
pub(super) struct FaultyFile {
    files: Faulty,
    path: PathBuf,
    number: usize,
    /// Lives as long as a lock that was taken.
    held: Arc<()>,
}

impl FaultyFile {
    pub(super) fn new(files: &Faulty, path: &Path, number: usize) -> Self {
        Self { files: files.clone(), path: path.to_owned(), number, held: Arc::default() }
    }

    fn with<T>(&self, what: &'static str, work: impl FnOnce(&mut Content) -> T) -> io::Result<T> {
        let mut model = self.files.model();
        model.call(what, &self.path)?;
        Ok(work(&mut model.contents[self.number]))
    }
}

impl OpenFile for FaultyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with("read_at", |content| {
            let from = content.bytes.len().min(offset as usize);
            let len = buf.len().min(content.bytes.len() - from);
            buf[..len].copy_from_slice(&content.bytes[from..from + len]);
            len
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let refusal = self.files.model().refusal;
        self.with("write_at", |content| {
            let bytes = match refusal {
                None => bytes,
                Some(io::ErrorKind::StorageFull) => &bytes[..bytes.len() / 2],
                Some(_) => &[],
            };
            let (from, to) = (offset as usize, offset as usize + bytes.len());
            if content.bytes.len() < to {
                content.bytes.resize(to, 0);
            }
            content.bytes[from..to].copy_from_slice(bytes);
        })?;
        refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    fn len(&self) -> io::Result<u64> {
        self.with("len", |content| content.bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        {
            let model = self.files.model();
            let grows = len as usize > model.contents[self.number].bytes.len();
            match model.refusal {
                Some(refusal) if grows || refusal != io::ErrorKind::StorageFull => {
                    return Err(refusal.into());
                }
                _ => {}
            }
        }
        self.with("set_len", |content| content.bytes.resize(len as usize, 0))
    }

    fn sync(&self) -> io::Result<()> {
        let taken_out = self.files.model().taken_out;
        self.with("sync", |content| content.sync(taken_out))
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut model = self.files.model();
        model.call("try_lock", &self.path)?;
        let number = self.number;
        model.locked_files.retain(|(_, held)| held.strong_count() > 0);
        let free = model.locked_files.iter().all(|(locked, _)| *locked != number);
        if free {
            model.locked_files.push((number, Arc::downgrade(&self.held)));
        }
        Ok(free)
    }
}
