//! Keys in a folder, each in a file, as Kubo keeps them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use data_encoding::BASE32_NOPAD;
use ipfs_blockstore::files::{Disk, Files};
use ipfs_traits::{Error, Result, Runtime, RuntimeExt, async_trait};
use zeroize::Zeroizing;

use super::{
    Key, Keystore, check_name,
    store::{exists, no_such_key},
};

/// Keys in a folder: Kubo's `keystore`, which it reads as it is and leaves as Kubo does.
///
/// The folder is for its owner alone (mode 0700 on Unix). A key is a file `key_`, followed by its
/// name in lower-case base32 without padding, with libp2p's protobuf `PrivateKey` in it, not
/// encrypted, that its owner may read (0400). A new file comes to be whole, or not at all: it is
/// written and synced under another name, and then linked. The file system has to have hard links.
///
/// Other files are passed over. One store at a time has the folder; a node's data directory sees to
/// that.
#[derive(Clone, Debug)]
pub struct FolderKeystore {
    folder: Arc<Folder>,
    runtime: Arc<dyn Runtime>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    disk: Disk,
    /// One change at a time.
    changing: Mutex<()>,
}

const PREFIX: &str = "key_";

/// What a file is written as, before it is given its name.
const PARTIAL: &str = ".partial";

/// The longest name of a file that the common file systems have, in bytes.
const MAX_FILE_NAME: usize = 255;

impl FolderKeystore {
    /// Opens a folder, or makes it.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] with what the disk says.
    pub async fn open(path: impl Into<PathBuf>, runtime: Arc<dyn Runtime>) -> Result<Self> {
        let path = path.into();
        let folder = runtime.blocking(move || Folder::open(path)).await??;
        Ok(Self { folder: Arc::new(folder), runtime })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.folder.clone();
        self.runtime.blocking(move || work(&folder)).await?
    }

    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(move |folder| {
            let _one = folder.changing.lock().unwrap_or_else(PoisonError::into_inner);
            work(folder)
        })
        .await
    }
}

#[async_trait]
impl Keystore for FolderKeystore {
    async fn list(&self) -> Result<Vec<String>> {
        self.run(Folder::list).await
    }

    async fn get(&self, name: &str) -> Result<Option<Key>> {
        let Some(file) = file_name(name) else { return Ok(None) };
        self.run(move |folder| folder.get(&file)).await
    }

    async fn put(&self, name: &str, key: &Key) -> Result<()> {
        check_name(name)?;
        let (name, content) = (name.to_owned(), Zeroizing::new(key.to_protobuf()?));
        self.change(move |folder| folder.put(&name, &content)).await
    }

    async fn remove(&self, name: &str) -> Result<bool> {
        let Some(file) = file_name(name) else { return Ok(false) };
        self.change(move |folder| folder.remove(&file)).await
    }

    async fn rename(&self, old: &str, new: &str, force: bool) -> Result<()> {
        check_name(new)?;
        let (old, new) = (old.to_owned(), new.to_owned());
        self.change(move |folder| folder.rename(&old, &new, force)).await
    }
}

impl Folder {
    fn open(path: PathBuf) -> Result<Self> {
        private_folder(&path).map_err(failed("open", &path))?;
        let disk = Disk::open(&path).map_err(failed("open", &path))?;
        if let Some(parent) = path.parent() {
            disk.sync_dir(parent).map_err(failed("sync", parent))?;
        }
        Ok(Self { path, disk, changing: Mutex::default() })
    }

    fn list(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed("list", &self.path))? {
            let entry = entry.map_err(failed("list", &self.path))?;
            names.extend(entry.file_name().to_str().and_then(key_name));
        }
        names.sort_unstable();
        Ok(names)
    }

    fn get(&self, file: &str) -> Result<Option<Key>> {
        let path = self.path.join(file);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(failed("read", &path))?,
        };
        // One byte more than a key may have, so that a longer file is seen to be one.
        let most = Key::MAX_LEN + 1;
        let mut content = Zeroizing::new(Vec::with_capacity(most));
        file.take(most as u64).read_to_end(&mut content).map_err(failed("read", &path))?;
        Key::from_protobuf(&content).map(Some)
    }

    fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        let (partial, path) = (self.path.join(PARTIAL), self.path_of(name)?);
        // One that is left over from before a loss of power is in the way.
        ignore_absent(fs::remove_file(&partial)).map_err(failed("write", &partial))?;
        let write = || {
            let mut file = private_file().open(&partial)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::hard_link(&partial, &path)
        };
        let written = write();
        let cleared = fs::remove_file(&partial);
        match written {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(name)),
            written => {
                written.and(cleared).map_err(failed("write", &path))?;
                self.sync()
            }
        }
    }

    fn remove(&self, file: &str) -> Result<bool> {
        let path = self.path.join(file);
        let there = ignore_absent(fs::remove_file(&path)).map_err(failed("remove", &path))?;
        self.sync()?;
        Ok(there)
    }

    fn rename(&self, old: &str, new: &str, force: bool) -> Result<()> {
        let (from, to) = (self.path_of(old)?, self.path_of(new)?);
        if !from.try_exists().map_err(failed("read", &from))? {
            return Err(no_such_key(old));
        }
        if old == new {
            return Ok(());
        }
        if !force && to.try_exists().map_err(failed("read", &to))? {
            return Err(exists(new));
        }
        fs::rename(&from, &to).map_err(failed("rename", &from))?;
        self.sync()
    }

    fn path_of(&self, name: &str) -> Result<PathBuf> {
        let file = file_name(name).ok_or_else(|| no_such_key(name))?;
        Ok(self.path.join(file))
    }

    fn sync(&self) -> Result<()> {
        self.disk.sync_dir(&self.path).map_err(failed("sync", &self.path))
    }
}

/// The file of a name; `None` for a name that no file can have.
fn file_name(name: &str) -> Option<String> {
    let file = format!("{PREFIX}{}", BASE32_NOPAD.encode(name.as_bytes()).to_lowercase());
    (!name.is_empty() && file.len() <= MAX_FILE_NAME).then_some(file)
}

/// The name whose file this is. Kubo reads upper case too, but never writes it.
fn key_name(file: &str) -> Option<String> {
    let name = file.strip_prefix(PREFIX)?;
    let name = BASE32_NOPAD.decode(name.to_uppercase().as_bytes()).ok()?;
    let name = String::from_utf8(name).ok()?;
    (file_name(&name).as_deref() == Some(file)).then_some(name)
}

/// Whether something was there.
fn ignore_absent(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    let mut folder = fs::DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(path)
}

fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o400);
    options
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
struct FolderError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::component("keystore", FolderError { what, path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::MAX_KEY_NAME;

    #[test]
    fn files_are_named_as_kubo_names_them() {
        assert_eq!(file_name("my-key").as_deref(), Some("key_nv4s223fpe"));
        for name in ["a", "my-key", "Ünïcode", &"x".repeat(MAX_KEY_NAME)] {
            assert_eq!(key_name(&file_name(name).unwrap()).as_deref(), Some(name));
        }
        assert_eq!(file_name(&"x".repeat(MAX_KEY_NAME + 1)), None);
        for other in ["key_", "key_1", "key_NV4S223FPE", "nv4s223fpe", ".partial", "key_74"] {
            assert_eq!(key_name(other), None, "{other}");
        }
    }
}
