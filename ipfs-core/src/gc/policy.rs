//! When garbage is collected by itself.

use std::{
    sync::Weak,
    time::{Duration, Instant},
};

use ipfs_traits::{Result, Runtime, Task};

use super::is_unfinished;
use crate::{Node, node::Inner};

/// When a node collects garbage by itself: see [`Builder::collect`](crate::Builder::collect).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CollectWhen {
    /// When the blocks have reached so many bytes, as the store counts them
    /// ([`Usage::bytes`](ipfs_traits::Usage)). Collected again only when a tenth of it has been added:
    /// what is pinned may be more. The default is never.
    pub bytes: Option<u64>,
    /// When so much time has passed. The default is never.
    pub every: Option<Duration>,
    /// How often the size is looked at. The default is a minute: asking costs nothing, and a fast
    /// disk writes some 60 GB in it.
    pub check: Duration,
}

impl Default for CollectWhen {
    fn default() -> Self {
        Self { bytes: None, every: None, check: Duration::from_secs(60) }
    }
}

impl CollectWhen {
    /// When the blocks have reached so many bytes.
    pub fn larger_than(bytes: u64) -> Self {
        Self { bytes: Some(bytes), ..Self::default() }
    }

    /// When so much time has passed.
    pub fn every(time: Duration) -> Self {
        Self { every: Some(time), ..Self::default() }
    }

    /// Looks after a node, as long as it lives and the task is not dropped.
    pub(crate) fn start(self, runtime: &dyn Runtime, node: Weak<Inner>) -> Task {
        runtime.spawn(Box::pin(async move {
            let Some(begun) = node.upgrade().map(|node| node.runtime.now()) else { return };
            let mut watch = Watch { when: self, kept: 0, last: begun, is_new: true };
            // The node goes when nobody else has a handle of it.
            while let Some(node) = node.upgrade().map(Node::of) {
                if let Err(error) = watch.look(&node).await {
                    tracing::warn!(%error, "garbage was not collected");
                }
                let runtime = node.runtime().clone();
                drop(node);
                runtime.sleep_until(watch.next(runtime.now())).await;
            }
        }))
    }
}

/// What has been seen so far.
struct Watch {
    when: CollectWhen,
    /// Bytes that stayed after the last time.
    kept: u64,
    /// When that was.
    last: Instant,
    is_new: bool,
}

impl Watch {
    /// When to look again.
    fn next(&self, now: Instant) -> Instant {
        let check = self.when.bytes.map(|_| now + self.when.check);
        let every = self.when.every.map(|every| self.last + every);
        let next = [check, every].into_iter().flatten().min();
        next.unwrap_or(now + self.when.check).max(now)
    }

    async fn look(&mut self, node: &Node) -> Result<()> {
        if !self.is_due(node).await? {
            return Ok(());
        }
        self.last = node.runtime().now();
        let collected = node.gc().collect().await?;
        self.kept = collected.kept_bytes;
        Ok(())
    }

    async fn is_due(&mut self, node: &Node) -> Result<bool> {
        if std::mem::take(&mut self.is_new) && is_unfinished(node.keeper()).await? {
            return Ok(true);
        }
        let now = node.runtime().now();
        if self.when.every.is_some_and(|every| now >= self.last + every) {
            return Ok(true);
        }
        let Some(most) = self.when.bytes else { return Ok(false) };
        let Some(usage) = node.usage().await? else { return Ok(false) };
        Ok(usage.bytes >= most.max(self.kept.saturating_add(most / 10)))
    }
}
