//! The folder of a node: see `DESIGN.md`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use ipfs_blockstore::files::{Disk, Files, Lock};
use ipfs_traits::{Error, Result};
use libp2p_identity::Keypair;
use zeroize::Zeroizing;

use crate::Key;

/// The newest version that is known here.
const VERSION: u64 = 1;

const VERSION_FILE: &str = "node.version";
const IDENTITY_FILE: &str = "identity";
const LOCK_FILE: &str = "lock";
const BLOCKS: &str = "blocks";
const STATE: &str = "state.redb";
const KEYSTORE: &str = "keystore";

/// What does not fit into memory; emptied when it is used first.
pub(crate) const SCRATCH: &str = "scratch";

/// What a file is written as, before it is given its name.
const PARTIAL: &str = ".partial";

/// The first line of the version file, which tells it from everyone else's.
const MAGIC: &str = "ipfs-core data directory";

/// No file that is read here is longer.
const MAX_FILE: u64 = 4096;

/// An open data directory.
#[derive(Debug)]
pub(crate) struct DataDir {
    pub(crate) path: PathBuf,
    pub(crate) identity: Key,
    pub(crate) lock: Lock,
}

impl DataDir {
    /// Opens a folder, or makes it. Blocks.
    ///
    /// With `identity`, a new folder gets it, and one that has another is refused.
    pub(crate) fn open(path: PathBuf, identity: Option<Key>) -> Result<Self> {
        let disk = Disk::open(&path).map_err(failed("open", &path))?;
        let version = read(&path.join(VERSION_FILE))?;
        if version.is_none() && !is_ours_to_make(&path).map_err(failed("list", &path))? {
            let reason = format!("{} is neither empty nor a node's", path.display());
            return Err(Error::invalid("data directory", reason));
        }
        let lock_file = path.join(LOCK_FILE);
        let lock = disk.lock(&lock_file).map_err(failed("lock", &lock_file))?;
        let lock = lock.ok_or_else(|| Error::InUse(path.display().to_string().into()))?;
        if let Some(version) = &version {
            check_version(version)?;
        }
        let identity = identity_of(&path, identity, version.is_some())?;
        if version.is_none() {
            let text = format!("{MAGIC}\n{VERSION}\n");
            write(&path.join(VERSION_FILE), text.as_bytes())?;
        }
        disk.sync_dir(&path).map_err(failed("sync", &path))?;
        Ok(Self { path, identity, lock })
    }

    pub(crate) fn blocks(&self) -> PathBuf {
        self.path.join(BLOCKS)
    }

