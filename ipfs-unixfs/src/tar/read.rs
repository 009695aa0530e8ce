//! An archive as entries.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_io::AsyncRead;
use futures_util::{AsyncReadExt, StreamExt, stream};
use ipfs_traits::{Error, Result};

use super::{
    WHAT,
    gzip::Decompress,
    header::{BLOCK, Header, kind, text},
    pax::Records,
};
use crate::{
    Name,
    data::Mtime,
    export::names::{check_plain, check_target},
};

/// What comes next in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// An entry; of a file, its bytes follow, up to [`End`](Self::End).
    Entry(Entry),
    /// The next bytes of a file, never none.
    Data(Bytes),
    /// The end of a file.
    End,
}

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its path. None of the names is empty, `.` or `..`, or holds a slash or a zero byte; an empty
    /// path is what the archive calls `.`.
    pub path: Vec<Name>,
    /// What it is.
    pub kind: Kind,
    /// Its permissions and the three bits above them.
    pub mode: u32,
    /// When it was changed; `None` for a time of 0, which is how an archive has no time.
    pub mtime: Option<Mtime>,
}

/// What an entry of an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory. What is in it may come earlier, later, or not at all.
    Directory,
    /// A file.
    File {
        /// How many bytes follow.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points: a stranger's bytes, which may be any path, but neither none nor with a
        /// zero byte.
        target: Bytes,
    },
}

/// Reads a tar archive as it arrives: a stream of its entries, in their order, and of the bytes of
/// its files.
///
/// Gzip around it is seen and taken off. Read are the formats of old Unix, POSIX (with pax records)
/// and GNU (with long names); about an entry, its path, kind, size, mode and time, and nothing else.
/// The same path may come more than once. What a reader holds is bounded, whatever the archive says
/// of itself: names and records of at most 1 MiB each for an entry, and 64 KiB of content. How much
/// comes out of it is for its user to count: a few bytes of gzip may be gigabytes of zeros.
///
/// An error ends the stream: [`Error::Malformed`] for what is no archive, is cut off, has no end, or
/// has a path that leads elsewhere; [`Error::Unsupported`] for hard links, sparse files, devices,
/// pipes, and whatever else is no file, directory or symbolic link; [`Error::Limit`];
/// [`Error::Component`] for what the reader says.
///
/// ```
/// use futures::{TryStreamExt, io::Cursor};
/// use ipfs_unixfs::tar::{Kind, Part, Reader};
///
/// let mut archive = tar::Builder::new(Vec::new());
/// let mut header = tar::Header::new_ustar();
/// header.set_size(2);
/// archive.append_data(&mut header, "a/b", &b"hi"[..])?;
/// let bytes = archive.into_inner()?;
///
/// # futures::executor::block_on(async {
/// let parts: Vec<Part> = Reader::new(Cursor::new(bytes)).try_collect().await?;
/// let Part::Entry(entry) = &parts[0] else { panic!() };
/// assert_eq!(entry.path, ["a".into(), "b".into()]);
/// assert_eq!(entry.kind, Kind::File { size: 2 });
/// assert_eq!(parts[1..], [Part::Data("hi".into()), Part::End]);
/// # Ok::<(), ipfs_traits::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Reader(BoxStream<'static, Result<Part>>);

impl Reader {
    /// A reader of the archive that `reader` gives.
    pub fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        let state = State { input: Input::New(Box::pin(reader)), at: At::Header };
        Self(stream::try_unfold(state, State::next).boxed())
    }
}

