//! Files for what does not fit into memory, gone when they are no longer needed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use ipfs_traits::{Error, Result, sync::lock};

/// A folder of one process, made and emptied when it is used first.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// The number of the next file, once the folder is there.
    next: Mutex<Option<u64>>,
}

impl Scratch {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, next: Mutex::new(None) }
    }

    /// A new file.
    pub(crate) fn file(&self) -> Result<ScratchFile> {
        let path = self.path.join(self.number()?.to_string());
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|error| failed(&path, error))?;
        Ok(ScratchFile { file: Mutex::new(Some(file)), path })
    }

    fn number(&self) -> Result<u64> {
        let mut next = lock(&self.next);
        let number = match *next {
            Some(number) => number,
            None => self.make().map(|()| 0).map_err(|error| failed(&self.path, error))?,
        };
        *next = Some(number + 1);
        Ok(number)
    }

    /// Makes the folder, and clears away what a process before has left.
    fn make(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&self.path),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// A file that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    /// There until it is dropped.
    file: Mutex<Option<File>>,
    path: PathBuf,
}

impl ScratchFile {
    pub(crate) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<()> {
        self.with(|file| {
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(bytes)
        })
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.with(|file| {
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut File) -> io::Result<T>) -> Result<T> {
        let mut file = lock(&self.file);
        let file = file.as_mut().ok_or(Error::Closed("the file"))?;
        work(file).map_err(|error| self.failed(error))
    }

    pub(crate) fn failed(&self, error: io::Error) -> Error {
        failed(&self.path, error)
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        // Closed first: an open file cannot be removed everywhere.
        drop(lock(&self.file).take());
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes to a file from its beginning, much at once.
pub(crate) struct Writer<'a> {
    file: &'a ScratchFile,
    waiting: Vec<u8>,
    written: u64,
}

/// Bytes that are written at once.
const CHUNK: usize = 256 << 10;

impl<'a> Writer<'a> {
    pub(crate) fn new(file: &'a ScratchFile) -> Self {
        Self { file, waiting: Vec::with_capacity(CHUNK), written: 0 }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_at(&self.waiting, self.written)?;
        self.written += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct ScratchError {
    path: PathBuf,
    source: io::Error,
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::component(
        "a file of what does not fit into memory",
        ScratchError { path: path.to_owned(), source },
    )
}
