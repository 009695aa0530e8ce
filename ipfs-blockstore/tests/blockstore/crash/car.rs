//! An archive that is appended to, closed and opened again between what its writers ask.

use std::{path::Path, sync::Arc};

use futures::{lock::Mutex, stream::BoxStream};
use ipfs_blockstore::{AppendableCar, car::AppendOptions};
use ipfs_traits::{Block, Blockstore, Cid, Multihash, Result, Runtime, async_trait};

use super::kind::ROOT;
use crate::faulty::Faulty;

/// Compacting it closes it, which writes the index and the header, and opens it again.
#[derive(Debug)]
pub(super) struct Archive {
    files: Faulty,
    runtime: Arc<dyn Runtime>,
    /// An error when it could not be opened again.
    now: Mutex<Result<AppendableCar>>,
}

async fn open_car(files: &Faulty, runtime: &Arc<dyn Runtime>) -> Result<AppendableCar> {
    let path = Path::new(ROOT).join("some.car");
    let (files, options) = (Arc::new(files.clone()), AppendOptions::default());
    AppendableCar::open_on(files, path, runtime.clone(), options).await
}

impl Archive {
    pub(super) async fn open(files: Faulty, runtime: Arc<dyn Runtime>) -> Result<Self> {
        let now = Mutex::new(Ok(open_car(&files, &runtime).await?));
        Ok(Self { files, runtime, now })
    }

    /// The archive as it is open now. Whoever works on one that is closed meanwhile is told so.
    async fn now(&self) -> Result<AppendableCar> {
        self.now.lock().await.clone()
    }
}

/// Does it again where the archive was closed under it.
macro_rules! again {
    ($archive:ident, $call:expr) => {
        loop {
            let $archive = $archive.now().await?;
            match $call.await {
                Err(ipfs_traits::Error::Closed(_)) => {}
                done => break done,
            }
        }
    };
}

#[async_trait]
impl Blockstore for Archive {
    async fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Block>>> {
        loop {
            let now = match self.now().await {
                Ok(now) => now,
                Err(error) => return cids.iter().map(|_| Err(error.clone())).collect(),
            };
            let found = now.get_many(cids).await;
            if !matches!(found.first(), Some(Err(ipfs_traits::Error::Closed(_)))) {
                return found;
            }
        }
    }
    async fn sizes(&self, cids: &[Cid]) -> Result<Vec<Option<u64>>> {
        again!(self, self.sizes(cids))
    }
    async fn put_many(&self, blocks: &[Block]) -> Result<()> {
        again!(self, self.put_many(blocks))
    }
    async fn delete_many(&self, cids: &[Cid]) -> Result<()> {
        again!(self, self.delete_many(cids))
    }
    fn list(&self) -> BoxStream<'static, Result<Vec<(Multihash, u64)>>> {
        self.now.try_lock().unwrap().as_ref().unwrap().list()
    }
    async fn flush(&self) -> Result<()> {
        again!(self, self.flush())
    }
    async fn compact(&self) -> Result<()> {
        let mut now = self.now.lock().await;
        let closed = now.clone()?.close().await;
        *now = match closed {
            Ok(()) => open_car(&self.files, &self.runtime).await,
            Err(error) => Err(error),
        };
        now.clone().map(drop)
    }
}