impl Stream for Reader {
    type Item = Result<Part>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

/// Bytes of a file that are given at once.
const PIECE: usize = 64 << 10;

/// The most bytes of what is said of an entry outside of its header: what Go's reader takes.
const MAX_EXTENSION: u64 = 1 << 20;

/// The most bytes of a path, as of one that is written.
const MAX_PATH: usize = 64 << 10;

/// How deep a path may be, as a tree that is exported.
const MAX_DEPTH: usize = 1024;

/// What is read behind the end of an archive, to see that the gzip around it ends well: more than
/// any tape's record.
const MAX_TRAILER: u64 = 1 << 20;

/// Where the reader stands.
struct State {
    input: Input,
    at: At,
}

enum At {
    /// At a header.
    Header,
    /// In a file, before so many bytes, after which so many are unused.
    File(u64, usize),
}

impl State {
    async fn next(mut self) -> Result<Option<(Part, Self)>> {
        let part = match self.at {
            At::File(0, padding) => {
                self.input.skip(padding as u64).await?;
                self.at = At::Header;
                Part::End
            }
            At::File(left, padding) => {
                let mut piece = vec![0; left.min(PIECE as u64) as usize];
                self.input.fill(&mut piece).await?;
                self.at = At::File(left - piece.len() as u64, padding);
                Part::Data(piece.into())
            }
            At::Header => match self.entry().await? {
                Some(entry) => Part::Entry(entry),
                None => {
                    self.input.trailer().await?;
                    return Ok(None);
                }
            },
        };
        Ok(Some((part, self)))
    }

    /// The next entry; `None` at the end of the archive.
    async fn entry(&mut self) -> Result<Option<Entry>> {
        let mut records = Records::default();
        while let Some(header) = self.input.header().await? {
            match header.kind {
                kind::PAX => {
                    let said = self.input.extension(&header).await?;
                    records.read(&said)?;
                }
                kind::GNU_NAME => {
                    let name = self.input.extension(&header).await?;
                    records.path = Some(text(&name).to_vec());
                }
                kind::GNU_TARGET => {
                    let target = self.input.extension(&header).await?;
                    records.target = Some(text(&target).to_vec());
                }
                // What tools write there is not about paths, kinds or sizes.
                kind::PAX_GLOBAL => {
                    self.input.skip(header.size).await?;
                    self.input.skip(padding(header.size) as u64).await?;
                }
                _ => return self.begin(header, records).map(Some),
            }
        }
        Ok(None)
    }

