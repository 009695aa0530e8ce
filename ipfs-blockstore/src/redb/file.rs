//! The file of redb, on a file system of the caller's.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_traits::{Error, Result};
use redb::{Database, DatabaseError, StorageBackend};

use super::{CACHE, failed};
use crate::files::{Files, Open, OpenFile};

/// Opens the file, which is made if it is not there.
pub(super) fn open(files: &dyn Files, path: &Path) -> Result<Database> {
    loop {
        match files.open(path, Open::Existing) {
            Ok(file) => return database(locked(file, path)?, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        if let Some(database) = make(files, path)? {
            return Ok(database);
        }
    }
}

/// Makes the file under another name, which it keeps until it is whole: redb does not open what a
/// crash has left of a file that was being made. `None` when somebody else has made it meanwhile.
fn make(files: &dyn Files, path: &Path) -> Result<Option<Database>> {
    let new = beside(path);
    let file = match files.open(&new, Open::Existing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => files.open(&new, Open::New),
        file => file,
    };
    let file = match file {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        file => locked(file.map_err(failed)?, path)?,
    };
    // Whoever had the lock before may have given the file its name.
    match files.len(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Ok(_) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    let database = database(file, path)?;
    files.rename(&new, path).map_err(failed)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    files.sync_dir(folder).map_err(failed)?;
    Ok(Some(database))
}

/// The name of a file that is being made.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".new");
    path.with_file_name(name)
}

fn locked(file: Arc<dyn OpenFile>, path: &Path) -> Result<Arc<dyn OpenFile>> {
    match file.try_lock().map_err(failed)? {
        true => Ok(file),
        false => Err(in_use(path)),
    }
}

fn in_use(path: &Path) -> Error {
    Error::InUse(path.display().to_string().into())
}

fn database(file: Arc<dyn OpenFile>, path: &Path) -> Result<Database> {
    let mut builder = Database::builder();
    let database = builder.set_cache_size(CACHE).create_with_backend(Backend(file));
    database.map_err(|error| match error {
        DatabaseError::DatabaseAlreadyOpen => in_use(path),
        DatabaseError::UpgradeRequired(found) => {
            // redb names only the version of the file; what it reads begins below the next one.
            let known = u64::from(found).saturating_sub(1);
            Error::Newer { what: "state file", found: found.into(), known }
        }
        other => failed(other),
    })
}

/// A file that is open, as redb wants it. The lock is held with it, for redb to take none.
#[derive(Debug)]
struct Backend(Arc<dyn OpenFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.0.read_at(out, offset)? == out.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}
