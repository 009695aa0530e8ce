//! Directories, put together from what comes depth first.

use ipfs_traits::{Error, Result};

use super::{Context, keep::Blocks};
use crate::{Name, attributes::Attributes, child::Child};

/// Directory blocks that wait to be stored together.
const DIRECTORIES: usize = 64;

/// What comes. The entries of a directory stand between its `Enter` and its `Leave`.
#[derive(Debug)]
pub(super) enum Place {
    Enter(Name, Attributes),
    Leave,
    Entry(Name),
}

/// Directories that are not whole yet, and the root when it is.
pub(super) struct Assembly<'a> {
    context: &'a Context,
    open: Vec<Open>,
    blocks: Blocks,
    root: Option<Root>,
}

enum Root {
    Kept(Child),
    /// A directory without entries that is to be dropped, as any other that would be an entry.
    Dropped,
}

struct Open {
    name: Name,
    attributes: Attributes,
    entries: Vec<(Name, Child)>,
    /// Whether anything stands in it, kept or not.
    is_empty: bool,
}

impl<'a> Assembly<'a> {
    pub(super) fn new(context: &'a Context) -> Self {
        Self { context, open: Vec::new(), blocks: Blocks::default(), root: None }
    }

    /// Takes what comes next.
    pub(super) async fn add(&mut self, place: Place, child: Option<Child>) -> Result<()> {
        match (place, child) {
            (Place::Enter(name, attributes), _) => {
                self.seen();
                self.open.push(Open { name, attributes, entries: Vec::new(), is_empty: true });
            }
            (Place::Entry(name), Some(child)) => {
                self.seen();
                self.entry(name, child);
            }
            (Place::Entry(_), None) => {}
            (Place::Leave, _) => self.leave().await?,
        }
        if self.blocks.len() >= DIRECTORIES {
            self.context.put(std::mem::take(&mut self.blocks)).await?;
        }
        Ok(())
    }

    /// The root, [wrapped](Context::wrap), when all is stored.
    pub(super) async fn finish(self) -> Result<Child> {
        self.context.put(self.blocks).await?;
        match self.root {
            Some(Root::Kept(root)) => self.context.wrap(Some(root)).await,
            Some(Root::Dropped) => self.context.wrap(None).await,
            None => Err(Error::invalid("import", "nothing was found")),
        }
    }

    /// The directory that is open has an entry.
    fn seen(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.is_empty = false;
        }
    }

    /// Adds an entry to the directory that is open, or makes it the root.
    fn entry(&mut self, name: Name, child: Child) {
        match self.open.last_mut() {
            Some(open) => open.entries.push((name, child)),
            None => self.root = Some(Root::Kept(child)),
        }
    }

    /// Makes the directory that is open, unless it is to be dropped.
    async fn leave(&mut self) -> Result<()> {
        let Some(Open { name, attributes, entries, is_empty }) = self.open.pop() else {
            return Ok(());
        };
        let (params, is_root) = (&self.context.params, self.open.is_empty());
        if is_empty && !params.empty_directories {
            if !is_root {
                return Ok(());
            }
            if params.wrap.is_some() {
                self.root = Some(Root::Dropped);
                return Ok(());
            }
        }
        let child = self.context.directory(entries, attributes, &mut self.blocks).await?;
        self.entry(name, child);
        Ok(())
    }
}
