//! What is kept of a node's blocks, and why: shared by pins, garbage collection and deleting.

use std::{collections::HashSet, sync::Arc};

use futures_util::TryStreamExt;
use ipfs_traits::{Cid, Datastore, Error, Multihash, Result, work::Meter};

use crate::{
    hold::Holds,
    pin::{self, Pin},
    reach::{Item, Leaves, Reach, Site},
};

/// What is needed to know what is kept. It reads the store below the guard: what it reads is not
/// noted.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) site: Site,
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) holds: Holds,
}

impl Keeper {
    /// Whether none of these is pinned.
    ///
    /// # Errors
    ///
    /// [`Error::Pinned`], which says by what. What the store and the datastore say.
    pub(crate) async fn check_unpinned(&self, cids: &[Cid]) -> Result<()> {
        for cid in cids {
            if let Some(pin) = pin::of_block(&*self.datastore, cid.hash()).await? {
                return Err(pinned(*cid, pin.cid));
            }
        }
        let wanted: HashSet<Multihash> = cids.iter().map(|cid| *cid.hash()).collect();
        match self.root_above(&wanted).await? {
            Some((cid, by)) => Err(pinned(cid, by)),
            None => Ok(()),
        }
    }

    /// One of these that is below a root that is pinned or kept, and that root.
    pub(crate) async fn root_above(
        &self,
        wanted: &HashSet<Multihash>,
    ) -> Result<Option<(Cid, Cid)>> {
        loop {
            match self.look_above(wanted).await? {
                Above::Nothing => return Ok(None),
                Above::Root(found, root) => return Ok(Some((found, root))),
                Above::Gone => {}
            }
        }
    }

    async fn look_above(&self, wanted: &HashSet<Multihash>) -> Result<Above> {
        let all = self.reach();
        let kept = self.holds.roots().await?;
        let mut roots = kept.into_iter().map(|(cid, follow)| Item { cid, follow }).collect();
        let mut pages = pin::scan(self.datastore.clone());
        loop {
            match one_by_one(&all, roots, wanted, &self.reach()).await? {
                Above::Nothing => {}
                above => return Ok(above),
            }
            let Some(page) = pages.try_next().await? else { return Ok(Above::Nothing) };
            roots = page.iter().filter_map(Pin::root).collect();
        }
    }

    /// A walk over what is here, whatever is missing.
    fn reach(&self) -> Reach {
        Reach::new(self.site.clone(), Leaves::Trust, Meter::default()).passing_missing()
    }
}

fn pinned(cid: Cid, by: Cid) -> Error {
    Error::Pinned { cid: Box::new(cid), by: Box::new(by) }
}

/// What is above some blocks.
enum Above {
    Nothing,
    /// One of them is below this root.
    Root(Cid, Cid),
    /// There was something, and went meanwhile.
    Gone,
}

/// Looks below all roots together, and then, if something is found, below each alone.
async fn one_by_one(
    all: &Reach,
    roots: Vec<Item>,
    wanted: &HashSet<Multihash>,
    alone: &Reach,
) -> Result<Above> {
    if roots.is_empty() || first_below(all, roots.clone(), wanted).await?.is_none() {
        return Ok(Above::Nothing);
    }
    for root in roots {
        if let Some(found) = first_below(alone, vec![root], wanted).await? {
            return Ok(Above::Root(found, root.cid));
        }
    }
    Ok(Above::Gone)
}

async fn first_below(
    reach: &Reach,
    roots: Vec<Item>,
    wanted: &HashSet<Multihash>,
) -> Result<Option<Cid>> {
    let mut walking = reach.tell(roots);
    while let Some(new) = walking.next().await? {
        if let Some(found) = new.into_iter().find(|cid| wanted.contains(cid.hash())) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
