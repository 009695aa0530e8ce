//! What is kept for others: who has which block, and values under keys.
//!
//! It stands in the node's datastore, and so survives restarts. What comes in is written behind, many
//! records in one commit: whoever sent it has sent it to 20 peers, and sends it again.

pub(super) mod format;

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{StreamExt, lock::Mutex as Turn};
use ipfs_traits::{Batch, Datastore, Error, Multihash, PeerId, PeerInfo, Result};

use self::format::{Stored, seconds};
use super::{message::check_key, scope::Scope};
use crate::{Validators, keyspace::Position};

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Records of providers, of all keys: 250,000, some 60 MB of disk. Others' announcements fill
    /// what there is.
    pub providers: usize,
    /// Values: 16,384, of 10 KiB at the most and some 400 bytes mostly.
    pub values: usize,
    /// How long a provider is believed to have a block: 48 hours, as all have it.
    pub provider_validity: Duration,
    /// How long a value is kept that nobody puts again: 48 hours, as all have it.
    pub value_validity: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        let (provider_validity, value_validity) = (2 * day, 2 * day);
        Self { providers: 250_000, values: 16_384, provider_validity, value_validity }
    }
}

/// Writes that wait for a commit: those of a second on a busy server.
const MAX_PENDING: usize = 2048;

/// Providers of one key that are given.
const MAX_OF_KEY: usize = 512;

/// Of a table that is half full, the share that one peer may have.
const SHARE: usize = 64;

/// Bytes of the multihash of a block: what go-libp2p-kad-dht allows.
const MAX_BLOCK_KEY: usize = 80;

/// Records of providers and values, in a datastore.
#[derive(Debug)]
pub struct Records {
    datastore: Arc<dyn Datastore>,
    scope: Scope,
    limits: Limits,
    state: Mutex<State>,
    /// One commit at a time, so that they happen in order.
    committing: Turn<()>,
}

#[derive(Debug, Default)]
struct State {
    /// What was written, and what is being written, and not committed yet.
    pending: BTreeMap<Bytes, Bytes>,
    providers: usize,
    values: usize,
    /// How many records a peer has, by a part of its position.
    shares: HashMap<u32, usize>,
}

impl State {
    fn count(&mut self, share: u32, more: bool) {
        let shares = self.shares.entry(share).or_default();
        match more {
            true => {
                *shares += 1;
                self.providers += 1;
            }
            false => {
                *shares = shares.saturating_sub(1);
                self.providers = self.providers.saturating_sub(1);
            }
        }
        if self.shares.get(&share) == Some(&0) {
            self.shares.remove(&share);
        }
    }
}

impl Records {
    /// What was kept before, without what has ended since.
    ///
    /// # Errors
    ///
    /// What the datastore says.
    pub async fn open(
        datastore: Arc<dyn Datastore>,
        scope: Scope,
        limits: Limits,
        wall: SystemTime,
    ) -> Result<Self> {
        let (state, committing) = (Mutex::default(), Turn::default());
        let records = Self { datastore, scope, limits, state, committing };
        records.expire(wall).await?;
        Ok(records)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps that a peer has a block. `near` says whether this node is among the nearest to the key.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] when there is no room: beyond half, for what is others' to keep and for peers
    /// who have much already; what the datastore says.
    pub async fn add_provider(
        &self,
        key: &[u8],
        provider: &PeerInfo,
        near: bool,
        wall: SystemTime,
    ) -> Result<()> {
        if key.len() > MAX_BLOCK_KEY || Multihash::from_bytes(key).is_err() {
            return Err(Error::invalid("DHT record", "its key is no multihash"));
        }
        self.make_room().await?;
        let (at, share) = (self.provider_key(key, &provider.id), share(&provider.id));
        if self.get(&at).await?.is_none() {
            let mut state = self.state();
            let half = state.providers >= self.limits.providers / 2;
            let much = state.shares.get(&share).copied().unwrap_or_default()
                >= self.limits.providers / SHARE;
            if state.providers >= self.limits.providers || half && (much || !near) {
                return Err(full("records of providers", self.limits.providers, state.providers));
            }
            state.count(share, true);
        }
        let ends = seconds(wall + self.limits.provider_validity);
        self.write(at, format::provider(ends, &provider.addresses));
        Ok(())
    }

