//! Going on from some roots.

use std::sync::atomic::Ordering;

use futures_core::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use ipfs_traits::{Cid, Result};

use super::{Item, Reach};

impl Reach {
    /// Comes to all that can be reached from some roots; what was come to before is passed over.
    ///
    /// # Errors
    ///
    /// What the store says, but for what is missing: see [`lacking`](Self::lacking).
    pub(crate) async fn run(&self, roots: Vec<Item>) -> Result<()> {
        let mut walking = self.clone().walk(roots);
        while walking.next().await?.is_some() {}
        Ok(())
    }

    /// The same, and tells of all that is new. Ends at once when it is dropped; what waits then is
    /// come to with the next roots.
    pub(crate) fn tell(&self, roots: Vec<Item>) -> Walking {
        Self { tells: true, ..self.clone() }.walk(roots)
    }

    fn walk(self, roots: Vec<Item>) -> Walking {
        let first = self.clone().begin(roots).boxed();
        Walking { reach: self, going: FuturesUnordered::from_iter([first]) }
    }
}

/// A walk under way.
pub(crate) struct Walking {
    reach: Reach,
    going: FuturesUnordered<BoxFuture<'static, Result<Vec<Cid>>>>,
}

impl Walking {
    /// What is new, if it is told of; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Cid>>> {
        let Some(new) = self.going.next().await.transpose()? else { return Ok(None) };
        while self.going.len() < self.reach.parallel && self.reach.waiting.load(Ordering::Relaxed) {
            self.going.push(self.reach.clone().step().boxed());
        }
        Ok(Some(new))
    }
}
