//! Pins that live as long as a handle.

use std::sync::Arc;

use ipfs_traits::{Batch, Cid, Result};

use crate::hold::KeptRoot;

/// Keeps a block, and all below it that is here or comes, until it and its clones are dropped: see
/// [`Pins::temporary`](super::Pins::temporary).
#[derive(Clone, Debug)]
#[must_use = "it keeps only as long as it lives"]
pub struct TemporaryPin {
    cid: Cid,
    root: Arc<KeptRoot>,
}

impl TemporaryPin {
    pub(super) fn new(cid: Cid, root: KeptRoot) -> Self {
        Self { cid, root: Arc::new(root) }
    }

    /// What it keeps.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The batch, which is then written only if all was kept until then.
    pub(super) async fn guard(&self, batch: Batch) -> Result<Batch> {
        self.root.guard(batch).await
    }
}
