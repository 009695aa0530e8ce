//! Small files and symbolic links, read, hashed and stored many at a time.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, lock::Mutex, stream};
use ipfs_traits::{Origin, Result, RuntimeExt};

use super::{
    Context, FileError, add,
    cut::Cutting,
    keep::Blocks,
    leaves::leaves,
    runs::{FromBytes, FromFile},
};
use crate::{
    attributes::Attributes,
    child::{Child, Sealer},
    data::Kind,
    directory::symlink,
    layout::Growing,
};

/// Bytes of files that are read, hashed and stored together; a file of more is worked on alone.
pub(super) const BATCH_BYTES: u64 = 4 << 20;

/// Things that are found and worked on together.
pub(super) const BATCH_COUNT: usize = 256;

/// Something that was found, and the place it goes.
#[derive(Debug)]
pub(super) struct Found<P> {
    pub(super) place: P,
    pub(super) content: Content,
    pub(super) attributes: Attributes,
}

/// What was found.
#[derive(Debug)]
pub(super) enum Content {
    /// Nothing that a block is made of here.
    Nothing,
    /// Something whose blocks are made.
    Done(Child),
    Symlink(Bytes),
    Bytes(Bytes),
    Disk {
        path: PathBuf,
        /// In bytes, when it was found.
        len: u64,
    },
    /// A pipe, which is read to its end, however long that takes.
    Pipe(PathBuf),
}

impl Content {
    const fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Disk { len, .. } => *len,
            Self::Pipe(_) => u64::MAX,
            Self::Nothing | Self::Done(_) | Self::Symlink(_) => 0,
        }
    }
}

/// What has become of something, in the order in which it was found.
pub(super) type Outcome<P> = (P, Option<Child>);

/// What is done together.
enum Step<P> {
    /// Small files, and all that stands between them.
    Batch(Vec<Found<P>>),
    Large(Found<P>),
}

impl Context {
    /// Makes and stores the blocks of all that is found, several batches at a time.
    pub(super) fn outcomes<'a, P: Send + 'static>(
        &'a self,
        found: impl Stream<Item = Result<Vec<Found<P>>>> + 'a,
    ) -> impl Stream<Item = Result<Vec<Outcome<P>>>> + 'a {
        // Of large files one at a time: each of them fills the cores and the memory it may use.
        let large = Arc::new(Mutex::new(()));
        found
            .map_ok(|found| stream::iter(group(found).into_iter().map(Ok)))
            .try_flatten()
            .map_ok(move |step| self.step(step, large.clone()))
            .try_buffered(self.at_once)
    }

    async fn step<P: Send + 'static>(
        &self,
        step: Step<P>,
        large: Arc<Mutex<()>>,
    ) -> Result<Vec<Outcome<P>>> {
        match step {
            Step::Batch(found) => self.batch(found).await,
            Step::Large(Found { place, content, attributes }) => {
                let _one = large.lock().await;
                Ok(vec![(place, self.large(content, attributes).await?)])
            }
        }
    }

    async fn large(&self, content: Content, attributes: Attributes) -> Result<Option<Child>> {
        match content {
            Content::Disk { path, .. } => {
                let origin = self.keep.refers().then(|| Origin::File(path.as_path().into()));
                let runs = FromFile::new(path, self.runtime.clone());
                self.file(runs, origin, attributes).await.map(Some)
            }
            Content::Pipe(path) => {
                let runs = FromFile::new(path, self.runtime.clone());
                self.file(runs, None, attributes).await.map(Some)
            }
            Content::Bytes(bytes) => self.file(FromBytes(bytes), None, attributes).await.map(Some),
            Content::Done(child) => Ok(Some(child)),
            Content::Nothing | Content::Symlink(_) => Ok(None),
        }
    }

    /// Reads, hashes and stores small files and symbolic links in one go.
    async fn batch<P: Send + 'static>(&self, found: Vec<Found<P>>) -> Result<Vec<Outcome<P>>> {
        let context = self.clone();
        let made = self.runtime.blocking(move || context.make(found)).await??;
        self.put(made.blocks).await?;
        let mut outcomes = Vec::with_capacity(made.outcomes.len());
        for (place, made) in made.outcomes {
            outcomes.push(match made {
                Made::Ready(child) => (place, child),
                // It was small when it was found.
                Made::Grown(content, attributes) => (place, self.large(content, attributes).await?),
            });
        }
        self.meter.bytes(made.bytes);
        self.meter.files(made.files);
        Ok(outcomes)
    }

    /// The blocks of a batch. It blocks.
    fn make<P>(&self, found: Vec<Found<P>>) -> Result<Batch<P>> {
        let Self { params, hashes, .. } = self;
        let sealer = Sealer::nodes(params, hashes);
        let (mut batch, mut files) = (Batch::new(), Files::default());
        for Found { place, content, attributes } in found {
            let made = match content {
                Content::Nothing => Made::Ready(None),
                Content::Done(child) => Made::Ready(Some(child)),
                Content::Symlink(target) => {
                    let attributes = Attributes::of(params, Kind::Symlink, attributes);
                    let (block, child) = symlink(&sealer, &target, attributes)?;
                    add(&self.counters.symlinks, 1);
                    batch.blocks.add(block);
                    Made::Ready(Some(child))
                }
                content => match self.read_small(&content)? {
                    None => Made::Grown(content, attributes),
                    Some((bytes, origin)) => {
                        let attributes = Attributes::of(params, Kind::File, attributes);
                        files.add(batch.outcomes.len(), bytes, origin, attributes, self)?;
                        // It keeps the place until all are hashed.
                        Made::Ready(None)
                    }
                },
            };
            batch.outcomes.push((place, made));
        }
        files.finish(self, &sealer, &mut batch)?;
        Ok(batch)
    }

    /// The whole content of a small file, and where it lies if that is referred to; `None` if it is
    /// not small.
    fn read_small(&self, content: &Content) -> Result<Option<(Bytes, Option<Origin>)>> {
        let (bytes, origin) = match content {
            Content::Disk { path, len } => {
                let origin = self.keep.refers().then(|| Origin::File(path.as_path().into()));
                (read_at_most(path, *len, BATCH_BYTES)?, origin)
            }
            Content::Bytes(bytes) => (bytes.clone(), None),
            _ => (Bytes::new(), None),
        };
        let origin = self.keep.origin(origin)?;
        Ok((bytes.len() as u64 <= BATCH_BYTES).then_some((bytes, origin)))
    }
}

