//! Bringing out again what was published, while the node runs.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ipfs_traits::{Error, Result, RuntimeExt, Task};
use libp2p_identity::Keypair;

use super::{Names, Shared};
use crate::ipns::{Name, Record};

/// The keys that this node may sign with.
#[async_trait]
pub trait Signers: fmt::Debug + Send + Sync + 'static {
    /// All of them, with or without anything published. They are asked for each time and not kept,
    /// so that a key that is gone is no longer used.
    async fn keys(&self) -> Result<Vec<Keypair>>;
}

/// A task that brings published records out again. Dropping it stops the task.
#[derive(Debug)]
#[must_use = "dropping a republisher stops it"]
pub struct Republisher(Task);

impl Republisher {
    /// Stops, and waits until it has.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

impl Names {
    /// Brings out again what is published under these keys: first after
    /// [`Options::republish_first`](super::Options::republish_first), then each
    /// [`Options::republish`](super::Options::republish). A record is signed anew, with the same
    /// value, TTL and sequence, for the [lifetime](super::Options::lifetime) of the names from then
    /// on; one that was published for longer is left as it is.
    ///
    /// One name that fails keeps no other from being brought out, and is tried again after
    /// [`Options::republish_retry`](super::Options::republish_retry).
    pub fn republish(&self, signers: Arc<dyn Signers>) -> Republisher {
        let shared = self.0.clone();
        let rounds = Rounds {
            all_at: shared.runtime.now() + shared.options.republish_first,
            failed: BTreeSet::new(),
            signers,
            shared: shared.clone(),
        };
        Republisher(shared.runtime.spawn(Box::pin(rounds.run())))
    }
}

struct Rounds {
    shared: Arc<Shared>,
    signers: Arc<dyn Signers>,
    /// When all records are to be brought out.
    all_at: Instant,
    /// The names that are to be tried again before that.
    failed: BTreeSet<Name>,
}

impl Rounds {
    async fn run(mut self) {
        let runtime = self.shared.runtime.clone();
        let retry = self.shared.options.republish_retry.max(SOONEST);
        loop {
            let again = runtime.now() + retry;
            let early = !self.failed.is_empty() && again < self.all_at;
            runtime.sleep_until(if early { again } else { self.all_at }).await;
            if let Err(error) = self.round().await {
                tracing::warn!(%error, "keys to publish with cannot be had");
                self.all_at = self.all_at.max(runtime.now() + retry);
            }
        }
    }

    /// Brings out all records, or those that failed, as it is time for.
    async fn round(&mut self) -> Result<()> {
        let keys = self.signers.keys().await?;
        let now = self.shared.runtime.now();
        let all = now >= self.all_at;
        if all {
            self.all_at = now + self.shared.options.republish.max(SOONEST);
        }
        let failed = std::mem::take(&mut self.failed);
        for key in keys {
            let name = Name::from(&key.public());
            if !all && !failed.contains(&name) {
                continue;
            }
            if let Err(error) = self.shared.bring_out(&key, &name).await {
                tracing::warn!(%name, %error, "a name could not be published again");
                self.failed.insert(name);
            }
        }
        Ok(())
    }
}

/// The shortest time between two rounds, so that an interval of zero does not busy the machine.
const SOONEST: Duration = Duration::from_secs(1);

impl Shared {
    /// Gives the router what is published under the name, signed anew.
    async fn bring_out(&self, key: &Keypair, name: &Name) -> Result<()> {
        let Some(record) = self.renew(key, name).await? else { return Ok(()) };
        let (limit, put) = (self.options.publish_timeout, self.put(name, &record));
        match self.runtime.timeout(limit, "publishing a name again", put).await {
            // A router that cannot is not asked again before the next round.
            Err(Error::Unsupported(_)) => Ok(()),
            other => other,
        }
    }

    /// What is published under the name, if anything, with as much life as a new record.
    async fn renew(&self, key: &Keypair, name: &Name) -> Result<Option<Record>> {
        let Some(stored) = self.stored(name).await? else { return Ok(None) };
        let validity = self.runtime.wall().checked_add(self.options.lifetime);
        let Some(validity) = validity.filter(|validity| *validity > stored.validity()) else {
            return Ok(Some(stored));
        };
        let (value, sequence, ttl) = (stored.value(), stored.sequence(), stored.ttl());
        let record = Record::sign(key, value, sequence, validity, ttl, stored.is_v1())?;
        match self.store(name, Some(&stored), &record).await? {
            true => Ok(Some(record)),
            // Another was published meanwhile, and is brought out by whoever did.
            false => Ok(None),
        }
    }
}
