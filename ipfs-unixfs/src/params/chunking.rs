//! Chunkers of the user's own.

use std::{fmt, ops::Deref, sync::Arc};

/// A way to cut files into pieces, for [`Chunker::custom`](super::Chunker::custom).
///
/// # Contract
///
/// What is cut depends on the content and on nothing else: the same bytes always become the same
/// pieces, whatever runs they are read in, on every machine. Everything that decides how it cuts
/// stands in [`name`](Self::name), and two chunkings with the same name cut alike: parameters are
/// compared by it.
///
/// [`max_size`](Self::max_size) is from 1 to [`Chunker::MAX_SIZE`](super::Chunker::MAX_SIZE) bytes.
///
/// # Implementing
///
/// ```
/// use ipfs_unixfs::{Chunker, Chunking, Cutter};
///
/// /// A piece for each line.
/// #[derive(Debug)]
/// struct Lines {
///     longest: usize,
/// }
///
/// impl Chunking for Lines {
///     fn name(&self) -> &str {
///         "lines"
///     }
///     fn max_size(&self) -> usize {
///         self.longest
///     }
///     fn start(&self) -> Box<dyn Cutter> {
///         Box::new(Self { longest: self.longest })
///     }
/// }
///
/// impl Cutter for Lines {
///     fn next(&mut self, rest: &[u8]) -> usize {
///         let rest = &rest[..rest.len().min(self.longest)];
///         rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1)
///     }
/// }
/// # use std::sync::Arc;
/// # use ipfs_traits::{memory::MemoryStore, VirtualRuntime};
/// # use ipfs_unixfs::{Importer, Params};
/// # let runtime = VirtualRuntime::new();
/// # let importer = Importer::new(Arc::new(MemoryStore::new()), Arc::new(runtime.clone()));
///
/// let chunker = Chunker::custom(Lines { longest: 1 << 20 })?;
/// let importer = importer.params(Params { chunker, ..Params::default() });
/// let imported = runtime.block_on(importer.bytes("one\ntwo\nthree")).unwrap()?;
/// assert_eq!(imported.blocks, 3 + 1);
/// # Ok::<(), ipfs_traits::Error>(())
/// ```
///
/// # Errors
///
/// There are none: a file that can be read can be cut. A piece out of its bounds ends the import
/// with [`Error::Invalid`](ipfs_traits::Error::Invalid).
pub trait Chunking: fmt::Debug + Send + Sync + 'static {
    /// What it is and what it was made with, in one word: `lines-1048576`.
    fn name(&self) -> &str;

    /// The most bytes of a piece.
    fn max_size(&self) -> usize;

    /// A cutter for one file.
    fn start(&self) -> Box<dyn Cutter>;
}

/// Cuts one file. It may keep what it has seen from piece to piece.
pub trait Cutter: Send + 'static {
    /// How many bytes the next piece has: at least 1, at most
    /// [`max_size`](Chunking::max_size), and no more than `rest` has.
    ///
    /// `rest` begins where the last piece ended. It is never empty, and has `max_size` bytes or
    /// more, unless it is all that is left of the file. It is called where blocking work goes.
    fn next(&mut self, rest: &[u8]) -> usize;
}

/// A [`Chunking`] as a value, equal to another of the same name.
#[derive(Clone)]
pub struct CustomChunker(Arc<dyn Chunking>);

impl CustomChunker {
    pub(super) fn new(chunking: impl Chunking) -> Self {
        Self(Arc::new(chunking))
    }
}

impl Deref for CustomChunker {
    type Target = dyn Chunking;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for CustomChunker {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for CustomChunker {}

impl fmt::Debug for CustomChunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
