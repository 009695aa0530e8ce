//! Writing a CAR to a stream of bytes.

use std::io::SeekFrom;

use futures_util::{AsyncSeek, AsyncSeekExt, AsyncWrite, AsyncWriteExt};
use ipfs_traits::{Block, Cid, Result, car};

use super::{
    index::{Builder, IndexKind},
    stream_error,
    v2::{self, PRAGMA},
};

/// Blocks below this are copied together for one write; larger ones are written as they are.
const SMALL: usize = 16 << 10;

/// Bytes that are copied together.
const GATHER: usize = 64 << 10;

/// Writes a CARv1.
///
/// A call returns when what it was given is written, but for at most 64 KiB that wait for more: a
/// writer that is slow slows the caller down. What was written is whole only after
/// [`finish`](Self::finish). A call that is dropped before it ends leaves an archive that is cut
/// off, and so does one that fails.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    waiting: Vec<u8>,
    len: u64,
}

impl<W: AsyncWrite + Unpin + Send> Writer<W> {
    /// Begins an archive that names these roots.
    ///
    /// # Errors
    ///
    /// [`Error::Component`](ipfs_traits::Error::Component) with what `out` says.
    pub async fn new(out: W, roots: &[Cid]) -> Result<Self> {
        let mut writer = Self { out, waiting: Vec::new(), len: 0 };
        writer.put(&car::header(roots)).await?;
        Ok(writer)
    }

    /// Bytes of the archive so far.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written: never, for it has a header.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes blocks, one behind the other.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn write(&mut self, blocks: &[Block]) -> Result<()> {
        for block in blocks {
            self.put(&car::section_head(block.cid(), block.len())).await?;
            self.put(block.data()).await?;
        }
        Ok(())
    }

    /// Writes what waits, flushes `out`, and gives it back.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn finish(mut self) -> Result<W> {
        self.write_waiting().await?;
        self.out.flush().await.map_err(stream_error("write"))?;
        Ok(self.out)
    }

    async fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.len += bytes.len() as u64;
        if bytes.len() < SMALL {
            self.waiting.extend_from_slice(bytes);
        }
        if bytes.len() >= SMALL || self.waiting.len() >= GATHER {
            self.write_waiting().await?;
        }
        if bytes.len() >= SMALL {
            self.out.write_all(bytes).await.map_err(stream_error("write"))?;
        }
        Ok(())
    }

    async fn write_waiting(&mut self) -> Result<()> {
        self.out.write_all(&self.waiting).await.map_err(stream_error("write"))?;
        self.waiting.clear();
        Ok(())
    }
}

/// Writes a CARv2 with its index, to what can be gone back in: a file.
///
/// The index is kept in memory until the end: some 44 bytes a block. It knows every section, those
/// with identity CIDs too, and the header says so. As with a [`Writer`], what was written is whole
/// only after [`finish`](Self::finish); until then its header says that it is not.
///
/// ```
/// # futures::executor::block_on(async {
/// use futures::io::Cursor;
/// use ipfs_blockstore::car::{IndexKind, IndexedWriter};
/// use ipfs_traits::{codes, Block, HashTable};
///
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let file = Cursor::new(Vec::new());
/// let mut writer = IndexedWriter::new(file, &[*block.cid()], IndexKind::MultihashSorted).await?;
/// writer.write(&[block]).await?;
/// let file = writer.finish().await?.into_inner();
/// assert!(file.starts_with(b"\x0a\xa1\x67version\x02"));
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct IndexedWriter<W> {
    data: Writer<W>,
    /// Where in `out` the archive begins.
    start: u64,
    index: Builder,
    kind: IndexKind,
}

impl<W: AsyncWrite + AsyncSeek + Unpin + Send> IndexedWriter<W> {
    /// Begins an archive that names these roots, where `out` stands.
    ///
    /// # Errors
    ///
    /// [`Error::Component`](ipfs_traits::Error::Component) with what `out` says.
    pub async fn new(mut out: W, roots: &[Cid], kind: IndexKind) -> Result<Self> {
        let start = out.stream_position().await.map_err(stream_error("write"))?;
        let head = [&PRAGMA[..], &v2::Header::default().encode()].concat();
        out.write_all(&head).await.map_err(stream_error("write"))?;
        let data = Writer::new(out, roots).await?;
        Ok(Self { data, start, index: Builder::new(), kind })
    }

    /// Writes blocks, one behind the other.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn write(&mut self, blocks: &[Block]) -> Result<()> {
        for block in blocks {
            self.index.push(block.hash(), self.data.len());
            self.data.write(std::slice::from_ref(block)).await?;
        }
        Ok(())
    }

    /// Writes the index and the header, flushes `out`, and gives it back, at its end.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub async fn finish(self) -> Result<W> {
        let data_size = self.data.len();
        let mut out = self.data.finish().await?;
        let header = v2::Header {
            fully_indexed: true,
            data_offset: v2::START,
            data_size,
            index_offset: v2::START + data_size,
        };
        let at = self.start + PRAGMA.len() as u64;
        let (index, header) = (self.index.encode(self.kind), header.encode());
        let finish = async {
            for piece in index {
                out.write_all(&piece).await?;
            }
            out.flush().await?;
            out.seek(SeekFrom::Start(at)).await?;
            out.write_all(&header).await?;
            out.seek(SeekFrom::End(0)).await?;
            out.flush().await
        };
        finish.await.map_err(stream_error("write"))?;
        Ok(out)
    }
}
