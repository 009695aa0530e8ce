//! A CAR in a file: what stands where.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use ipfs_traits::{Bytes, Error, Result, car, varint};

use super::{
    WHAT, file_error,
    v2::{self, PRAGMA},
};
use crate::{
    files::OpenFile,
    section::{Head, MAX_HEAD, framed},
};

/// Bytes that are read at once when a file is gone through.
const WINDOW: usize = 64 << 10;

/// A CAR in a file.
#[derive(Debug)]
pub(super) struct CarFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn OpenFile>,
    /// The header of a CARv2.
    pub(super) header: Option<v2::Header>,
    /// Where in the file the CARv1 is.
    pub(super) data: Range<u64>,
    /// Where in the CARv1 the first section begins.
    pub(super) first: u64,
    pub(super) roots: car::Header,
}

impl CarFile {
    /// Reads what stands before the sections. A CARv2 must have been finished.
    pub(super) fn open(file: Arc<dyn OpenFile>, path: &Path) -> Result<Self> {
        let len = file.len().map_err(file_error("read", path))?;
        match Self::header(&*file, path)? {
            None => Self::with_data(file, path, None, 0..len),
            Some(header) => {
                let end = header.check()?;
                if end > len || header.index_offset > len {
                    return Err(Error::malformed(WHAT, "it is cut off"));
                }
                Self::with_data(file, path, Some(header), header.data_offset..end)
            }
        }
    }

    /// The header of a CARv2, as it stands there.
    pub(super) fn header(file: &dyn OpenFile, path: &Path) -> Result<Option<v2::Header>> {
        let mut start = [0; v2::START as usize];
        let read = file.read_at(&mut start, 0).map_err(file_error("read", path))?;
        let Some(header) = start[..read].strip_prefix(&PRAGMA) else { return Ok(None) };
        match header.first_chunk() {
            Some(header) => Ok(Some(v2::Header::decode(header))),
            None => Err(Error::malformed(WHAT, "it is cut off")),
        }
    }

    /// The CARv1 that is at a place of the file.
    pub(super) fn with_data(
        file: Arc<dyn OpenFile>,
        path: &Path,
        header: Option<v2::Header>,
        data: Range<u64>,
    ) -> Result<Self> {
        let most = (data.end - data.start).min((varint::MAX_LEN + car::MAX_HEADER) as u64) as usize;
        let mut window = Window::new(file.clone(), path);
        let start = window.get(data.start, most.min(varint::MAX_LEN))?.to_vec();
        let (len, rest) = varint::read(&start, "CAR header")?;
        let head = start.len() - rest.len();
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > car::MAX_HEADER {
            return Err(Error::limit("bytes of a CAR header", car::MAX_HEADER, len));
        }
        let end = head + len;
        if end > most {
            return Err(Error::malformed(WHAT, "it is cut off"));
        }
        let header_bytes = Bytes::copy_from_slice(&window.get(data.start, end)?[head..]);
        let roots = car::Header::parse(&header_bytes)?;
        Ok(Self { path: path.to_owned(), file, header, data, first: end as u64, roots })
    }

    /// Bytes of the CARv1.
    pub(super) const fn len(&self) -> u64 {
        self.data.end - self.data.start
    }

    /// What stands before the block of the section that begins here; an error for what is no
    /// section, or one that goes on beyond the end.
    pub(super) fn head(&self, offset: u64) -> Result<Head> {
        let mut bytes = [0; MAX_HEAD];
        let read = self.read(&mut bytes, offset)?;
        let head = Head::parse(&bytes[..read]).filter(|head| self.holds(offset, head));
        head.ok_or_else(|| Error::malformed(WHAT, format!("there is no section at {offset}")))
    }

    fn holds(&self, offset: u64, head: &Head) -> bool {
        offset >= self.first && head.section() as u64 <= self.len().saturating_sub(offset)
    }

    /// The bytes of a block whose head was read.
    pub(super) fn block(&self, offset: u64, head: &Head) -> Result<Bytes> {
        let mut bytes = vec![0; head.len];
        match self.read(&mut bytes, offset + head.head as u64)? == head.len {
            true => Ok(bytes.into()),
            false => Err(Error::malformed(WHAT, "it is cut off")),
        }
    }

    /// Reads from a place in the CARv1, not beyond it.
    fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let most = self.len().saturating_sub(offset).min(bytes.len() as u64) as usize;
        let at = self.data.start.saturating_add(offset);
        self.file.read_at(&mut bytes[..most], at).map_err(file_error("read", &self.path))
    }

    /// The heads of all sections, in their order.
    pub(super) fn sections(&self) -> Sections<'_> {
        let window = Window::new(self.file.clone(), &self.path);
        Sections { car: self, window, at: self.first }
    }
}

/// Goes through the sections of a file.
pub(super) struct Sections<'a> {
    car: &'a CarFile,
    window: Window,
    at: u64,
}

impl Sections<'_> {
    /// The next section and where it begins; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Head)>> {
        match self.next_framed()? {
            Some((offset, Some(head))) => Ok(Some((offset, head))),
            Some((offset, None)) => Err(no_section(offset)),
            None => Ok(None),
        }
    }

    /// As [`next`](Self::next), but of a section whose length alone can be right there is no head.
    pub(super) fn next_framed(&mut self) -> Result<Option<(u64, Option<Head>)>> {
        let (offset, len) = (self.at, self.car.len());
        if offset >= len {
            return Ok(None);
        }
        let most = (len - offset).min(MAX_HEAD as u64) as usize;
        let bytes = self.window.get(self.car.data.start + offset, most)?;
        let head = Head::parse(bytes).filter(|head| self.car.holds(offset, head));
        let all = match &head {
            Some(head) => Some(head.section() as u64),
            None => framed(bytes).filter(|all| *all <= len - offset),
        };
        self.at += all.ok_or_else(|| no_section(offset))?;
        Ok(Some((offset, head)))
    }
}

fn no_section(offset: u64) -> Error {
    Error::malformed(WHAT, format!("what stands at {offset} is no section, or cut off"))
}

/// A part of a file that was read at once.
pub(super) struct Window {
    file: Arc<dyn OpenFile>,
    path: PathBuf,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(file: Arc<dyn OpenFile>, path: &Path) -> Self {
        Self { file, path: path.to_owned(), start: 0, bytes: Vec::new() }
    }

    /// Bytes of the file, fewer only at its end.
    pub(super) fn get(&mut self, at: u64, len: usize) -> Result<&[u8]> {
        let inside = at.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        if let Some(from) = inside.filter(|from| from.saturating_add(len) <= self.bytes.len()) {
            return Ok(&self.bytes[from..from + len]);
        }
        self.bytes.resize(len.max(WINDOW), 0);
        let read =
            self.file.read_at(&mut self.bytes, at).map_err(file_error("read", &self.path))?;
        self.bytes.truncate(read);
        self.start = at;
        Ok(&self.bytes[..len.min(read)])
    }
}
