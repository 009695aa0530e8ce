//! Why a block is pinned, and what is pinned by others.

use std::collections::{HashSet, VecDeque};

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use ipfs_traits::{Cid, Result, work::Meter};

use super::{Pin, PinMode, Pins, record};
use crate::reach::{Leaves, Reach, Walking};

/// Why a block is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinnedBy {
    /// By a direct pin of its own.
    Direct,
    /// By a recursive pin of its own.
    Recursive,
    /// It is below this one, which is pinned recursively or temporarily.
    Indirect(Cid),
}

/// A block that is below a recursive pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Indirect {
    /// The block.
    pub cid: Cid,
    /// The pin. Others may be above the block too.
    pub root: Cid,
}

impl Pins {
    /// Why a block is pinned; `None` when it is not. What is pinned by itself is found at once; to
    /// see what is above a block, the blocks with links below all pins are read.
    ///
    /// # Errors
    ///
    /// What the store and the datastore say.
    pub async fn why(&self, cid: &Cid) -> Result<Option<PinnedBy>> {
        let keeper = self.keeper();
        if let Some(pin) = record::of_block(&*keeper.datastore, cid.hash()).await? {
            return Ok(Some(match pin.mode {
                PinMode::Direct => PinnedBy::Direct,
                PinMode::Recursive(_) => PinnedBy::Recursive,
            }));
        }
        let above = keeper.root_above(&HashSet::from([*cid.hash()])).await?;
        Ok(above.map(|(_, root)| PinnedBy::Indirect(root)))
    }

    /// All blocks that are below recursive pins and have no pin of their own, each once, with one of
    /// the pins.
    ///
    /// What is not here, or not understood, and what is below it, is passed over. An item may be an
    /// error, which ends the stream.
    pub fn indirect(&self) -> BoxStream<'static, Result<Indirect>> {
        let keeper = self.keeper();
        let reach = Reach::new(keeper.site.clone(), Leaves::Trust, Meter::default());
        let listing = Listing {
            known: Reach::new(keeper.site.clone(), Leaves::Trust, Meter::default()),
            reach: reach.passing_missing(),
            pins: self.list(),
            roots: self.list(),
            under_way: None,
            ready: VecDeque::new(),
        };
        stream::try_unfold(listing, |mut listing| async move {
            Ok(listing.next().await?.map(|found| (found, listing)))
        })
        .boxed()
    }
}

/// A listing of what is below pins.
struct Listing {
    /// What has a pin of its own, once it was read, and what was listed.
    known: Reach,
    reach: Reach,
    pins: BoxStream<'static, Result<Pin>>,
    roots: BoxStream<'static, Result<Pin>>,
    under_way: Option<(Cid, Walking)>,
    ready: VecDeque<Indirect>,
}

/// Pins that are noted at once.
const PAGE: usize = 1024;

impl Listing {
    async fn next(&mut self) -> Result<Option<Indirect>> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(Some(found));
            }
            if let Some((root, walking)) = &mut self.under_way {
                let root = *root;
                match walking.next().await? {
                    Some(new) => self.sort(root, new).await?,
                    None => self.under_way = None,
                }
                continue;
            }
            self.note_own().await?;
            let Some(pin) = self.roots.try_next().await? else { return Ok(None) };
            self.under_way = pin.root().map(|root| (pin.cid, self.reach.tell(vec![root])));
        }
    }

    /// Reads what has a pin of its own, the first time.
    async fn note_own(&mut self) -> Result<()> {
        let pins = std::mem::replace(&mut self.pins, stream::empty().boxed());
        let mut pages = pins.map_ok(|pin| *pin.cid.hash()).try_ready_chunks(PAGE);
        while let Some(page) = pages.next().await {
            self.known.mark(page.map_err(|error| error.1)?).await?;
        }
        Ok(())
    }

    /// Keeps what has no pin of its own and was not listed: a walk comes to a block anew by another
    /// codec, or along other links.
    async fn sort(&mut self, root: Cid, new: Vec<Cid>) -> Result<()> {
        let are_new = self.known.mark(new.iter().map(|cid| *cid.hash()).collect()).await?;
        let found = new.into_iter().zip(are_new).filter(|(_, is_new)| *is_new);
        self.ready.extend(found.map(|(cid, _)| Indirect { cid, root }));
        Ok(())
    }
}
