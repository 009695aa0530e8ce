//! The file system of the machine.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{Files, Lock, Open, OpenFile};

/// A folder of the machine's file system.
#[derive(Debug)]
pub struct Disk {
    /// Opened before anything is written: an error of writing back is told to who had it open.
    #[cfg(target_os = "linux")]
    whole: Option<File>,
    /// Whether what is made is its owner's alone.
    #[cfg(unix)]
    private: bool,
}

impl Disk {
    /// The folder `root`, made if it is not there.
    ///
    /// # Errors
    ///
    /// Those of `std::fs::create_dir_all`.
    pub fn open(root: &Path) -> io::Result<Self> {
        create_dirs(root)?;
        Ok(Self {
            #[cfg(target_os = "linux")]
            whole: match syncfs_tells_errors() {
                true => Some(File::open(root)?),
                false => None,
            },
            #[cfg(unix)]
            private: false,
        })
    }
}

impl Disk {
    /// The file system, for files that are only read: nothing is made, and
    /// [`sync_all`](Files::sync_all) cannot.
    pub const fn reading() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            whole: None,
            #[cfg(unix)]
            private: false,
        }
    }

    /// Makes files and directories from now on so that nobody but their owner may read or change
    /// them, where the platform has modes.
    #[must_use]
    pub const fn private(#[allow(unused_mut, reason = "Unix has modes")] mut self) -> Self {
        #[cfg(unix)]
        {
            self.private = true;
        }
        self
    }

    /// How a file is opened that may be made.
    fn options(&self) -> OpenOptions {
        #[allow(unused_mut, reason = "Unix has modes")]
        let mut options = OpenOptions::new();
        #[cfg(unix)]
        if self.private {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        options
    }
}

/// Makes a directory and those above it that are missing, all of them durable.
fn create_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        None => return fs::create_dir(path),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    create_dirs(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_dir(parent),
    }
}

/// Whether `syncfs` says that writing back has failed, as Linux does from 5.8 on. An older one
/// would call lost data safe.
#[cfg(target_os = "linux")]
fn syncfs_tells_errors() -> bool {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy();
    let mut numbers = release.split(|char: char| !char.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
    (next(), next()) >= (5, 8)
}

/// Unix keeps the names of a directory in the directory, which is synced like a file.
#[cfg(unix)]
fn sync_dir(path: &Path) -> io::Result<()> {
    patiently(|| File::open(path))?.sync_all()
}

/// NTFS keeps the names in its journal, writes them in order, and has no call to wait for them.
#[cfg(not(unix))]
fn sync_dir(_: &Path) -> io::Result<()> {
    Ok(())
}

/// What the system says when the process, or the machine, has no more files to open.
#[cfg(unix)]
const TOO_MANY: [i32; 2] = [24, 23];
#[cfg(not(unix))]
const TOO_MANY: [i32; 1] = [4];

/// Tries again for some two seconds where too many files are open: others are closed soon, and it
/// says nothing of this one. A commit must not take it for a sync that failed.
///
/// It sleeps, for the system tells nobody when a file is closed; every call here is made where work
/// may block.
fn patiently<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for wait in (0..11).map(|doubled| Duration::from_millis(1 << doubled)) {
        match open() {
            Err(error) if error.raw_os_error().is_some_and(|code| TOO_MANY.contains(&code)) => {
                std::thread::sleep(wait);
            }
            opened => return opened,
        }
    }
    open()
}

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        patiently(|| fs::read(path))
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        let metadata = fs::symlink_metadata(path)?;
        match metadata.is_file() {
            true => Ok(metadata.len()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "not a file")),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<(String, bool)>> {
        let mut names = Vec::new();
        for entry in patiently(|| fs::read_dir(path))? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push((name, entry.file_type()?.is_dir()));
            }
        }
        Ok(names)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        #[allow(unused_mut, reason = "Unix has modes")]
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        if self.private {
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        }
        builder.create(path)
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let open = || self.options().write(true).create_new(true).open(path);
        patiently(open)?.write_all(content)
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn OpenFile>> {
        let mut options = self.options();
        options.read(true).write(how != Open::Reading).create_new(how == Open::New);
        Ok(Arc::new(DiskFile::from(patiently(|| options.open(path))?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Windows flushes only what was opened for writing.
        patiently(|| OpenOptions::new().write(true).open(path))?.sync_data()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_dir(path)
    }

    fn sync_all(&self) -> io::Result<bool> {
        #[cfg(target_os = "linux")]
        if let Some(whole) = &self.whole {
            rustix::fs::syncfs(whole)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Lock>> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let file = DiskFile::from(file);
        Ok(file.try_lock()?.then(|| Lock::new(file)))
    }
}

#[derive(Debug)]
struct DiskFile {
    file: File,
    is_locked: AtomicBool,
}

impl From<File> for DiskFile {
    fn from(file: File) -> Self {
        Self { file, is_locked: AtomicBool::new(false) }
    }
}

/// Unlocks it: closing alone does not as long as a process that was forked has not yet closed what it
/// inherited.
impl Drop for DiskFile {
    fn drop(&mut self) {
        if *self.is_locked.get_mut() {
            let _ = self.file.unlock();
        }
    }
}

impl DiskFile {
    #[cfg(unix)]
    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buf, offset)
    }

    #[cfg(windows)]
    fn read_once(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buf, offset)
    }

    #[cfg(unix)]
    fn write_once(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::write_at(&self.file, bytes, offset)
    }

    #[cfg(windows)]
    fn write_once(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.file, bytes, offset)
    }
}

