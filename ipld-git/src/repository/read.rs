//! Reading the objects of a repository.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use gix_object::{Find, FindHeader};

use super::{Error, OtherId, Result, database, io_error, read_if_there};
use crate::{Kind, ObjectFormat, ObjectId, with_header};

/// A repository on disk: its loose objects, and its packs with their deltas resolved, also those of
/// repositories that it names as alternates.
///
/// What `git replace` replaced is read as it is, and grafts are not looked at.
pub struct Repository {
    git_dir: PathBuf,
    common_dir: PathBuf,
    format: ObjectFormat,
    objects: gix_odb::Handle,
}

/// What resolving the deltas of one object of a pack may take: more than any object that is sent, for
/// a small one may be a delta of a large one.
const MAX_OBJECT: usize = 1 << 30;

/// Memory for objects of packs that others are deltas of.
const PACK_CACHE: usize = 64 << 20;

impl Repository {
    /// Opens the repository at `path`: a work tree, a linked work tree, or a bare repository.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`]; [`Error::Unsupported`] for a version or an extension of the format that
    /// is not understood; [`Error::Io`]; [`Error::Database`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let git_dir = find_git_dir(path.as_ref())?;
        let common_dir = match fs::read_to_string(git_dir.join("commondir")) {
            Ok(text) => git_dir.join(text.trim_end_matches(['\n', '\r'])),
            Err(_) => git_dir.clone(),
        };
        let format = read_format(&common_dir.join("config"))?;
        let hash = match format {
            ObjectFormat::Sha1 => gix_hash::Kind::Sha1,
            ObjectFormat::Sha256 => gix_hash::Kind::Sha256,
        };
        let options = gix_odb::store::init::Options {
            alloc_limit_bytes: Some(MAX_OBJECT),
            ..Default::default()
        };
        let at = common_dir.join("objects");
        let mut objects = gix_odb::at_opts(&at, hash, None, options).map_err(io_error(at))?;
        objects.set_pack_cache(|| {
            Box::new(gix_pack::cache::lru::MemoryCappedHashmap::new(PACK_CACHE))
        });
        Ok(Self { git_dir, common_dir, format, objects })
    }

    /// The hash function of its ids.
    pub const fn format(&self) -> ObjectFormat {
        self.format
    }

    /// The directory that is this work tree's own, which has its `HEAD`.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// The directory that all work trees share, which has the references and the objects.
    pub(super) fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The ids of all its objects, each once: those in packs first, in the order of the packs, which
    /// is the one that is fast to read.
    ///
    /// # Errors
    ///
    /// [`Error::Database`], also for each item.
    pub fn ids(&self) -> Result<impl Iterator<Item = Result<ObjectId>>> {
        use gix_odb::store::iter::Ordering;
        let ids = self.objects.iter().map_err(database)?;
        let ids = ids.with_ordering(Ordering::PackAscendingOffsetThenLooseLexicographical);
        let mut seen = HashSet::new();
        Ok(ids
            .map(|id| match id {
                Ok(id) => Ok(ObjectId::from_bytes(id.as_bytes())?),
                Err(error) => Err(database(error)),
            })
            .filter(move |id| id.as_ref().map_or(true, |id| seen.insert(*id))))
    }

    /// The type of an object, and the size of its content, without reading it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Damaged`].
    pub fn header(&self, id: &ObjectId) -> Result<(Kind, u64)> {
        let header = self.objects.try_header(&gix_id(id)).map_err(damaged(id))?;
        let header = header.ok_or(Error::Missing(*id))?;
        Ok((kind(header.kind), header.size))
    }

    /// An object: the bytes that git hashes.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`]; [`Error::Damaged`], also for an object that has another id than this.
    pub fn read(&self, id: &ObjectId) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let found = self.objects.try_find(&gix_id(id), &mut content).map_err(damaged(id))?;
        let found = found.ok_or(Error::Missing(*id))?;
        let object = with_header(kind(found.kind), found.data);
        let real = self.format.hash(&object).map_err(damaged(id))?;
        match real == *id {
            true => Ok(object),
            false => Err(damaged(id)(OtherId(real))),
        }
    }
}

