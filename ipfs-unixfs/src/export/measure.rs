//! Finding out how large a file is whose blocks do not say it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::{StreamExt, stream};
use ipfs_traits::{BlockSource, Cid, Error, Result};

use super::content::check_depth;
use crate::node::{FileNode, Node, Unmeasured};

/// Blocks of one file whose sizes are kept while it is measured: some 100 MB, and 256 GiB of leaves
/// as everybody makes them.
const MAX_MEASURED: usize = 1 << 20;

const WHAT: &str = "UnixFS file";

/// The file with the sizes of its parts, each of which is fetched to find its size, once.
///
/// # Errors
///
/// [`Error::Malformed`] for what is no file; [`Error::Limit`] for more than a million different
/// parts, and for more than 1,024 levels; what the source says.
pub(super) async fn measure(source: Arc<dyn BlockSource>, file: Unmeasured) -> Result<FileNode> {
    let mut sizes = Sizes { source, known: HashMap::new() };
    sizes.below(&Part::File(file.clone())).await?;
    let size = |cid: Cid| sizes.known.get(&cid).copied();
    let parts: Option<Vec<u64>> = file.children().map(size).collect();
    file.measured(parts.unwrap_or_default())
}

/// What is known of the parts of a file.
struct Sizes {
    source: Arc<dyn BlockSource>,
    known: HashMap<Cid, u64>,
}

/// A block whose size is that of its children.
enum Part {
    File(Unmeasured),
    /// A block of metadata, and the file it is of.
    Metadata(Cid),
}

/// A part that is being measured.
struct Frame {
    cid: Cid,
    part: Part,
    /// Children that have to be measured first.
    open: Vec<Cid>,
}

impl Part {
    fn children(&self) -> impl Iterator<Item = Cid> + '_ {
        let (file, wrapped) = match self {
            Self::File(file) => (Some(file.children()), None),
            Self::Metadata(file) => (None, Some(*file)),
        };
        file.into_iter().flatten().chain(wrapped)
    }
}

/// What a block says of its size.
fn look(node: Node) -> Result<Result<u64, Part>> {
    match node {
        Node::File(file) => Ok(Ok(file.size())),
        Node::Unmeasured(file) => Ok(Err(Part::File(file))),
        Node::Metadata(metadata) => Ok(Err(Part::Metadata(metadata.file()))),
        _ => Err(Error::malformed(WHAT, "a part of it is no part of a file")),
    }
}

impl Sizes {
    /// Finds the sizes of all children of a part.
    async fn below(&mut self, part: &Part) -> Result<()> {
        let mut open = self.look_at(part).await?;
        let mut stack: Vec<Frame> = Vec::new();
        loop {
            // The next part that has to be measured, of the innermost that is under way.
            let list = stack.last_mut().map_or(&mut open, |frame| &mut frame.open);
            match list.pop() {
                Some(cid) if self.known.contains_key(&cid) => {}
                Some(cid) => {
                    check_depth(stack.len() + 1)?;
                    if let Err(part) = look(Node::parse(&self.source.get(&cid).await?)?)? {
                        let open = self.look_at(&part).await?;
                        stack.push(Frame { cid, part, open });
                    }
                }
                None => match stack.pop() {
                    Some(frame) => self.add_up(&frame)?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// Looks at all children of a part, and gives those that do not say their size.
    async fn look_at(&mut self, part: &Part) -> Result<Vec<Cid>> {
        let new: HashSet<Cid> =
            part.children().filter(|cid| !self.known.contains_key(cid)).collect();
        let mut open = Vec::new();
        let mut blocks = self.source.get_many(stream::iter(new).boxed());
        while let Some((cid, block)) = blocks.next().await {
            match look(Node::parse(&block?)?)? {
                Ok(size) => self.know(cid, size)?,
                Err(_) => open.push(cid),
            }
        }
        Ok(open)
    }

    fn know(&mut self, cid: Cid, size: u64) -> Result<()> {
        self.known.insert(cid, size);
        match self.known.len() > MAX_MEASURED {
            true => {
                let (limit, actual) = (MAX_MEASURED, self.known.len());
                Err(Error::limit("parts of a file that does not state sizes", limit, actual))
            }
            false => Ok(()),
        }
    }

    fn add_up(&mut self, frame: &Frame) -> Result<()> {
        let size = |cid: Cid| self.known.get(&cid).copied().unwrap_or_default();
        let size = match &frame.part {
            Part::File(file) => file.clone().measured(file.children().map(size).collect())?.size(),
            Part::Metadata(file) => size(*file),
        };
        self.know(frame.cid, size)
    }
}
