//! A tree as an archive.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_core::{Stream, stream::BoxStream};
use futures_util::StreamExt;
use ipfs_traits::{Error, Result, Runtime};

use super::{
    gzip,
    header::{BLOCK, Header, MAX_OCTAL, NAME_LEN, kind, padding},
    pax,
};
use crate::{
    Item, Name, Tree,
    data::Mtime,
    export::names::{check_plain, check_target},
};

/// How an archive is made.
///
/// The same tree and options always give the same bytes, but a new version of this library may give
/// others, above all compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The name of the entry for the root; without it, its CID.
    pub name: Option<Name>,
    /// The level of gzip, from 0, which only wraps, to 9; without it, the archive is not compressed.
    pub gzip: Option<u32>,
    /// The time of change of entries that have none, in seconds since 1970. Default: 0, so that the
    /// archive depends on nothing but the tree. Kubo takes the time of day.
    pub mtime: u32,
}

impl Options {
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(name) = &self.name {
            check_plain(name).map_err(|_| Error::invalid("name", "it is not that of one entry"))?;
        }
        match self.gzip {
            Some(10..) => Err(Error::invalid("level of gzip", "it is above 9")),
            _ => Ok(()),
        }
    }
}

/// A tree as a tar archive: a stream of its bytes, made as they are asked for.
///
/// Every mode has only the rights to read, write and execute, 0o644 for files without one, 0o755 for
/// directories and 0o777 for links. Owner and group are 0. An error ends the stream, and with it an
/// archive that every reader sees is cut off: [`Error::Malformed`] for a name that could lead out of
/// the root or through a link of the tree, [`Error::Limit`] for a path of more than 64 KiB, and what
/// reading a [`Tree`] gives.
///
/// A stream of bytes is an `AsyncRead` by `futures::TryStreamExt::into_async_read`.
#[must_use = "streams do nothing unless polled"]
pub struct Archive(BoxStream<'static, Result<Bytes>>);

impl Archive {
    pub(crate) fn new(
        tree: Tree,
        name: Name,
        options: &Options,
        runtime: Arc<dyn Runtime>,
    ) -> Self {
        let writer = Writer { name, mtime: options.mtime, ..Writer::default() };
        let plain = Plain { tree, writer, ended: false };
        Self(match options.gzip {
            None => plain.boxed(),
            Some(level) => gzip::compress(plain, level, runtime),
        })
    }
}

impl Stream for Archive {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Archive")
    }
}

/// What is not compressed.
struct Plain {
    tree: Tree,
    writer: Writer,
    ended: bool,
}

