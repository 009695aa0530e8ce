//! What is kept.

use std::sync::Arc;

use futures_util::TryStreamExt;
use ipfs_routing::names;
use ipfs_traits::{Cid, Error, Result, parse_cid, work::Meter};

use crate::{
    Follow, Namespace, Path,
    keeper::Keeper,
    pin::{self, Pin},
    reach::{Item, Leaves, Reach},
};

/// How often a pin may have gone while what it kept was looked at.
const ATTEMPTS: usize = 3;

/// Goes through all that is kept.
///
/// # Errors
///
/// [`Error::Incomplete`] for a pin that is not whole.
pub(super) async fn mark(keeper: &Arc<Keeper>, meter: &Meter) -> Result<Reach> {
    let mut attempt = 1;
    loop {
        let marks = Reach::new(keeper.site.clone(), Leaves::Trust, meter.clone()).gently();
        match mark_all(keeper, &marks).await {
            // The pin may have been removed meanwhile, and the block with it.
            Err(Error::Incomplete { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
            Ok(()) => return Ok(marks),
        }
    }
}

/// Marks until nothing new has come: roots may have changed while the first were gone through.
async fn mark_all(keeper: &Keeper, marks: &Reach) -> Result<()> {
    loop {
        let before = marks.len().await?;
        // Read before the pins: what was kept until it had a pin has one by then.
        let kept = keeper.holds.roots().await?;
        mark_pins(keeper, marks).await?;
        let mut roots: Vec<Item> =
            kept.into_iter().map(|(cid, follow)| Item { cid, follow }).collect();
        let all = |cid| Item { cid, follow: Follow::All };
        roots.extend(mfs_root(keeper).await?.map(all));
        roots.extend(published(keeper).await?.into_iter().map(all));
        marks.passing_missing().run(roots).await?;
        if marks.len().await? == before {
            return Ok(());
        }
    }
}

async fn mark_pins(keeper: &Keeper, marks: &Reach) -> Result<()> {
    let mut pages = pin::scan(keeper.datastore.clone());
    while let Some(page) = pages.try_next().await? {
        let direct = page.iter().filter(|pin| !pin.is_recursive());
        marks.mark(direct.map(|pin| *pin.cid.hash()).collect()).await?;
        marks.run(page.iter().filter_map(Pin::root).collect()).await?;
        marks.lacking().await?;
    }
    Ok(())
}

/// Where the root of the mutable tree stands.
const MFS_ROOT: &[u8] = b"/local/filesroot";

async fn mfs_root(keeper: &Keeper) -> Result<Option<Cid>> {
    // The tree says itself when it is opened that its root is damaged.
    Ok(keeper.datastore.get(MFS_ROOT).await?.and_then(|root| parse_cid(&root).ok()))
}

/// The roots of what the node has published under names.
async fn published(keeper: &Keeper) -> Result<Vec<Cid>> {
    let records: Vec<_> = names::published(&keeper.datastore).try_collect().await?;
    let root = |value: &[u8]| {
        let path = Path::canonical(std::str::from_utf8(value).ok()?).ok()?;
        (path.namespace() != Namespace::Ipns).then(|| path.root().ok().copied()).flatten()
    };
    Ok(records.iter().filter_map(|record| root(record.value())).collect())
}
