//! Segments: the files that hold the blocks.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use ipfs_traits::{Multihash, car, limits};

use super::{
    error::PackError,
    frame::{Opening, Position, Salt},
    place::Place,
};
use crate::{
    files::{Files, Open, OpenFile},
    section::{Head, MAX_HEAD},
};

/// The highest number that is read: there is always another one to go on with.
const LAST: u32 = u32::MAX / 2;

/// Segments that are open at once: what a process may open is bounded, often at 1,024.
const OPEN: usize = 128;

/// A file of blocks.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    pub(super) path: PathBuf,
    file: Mutex<Option<Arc<dyn OpenFile>>>,
}

/// The segments of a store.
#[derive(Debug)]
pub(super) struct Segments {
    files: Arc<dyn Files>,
    root: PathBuf,
    all: RwLock<BTreeMap<u32, Arc<Segment>>>,
    /// Those that are open, the one that was opened first before the others.
    open: Mutex<VecDeque<Arc<Segment>>>,
}

impl Segments {
    /// The segments in the folder `root`.
    pub(super) fn find(files: Arc<dyn Files>, root: &Path) -> Result<Self, PackError> {
        let names = files.list(root).map_err(PackError::io("list", root))?;
        let segment = |(name, is_dir): (String, bool)| {
            let number = parse_name(&name).filter(|_| !is_dir)?;
            Some((number, Segment::at(root, number)))
        };
        let all = RwLock::new(names.into_iter().filter_map(segment).collect());
        Ok(Self { files, root: root.to_owned(), all, open: Mutex::default() })
    }

    /// All of them, in their order.
    pub(super) fn all(&self) -> Vec<Arc<Segment>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn get(&self, number: u32) -> Option<Arc<Segment>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Makes a segment that holds no blocks yet. Nothing of it is durable.
    pub(super) fn create(&self, opening: &Opening) -> Result<(Arc<Segment>, u32), PackError> {
        let segment = Segment::at(&self.root, opening.segment);
        let mut start = car::header(&[]);
        start.extend(opening.section()?);
        let file = self.files.open(&segment.path, Open::New);
        let file = file.map_err(PackError::io("make", &segment.path))?;
        if let Err(error) = file.write_at(&start, 0) {
            // What there is of it would only be in the way.
            let _ = self.files.remove(&segment.path);
            return Err(PackError::io("write", &segment.path)(error));
        }
        *segment.file() = Some(file);
        self.all
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(segment.number, segment.clone());
        self.opened(&segment);
        Ok((segment, start.len() as u32))
    }

    /// Removes a segment. Whoever reads it reads on.
    pub(super) fn remove(&self, segment: &Segment) -> Result<(), PackError> {
        self.all.write().unwrap_or_else(PoisonError::into_inner).remove(&segment.number);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| other.number != segment.number);
        match self.files.remove(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(PackError::io("remove", &segment.path)),
        }
    }

    /// The file of a segment, opened if it is not.
    pub(super) fn open(&self, segment: &Arc<Segment>) -> Result<Arc<dyn OpenFile>, PackError> {
        if let Some(file) = &*segment.file() {
            return Ok(file.clone());
        }
        let file = self.files.open(&segment.path, Open::Existing);
        let file = file.map_err(PackError::io("open", &segment.path))?;
        *segment.file() = Some(file.clone());
        self.opened(segment);
        Ok(file)
    }

    /// Counts a segment among those that are open, and closes the one opened first if they are too
    /// many.
    fn opened(&self, segment: &Arc<Segment>) {
        let first = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.push_back(segment.clone());
            if open.len() > OPEN { open.pop_front() } else { None }
        };
        if let Some(first) = first {
            first.file().take();
        }
    }

    /// Reads a whole section; `None` when the segment is gone.
    pub(super) fn section(&self, place: &Place) -> Result<Option<Vec<u8>>, PackError> {
        let Some(segment) = self.get(place.segment) else { return Ok(None) };
        let file = match self.open(&segment) {
            Err(PackError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            file => file?,
        };
        // No block is larger: an index that says so is not right.
        let len = usize::try_from(place.section()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(MAX_HEAD + limits::MAX_STORED_BLOCK)];
        let read = file.read_at(&mut bytes, place.offset.into());
        let read = read.map_err(PackError::io("read", &segment.path))?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }

    /// Reads what stands before a block; `None` when the segment is gone, or nothing stands there.
    pub(super) fn head(&self, at: Position) -> Result<Option<Head>, PackError> {
        let Some(segment) = self.get(at.segment) else { return Ok(None) };
        let file = self.open(&segment)?;
        let mut bytes = [0; MAX_HEAD];
        let read = file.read_at(&mut bytes, at.offset.into());
        let read = read.map_err(PackError::io("read", &segment.path))?;
        Ok(Head::parse(&bytes[..read]))
    }
}

impl Segment {
    fn at(root: &Path, number: u32) -> Arc<Self> {
        let path = root.join(format!("{number:08}.car"));
        Arc::new(Self { number, path, file: Mutex::default() })
    }

    fn file(&self) -> std::sync::MutexGuard<'_, Option<Arc<dyn OpenFile>>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse_name(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".car")?;
    let is_name = |number: &u32| name == format!("{number:08}.car");
    number.parse().ok().filter(|number| (1..=LAST).contains(number) && is_name(number))
}

/// A salt that nobody can guess: blocks from strangers are to begin with it as good as never.
pub(super) fn new_salt() -> Salt {
    use std::hash::{BuildHasher, RandomState};
    // The standard library seeds these from the system's source of chance.
    let random = || RandomState::new().hash_one("salt").to_le_bytes();
    let (first, second) = (random(), random());
    std::array::from_fn(|i| if i < 8 { first[i] } else { second[i - 8] })
}

/// The block of a section that was read, if the section is the one that was written.
pub(super) fn data_of(section: Vec<u8>, place: &Place, key: &Multihash) -> Option<bytes::Bytes> {
    if section.len() as u64 != place.section() || crc32fast::hash(&section) != place.crc {
        return None;
    }
    let head = Head::parse(&section)?;
    let fits = head.cid.hash() == key && head.len == place.len as usize;
    fits.then(|| bytes::Bytes::from(section).slice(head.head..))
}
