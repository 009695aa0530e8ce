//! The folder of a node: see `DESIGN.md`.

mod file;
mod migrate;
mod version;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ipfs_blockstore::files::{Disk, Files, Lock};
use ipfs_traits::{Error, Result};
use libp2p_identity::Keypair;
use zeroize::Zeroizing;

use self::{
    file::{PARTIAL, failed, read, write},
    migrate::{Migration, STEPS},
    version::Version,
};
use crate::Key;

/// The newest version that is known here.
pub(crate) const VERSION: u64 = migrate::newest(STEPS);

const VERSION_FILE: &str = "node.version";
const IDENTITY_FILE: &str = "identity";
const LOCK_FILE: &str = "lock";
const BLOCKS: &str = "blocks";
const STATE: &str = "state.redb";
const KEYSTORE: &str = "keystore";

/// What does not fit into memory; emptied when it is used first.
pub(crate) const SCRATCH: &str = "scratch";

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
    /// With `identity`, a new folder gets it, and one that has another is refused. One of an older
    /// version is brought to the newest one if it may be migrated, and refused otherwise.
    pub(crate) fn open(path: PathBuf, identity: Option<Key>, migrate: bool) -> Result<Self> {
        let disk = disk(&path)?;
        let is_new = Version::read(&disk, &path, VERSION)?.is_none();
        if is_new && !is_ours_to_make(&path).map_err(failed("list", &path))? {
            let reason = format!("{} is neither empty nor a node's", path.display());
            return Err(Error::invalid("data directory", reason));
        }
        let migration = Migration { steps: STEPS, allowed: migrate };
        Self::open_on(&disk, path, identity, &migration)
    }

    fn open_on(
        files: &dyn Files,
        path: PathBuf,
        identity: Option<Key>,
        migration: &Migration<'_>,
    ) -> Result<Self> {
        let lock_file = path.join(LOCK_FILE);
        let lock = files.lock(&lock_file).map_err(failed("lock", &lock_file))?;
        let lock = lock.ok_or_else(|| Error::InUse(path.display().to_string().into()))?;
        let newest = migrate::newest(migration.steps);
        let version = Version::read(files, &path, newest)?;
        if let Some(version) = version {
            migration.run(files, &path, version)?;
        }
        let identity = identity_of(files, &path, identity, version.is_some())?;
        if version.is_none() {
            // A version without an identity would be a node that has lost its name.
            files.sync_dir(&path).map_err(failed("sync", &path))?;
            Version::of(newest).write(files, &path)?;
        }
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
        state(&self.path)
    }

    pub(crate) fn keystore(&self) -> PathBuf {
        self.path.join(KEYSTORE)
    }
}

/// The file of the datastore in a folder.
pub(crate) fn state(path: &Path) -> PathBuf {
    path.join(STATE)
}

/// The key that the node of a folder has when it is started next. Blocks.
pub(crate) fn identity(path: &Path) -> Result<Key> {
    kept_identity(&disk(path)?, path)?.ok_or_else(|| Error::malformed("identity", GONE))
}

/// Gives the node of a folder another key, from its next start on. Blocks.
pub(crate) fn set_identity(path: &Path, key: &Key) -> Result<()> {
    let disk = disk(path)?;
    write(&disk, &path.join(IDENTITY_FILE), &Zeroizing::new(key.to_protobuf()?))?;
    disk.sync_dir(path).map_err(failed("sync", path))
}

const GONE: &str = "the file is gone";

/// The folder, in which files are their owner's alone.
fn disk(path: &Path) -> Result<Disk> {
    Ok(Disk::open(path).map_err(failed("open", path))?.private())
}

fn kept_identity(files: &dyn Files, path: &Path) -> Result<Option<Key>> {
    let Some(kept) = read(files, &path.join(IDENTITY_FILE))? else { return Ok(None) };
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

fn identity_of(files: &dyn Files, path: &Path, given: Option<Key>, made: bool) -> Result<Key> {
    match (kept_identity(files, path)?, given) {
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
            let content = Zeroizing::new(identity.to_protobuf()?);
            write(files, &path.join(IDENTITY_FILE), &content)?;
            Ok(identity)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<DataDir> {
        DataDir::open(path.to_owned(), None, true)
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
        let other = DataDir::open(path.clone(), Some(Keypair::generate_ed25519().into()), true);
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

    /// A folder in which something else has taken the place of a small file.
    #[test]
    fn what_is_longer_than_a_node_writes_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        drop(open(folder.path()).unwrap());
        for name in [IDENTITY_FILE, VERSION_FILE] {
            let path = folder.path().join(name);
            let before = fs::read(&path).unwrap();
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
            assert!(matches!(open(folder.path()), Err(Error::Malformed { .. })), "{name}");
            fs::write(&path, before).unwrap();
        }
        open(folder.path()).unwrap();
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
