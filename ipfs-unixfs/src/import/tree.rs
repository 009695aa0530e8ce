//! A path on disk: a walk, whose small files are read and hashed many at a time.

use std::{fs::File, io::Read, path::PathBuf};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt, lock::Mutex, stream};
use ipfs_traits::{Block, Error, Result, RuntimeExt};

use super::{
    Context, FileError, add,
    chunks::FromFile,
    leaves::leaves,
    walk::{Found, Walk},
};
use crate::{
    child::{Child, Sealer},
    directory::symlink,
};

/// What a walk finds at once.
const WALK: usize = 256;

/// Bytes of small files that are read, hashed and stored together.
const BATCH_BYTES: u64 = 4 << 20;

/// Things that are found and worked on together.
const BATCH_COUNT: usize = 256;

/// Batches that are worked on at once.
const BATCHES: usize = 3;

/// Directory blocks that wait to be stored together.
const DIRECTORIES: usize = 64;

/// What is done together.
enum Step {
    /// Small files, and all that stands between them.
    Batch(Vec<Found>),
    /// One file of several leaves.
    Large { name: String, path: PathBuf },
}

/// What became of what was found, in the order it was found.
enum Outcome {
    Enter(String),
    Leave,
    Entry(String, Child),
}

impl Context {
    /// Imports what is at `path`.
    pub(super) async fn path(&self, path: PathBuf) -> Result<Child> {
        // Of large files one at a time: each of them fills the cores and the memory it may use.
        let large = Mutex::new(());
        let done = self.steps(path).map_ok(|step| self.step(step, &large)).try_buffered(BATCHES);
        let mut done = std::pin::pin!(done);
        let mut tree = Tree::new(self);
        while let Some(outcomes) = done.try_next().await? {
            for outcome in outcomes {
                tree.add(outcome).await?;
            }
            tree.store_if(DIRECTORIES).await?;
        }
        tree.store_if(1).await?;
        tree.root.ok_or_else(|| Error::invalid("path to import", "it has no name"))
    }

    /// Walks the tree and groups what is found.
    fn steps(&self, path: PathBuf) -> impl Stream<Item = Result<Step>> + '_ {
        let most = self.params.chunker.max_size() as u64;
        let walk = Walk::new(path, &self.params);
        stream::try_unfold(walk, move |mut walk| async move {
            let next = move || walk.next(WALK).map(|found| (found, walk));
            let (found, walk) = self.runtime.blocking(next).await??;
            Ok::<_, Error>((!found.is_empty()).then_some((group(found, most), walk)))
        })
        .map_ok(|steps| stream::iter(steps.into_iter().map(Ok)))
        .try_flatten()
    }

    async fn step(&self, step: Step, large: &Mutex<()>) -> Result<Vec<Outcome>> {
        match step {
            Step::Batch(found) => self.batch(found).await,
            Step::Large { name, path } => {
                let _one = large.lock().await;
                let file = self.file(FromFile::new(path, self.runtime.clone())).await?;
                Ok(vec![Outcome::Entry(name, file)])
            }
        }
    }

    /// Reads, hashes and stores small files and symbolic links in one go.
    async fn batch(&self, found: Vec<Found>) -> Result<Vec<Outcome>> {
        let context = self.clone();
        let made = self.runtime.blocking(move || context.make(found)).await??;
        self.put(&made.blocks).await?;
        let mut outcomes = Vec::with_capacity(made.outcomes.len());
        for outcome in made.outcomes {
            outcomes.push(match outcome {
                Made::Ready(outcome) => outcome,
                // It was small when the walk saw it.
                Made::Grown { name, path } => {
                    let file = self.file(FromFile::new(path, self.runtime.clone())).await?;
                    Outcome::Entry(name, file)
                }
            });
        }
        self.meter.bytes(made.bytes);
        self.meter.files(made.files);
        Ok(outcomes)
    }

    /// The blocks of a batch. It blocks.
    fn make(&self, found: Vec<Found>) -> Result<Batch> {
        let mut batch = Batch::default();
        let (mut names, mut contents) = (Vec::new(), Vec::new());
        for found in found {
            let made = match found {
                Found::Enter { name } => Made::Ready(Outcome::Enter(name)),
                Found::Leave => Made::Ready(Outcome::Leave),
                Found::Symlink { name, target } => {
                    let (block, child) = {
                        let sealer = Sealer::nodes(&self.params, &self.hashes);
                        symlink(&sealer, target.as_bytes(), (None, None))?
                    };
                    add(&self.counters.symlinks, 1);
                    batch.blocks.push(block);
                    Made::Ready(Outcome::Entry(name, child))
                }
                Found::File { name, path, len } => match self.read_small(&path, len)? {
                    None => Made::Grown { name, path },
                    Some(content) => {
                        names.push((batch.outcomes.len(), name));
                        contents.push(content);
                        // It keeps the place until all contents are hashed.
                        Made::Ready(Outcome::Leave)
                    }
                },
            };
            batch.outcomes.push(made);
        }
        let made = leaves(&self.params, &self.hashes, contents)?;
        for ((place, name), (block, child)) in std::iter::zip(names, made) {
            batch.bytes += child.size;
            batch.files += 1;
            batch.blocks.push(block);
            batch.outcomes[place] = Made::Ready(Outcome::Entry(name, child));
        }
        Ok(batch)
    }

    /// The content of a file that fits one leaf; `None` if it does not.
    fn read_small(&self, path: &PathBuf, len: u64) -> Result<Option<Bytes>> {
        let most = self.params.chunker.max_size() as u64;
        let file = File::open(path).map_err(FileError::read(path))?;
        let mut content = Vec::with_capacity(len.min(most) as usize + 1);
        file.take(most + 1).read_to_end(&mut content).map_err(FileError::read(path))?;
        Ok((content.len() as u64 <= most).then(|| content.into()))
    }
}

