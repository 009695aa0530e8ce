//! Writing a new repository.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Error, Result, io_error};
use crate::{Object, ObjectFormat, ObjectId, deflate};

/// A bare repository that is being written: its objects, each in a file of its own, and its
/// references.
///
/// Git can read it at any time; `git gc` packs it. An object is whole or not there, but nothing is
/// synced to the disk.
#[derive(Debug)]
pub struct NewRepository {
    path: PathBuf,
    format: ObjectFormat,
    /// Numbers the files that are not whole yet.
    files: AtomicU64,
}

impl NewRepository {
    /// Makes an empty repository at `path`, which must not exist or be an empty directory. `HEAD`
    /// names `refs/heads/main`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], with [`io::ErrorKind::DirectoryNotEmpty`] where there is something.
    pub fn create(path: impl Into<PathBuf>, format: ObjectFormat) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).map_err(io_error(&path))?;
        if fs::read_dir(&path).map_err(io_error(&path))?.next().is_some() {
            return Err(io_error(&path)(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            let folder = path.join(folder);
            fs::create_dir_all(&folder).map_err(io_error(folder))?;
        }
        let new = Self { path, format, files: AtomicU64::new(0) };
        let config = match format {
            ObjectFormat::Sha1 => "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
            ObjectFormat::Sha256 => {
                "[core]\n\trepositoryformatversion = 1\n\tbare = true\n\
                 [extensions]\n\tobjectformat = sha256\n"
            }
        };
        new.write_file("config".as_ref(), config.as_bytes())?;
        new.set_head("refs/heads/main")?;
        Ok(new)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes an object, if it is not there already, and gives its id. Objects may come in any
    /// order.
    ///
    /// # Errors
    ///
    /// [`Error::Object`] for bytes that are no object of this format, or part of a collision attack;
    /// [`Error::Io`].
    pub fn write(&self, object: &[u8]) -> Result<ObjectId> {
        let id = Object::parse(self.format, object)?.id()?;
        let hex = id.to_string();
        let folder = self.path.join("objects").join(&hex[..2]);
        if !folder.join(&hex[2..]).exists() {
            fs::create_dir_all(&folder).map_err(io_error(&folder))?;
            let file = Path::new("objects").join(&hex[..2]).join(&hex[2..]);
            self.write_file(&file, &deflate(object))?;
        }
        Ok(id)
    }

    /// Makes a reference, such as `refs/heads/main`, name an object.
    ///
    /// # Errors
    ///
    /// [`Error::Reference`] for a name that git would refuse, or that is not below `refs/`;
    /// [`Error::Io`].
    pub fn set_reference(&self, name: &str, id: &ObjectId) -> Result<()> {
        check_name(name)?;
        let folder = self.path.join(name);
        if let Some(folder) = folder.parent() {
            fs::create_dir_all(folder).map_err(io_error(folder))?;
        }
        self.write_file(name.as_ref(), format!("{id}\n").as_bytes())
    }

    /// Makes `HEAD` name a branch.
    ///
    /// # Errors
    ///
    /// As [`set_reference`](Self::set_reference).
    pub fn set_head(&self, branch: &str) -> Result<()> {
        check_name(branch)?;
        self.write_file("HEAD".as_ref(), format!("ref: {branch}\n").as_bytes())
    }

    /// Says of these commits that their parents are left out on purpose, as in what `git clone
    /// --depth` makes. Without any it says that nothing is.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn set_shallow(&self, commits: &[ObjectId]) -> Result<()> {
        if commits.is_empty() {
            let path = self.path.join("shallow");
            return match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
                _ => Ok(()),
            };
        }
        let lines: String = commits.iter().map(|id| format!("{id}\n")).collect();
        self.write_file("shallow".as_ref(), lines.as_bytes())
    }

    /// Writes under another name first, so that the file is whole when it is there.
    fn write_file(&self, name: &Path, content: &[u8]) -> Result<()> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let partial = self.path.join("objects").join(format!("tmp_obj_{number}"));
        let path = self.path.join(name);
        let write = || {
            let mut file = fs::File::create(&partial)?;
            file.write_all(content)?;
            drop(file);
            fs::rename(&partial, &path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&partial);
            io_error(path)(error)
        })
    }
}

/// Git's rules for the name of a reference, and that it is below `refs/`. It becomes a path, so they
/// keep it inside of the repository, too.
fn check_name(name: &str) -> Result<()> {
    let bad = |byte: u8| byte <= b' ' || byte == 0x7f || b"~^:?*[\\".contains(&byte);
    let good_part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let good = name.starts_with("refs/")
        && name.split('/').all(good_part)
        && !name.bytes().any(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.');
    if good { Ok(()) } else { Err(Error::Reference(name.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_git_takes() {
        for name in ["refs/heads/main", "refs/tags/v1.0", "refs/heads/a/b@c", "refs/heads/\u{e9}"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "main",
            "refs/",
            "refs/../config",
            "refs/heads/.a",
            "refs/heads/a..b",
            "/refs/a",
            "refs//a",
            "refs/a b",
            "refs/a.lock",
            "refs/a.",
            "refs/a@{b",
            "refs/a\\b",
            "refs/a:b",
            "refs/a\n",
            "HEAD",
            "refs/heads/..",
            "refs/a/.lock",
        ] {
            assert!(matches!(check_name(name), Err(Error::Reference(_))), "{name}");
        }
    }
}
