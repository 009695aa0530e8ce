//! Opening an archive: what is in it, and what a crash has left of it.

use std::{path::Path, sync::Arc};

use ipfs_traits::{Bytes, Error, HashTable, Result, codes, varint};

use super::{
    Found, Section, data_of, dead,
    log::{self, Log},
};
use crate::{
    car::{
        WHAT,
        file::{CarFile, Window},
        file_error, v2,
    },
    files::OpenFile,
    section::{Head, MAX_HEAD, framed},
};

/// An archive as it is found.
pub(super) struct Resumed {
    pub(super) car: CarFile,
    pub(super) found: Found,
    pub(super) log: Log,
}

/// Bytes that may be hashed in looking for sections where a length is damaged, beyond the file's.
const SEARCH: u64 = 256 << 20;

/// Reads what is there. One that was closed is believed; one that was not is hashed and mended.
pub(super) fn resume(file: Arc<dyn OpenFile>, path: &Path, hashes: &HashTable) -> Result<Resumed> {
    let len = file.len().map_err(file_error("read", path))?;
    let header = CarFile::header(&*file, path)?
        .ok_or_else(|| Error::malformed(WHAT, "it is no CARv2, which alone can be appended to"))?;
    if header.data_offset < v2::START || header.data_offset > len {
        return Err(Error::malformed(WHAT, "its data is not where it could be"));
    }
    if let Some(end) = closed_at(&header, len) {
        let car = data_of(file.clone(), path, header.data_offset, end)?;
        match believe(&car) {
            Ok((found, log)) => return Ok(Resumed { car, found, log }),
            Err(Error::Malformed { .. }) => {
                tracing::warn!(path = %path.display(), "the archive is damaged, and is mended");
            }
            Err(error) => return Err(error),
        }
    }
    let car = data_of(file, path, header.data_offset, len)?;
    let (found, log, holes) = (Found::new(), Log::default(), Vec::new());
    let mut mending = Mending { car: &car, hashes, found, log, holes, budget: len + SEARCH };
    mending.scan()?;
    mending.mend(&header)?;
    let Mending { found, log, .. } = mending;
    Ok(Resumed { car, found, log })
}

/// Where the data ends of an archive that was closed; `None` for one that was not.
fn closed_at(header: &v2::Header, len: u64) -> Option<u64> {
    let end = header.check().ok()?;
    let exact = if header.index_offset == 0 { end == len } else { header.index_offset == end };
    (exact && end <= len).then_some(end)
}

/// Takes the sections over by their heads. One that is damaged is passed over, if a whole one follows
/// where its length leads.
fn believe(car: &CarFile) -> Result<(Found, Log)> {
    let (mut found, mut sections, mut damaged) = (Found::new(), car.sections(), false);
    let mut log = Log::default();
    (log.end, log.finished) = (car.data.end, true);
    while let Some((offset, head)) = sections.next_framed()? {
        let Some(head) = head else {
            if std::mem::replace(&mut damaged, true) {
                return Err(Error::malformed(WHAT, "several sections are damaged"));
            }
            log.unlisted = true;
            continue;
        };
        damaged = false;
        let start = match head.cid.encoded_len() {
            dead::CID => {
                let first = Head { len: head.len.min(dead::MARK.len()), ..head };
                car.block(offset, &first)?
            }
            _ => Bytes::new(),
        };
        log.take(&mut found, car.data.start + offset, &head, &start);
    }
    Ok((found, log))
}

impl Log {
    /// Counts a section that is whole, unless it is dead.
    fn take(&mut self, found: &mut Found, at: u64, head: &Head, start: &[u8]) {
        if dead::is_dead(&head.cid, start) || head.cid.hash().code() == codes::IDENTITY {
            self.unlisted = true;
            return;
        }
        match found.insert(*head.cid.hash(), Section::of(at, head)) {
            // The index of the file knows one of them.
            Some(other) => {
                self.unlisted = true;
                self.others.entry(*head.cid.hash()).or_default().push(other);
            }
            None => self.bytes += head.len as u64,
        }
    }
}

struct Mending<'a> {
    car: &'a CarFile,
    hashes: &'a HashTable,
    found: Found,
    log: Log,
    /// Where in the CARv1 what is no section begins and ends, and whether its length is right.
    holes: Vec<Hole>,
    /// Bytes that may still be hashed.
    budget: u64,
}

struct Hole {
    from: u64,
    to: u64,
    /// Whether it is a section whose length is right.
    framed: bool,
}

