//! Opening a folder, which this store, Kubo or nobody has left, and leaving it.

use std::{fmt, io, path::Path};

use ipfs_traits::{Error, Result};

use super::{
    FlatError, Inner, Options, Sharding, TEMP, ignore, layout,
    usage::{Accuracy, Count, DiskUsage, Tally},
};
use crate::files::Files;

/// What was found in a folder.
pub(super) struct Found {
    pub(super) sharding: Sharding,
    pub(super) tally: Tally,
    pub(super) trust: Trust,
}

/// How far files that have their names are believed, when one is put that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// They are whole: only this store has written here, and it was closed.
    Whole,
    /// They are synced, but somebody may have named them before they were: after a crash one can be
    /// of the right length and hold other bytes.
    Synced,
    /// They may not even be synced.
    Nothing,
}

/// Kubo's figure of the bytes in the folder.
const DISK_USAGE: &str = "diskUsage.cache";

/// The file in `.temp/` that a closed store leaves. Whoever opens the folder next, Kubo too, empties
/// `.temp/`: so nobody has changed the folder since, and what it says is true.
const CLOSED: &str = "closed";

const README: &str = "_README";
const README_TEXT: &str = "Each file here is one IPFS block, named by its multihash in base32.\n\
    The file SHARDING says how blocks are spread over directories.\n\
    Changing anything by hand can lose data.\n";

/// Reads what a folder is, or makes it, and empties `.temp/`.
pub(super) fn open(files: &dyn Files, root: &Path, options: &Options) -> Result<Found> {
    let made = match open_sharding(files, root)? {
        Some(sharding) => {
            let wanted = options.sharding.unwrap_or(sharding);
            if wanted != sharding {
                let reason = format!("the folder has {sharding}, and not {wanted}");
                return Err(Error::invalid("sharding", reason));
            }
            Err(sharding)
        }
        None => Ok(make(files, root, options.sharding.unwrap_or_default())?),
    };
    let disk = DiskUsage::parse(&read_small(files, &root.join(DISK_USAGE)));
    let temp = root.join(TEMP);
    let closed = Closed::parse(&read_small(files, &temp.join(CLOSED)));
    clear_temp(files, &temp).map_err(FlatError::of("clear", &temp))?;
    // This makes durable, too, that the store is not closed any more.
    let synced = sync_what_is_there(files, root).map_err(FlatError::of("sync", root))?;
    let sharding = match made {
        Ok((sharding, tally)) => return Ok(Found { sharding, tally, trust: Trust::Whole }),
        Err(sharding) => sharding,
    };
    let closed = closed.filter(|closed| closed.disk == disk.map(|disk| disk.bytes));
    let trust = match (&closed, synced) {
        (Some(_), _) => Trust::Whole,
        (None, true) => Trust::Synced,
        (None, false) => Trust::Nothing,
    };
    let tally = Tally::new(closed.and_then(|closed| closed.counted), disk);
    Ok(Found { sharding, tally, trust })
}

