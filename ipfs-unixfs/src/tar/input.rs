//! The bytes of an archive, with gzip taken off.

use std::{io, pin::Pin};

use futures_io::AsyncRead;
use futures_util::AsyncReadExt;
use ipfs_traits::{Error, Result};

use super::{
    WHAT,
    gzip::Decompress,
    header::{BLOCK, Header, padding},
    read::PIECE,
};

/// The most bytes of what is said of an entry outside of its header: what Go's reader takes.
const MAX_EXTENSION: u64 = 1 << 20;

/// What is read behind the end of an archive, to see that the gzip around it ends well: more than
/// any tape's record.
const MAX_TRAILER: u64 = 1 << 20;

/// What an archive is read from.
pub(super) enum Input {
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

    pub(super) async fn fill(&mut self, buf: &mut [u8]) -> Result<()> {
        match self.read_up_to(buf).await? == buf.len() {
            true => Ok(()),
            false => Err(Error::malformed(WHAT, "it is cut off")),
        }
    }

    pub(super) async fn skip(&mut self, mut count: u64) -> Result<()> {
        let mut buf = [0; 4096];
        while count > 0 {
            let piece = count.min(buf.len() as u64) as usize;
            self.fill(&mut buf[..piece]).await?;
            count -= piece as u64;
        }
        Ok(())
    }

    /// The next header; `None` at the end of the archive.
    pub(super) async fn header(&mut self) -> Result<Option<Header>> {
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
    pub(super) async fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
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
    pub(super) async fn trailer(&mut self) -> Result<()> {
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
