//! Publishing: signing the next record of a name, keeping it, and giving it to a router.

use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use ipfs_traits::{Error, Result};
use libp2p_identity::Keypair;

use super::{Names, Shared, target::Target};
use crate::ipns::{Name, Record};

/// How [`Names::publish`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How long the record is valid; by default what the [`Options`](super::Options) of the names
    /// say.
    pub lifetime: Option<Duration>,
    /// How long others may answer from memory; by default what the [`Options`](super::Options) of
    /// the names say. It is cut to the lifetime.
    pub ttl: Option<Duration>,
    /// The sequence, which must be greater than that of the record before; by default the next one,
    /// which is the same as before when nothing changes.
    pub sequence: Option<u64>,
    /// Whether the signature of the first version stands beside the second: so it is by default, as
    /// in Kubo, for the software of before 2022 that still reads it.
    pub v1: bool,
    /// Whether the record is only kept, for a republisher to bring out: not so by default, since one
    /// who publishes wants to be found.
    pub offline: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { lifetime: None, ttl: None, sequence: None, v1: true, offline: false }
    }
}

/// What was published.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Published {
    /// The name under which it is found.
    pub name: Name,
    /// The record.
    pub record: Record,
}

/// How often a record is signed anew because another was published meanwhile. Each time one of them
/// has got through, so that only a host that publishes without end comes near.
const MAX_TRIES: usize = 64;

impl Names {
    /// Publishes a path under the name of a key: signs a record, keeps it durably, and then gives it
    /// to the router.
    ///
    /// The sequence goes up when the path changes, and when the record would end before the one that
    /// others have, which they would then keep. The record before is the one in the datastore. Where
    /// there is none, and not `offline`, the router is asked, so that one who lost the datastore does
    /// not fall behind what others have; when the router fails, too, the sequence begins at zero.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a value that is not a path in `/ipfs`, `/ipld` or `/ipns`, for a
    /// sequence that is not greater than that of the record before, and for a lifetime that goes
    /// beyond the year 9999; [`Error::Limit`] for a path with which the record would have more than
    /// 10 KiB, and after the last sequence; what the datastore says.
    ///
    /// Also what the router says, to which the record was given last: it is kept then, own names are
    /// answered with it, and a republisher brings it out.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it may have published, or only kept.
    pub async fn publish(
        &self,
        key: &Keypair,
        value: &str,
        options: PublishOptions,
    ) -> Result<Published> {
        Target::parse(value)?;
        let name = Name::from(&key.public());
        let record = self.0.keep_next(key, &name, value, &options).await?;
        if !options.offline {
            self.0.put(&name, &record).await?;
        }
        Ok(Published { name, record })
    }
}

impl Shared {
    /// Signs the next record, on top of what is there, until it is the one that is kept.
    async fn keep_next(
        self: &std::sync::Arc<Self>,
        key: &Keypair,
        name: &Name,
        value: &str,
        options: &PublishOptions,
    ) -> Result<Record> {
        let mut elsewhere = None;
        for _ in 0..MAX_TRIES {
            let stored = self.stored(name).await?;
            if stored.is_none() && elsewhere.is_none() && !options.offline {
                elsewhere = self.best_elsewhere(name).await;
            }
            let before = stored.as_ref().or(elsewhere.as_ref());
            let record = self.sign_next(key, value, before, options)?;
            if self.store(name, stored.as_ref(), &record).await? {
                return Ok(record);
            }
        }
        Err(Error::InUse(format!("the record of {name}").into()))
    }

    /// The best record that routers have. That none of them has one, or answers, is no reason not to
    /// publish.
    async fn best_elsewhere(self: &std::sync::Arc<Self>, name: &Name) -> Option<Record> {
        let records = self.look_up(*name, None).filter_map(async |record| record.ok());
        records.fold(None, async |_, record| Some(record)).await
    }

    fn sign_next(
        &self,
        key: &Keypair,
        value: &str,
        before: Option<&Record>,
        options: &PublishOptions,
    ) -> Result<Record> {
        let lifetime = options.lifetime.unwrap_or(self.options.lifetime);
        let ttl = options.ttl.unwrap_or(self.options.ttl).min(lifetime);
        let validity = self.runtime.wall().checked_add(lifetime);
        let validity = validity.ok_or_else(|| Error::invalid("lifetime", "it is too long"))?;
        let sequence = match (options.sequence, before) {
            (Some(sequence), _) => above(sequence, before)?,
            (None, Some(before)) => next(before, value, validity)?,
            (None, None) => 0,
        };
        Record::sign(key, value, sequence, validity, ttl, options.v1)
    }
}

/// The sequence, if it is greater than the one before.
fn above(sequence: u64, before: Option<&Record>) -> Result<u64> {
    match before.map(Record::sequence).filter(|before| sequence <= *before) {
        Some(before) => {
            let reason = format!("{sequence} is not greater than {before}, the one before");
            Err(Error::invalid("sequence", reason))
        }
        None => Ok(sequence),
    }
}

fn next(before: &Record, value: &str, validity: SystemTime) -> Result<u64> {
    let sequence = before.sequence();
    if before.value() == value.as_bytes() && validity >= before.validity() {
        return Ok(sequence);
    }
    let (what, limit) = ("sequence of an IPNS record", u64::MAX);
    sequence.checked_add(1).ok_or(Error::Limit { what, limit, actual: limit })
}