fn damaged<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    id: &ObjectId,
) -> impl FnOnce(E) -> Error {
    let id = *id;
    move |error| Error::Damaged { id, source: error.into() }
}

fn gix_id(id: &ObjectId) -> gix_hash::ObjectId {
    gix_hash::ObjectId::try_from(id.as_bytes()).expect("both have 20 or 32 bytes")
}

const fn kind(kind: gix_object::Kind) -> Kind {
    match kind {
        gix_object::Kind::Blob => Kind::Blob,
        gix_object::Kind::Tree => Kind::Tree,
        gix_object::Kind::Commit => Kind::Commit,
        gix_object::Kind::Tag => Kind::Tag,
    }
}

/// The directory that has `HEAD` and `objects`: `path`, `path/.git`, or what the file `path/.git`
/// names.
fn find_git_dir(path: &Path) -> Result<PathBuf> {
    let is_git_dir = |path: &Path| path.join("HEAD").exists();
    let dot_git = path.join(".git");
    let found = if dot_git.is_file() {
        let text = fs::read_to_string(&dot_git).map_err(io_error(&dot_git))?;
        let target = text.strip_prefix("gitdir: ").unwrap_or(&text);
        path.join(target.trim_end_matches(['\n', '\r']))
    } else if dot_git.is_dir() {
        dot_git
    } else {
        path.into()
    };
    if is_git_dir(&found) { Ok(found) } else { Err(Error::NotFound(path.into())) }
}

/// What its configuration says of the format.
fn read_format(config: &Path) -> Result<ObjectFormat> {
    let text = read_if_there(config)?;
    let unsupported = |reason| Error::Unsupported { path: config.into(), reason };
    let mut format = ObjectFormat::Sha1;
    for (section, key, value) in settings(&text) {
        match (&section[..], &key[..], value) {
            ("core", "repositoryformatversion", "0" | "1") => {}
            ("core", "repositoryformatversion", other) => {
                return Err(unsupported(format!("format version {other}")));
            }
            ("extensions", "objectformat", "sha1") => format = ObjectFormat::Sha1,
            ("extensions", "objectformat", "sha256") => format = ObjectFormat::Sha256,
            ("extensions", "objectformat", other) => {
                return Err(unsupported(format!("object format {other}")));
            }
            ("extensions", "refstorage", other) if other != "files" => {
                return Err(unsupported(format!("references in {other}")));
            }
            _ => {}
        }
    }
    Ok(format)
}

/// The settings of plain sections, with section and key in lower case. Others do not matter here.
fn settings(text: &str) -> impl Iterator<Item = (String, String, &str)> {
    let mut section = String::new();
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.split(']').next().unwrap_or_default().trim().to_ascii_lowercase();
            return None;
        }
        let (key, value) = line.split_once('=')?;
        let value = value.split(['#', ';']).next().unwrap_or_default().trim().trim_matches('"');
        Some((section.clone(), key.trim().to_ascii_lowercase(), value))
    })
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("git_dir", &self.git_dir)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_sent_to_where_blocking_work_goes() {
        const fn send<T: Send>() {}
        send::<Repository>();
    }

    #[test]
    fn the_format_is_read_from_the_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        assert_eq!(read_format(&config).unwrap(), ObjectFormat::Sha1);
        let read = |text: &str| {
            fs::write(&config, text).unwrap();
            read_format(&config)
        };
        assert_eq!(read("[core]\n bare = true\n").unwrap(), ObjectFormat::Sha1);
        let text =
            "[core]\n\trepositoryformatversion = 1 ; one\n[Extensions]\nobjectFormat=\"sha256\"\n";
        assert_eq!(read(text).unwrap(), ObjectFormat::Sha256);
        for other in [
            "[core]\nrepositoryformatversion = 2",
            "[extensions]\nobjectformat = sha3",
            "[extensions]\nrefstorage = reftable",
        ] {
            assert!(matches!(read(other), Err(Error::Unsupported { .. })), "{other}");
        }
    }
}