/// What a batch gave.
#[derive(Default)]
struct Batch {
    blocks: Vec<Block>,
    outcomes: Vec<Made>,
    bytes: u64,
    files: u64,
}

enum Made {
    Ready(Outcome),
    Grown { name: String, path: PathBuf },
}

/// Groups what was found: small files together, large ones alone, everything in its order.
fn group(found: Vec<Found>, most: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for found in found {
        match found {
            Found::File { name, path, len } if len > most => {
                steps.push(Step::Batch(std::mem::take(&mut batch)));
                steps.push(Step::Large { name, path });
                bytes = 0;
            }
            found => {
                if let Found::File { len, .. } = found {
                    bytes += len;
                }
                batch.push(found);
            }
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

/// Directories that are not whole yet, and the root when it is.
struct Tree<'a> {
    context: &'a Context,
    open: Vec<(String, Vec<(String, Child)>)>,
    blocks: Vec<Block>,
    root: Option<Child>,
}

impl<'a> Tree<'a> {
    const fn new(context: &'a Context) -> Self {
        Self { context, open: Vec::new(), blocks: Vec::new(), root: None }
    }

    async fn add(&mut self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Enter(name) => self.open.push((name, Vec::new())),
            Outcome::Entry(name, child) => self.entry(name, child),
            Outcome::Leave => {
                let Some((name, entries)) = self.open.pop() else {
                    return Ok(());
                };
                let dropped = entries.is_empty() && !self.context.params.empty_directories;
                if !dropped || self.open.is_empty() {
                    let entries =
                        entries.into_iter().map(|(name, child)| (name.into(), child)).collect();
                    let stat = (None, None);
                    let made = self.context.directory(entries, stat, &mut self.blocks).await?;
                    self.entry(name, made);
                }
            }
        }
        Ok(())
    }

    /// Adds an entry to the directory that is open, or makes it the root.
    fn entry(&mut self, name: String, child: Child) {
        match self.open.last_mut() {
            Some((_, entries)) => entries.push((name, child)),
            None => self.root = Some(child),
        }
    }

    /// Stores the directories that are whole, if there are so many.
    async fn store_if(&mut self, count: usize) -> Result<()> {
        if self.blocks.len() >= count {
            self.context.put(&std::mem::take(&mut self.blocks)).await?;
        }
        Ok(())
    }
}