impl Stream for Plain {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(ready) = this.writer.ready.pop_front() {
                return Poll::Ready(Some(Ok(ready)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let written = match this.tree.poll_next_unpin(cx) {
                Poll::Ready(Some(item)) => item.and_then(|item| this.writer.item(item)),
                Poll::Ready(None) => {
                    this.ended = true;
                    this.writer.end();
                    Ok(())
                }
                Poll::Pending if this.writer.gather() => Ok(()),
                Poll::Pending => return Poll::Pending,
            };
            if let Err(error) = written {
                this.ended = true;
                this.writer.ready.clear();
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

/// Small pieces are given together when they are so many bytes.
const GATHER: usize = 64 << 10;

/// The most bytes of a path: more than any system opens, less than what readers hold.
const MAX_PATH: usize = 64 << 10;

/// The most bytes of the names of links in the directories that are open.
const MAX_LINKS: usize = 16 << 20;

/// Makes an archive of items.
#[derive(Default)]
struct Writer {
    /// The name of the root.
    name: Name,
    mtime: u32,
    /// The path of the directory that is open.
    path: Vec<u8>,
    open: Vec<Level>,
    links: usize,
    /// Bytes of the file that is open.
    left: u64,
    padding: usize,
    small: BytesMut,
    ready: VecDeque<Bytes>,
}

/// A directory that is open.
#[derive(Default)]
struct Level {
    /// How long the path was before.
    above: usize,
    /// The names of its links: what came later under one of them would be written through it.
    links: BTreeSet<Box<[u8]>>,
}

/// What an entry is, but for its path.
struct About<'a> {
    kind: u8,
    mode: u32,
    size: u64,
    mtime: Option<Mtime>,
    target: &'a [u8],
}

impl Writer {
    fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Enter { name, mode, mtime } => {
                let mode = permissions(mode, 0o755);
                let about = About { kind: kind::DIRECTORY, mode, size: 0, mtime, target: b"" };
                let above = self.entry(&name, &about)?;
                self.open.push(Level { above, ..Level::default() });
                return Ok(());
            }
            Item::Leave => {
                if let Some(Level { above, links }) = self.open.pop() {
                    self.path.truncate(above);
                    self.links -= links.iter().map(|name| name.len()).sum::<usize>();
                }
            }
            Item::File { name, size, mode, mtime } => {
                let mode = permissions(mode, 0o644);
                let about = About { kind: kind::FILE, mode, size, mtime, target: b"" };
                let above = self.entry(&name, &about)?;
                self.path.truncate(above);
                self.left = size;
                self.padding = padding(size);
            }
            Item::Data(data) => {
                let lies = || Error::malformed("UnixFS file", "it has more bytes than it says");
                self.left = self.left.checked_sub(data.len() as u64).ok_or_else(lies)?;
                self.bytes(data);
            }
            Item::End if self.left > 0 => {
                return Err(Error::malformed("UnixFS file", "it has fewer bytes than it says"));
            }
            Item::End => self.put(&[0; BLOCK][..self.padding]),
            Item::Symlink { name, target, mode, mtime } => {
                self.link(&name, &target, mode, mtime)?
            }
        }
        Ok(())
    }

    fn link(
        &mut self,
        name: &Name,
        target: &[u8],
        mode: Option<u32>,
        mtime: Option<Mtime>,
    ) -> Result<()> {
        check_target(target)?;
        let mode = permissions(mode, 0o777);
        let above =
            self.entry(name, &About { kind: kind::SYMLINK, mode, size: 0, mtime, target })?;
        self.path.truncate(above);
        if let Some(level) = self.open.last_mut() {
            self.links += name.len();
            level.links.insert(name.as_bytes().into());
        }
        match self.links > MAX_LINKS {
            true => Err(Error::limit("bytes of the names of links", MAX_LINKS, self.links)),
            false => Ok(()),
        }
    }

    /// Begins an entry, appends its name to the path, and gives how long that was before.
    fn entry(&mut self, name: &Name, about: &About<'_>) -> Result<usize> {
        let above = self.path.len();
        match self.open.last() {
            None => self.path.extend_from_slice(&self.name),
            Some(level) => {
                check_plain(name)?;
                if level.links.contains(name.as_bytes()) {
                    return Err(Error::malformed(
                        "directory",
                        "a link in it is not alone by its name",
                    ));
                }
                self.path.push(b'/');
                self.path.extend_from_slice(name);
            }
        }
        if self.path.len() > MAX_PATH {
            return Err(Error::limit("bytes of a path", MAX_PATH, self.path.len()));
        }
        self.header(about);
        Ok(above)
    }

    /// The header of an entry at the path, with the records that it needs.
    fn header(&mut self, about: &About<'_>) {
        let default = Mtime { seconds: self.mtime.into(), nanos: None };
        let mtime = about.mtime.unwrap_or(default);
        let records = records(&self.path, about, mtime);
        if !records.is_empty() {
            let size = records.len() as u64;
            let name = b"PaxHeaders.0".to_vec();
            let kind = kind::PAX;
            let header = Header { name, kind, mode: 0o644, size, mtime: 0, target: Vec::new() };
            self.put(&header.encode());
            self.put(&records);
            self.put(&[0; BLOCK][..padding(size)]);
        }
        let header = Header {
            name: self.path[..self.path.len().min(NAME_LEN)].to_vec(),
            kind: about.kind,
            mode: about.mode,
            size: about.size,
            mtime: mtime.seconds,
            target: about.target.to_vec(),
        };
        self.put(&header.encode());
    }

    fn end(&mut self) {
        self.put(&[0; 2 * BLOCK]);
        self.gather();
    }

    fn put(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
        if self.small.len() >= GATHER {
            self.gather();
        }
    }

    fn bytes(&mut self, data: Bytes) {
        match data.len() < GATHER / 2 {
            true => self.put(&data),
            false => {
                self.gather();
                self.ready.push_back(data);
            }
        }
    }

    /// Makes what was put ready to be given, if anything was.
    fn gather(&mut self) -> bool {
        let small = self.small.split().freeze();
        let any = !small.is_empty();
        self.ready.extend(any.then_some(small));
        any
    }
}

/// The rights to read, write and execute; none at all is how Kubo says that they were not set.
fn permissions(mode: Option<u32>, default: u32) -> u32 {
    match mode {
        Some(mode) if mode & 0o7777 != 0 => mode & 0o777,
        _ => default,
    }
}

/// What a header has no room for.
fn records(path: &[u8], about: &About<'_>, mtime: Mtime) -> Vec<u8> {
    let mut records = Vec::new();
    let roomy = |text: &[u8]| text.len() <= NAME_LEN && text.is_ascii();
    let is_text = |text: &[u8]| std::str::from_utf8(text).is_ok();
    if !is_text(path) || !is_text(about.target) {
        // Without it, readers may take the bytes for UTF-8 that is broken.
        pax::write("hdrcharset", b"BINARY", &mut records);
    }
    if !roomy(about.target) {
        pax::write("linkpath", about.target, &mut records);
    }
    if mtime.nanos.unwrap_or_default() > 0 || !(0..MAX_OCTAL as i64).contains(&mtime.seconds) {
        pax::write("mtime", pax::time(mtime).as_bytes(), &mut records);
    }
    if !roomy(path) {
        pax::write("path", path, &mut records);
    }
    if about.size >= MAX_OCTAL {
        pax::write("size", about.size.to_string().as_bytes(), &mut records);
    }
    records
}