impl OpenFile for DiskFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read_once(&mut buf[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_once(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = &bytes[written..];
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => {
                self.is_locked.store(true, Ordering::Relaxed);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive could not be opened again that was closed: a process that was being started for
    /// something else still had its file open.
    #[test]
    fn a_lock_ends_though_another_process_has_the_file_open() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
            options.open(folder.path().join("file")).unwrap()
        };
        let first = DiskFile::from(open());
        let inherited = first.file.try_clone().unwrap();
        assert!(first.try_lock().unwrap());
        let second = DiskFile::from(open());
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
        drop(inherited);
    }

    #[test]
    fn too_many_open_files_is_waited_out() {
        let mut calls = 0;
        let opened = patiently(|| {
            calls += 1;
            match calls {
                1 | 2 => Err(io::Error::from_raw_os_error(TOO_MANY[0])),
                _ => Ok(calls),
            }
        });
        assert_eq!(opened.unwrap(), 3);
        let absent = patiently(|| fs::read("/nowhere/at all")).unwrap_err();
        assert_eq!(absent.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn does_what_its_contract_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new/root");
        let disk = Disk::open(&root).unwrap();
        let (a, b) = (root.join("a"), root.join("b"));
        disk.create(&a, b"12").unwrap();
        assert_eq!(disk.create(&a, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        disk.create_dir(&root.join("d")).unwrap();
        assert_eq!(
            disk.create_dir(&root.join("d")).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        disk.sync_file(&a).unwrap();
        disk.sync_dir(&root).unwrap();
        disk.sync_all().unwrap();
        disk.rename(&a, &b).unwrap();
        assert_eq!(disk.rename(&a, &b).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((disk.len(&b).unwrap(), disk.read(&b).unwrap()), (2, b"12".to_vec()));
        assert_eq!(disk.len(&a).unwrap_err().kind(), io::ErrorKind::NotFound);
        let mut names = disk.list(&root).unwrap();
        names.sort();
        assert_eq!(names, [("b".to_owned(), false), ("d".to_owned(), true)]);
        let open = disk.open(&b, Open::Existing).unwrap();
        open.write_at(b"345", 1).unwrap();
        open.set_len(3).unwrap();
        open.sync().unwrap();
        let mut buf = [0; 4];
        assert_eq!((open.len().unwrap(), open.read_at(&mut buf, 1).unwrap()), (3, 2));
        assert_eq!(&buf[..2], b"34");
        assert_eq!(open.read_at(&mut buf, 9).unwrap(), 0);
        let reading = disk.open(&b, Open::Reading).unwrap();
        assert_eq!(reading.read_at(&mut buf, 0).unwrap(), 3);
        assert!(reading.write_at(b"0", 0).is_err());
        let error = disk.open(&b, Open::New).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let error = disk.open(&a, Open::Existing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let first = disk.open(&a, Open::New).unwrap();
        assert!(first.try_lock().unwrap());
        let second = disk.open(&a, Open::Existing).unwrap();
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
        disk.remove(&a).unwrap();
        disk.remove(&b).unwrap();
        assert_eq!(open.read_at(&mut buf, 0).unwrap(), 3);
        drop(open);
        assert_eq!(disk.remove(&b).unwrap_err().kind(), io::ErrorKind::NotFound);
        let lock = disk.lock(&root.join("lock")).unwrap();
        assert!(lock.is_some());
        assert!(disk.lock(&root.join("lock")).unwrap().is_none());
        drop(lock);
        assert!(disk.lock(&root.join("lock")).unwrap().is_some());
    }
}
