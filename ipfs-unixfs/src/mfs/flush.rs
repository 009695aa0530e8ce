//! Making a tree durable.

use ipfs_traits::{Batch, Cid, Error, Result};

use super::{Mfs, path::Path, state::Sealing};
use crate::child::stored;

/// Blocks that are put at once.
const BATCH: usize = 1024;

/// The most directories that are kept open: beyond it they are stored and closed, though the tree
/// is flushed only when asked.
const MAX_OPEN: usize = 4096;

impl Mfs {
    /// Makes durable all that was done before, and gives the root's CID.
    ///
    /// What was written to a file through a handle that is still open belongs to it once that was
    /// flushed.
    ///
    /// # Cancel safety
    ///
    /// A call that fails or is dropped may have made it durable or not, and never a part.
    ///
    /// # Errors
    ///
    /// What the store and the datastore say; [`Error::InUse`] when another tree keeps its root in
    /// the same place, and nothing is done; what the source says of blocks that are missing on the
    /// way of a change.
    pub async fn flush(&self) -> Result<Cid> {
        let mut root = self.0.root.lock().await;
        let target = self.target(&Path::root()).await?;
        self.0.parts.store.flush().await?;
        let (key, bytes) = (&self.0.options.key, target.cid.to_bytes());
        if root.as_deref() != Some(&bytes[..]) {
            let batch = Batch::new().expect(key.clone(), root.clone());
            let batch = batch.put(key.clone(), bytes.clone());
            if !self.0.parts.datastore.commit(batch).await? {
                return Err(Error::InUse("the root of the tree".into()));
            }
            *root = Some(bytes.into());
            if let Some(published) = &self.0.options.published {
                published(target.cid);
            }
        }
        self.state().set_flushed(target.cid);
        Ok(target.cid)
    }

    /// Stores what was sealed, of which none counts as stored before all is.
    pub(super) async fn store(&self, mut sealing: Sealing) -> Result<()> {
        let blocks = stored(std::mem::take(&mut sealing.blocks));
        for blocks in blocks.chunks(BATCH) {
            self.0.parts.store.put_many(blocks).await?;
        }
        self.state().settle(sealing);
        Ok(())
    }

    /// Stores and closes what is open if it is much, so that memory is bounded.
    pub(super) async fn relieve(&self) -> Result<()> {
        if self.state().open_count() <= MAX_OPEN {
            return Ok(());
        }
        let sealing = self.run(|state, loads| state.seal(loads)).await?;
        self.store(sealing).await
    }
}
