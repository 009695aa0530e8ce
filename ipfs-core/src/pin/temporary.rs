//! Pins that live as long as a handle.

use std::sync::Arc;

use ipfs_traits::Cid;

use crate::hold::KeptRoot;

/// Keeps a block, and all below it that is here or comes, until it and its clones are dropped: see
/// [`Pins::temporary`](super::Pins::temporary).
#[derive(Clone, Debug)]
#[must_use = "it keeps only as long as it lives"]
pub struct TemporaryPin {
    cid: Cid,
    _root: Arc<KeptRoot>,
}

impl TemporaryPin {
    pub(super) fn new(cid: Cid, root: KeptRoot) -> Self {
        Self { cid, _root: Arc::new(root) }
    }

    /// What it keeps.
    pub const fn cid(&self) -> &Cid {
        &self.cid
    }
}