/// The content of a file of about `len` bytes, cut off a byte behind `most`.
fn read_at_most(path: &Path, len: u64, most: u64) -> Result<Bytes> {
    let file = File::open(path).map_err(FileError::read(path))?;
    let mut content = Vec::with_capacity(len.min(most) as usize + 1);
    file.take(most + 1).read_to_end(&mut content).map_err(FileError::read(path))?;
    Ok(content.into())
}

/// What a batch gave.
struct Batch<P> {
    blocks: Blocks,
    outcomes: Vec<(P, Made)>,
    bytes: u64,
    files: u64,
}

enum Made {
    Ready(Option<Child>),
    Grown(Content, Attributes),
}

impl<P> Batch<P> {
    fn new() -> Self {
        Self { blocks: Blocks::default(), outcomes: Vec::new(), bytes: 0, files: 0 }
    }
}

/// The files of a batch, whose leaves are hashed together.
#[derive(Default)]
struct Files {
    files: Vec<SmallFile>,
    pieces: Vec<(Bytes, Attributes)>,
}

struct SmallFile {
    outcome: usize,
    pieces: usize,
    origin: Option<Origin>,
    attributes: Attributes,
}

impl Files {
    fn add(
        &mut self,
        outcome: usize,
        content: Bytes,
        origin: Option<Origin>,
        attributes: Attributes,
        context: &Context,
    ) -> Result<()> {
        let mut pieces = Cutting::whole(&context.params.chunker, content)?;
        let one_is_all = Growing::one_is_all(context.params.layout);
        if pieces.is_empty() && one_is_all {
            pieces.push(Bytes::new());
        }
        let is_leaf = pieces.len() == 1 && one_is_all;
        let of_leaf = if is_leaf { attributes } else { Attributes::NONE };
        self.files.push(SmallFile { outcome, pieces: pieces.len(), origin, attributes });
        self.pieces.extend(pieces.into_iter().map(|piece| (piece, of_leaf)));
        Ok(())
    }

    /// Makes the leaves, and the trees above them.
    fn finish<P>(self, context: &Context, sealer: &Sealer, batch: &mut Batch<P>) -> Result<()> {
        let Context { params, hashes, .. } = context;
        let mut made = leaves(params, hashes, self.pieces)?.into_iter();
        for file in self.files {
            let (mut tree, mut nodes) = (Growing::new(params, sealer), Vec::new());
            let mut offset = 0;
            for (block, leaf) in made.by_ref().take(file.pieces) {
                batch.blocks.add_leaf(block, file.origin.as_ref(), offset);
                offset += leaf.size;
                tree.push(leaf, &mut nodes)?;
            }
            let root = tree.finish(file.attributes, &mut nodes)?;
            nodes.into_iter().for_each(|node| batch.blocks.add(node));
            batch.bytes += offset;
            batch.files += 1;
            batch.outcomes[file.outcome].1 = Made::Ready(root);
        }
        Ok(())
    }
}

/// Groups what was found: small files together, large ones alone, everything in its order.
fn group<P>(found: Vec<Found<P>>) -> Vec<Step<P>> {
    let mut steps = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for found in found {
        let len = found.content.len();
        if len > BATCH_BYTES {
            steps.push(Step::Batch(std::mem::take(&mut batch)));
            steps.push(Step::Large(found));
            bytes = 0;
        } else {
            batch.push(found);
            bytes += len;
        }
        if bytes >= BATCH_BYTES || batch.len() >= BATCH_COUNT {
            steps.push(Step::Batch(std::mem::take(&mut batch)));
            bytes = 0;
        }
    }
    steps.push(Step::Batch(batch));
    steps.retain(|step| !matches!(step, Step::Batch(batch) if batch.is_empty()));
    steps
}