/// How blocks are spread in a folder; `None` in a new one.
///
/// Without the file nobody knows under which names blocks would be found: a folder that holds
/// anything else is refused.
fn open_sharding(files: &dyn Files, root: &Path) -> Result<Option<Sharding>> {
    const WHAT: &str = "SHARDING file";
    const MAX: u64 = 1024;
    let path = root.join(layout::SHARDING);
    match files.len(&path) {
        Ok(len) if len > MAX => return Err(Error::malformed(WHAT, "it is longer than 1 KiB")),
        Ok(_) => {
            let text = files.read(&path).map_err(FlatError::of("read", &path))?;
            return Sharding::parse(&String::from_utf8_lossy(&text)).map(Some);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(FlatError::of("read", &path)(error)),
    }
    let names = files.list(root).map_err(FlatError::of("list", root))?;
    let ours = |name: &str| name.starts_with('.') || name == README || name == DISK_USAGE;
    match names.iter().find(|(name, _)| !ours(name)) {
        None => Ok(None),
        Some((name, _)) => {
            let reason = format!("it is missing, and the folder is not empty: it has {name:?}");
            Err(Error::malformed(WHAT, reason))
        }
    }
}

/// Makes the files of a new folder.
fn make(files: &dyn Files, root: &Path, sharding: Sharding) -> Result<(Sharding, Tally)> {
    let sharding = sharding.check().map_err(|reason| Error::invalid("sharding", reason))?;
    let text = format!("{sharding}\n");
    for (name, text) in [(README, README_TEXT), (layout::SHARDING, &text)] {
        let (path, temp) = (root.join(name), root.join(format!(".{name}.temp")));
        write(files, &temp, &path, text, true).map_err(FlatError::of("write", &path))?;
    }
    let usage = root.join(DISK_USAGE);
    ignore(files.remove(&usage), io::ErrorKind::NotFound)
        .map_err(FlatError::of("remove", &usage))?;
    // The folder itself and `.temp/`.
    let bytes = 2 * DiskUsage::DIRECTORY + (README_TEXT.len() + text.len()) as u64;
    let disk = DiskUsage { bytes, accuracy: Accuracy::Exact };
    Ok((sharding, Tally::new(Some(Count::default()), Some(disk))))
}

/// Writes a file, in place of the one that is there, that is there whole or not at all.
fn write(files: &dyn Files, temp: &Path, path: &Path, text: &str, durable: bool) -> io::Result<()> {
    ignore(files.remove(temp), io::ErrorKind::NotFound)?;
    files.create(temp, text.as_bytes())?;
    if durable {
        files.sync_file(temp)?;
    }
    files.rename(temp, path)?;
    match path.parent() {
        Some(folder) if durable => files.sync_dir(folder),
        _ => Ok(()),
    }
}

/// A file that is believed only if it is as it should be: empty if it cannot be read, or is too
/// long.
fn read_small(files: &dyn Files, path: &Path) -> Vec<u8> {
    match files.len(path) {
        Ok(len) if len <= DiskUsage::MAX_FILE => files.read(path).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Removes what a crash has left, of this store or of Kubo, whose batches have directories of their
/// own.
fn clear_temp(files: &dyn Files, temp: &Path) -> io::Result<()> {
    ignore(files.create_dir(temp), io::ErrorKind::AlreadyExists)?;
    for (name, is_dir) in files.list(temp)? {
        let path = temp.join(name);
        if !is_dir {
            files.remove(&path)?;
            continue;
        }
        for (name, is_dir) in files.list(&path)? {
            if !is_dir {
                files.remove(&path.join(name))?;
            }
        }
    }
    Ok(())
}

/// Makes durable what an earlier process named and did not live to sync: a put of it finds it here,
/// and a flush then says that it is safe. `false` where only names could be synced.
fn sync_what_is_there(files: &dyn Files, root: &Path) -> io::Result<bool> {
    if files.sync_all()? {
        return Ok(true);
    }
    for (name, is_dir) in files.list(root)? {
        if is_dir {
            files.sync_dir(&root.join(name))?;
        }
    }
    files.sync_dir(root)?;
    Ok(false)
}

/// What a closed store says of the folder.
#[derive(Debug, PartialEq, Eq)]
struct Closed {
    counted: Option<Count>,
    /// What Kubo's file says.
    disk: Option<u64>,
}

impl Closed {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
        let mut words = text.split(' ');
        let mut next = || words.next();
        if next()? != "1" {
            return None;
        }
        let number = |word: &str| match word {
            "-" => Some(None),
            word => word.parse::<u64>().ok().map(Some),
        };
        let (blocks, bytes, disk) = (number(next()?)?, number(next()?)?, number(next()?)?);
        let counted = blocks.zip(bytes).map(|(blocks, bytes)| Count { blocks, bytes });
        next().is_none().then_some(Self { counted, disk })
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |number: Option<u64>| number.map_or("-".to_owned(), |n| n.to_string());
        let (blocks, bytes) = (self.counted.map(|c| c.blocks), self.counted.map(|c| c.bytes));
        writeln!(f, "1 {} {} {}", word(blocks), word(bytes), word(self.disk))
    }
}

impl Inner {
    /// Writes Kubo's figure now and then. Nothing depends on it, and nothing fails with it.
    pub(super) fn checkpoint(&self) {
        let due = self.state().tally.due(self.runtime.now());
        if let Some((disk, durable)) = due
            && let Err(error) = self.write_usage(disk, durable)
        {
            tracing::warn!(%error, "{DISK_USAGE} was not written");
        }
    }

    fn write_usage(&self, disk: DiskUsage, durable: bool) -> io::Result<()> {
        let (temp, path) = (self.root.join(TEMP).join(DISK_USAGE), self.root.join(DISK_USAGE));
        write(&*self.files, &temp, &path, &disk.to_string(), durable)
    }

    /// Writes for the next owner what is known of the folder, if all in it is durable.
    pub(super) fn leave(&self) -> io::Result<()> {
        let closed = {
            let state = self.state();
            if state.failed.is_some() || !state.pending.is_empty() || state.durable < state.changes
            {
                return Ok(());
            }
            (state.tally.counted(), state.tally.disk())
        };
        let (counted, disk) = closed;
        match disk {
            Some(disk) => self.write_usage(disk, true)?,
            None => {
                ignore(self.files.remove(&self.root.join(DISK_USAGE)), io::ErrorKind::NotFound)?
            }
        }
        let closed = Closed { counted, disk: disk.map(|disk| disk.bytes) };
        let temp = self.root.join(TEMP);
        let (new, path) = (temp.join(format!("{CLOSED}.new")), temp.join(CLOSED));
        write(&*self.files, &new, &path, &closed.to_string(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_closed_store_says_is_read_back_or_not_believed() {
        let counted = Some(Count { blocks: 3, bytes: u64::MAX });
        for closed in [
            Closed { counted, disk: Some(7) },
            Closed { counted: None, disk: None },
            Closed { counted, disk: None },
        ] {
            assert_eq!(Closed::parse(closed.to_string().as_bytes()), Some(closed));
        }
        for bad in ["", "1 3 4 5", "2 3 4 5\n", "1 3 4\n", "1 3 4 5 6\n", "1 3 -4 5\n", "\0\0\n"] {
            assert_eq!(Closed::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
