//! From the version that a data directory has to the newest one.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use ipfs_blockstore::files::{Files, Open};
use ipfs_traits::{Error, Result};
use zeroize::Zeroizing;

use super::{
    VERSION_FILE,
    file::{failed, remove, replace},
    version::Version,
};

/// All steps, in order: the first one is that from version 1 to version 2.
pub(super) const STEPS: &[Step] = &[];

/// The version that all these steps lead to.
pub(super) const fn newest(steps: &[Step]) -> u64 {
    1 + steps.len() as u64
}

/// From one version to the next.
pub(super) struct Step {
    /// What it makes, changes or removes: files and folders, by their names in the data directory.
    /// A name stays that of a file, or of a folder.
    pub(super) changes: &'static [&'static str],
    /// Does so. What it is given is as the version before has left it, also if it was cut off before,
    /// and what it has done is durable when it returns.
    pub(super) run: fn(&dyn Files, &Path) -> Result<()>,
}

/// How a data directory comes to the newest version.
pub(super) struct Migration<'a> {
    pub(super) steps: &'a [Step],
    /// Whether it may.
    pub(super) allowed: bool,
}

impl Migration<'_> {
    /// Takes all steps that are left, under the lock of the folder.
    pub(super) fn run(&self, files: &dyn Files, folder: &Path, found: Version) -> Result<()> {
        let newest = newest(self.steps);
        if found == Version::of(newest) {
            return Ok(());
        }
        let mut unfinished = found.unfinished;
        let first = found.number - u64::from(unfinished);
        if !self.allowed {
            let what = format!("version {first} of a data directory, unless migrated to {newest},");
            return Err(Error::unsupported(what));
        }
        for (version, step) in (1..).zip(self.steps).skip_while(|(version, _)| *version < first) {
            tracing::info!(
                folder = %folder.display(), from = version, to = version + 1, unfinished,
                "migrating the data directory"
            );
            step.take(files, folder, version, std::mem::take(&mut unfinished))?;
        }
        Ok(())
    }
}

impl Step {
    /// Brings a folder of `version` to the next one, or leaves it as it is.
    fn take(&self, files: &dyn Files, folder: &Path, version: u64, unfinished: bool) -> Result<()> {
        let backup = folder.join(format!("backup-v{version}"));
        if unfinished {
            check_backup(files, &backup, version)?;
            self.take_back(files, &backup, folder)?;
        } else {
            self.back_up(files, folder, &backup).map_err(failed("make", &backup))?;
            Version { number: version + 1, unfinished: true }.write(files, folder)?;
        }
        if let Err(error) = (self.run)(files, folder) {
            let taken_back = self.take_back(files, &backup, folder);
            if let Err(error) = taken_back.and_then(|()| Version::of(version).write(files, folder))
            {
                tracing::warn!(%error, "a migration is taken back when the folder is opened next");
            }
            return Err(error);
        }
        Version::of(version + 1).write(files, folder)
    }

    /// Copies what will be changed, and the version, in place of an earlier backup.
    fn back_up(&self, files: &dyn Files, folder: &Path, backup: &Path) -> io::Result<()> {
        match files.create_dir(backup) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let mut names: BTreeSet<String> = entries(files, backup)?.into_keys().collect();
        names.extend(self.names());
        names.insert(VERSION_FILE.to_owned());
        mirror(files, names, folder, backup)?;
        files.sync_dir(folder)
    }

    fn take_back(&self, files: &dyn Files, backup: &Path, folder: &Path) -> Result<()> {
        let mirrored = mirror(files, self.names().collect(), backup, folder);
        mirrored.map_err(failed("restore", folder))
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.changes.iter().map(|name| (*name).to_owned())
    }
}

/// What is not in a backup is removed when it is put back, so it must be there, and the right one.
fn check_backup(files: &dyn Files, backup: &Path, version: u64) -> Result<()> {
    if Version::read(files, backup, version)? == Some(Version::of(version)) {
        return Ok(());
    }
    let reason = format!("a migration was cut off, and {} is gone", backup.display());
    Err(Error::malformed("data directory", reason))
}

/// Makes these names in the folder `to` what they are in `from`, durably. A folder that is not in
/// `from` is only emptied.
fn mirror(files: &dyn Files, names: BTreeSet<String>, from: &Path, to: &Path) -> io::Result<()> {
    let (wanted, there) = (entries(files, from)?, entries(files, to)?);
    for name in names {
        let (from, to) = (from.join(&name), to.join(&name));
        match (wanted.get(&name), there.get(&name)) {
            (None, None) => {}
            (None, Some(Kind::File)) => remove(files, &to)?,
            (Some(Kind::File), _) => replace(files, &to, |partial| copy(files, &from, partial))?,
            (Some(Kind::Folder), None) => {
                files.create_dir(&to)?;
                mirror_all(files, &from, &to)?;
            }
            (_, Some(_)) => mirror_all(files, &from, &to)?,
        }
    }
    files.sync_dir(to)
}

fn mirror_all(files: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
    let mut names: BTreeSet<String> = entries(files, from)?.into_keys().collect();
    names.extend(entries(files, to)?.into_keys());
    mirror(files, names, from, to)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
}

/// What is in a folder; nothing if it is not there.
fn entries(files: &dyn Files, folder: &Path) -> io::Result<BTreeMap<String, Kind>> {
    let kind = |is_folder| if is_folder { Kind::Folder } else { Kind::File };
    match files.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        listed => Ok(listed?.into_iter().map(|(name, is_dir)| (name, kind(is_dir))).collect()),
    }
}

/// Copies a file of any size, durably.
fn copy(files: &dyn Files, from: &Path, to: &Path) -> io::Result<()> {
    /// Bytes that are in memory at a time.
    const PIECE: usize = 64 << 10;
    let (from, to) = (files.open(from, Open::Reading)?, files.open(to, Open::New)?);
    let mut piece = Zeroizing::new(vec![0; PIECE]);
    let mut at = 0;
    loop {
        let read = from.read_at(&mut piece, at)?;
        to.write_at(&piece[..read], at)?;
        at += read as u64;
        if read < PIECE {
            return to.sync();
        }
    }
}