impl Hole {
    /// What is to be written over it: bodies of sections, of which those that are too short to be
    /// made dead have their length alone.
    fn bodies(&self) -> Result<Vec<u64>> {
        let all = self.to - self.from;
        match dead::fill(all) {
            _ if self.framed => {
                let len = (1..=varint::MAX_LEN as u64).find(|len| {
                    all.checked_sub(*len).is_some_and(|body| varint::len(body) as u64 == *len)
                });
                Ok(len.map(|len| all - len).into_iter().collect())
            }
            Some(bodies) => Ok(bodies),
            None if all > 1 => Ok(vec![all - 1]),
            None => {
                let reason = format!("what stands at {} is no section", self.from);
                Err(Error::malformed(WHAT, reason))
            }
        }
    }
}

impl Mending<'_> {
    /// Goes through all that is there; what is behind the last whole section is left out.
    fn scan(&mut self) -> Result<()> {
        let (mut at, mut end, mut holes) = (self.car.first, self.car.first, Vec::new());
        let mut window = Window::new(self.car.file.clone(), &self.car.path);
        while at < self.car.len() {
            if let Some((head, data)) = self.whole(&mut window, at)? {
                self.log.take(&mut self.found, self.car.data.start + at, &head, &data);
                at += head.section() as u64;
                self.holes.append(&mut holes);
                end = at;
                continue;
            }
            // Its length is believed where it leads to a whole section.
            let framed = match self.frame(&mut window, at)? {
                Some(next) => self.whole(&mut window, next)?.map(|_| next),
                None => None,
            };
            let next = match framed {
                Some(next) => Some(next),
                None => self.search(&mut window, at + 1)?,
            };
            let Some(next) = next else { break };
            holes.push(Hole { from: at, to: next, framed: framed.is_some() });
            at = next;
        }
        self.log.end = self.car.data.start + end;
        Ok(())
    }

    /// Where the section that begins here ends by its length, if it can be one.
    fn frame(&self, window: &mut Window, at: u64) -> Result<Option<u64>> {
        let bytes = window.get(self.car.data.start + at, varint::MAX_LEN)?;
        let end = framed(bytes).map(|all| at + all);
        Ok(end.filter(|end| *end <= self.car.len()))
    }

    /// The section that begins here, if it is whole.
    fn whole(&mut self, window: &mut Window, at: u64) -> Result<Option<(Head, Bytes)>> {
        if self.frame(window, at)?.is_none() {
            return Ok(None);
        }
        let bytes = window.get(self.car.data.start + at, MAX_HEAD)?;
        let Some(head) = Head::parse(bytes) else { return Ok(None) };
        if self.hashes.check(&head.cid).is_err() {
            return Ok(None);
        }
        let data = self.car.block(at, &head)?;
        self.budget = self.budget.saturating_sub(data.len() as u64);
        Ok(self.hashes.verify(&head.cid, &data).is_ok().then_some((head, data)))
    }

    /// Where the next whole section begins, from here on.
    fn search(&mut self, window: &mut Window, from: u64) -> Result<Option<u64>> {
        for at in from..self.car.len() {
            if self.whole(window, at)?.is_some() {
                return Ok(Some(at));
            }
            if self.budget == 0 {
                let what = "bytes to be hashed in mending an archive";
                return Err(Error::limit(what, SEARCH as usize, SEARCH as usize + 1));
            }
        }
        Ok(None)
    }

    /// Makes dead what is damaged, cuts off what is torn, and makes both durable.
    fn mend(&self, header: &v2::Header) -> Result<()> {
        // What cannot be mended is left as it is, all of it.
        let holes = self.holes.iter().map(|hole| Ok((hole.from, hole.bodies()?)));
        let holes = holes.collect::<Result<Vec<_>>>()?;
        let car = self.car;
        if *header != (v2::Header { data_offset: header.data_offset, ..v2::Header::default() }) {
            // What it says of the data and the index is no longer true.
            let unfinished = log::unfinish(&*car.file, header.data_offset);
            unfinished.map_err(file_error("write", &car.path))?;
        }
        for (mut at, bodies) in holes {
            for body in bodies {
                self.kill(at, body)?;
                at += varint::len(body) as u64 + body;
            }
        }
        let finish = || {
            car.file.set_len(self.log.end)?;
            car.file.sync()
        };
        finish().map_err(file_error("write", &car.path))
    }

    /// Writes a dead section over what stands here.
    fn kill(&self, at: u64, body: u64) -> Result<()> {
        let mut length = Vec::new();
        varint::write(body, &mut length);
        let start = self.car.data.start + at + length.len() as u64;
        let mut bytes = vec![0; body as usize];
        let read = self.car.file.read_at(&mut bytes, start);
        let read = read.map_err(file_error("read", &self.car.path))?;
        bytes.truncate(read);
        if body >= dead::CID as u64 {
            length.extend(dead::make(&bytes, self.hashes)?);
        }
        let written = self.car.file.write_at(&length, self.car.data.start + at);
        written.map_err(file_error("write", &self.car.path))
    }
}
