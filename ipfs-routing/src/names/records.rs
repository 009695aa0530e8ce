//! Records as such: those of this node, and those that routers have.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use bytes::Bytes;
use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::{
    StreamExt, TryStreamExt,
    future::{self, Either, select},
    stream,
};
use ipfs_traits::{Batch, Datastore, Error, Result};

use super::{
    Names, Shared,
    resolve::{Answer, Root},
};
use crate::ipns::{Name, Record};

/// Values that one lookup looks at: each costs the verifying of a signature. The DHT gives what 16
/// peers have, and only what is better than before.
const MAX_VALUES: usize = 256;

impl Names {
    /// The best record of a name: what this node has published, unless a router has a better one.
    ///
    /// # Errors
    ///
    /// [`Error::Unresolved`] when there is none; what the router or the datastore says.
    pub async fn record(&self, name: &Name) -> Result<Record> {
        let own = self.0.own(name).await?;
        let mut best = own.clone();
        let mut found = self.0.look_up(*name, own);
        while let Some(record) = found.next().await {
            best = Some(record?);
        }
        best.ok_or_else(|| Error::Unresolved(name.to_string()))
    }

    /// Gives a router a record that was signed elsewhere. If it is for a name that this node has
    /// published, it takes the place of what was published.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`], [`Error::Limit`] and [`Error::Invalid`] for bytes that are no record of
    /// the name, or have expired, or are not as good as what this node has published;
    /// [`Error::InUse`] while something else is published under the name; what the router or the
    /// datastore says.
    pub async fn put_record(&self, name: &Name, bytes: impl Into<Bytes>) -> Result<Record> {
        let shared = &self.0;
        let record = Record::parse(bytes)?;
        record.verify(name, shared.runtime.wall())?;
        if let Some(stored) = shared.stored(name).await? {
            if stored.is_better_than(&record) {
                let reason = "this node has published a better one";
                return Err(Error::invalid("IPNS record", reason));
            }
            if !shared.store(name, Some(&stored), &record).await? {
                return Err(Error::InUse(format!("the record of {name}").into()));
            }
        }
        shared.forget(name);
        shared.put(name, &record).await?;
        Ok(record)
    }
}

impl Shared {
    /// What was published under the name by this node, valid still or not.
    pub(super) async fn stored(&self, name: &Name) -> Result<Option<Record>> {
        self.datastore.get(&key(name)).await?.map(Record::parse).transpose()
    }

    /// What was published under the name by this node, if it counts now.
    pub(super) async fn own(&self, name: &Name) -> Result<Option<Record>> {
        let counts = |record: &Record| record.verify(name, self.runtime.wall()).is_ok();
        Ok(self.stored(name).await?.filter(counts))
    }

    /// Keeps a record as what is published, if `before` still is.
    pub(super) async fn store(
        &self,
        name: &Name,
        before: Option<&Record>,
        record: &Record,
    ) -> Result<bool> {
        let before = before.map(|record| record.as_bytes().clone());
        let batch = Batch::new().expect(key(name), before);
        self.datastore.commit(batch.put(key(name), record.as_bytes().clone())).await
    }

    pub(super) async fn put(&self, name: &Name, record: &Record) -> Result<()> {
        self.routing.put_value(&name.routing_key(), record.as_bytes().clone()).await
    }

    fn forget(&self, name: &Name) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.remove(&Root::Name(*name));
    }

    /// The records that routers have and that are better than `best`, each better than the one
    /// before. It ends by itself, with an error if there is no record at all.
    pub(super) fn look_up(
        self: &Arc<Self>,
        name: Name,
        best: Option<Record>,
    ) -> BoxStream<'static, Result<Record>> {
        let deadline = self.runtime.sleep_until(self.runtime.now() + self.options.resolve_timeout);
        let lookup = Lookup {
            values: self.routing.get_value(&name.routing_key()).take(MAX_VALUES).boxed(),
            shared: self.clone(),
            name,
            deadline,
            best,
            failure: None,
        };
        stream::unfold(Some(lookup), |lookup| async {
            let mut lookup = lookup?;
            match lookup.next().await {
                Some(record) => Some((Ok(record), Some(lookup))),
                None => lookup.end().map(|error| (Err(error), None)),
            }
        })
        .boxed()
    }
}

/// The records of all names that a node has published, valid still or not, from its datastore. One
/// that cannot be read is passed over.
pub fn published(datastore: &Arc<dyn Datastore>) -> BoxStream<'static, Result<Record>> {
    let records = |page: Vec<(Bytes, Bytes)>| {
        stream::iter(page).filter_map(|(_, value)| future::ready(Record::parse(value).ok().map(Ok)))
    };
    datastore.scan(PREFIX).map_ok(records).try_flatten().boxed()
}

const PREFIX: &[u8] = b"ipns/";

/// Where the datastore has the record of a name.
fn key(name: &Name) -> Vec<u8> {
    [PREFIX, &name.peer().to_bytes()].concat()
}

struct Lookup {
    shared: Arc<Shared>,
    name: Name,
    values: BoxStream<'static, Result<Bytes>>,
    deadline: BoxFuture<'static, ()>,
    best: Option<Record>,
    failure: Option<Error>,
}

impl Lookup {
    async fn next(&mut self) -> Option<Record> {
        loop {
            let value = match select(self.values.next(), &mut self.deadline).await {
                Either::Left((value, _)) => value?,
                Either::Right(_) => Err(Error::TimedOut("looking up an IPNS record")),
            };
            let bytes = match value {
                Ok(bytes) => bytes,
                Err(error) => {
                    let over = matches!(error, Error::TimedOut(_));
                    self.failure.get_or_insert(error);
                    if over { return None } else { continue }
                }
            };
            let record = Record::parse(bytes).and_then(|record| {
                record.verify(&self.name, self.shared.runtime.wall()).map(|()| record)
            });
            match record {
                Ok(record) if self.best.as_ref().is_none_or(|best| record.is_better_than(best)) => {
                    self.best = Some(record.clone());
                    return Some(record);
                }
                Ok(_) => {}
                Err(error) => {
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(name = %self.name, %error, "a router gave a bad record");
                }
            }
        }
    }

    /// Keeps the best record in memory, or says why there is none.
    fn end(self) -> Option<Error> {
        let Some(best) = self.best else {
            let unknown = || Error::Unresolved(self.name.to_string());
            return Some(self.failure.unwrap_or_else(unknown));
        };
        if let Ok(answer) = Answer::of(best, self.shared.runtime.wall()) {
            self.shared.keep(Root::Name(self.name), &answer);
        }
        None
    }
}