    /// The file that a flatfs has, and no other store.
    pub(crate) fn sharding(&self) -> PathBuf {
        self.blocks().join("SHARDING")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    pub(crate) fn keystore(&self) -> PathBuf {
        self.path.join(KEYSTORE)
    }
}

/// The key that the node of a folder has when it is started next. Blocks.
pub(crate) fn identity(path: &Path) -> Result<Key> {
    kept_identity(path)?.ok_or_else(|| Error::malformed("identity", GONE))
}

/// Gives the node of a folder another key, from its next start on. Blocks.
pub(crate) fn set_identity(path: &Path, key: &Key) -> Result<()> {
    write(&path.join(IDENTITY_FILE), &Zeroizing::new(key.to_protobuf()?))?;
    let disk = Disk::open(path).map_err(failed("open", path))?;
    disk.sync_dir(path).map_err(failed("sync", path))
}

const GONE: &str = "the file is gone";

fn kept_identity(path: &Path) -> Result<Option<Key>> {
    let Some(kept) = read(&path.join(IDENTITY_FILE))? else { return Ok(None) };
    match Key::from_protobuf(&Zeroizing::new(kept)) {
        Err(Error::Malformed { .. }) => Err(Error::malformed("identity", "the file holds no key")),
        kept => kept.map(Some),
    }
}

/// Whether a folder without a version holds nothing but what is made before the version is.
fn is_ours_to_make(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let known = name.to_str().map(|name| name.strip_suffix(PARTIAL).unwrap_or(name));
        if !matches!(known, Some(VERSION_FILE | IDENTITY_FILE | LOCK_FILE)) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check_version(content: &[u8]) -> Result<()> {
    let text = std::str::from_utf8(content).ok();
    let version =
        text.and_then(|text| text.strip_prefix(MAGIC)).and_then(|v| v.trim().parse().ok());
    match version {
        Some(VERSION) => Ok(()),
        Some(found) if found > VERSION => {
            Err(Error::Newer { what: "the data directory", found, known: VERSION })
        }
        _ => {
            Err(Error::malformed("version of the data directory", "it is none that was ever made"))
        }
    }
}

fn identity_of(path: &Path, given: Option<Key>, made: bool) -> Result<Key> {
    match (kept_identity(path)?, given) {
        (Some(kept), given) => {
            if given.is_some_and(|given| given.public() != kept.public()) {
                let peer = kept.peer_id();
                let reason = format!("the data directory is that of {peer}");
                return Err(Error::invalid("identity", reason));
            }
            Ok(kept)
        }
        // A node does not change its name without being told.
        (None, None) if made => Err(Error::malformed("identity", GONE)),
        (None, given) => {
            let identity = given.unwrap_or_else(|| Keypair::generate_ed25519().into());
            write(&path.join(IDENTITY_FILE), &Zeroizing::new(identity.to_protobuf()?))?;
            Ok(identity)
        }
    }
}

/// The content of a small file; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed("read", path))?,
    };
    let mut content = Vec::new();
    let mut start = io::Read::take(file, MAX_FILE);
    io::Read::read_to_end(&mut start, &mut content).map_err(failed("read", path))?;
    Ok(Some(content))
}

/// Writes a file that only its owner may read: under another name, synced, then renamed.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(PARTIAL);
    let partial = PathBuf::from(partial);
    let write = || {
        let mut file = private().open(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(failed("write", path))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
struct DirError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::component("data directory", DirError { what, path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<DataDir> {
        DataDir::open(path.to_owned(), None)
    }

    #[test]
    fn a_node_keeps_its_name_and_its_folder_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let first = open(&path).unwrap();
        assert!(matches!(open(&path), Err(Error::InUse(_))));
        let name = first.identity.public();
        drop(first);
        assert_eq!(open(&path).unwrap().identity.public(), name);
        let other = DataDir::open(path.clone(), Some(Keypair::generate_ed25519().into()));
        assert!(matches!(other, Err(Error::Invalid { what: "identity", .. })));
        fs::remove_file(path.join(IDENTITY_FILE)).unwrap();
        assert!(matches!(open(&path), Err(Error::Malformed { what: "identity", .. })));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let mode = fs::metadata(folder.path().join(IDENTITY_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_a_nodes_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("version"), "18\n").unwrap(); // as Kubo's repository has it
        assert!(matches!(open(folder.path()), Err(Error::Invalid { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn versions_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        let version = folder.path().join(VERSION_FILE);
        fs::write(&version, format!("{MAGIC}\n2\n")).unwrap();
        assert!(matches!(open(folder.path()), Err(Error::Newer { found: 2, known: 1, .. })));
        for nonsense in ["", "1", "ipfs-core data directory\n0", "\u{1}"] {
            fs::write(&version, nonsense).unwrap();
            assert!(matches!(open(folder.path()), Err(Error::Malformed { .. })), "{nonsense}");
        }
    }

    /// The power fails while a folder is made: what is there by then is gone on with.
    #[test]
    fn making_a_folder_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let name = open(folder.path()).unwrap().identity.public();
        fs::remove_file(folder.path().join(VERSION_FILE)).unwrap();
        fs::write(folder.path().join("identity.partial"), "half").unwrap();
        fs::write(folder.path().join("node.version.partial"), "ipfs").unwrap();
        assert_eq!(open(folder.path()).unwrap().identity.public(), name);
        assert!(folder.path().join(VERSION_FILE).exists());
    }
}
