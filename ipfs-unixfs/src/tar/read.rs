//! An archive as entries.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::{Stream, stream::BoxStream};
use futures_io::AsyncRead;
use futures_util::{StreamExt, stream};
use ipfs_traits::{Error, Result};

use super::{
    WHAT,
    header::{Header, kind, padding, text},
    input::Input,
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
/// assert_eq!(entry.path, ["a", "b"]);
/// assert_eq!(entry.kind, Kind::File { size: 2 });
/// assert_eq!(parts[1..], [Part::Data("hi".into()), Part::End]);
/// # Ok::<(), ipfs_traits::Error>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Reader {
    parts: BoxStream<'static, Result<Part>>,
    root: Option<Root>,
}

/// The name at the top that is taken off.
enum Root {
    Unknown,
    Known(Name),
}

impl Reader {
    /// A reader of the archive that `reader` gives.
    pub fn new(reader: impl AsyncRead + Send + 'static) -> Self {
        let state = State { input: Input::New(Box::pin(reader)), at: At::Header };
        let parts = stream::try_unfold(state, State::next).boxed();
        Self { parts, root: None }
    }

    /// Takes off the first name of every path, which has to be the same: the name that an archive of
    /// a single file or directory gives it. The archive's own `.` is left out.
    ///
    /// Another name is an [`Error::Malformed`].
    pub fn strip_root(mut self) -> Self {
        self.root = Some(Root::Unknown);
        self
    }
}

impl Root {
    /// Takes the first name off; `false` for a path that has none.
    fn strip(&mut self, path: &mut Vec<Name>) -> Result<bool> {
        if path.is_empty() {
            return Ok(false);
        }
        let first = path.remove(0);
        match self {
            Self::Known(root) if *root != first => {
                Err(Error::malformed(WHAT, "it has more than one root"))
            }
            Self::Known(_) => Ok(true),
            Self::Unknown => {
                // A copy, which does not keep the path.
                *self = Self::Known(Name::from(&first[..]));
                Ok(true)
            }
        }
    }
}

impl Stream for Reader {
    type Item = Result<Part>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let mut part = ready!(self.parts.poll_next_unpin(cx)).transpose()?;
            if let (Some(root), Some(Part::Entry(entry))) = (&mut self.root, &mut part) {
                match root.strip(&mut entry.path) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(error) => {
                        self.parts = stream::empty().boxed();
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
            return Poll::Ready(part.map(Ok));
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

/// Bytes of a file that are given at once.
pub(super) const PIECE: usize = 64 << 10;

/// The most bytes of a path, as of one that is written.
const MAX_PATH: usize = 64 << 10;

/// How deep a path may be, as a tree that is exported.
const MAX_DEPTH: usize = 1024;

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