    fn begin(&mut self, header: Header, records: Records) -> Result<Entry> {
        let path = records.path.unwrap_or(header.name);
        let is_directory = path.ends_with(b"/");
        let kind = match header.kind {
            // Before POSIX there was no other way to say it.
            kind::OLD_FILE if is_directory => Kind::Directory,
            kind::OLD_FILE | kind::FILE | kind::CONTIGUOUS_FILE => {
                let size = records.size.unwrap_or(header.size);
                self.at = At::File(size, padding(size));
                Kind::File { size }
            }
            kind::DIRECTORY => Kind::Directory,
            kind::SYMLINK => {
                let target = records.target.unwrap_or(header.target);
                check_target(&target)?;
                Kind::Symlink { target: target.into() }
            }
            kind::HARD_LINK => return Err(Error::unsupported("a hard link in a tar archive")),
            kind::GNU_SPARSE => return Err(Error::unsupported("a sparse file in a tar archive")),
            other => {
                let kind = char::from(other).escape_default();
                return Err(Error::unsupported(format!(
                    "an entry of kind '{kind}' in a tar archive"
                )));
            }
        };
        let (path, mode) = (split(path.into(), &kind)?, header.mode);
        let mtime = records.mtime.unwrap_or(Mtime { seconds: header.mtime, nanos: None });
        let mtime = (mtime != Mtime { seconds: 0, nanos: None }).then_some(mtime);
        Ok(Entry { path, kind, mode, mtime })
    }
}

/// The unused bytes behind so many.
const fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// The names of a path. A directory may end with a slash, and `.` stands for nothing.
fn split(path: Bytes, kind: &Kind) -> Result<Vec<Name>> {
    if path.len() > MAX_PATH {
        return Err(Error::limit("bytes of a path", MAX_PATH, path.len()));
    }
    let mut whole = &path[..];
    if *kind == Kind::Directory {
        whole = whole.strip_suffix(b"/").unwrap_or(whole);
    }
    let mut names = Vec::new();
    for name in whole.split(|byte| *byte == b'/').filter(|name| *name != b".") {
        check_plain(name)?;
        if names.len() == MAX_DEPTH {
            return Err(Error::limit("levels of a path", MAX_DEPTH, MAX_DEPTH + 1));
        }
        names.push(Name::from(path.slice_ref(name)));
    }
    match names.is_empty() && *kind != Kind::Directory {
        true => Err(Error::malformed(WHAT, "a file has no name")),
        false => Ok(names),
    }
}

/// What an archive is read from.
enum Input {
    /// It is not known yet whether it is compressed.
    New(Pin<Box<dyn AsyncRead + Send>>),
    Plain(Pin<Box<dyn AsyncRead + Send>>),
    Gzip(Decompress<Pin<Box<dyn AsyncRead + Send>>>),
}

/// How gzip begins, and no archive.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Input {
    /// Reads some bytes, none at the end.
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        match self {
            Self::New(reader) | Self::Plain(reader) => reader.read(buf).await,
            Self::Gzip(reader) => reader.read(buf).await,
        }
        .map_err(error)
    }

    /// Fills a buffer, as far as there are bytes.
    async fn read_up_to(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut len = 0;
        while len < buf.len() {
            match self.read(&mut buf[len..]).await? {
                0 => break,
                count => len += count,
            }
        }
        Ok(len)
    }

    async fn fill(&mut self, buf: &mut [u8]) -> Result<()> {
        match self.read_up_to(buf).await? == buf.len() {
            true => Ok(()),
            false => Err(Error::malformed(WHAT, "it is cut off")),
        }
    }

    async fn skip(&mut self, mut count: u64) -> Result<()> {
        let mut buf = [0; 4096];
        while count > 0 {
            let piece = count.min(buf.len() as u64) as usize;
            self.fill(&mut buf[..piece]).await?;
            count -= piece as u64;
        }
        Ok(())
    }

    /// The next header; `None` at the end of the archive.
    async fn header(&mut self) -> Result<Option<Header>> {
        let mut block = [0; BLOCK];
        if matches!(self, Self::New(_)) {
            let begun = self.begin(&mut block).await?;
            self.fill(&mut block[begun..]).await?;
        } else {
            self.fill(&mut block).await?;
        }
        match Header::parse(&block)? {
            Some(header) => Ok(Some(header)),
            None => {
                // Two such blocks end an archive, and some writers leave it at one.
                let mut second = [0; BLOCK];
                let len = self.read_up_to(&mut second).await?;
                match second.iter().all(|byte| *byte == 0) && [0, BLOCK].contains(&len) {
                    true => Ok(None),
                    false => Err(Error::malformed(WHAT, "it goes on behind its end")),
                }
            }
        }
    }

    /// Sees whether it is compressed, and gives how much it has read.
    async fn begin(&mut self, block: &mut [u8; BLOCK]) -> Result<usize> {
        let len = self.read_up_to(&mut block[..GZIP.len()]).await?;
        let Self::New(reader) =
            std::mem::replace(self, Self::Plain(Box::pin(futures_util::io::empty())))
        else {
            return Ok(len);
        };
        if block[..len] == GZIP {
            *self = Self::Gzip(Decompress::new(reader, &GZIP));
            return Ok(0);
        }
        *self = Self::Plain(reader);
        Ok(len)
    }

    /// What is said of the next entry.
    async fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        if header.size > MAX_EXTENSION {
            return Err(Error::Limit {
                what: "bytes of an extended header",
                limit: MAX_EXTENSION,
                actual: header.size,
            });
        }
        // No more memory than what comes.
        let mut said = Vec::new();
        let mut left = header.size as usize;
        while left > 0 {
            let at = said.len();
            said.resize(at + left.min(PIECE), 0);
            self.fill(&mut said[at..]).await?;
            left -= said.len() - at;
        }
        self.skip(padding(header.size) as u64).await?;
        Ok(said)
    }

    /// Reads what is behind the end, so that gzip is checked to its own.
    async fn trailer(&mut self) -> Result<()> {
        let (mut buf, mut read) = ([0; 4096], 0);
        while read < MAX_TRAILER {
            match self.read(&mut buf).await? {
                0 => break,
                count => read += count as u64,
            }
        }
        Ok(())
    }
}

/// An error of a reader, or one of ours that came through one.
fn error(error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| Error::component("reader", error))
}
