//! Reading a CAR from a stream of bytes.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::{Stream, stream::BoxStream};
use futures_util::{AsyncRead, AsyncReadExt, StreamExt, stream};
use ipfs_traits::{
    Block, Bytes, Cid, Error, HashTable, Result, Runtime, RuntimeExt,
    car::{Decoder, Item, Section},
    limits,
};

use super::{
    WHAT, stream_error,
    v2::{self, PRAGMA},
};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// What is verified at once: so many blocks, or so many bytes of them.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 4 << 20;

/// Batches that are verified while the next is read.
const AHEAD: usize = 2;

/// How a CAR is read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The hash functions that are believed.
    pub hashes: HashTable,
    /// The largest block in bytes: 2 MiB, which is what other nodes can fetch. At most 64 MiB.
    pub max_block: usize,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { hashes: HashTable::standard(), max_block: limits::MAX_BLOCK }
    }
}

/// The blocks of a CAR, of version 1 or 2, verified and in their order: a stream of batches.
///
/// Batches are hashed where the runtime lets work block, while the next is read: some 12 MiB are in
/// memory beside what the caller holds, and more only for larger blocks. The stream ends with an
/// error, or when all of the archive was read; the index of a CARv2 is not looked at. A block may be
/// there several times, and roots need not be there at all.
///
/// # Errors
///
/// [`Error::Malformed`] for what is no CAR or is cut off, [`Error::Limit`] for what is too large,
/// [`Error::Corrupt`] for a block that does not hash to its CID, [`Error::UnknownHash`], and
/// [`Error::Component`] with what the stream of bytes says.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
///
/// use futures::{io::Cursor, TryStreamExt};
/// use ipfs_blockstore::car;
/// use ipfs_traits::{codes, Block, HashTable, TokioRuntime};
///
/// let block = Block::of(codes::RAW, codes::SHA2_256, "hello", &HashTable::standard())?;
/// let mut writer = car::Writer::new(Vec::new(), &[*block.cid()]).await?;
/// writer.write(&[block.clone()]).await?;
/// let file = writer.finish().await?;
///
/// let runtime = Arc::new(TokioRuntime::current()?);
/// let reader = car::Reader::open(Cursor::new(file), runtime, car::ReadOptions::default()).await?;
/// assert_eq!(reader.roots(), [*block.cid()]);
/// assert_eq!(reader.try_concat().await?, [block]);
/// # Ok::<(), ipfs_traits::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "a reader does nothing unless it is polled"]
pub struct Reader {
    version: u8,
    roots: Vec<Cid>,
    blocks: BoxStream<'static, Result<Vec<Block>>>,
}

impl Reader {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// Those of a [`Reader`].
    pub async fn open(
        input: impl AsyncRead + Send + 'static,
        runtime: Arc<dyn Runtime>,
        options: ReadOptions,
    ) -> Result<Self> {
        let max_block = options.max_block.min(limits::MAX_STORED_BLOCK);
        let decoder = Decoder::with_max_block(max_block);
        let mut input = Input { input: Box::pin(input), decoder, left: None, ended: false };
        let version = input.begin().await?;
        let Some(Item::Header(header)) = input.item().await? else {
            return Err(Error::malformed(WHAT, "it has no header"));
        };
        let roots = header.roots().collect();
        Ok(Self { version, roots, blocks: blocks(input, runtime, options.hashes) })
    }

    /// The version: 1 or 2.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// The roots that the header names, whether they are there or not.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }
}

impl Stream for Reader {
    type Item = Result<Vec<Block>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.blocks.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("version", &self.version)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// The blocks behind the header.
fn blocks(
    input: Input,
    runtime: Arc<dyn Runtime>,
    hashes: HashTable,
) -> BoxStream<'static, Result<Vec<Block>>> {
    let batches = stream::unfold(Some(input), |input| async move {
        let mut input = input?;
        match input.batch().await {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => Some((Ok(batch), Some(input))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let verify = move |batch: Result<Vec<Section>>| {
        let (runtime, hashes) = (runtime.clone(), hashes.clone());
        async move {
            let items = batch?.into_iter().map(|section| (section.cid, section.data)).collect();
            let verify = move || Block::verify_many(items, &hashes).into_iter().collect();
            runtime.blocking(verify).await?
        }
    };
    let verified = batches.map(verify).buffered(AHEAD);
    // What comes behind a damaged block is not given: the stream ends with its error.
    let until_error = verified.scan(false, |failed, batch: Result<Vec<Block>>| {
        let ended = std::mem::replace(failed, *failed || batch.is_err());
        async move { (!ended).then_some(batch) }
    });
    until_error.boxed()
}

struct Input {
    input: Pin<Box<dyn AsyncRead + Send>>,
    decoder: Decoder,
    /// Bytes of the CARv1 that have not been read yet; `None` when it goes on to the end.
    left: Option<u64>,
    ended: bool,
}

impl Input {
    /// Reads what stands before the CARv1; gives the version.
    async fn begin(&mut self) -> Result<u8> {
        let start = self.take(PRAGMA.len()).await?;
        if start[..] != PRAGMA {
            self.ended = start.len() < PRAGMA.len();
            self.decoder.push(start.into());
            return Ok(1);
        }
        let header = self.take(v2::Header::LEN).await?;
        let header = header.first_chunk().ok_or_else(cut_off)?;
        let header = v2::Header::decode(header);
        header.check()?;
        self.skip(header.data_offset - v2::START).await?;
        self.left = Some(header.data_size);
        Ok(2)
    }

    /// So many bytes, fewer only at the end.
    async fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let reading = (&mut self.input).take(count as u64).read_to_end(&mut bytes).await;
        reading.map_err(stream_error("read"))?;
        Ok(bytes)
    }

    async fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let piece = self.read(count).await?;
            if piece.is_empty() {
                return Err(cut_off());
            }
            count -= piece.len() as u64;
        }
        Ok(())
    }

    /// The next bytes, at most so many; none at the end.
    async fn read(&mut self, most: u64) -> Result<Bytes> {
        let mut piece = vec![0; PIECE.min(usize::try_from(most).unwrap_or(PIECE))];
        let read = self.input.read(&mut piece).await.map_err(stream_error("read"))?;
        piece.truncate(read);
        Ok(piece.into())
    }

    /// The next header or section; `None` at the end of the archive.
    async fn item(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.decoder.next()? {
                return Ok(Some(item));
            }
            if self.ended || self.left == Some(0) {
                return self.decoder.finish().map(|()| None);
            }
            let piece = self.read(self.left.unwrap_or(u64::MAX)).await?;
            self.ended = piece.is_empty();
            match &mut self.left {
                Some(_) if self.ended => return Err(cut_off()),
                Some(left) => *left -= piece.len() as u64,
                None => {}
            }
            self.decoder.push(piece);
        }
    }

    /// The next sections; none at the end.
    async fn batch(&mut self) -> Result<Vec<Section>> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < BATCH && bytes < BATCH_BYTES {
            match self.item().await? {
                Some(Item::Section(section)) => {
                    bytes += section.data.len();
                    batch.push(section);
                }
                Some(Item::Header(_)) => {}
                None => break,
            }
        }
        Ok(batch)
    }
}

fn cut_off() -> Error {
    Error::malformed(WHAT, "it is cut off")
}