    /// Who has a block, 512 peers at the most.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a key that is no multihash; what the datastore says.
    pub async fn providers(&self, key: &[u8], wall: SystemTime) -> Result<Vec<PeerInfo>> {
        if key.len() > MAX_BLOCK_KEY || Multihash::from_bytes(key).is_err() {
            return Err(Error::invalid("DHT record", "its key is no multihash"));
        }
        let prefix = self.provider_key_prefix(key);
        let now = seconds(wall);
        let mut found = BTreeMap::new();
        self.each(&prefix, |at, value| {
            if let Some(peer) = at.get(prefix.len()..).and_then(|id| PeerId::from_bytes(id).ok())
                && let Some((ends, addresses)) = format::read_provider(value)
                && ends > now
            {
                found.insert(peer, PeerInfo::new(peer, addresses));
            }
            match found.len() < MAX_OF_KEY {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })
        .await?;
        Ok(found.into_values().collect())
    }

    /// The value under a key, if it is still valid.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] for a key beyond [`MAX_KEY`](super::message::MAX_KEY); what the datastore says.
    pub async fn value(
        &self,
        key: &[u8],
        validators: &Validators,
        wall: SystemTime,
    ) -> Result<Option<Bytes>> {
        check_key(key)?;
        let Some(stored) = self.get(&self.value_key(key)).await? else { return Ok(None) };
        let Some((ends, value)) = format::read_value(&stored) else { return Ok(None) };
        let valid = ends > seconds(wall) && validators.validate(key, &value, wall).is_ok();
        Ok(valid.then_some(value))
    }

    /// Keeps a value, unless there is a better one.
    ///
    /// # Errors
    ///
    /// What the namespace says of a value that is not valid; [`Error::Invalid`] for one that is no
    /// better than the one that is there; [`Error::Limit`] when there is no room, and for a key beyond
    /// [`MAX_KEY`](super::message::MAX_KEY); what the datastore says.
    pub async fn put_value(
        &self,
        key: &[u8],
        value: &Bytes,
        near: bool,
        validators: &Validators,
        wall: SystemTime,
    ) -> Result<()> {
        check_key(key)?;
        validators.validate(key, value, wall)?;
        self.make_room().await?;
        let at = self.value_key(key);
        match self.value(key, validators, wall).await? {
            Some(old) if old != *value && !validators.is_better(key, value, &old) => {
                return Err(Error::invalid("DHT record", "a better one is there"));
            }
            Some(_) => {}
            None if self.get(&at).await?.is_some() => {} // it has ended, and is replaced
            None => {
                let mut state = self.state();
                let half = state.values >= self.limits.values / 2;
                if state.values >= self.limits.values || half && !near {
                    return Err(full("values of the DHT", self.limits.values, state.values));
                }
                state.values += 1;
            }
        }
        let ends = seconds(wall + self.limits.value_validity);
        self.write(at, format::value(ends, value));
        Ok(())
    }

    /// Writes what waits to be written.
    ///
    /// # Errors
    ///
    /// What the datastore says; it waits on.
    pub async fn flush(&self) -> Result<()> {
        let _turn = self.committing.lock().await;
        let pending = self.state().pending.clone();
        if pending.is_empty() {
            return Ok(());
        }
        let write =
            |batch: Batch, (key, value): (&Bytes, &Bytes)| batch.put(key.clone(), value.clone());
        self.datastore.commit(pending.iter().fold(Batch::new(), write)).await?;
        // What was written meanwhile under the same key stays.
        self.state().pending.retain(|key, value| pending.get(key) != Some(value));
        Ok(())
    }

    /// Deletes what has ended, and counts what is there.
    ///
    /// # Errors
    ///
    /// What the datastore says.
    pub async fn expire(&self, wall: SystemTime) -> Result<()> {
        self.flush().await?;
        let now = seconds(wall);
        let (mut counted, mut ended) = (State::default(), Vec::new());
        let prefix = self.prefix();
        self.each(&prefix, |at, value| {
            match Stored::of(&at[prefix.len()..], value) {
                Some(Stored::Provider { peer, ends }) if ends > now => {
                    counted.count(share(&peer), true);
                }
                Some(Stored::Value { ends }) if ends > now => counted.values += 1,
                _ => ended.push(at.clone()),
            }
            ControlFlow::Continue(())
        })
        .await?;
        for some in ended.chunks(MAX_PENDING) {
            let batch = some.iter().fold(Batch::new(), |batch, key| batch.delete(key.clone()));
            self.datastore.commit(batch).await?;
        }
        let mut state = self.state();
        state.providers = counted.providers;
        state.values = counted.values;
        state.shares = counted.shares;
        Ok(())
    }

    /// How many records of providers and how many values there are.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.providers, state.values)
    }

    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if let Some(pending) = self.state().pending.get(key) {
            return Ok(Some(pending.clone()));
        }
        self.datastore.get(key).await
    }

    fn write(&self, key: Bytes, value: Bytes) {
        self.state().pending.insert(key, value);
    }

    /// Called before anything is counted: what cannot be written is not taken either.
    async fn make_room(&self) -> Result<()> {
        let full = self.state().pending.len() >= MAX_PENDING;
        if full { self.flush().await } else { Ok(()) }
    }

    /// Shows the entries whose keys begin with `prefix`, until it is told to stop.
    async fn each(
        &self,
        prefix: &[u8],
        mut show: impl FnMut(&Bytes, &[u8]) -> ControlFlow<()> + Send,
    ) -> Result<()> {
        // The pending first: they are newer than what the datastore has.
        let pending: BTreeMap<Bytes, Bytes> = {
            let state = self.state();
            let from = state.pending.range(Bytes::copy_from_slice(prefix)..);
            let these = from.take_while(|(key, _)| key.starts_with(prefix));
            these.map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        for (key, value) in &pending {
            if show(key, value).is_break() {
                return Ok(());
            }
        }
        let mut pages = self.datastore.scan(prefix);
        while let Some(page) = pages.next().await {
            for (key, value) in page? {
                if !pending.contains_key(&key) && show(&key, &value).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn prefix(&self) -> Vec<u8> {
        format!("dht/{}/", self.scope.name()).into_bytes()
    }

    fn provider_key_prefix(&self, key: &[u8]) -> Vec<u8> {
        format::provider_key(self.prefix(), key)
    }

    fn provider_key(&self, key: &[u8], peer: &PeerId) -> Bytes {
        let mut at = self.provider_key_prefix(key);
        at.extend(peer.to_bytes());
        at.into()
    }

    fn value_key(&self, key: &[u8]) -> Bytes {
        format::value_key(self.prefix(), key).into()
    }
}

fn full(what: &'static str, limit: usize, used: usize) -> Error {
    Error::limit(what, limit, used + 1)
}

fn share(peer: &PeerId) -> u32 {
    let position = Position::of_peer(peer);
    position.as_bytes().iter().take(4).fold(0, |share, byte| share << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;
