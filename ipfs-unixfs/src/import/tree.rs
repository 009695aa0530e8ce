//! A path on disk, with all that is below it.

use std::path::PathBuf;

use futures_util::{Stream, TryStreamExt, stream};
use ipfs_traits::{Error, Result, RuntimeExt};

use super::{
    Context, FileError,
    assemble::{Assembly, Place},
    batch::{BATCH_COUNT, Found},
    walk::Walk,
};
use crate::child::Child;

impl Context {
    /// Imports what is at `path`.
    pub(super) async fn path(&self, path: PathBuf) -> Result<Child> {
        // What refers to a file says where it is, from wherever it is read.
        let path = match self.keep.refers() {
            true => std::path::absolute(&path).map_err(FileError::read(&path))?,
            false => path,
        };
        let mut done = std::pin::pin!(self.outcomes(self.walk(path)));
        let mut assembly = Assembly::new(self);
        while let Some(outcomes) = done.try_next().await? {
            for (place, child) in outcomes {
                assembly.add(place, child).await?;
            }
        }
        assembly.finish().await
    }

    /// What is found on disk, in the order of names.
    fn walk(&self, path: PathBuf) -> impl Stream<Item = Result<Vec<Found<Place>>>> + '_ {
        let start = async move { Walk::new(path, &self.params) };
        stream::once(start).map_ok(|walk| self.go_on(walk)).try_flatten()
    }

    fn go_on(&self, walk: Walk) -> impl Stream<Item = Result<Vec<Found<Place>>>> + '_ {
        stream::try_unfold(walk, move |mut walk| async move {
            let next = move || walk.next(BATCH_COUNT).map(|found| (found, walk));
            let (found, walk) = self.runtime.blocking(next).await??;
            Ok::<_, Error>((!found.is_empty()).then_some((found, walk)))
        })
    }
}
