//! A resolver of names that are told to it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use crate::{Records, Resolver, Result, limits::MAX_RECORDS};

/// Names and their records, as a test sets them. Clones are the same zone; case does not matter, nor
/// a dot at the end.
#[derive(Clone, Debug, Default)]
pub struct MemoryResolver(Arc<Mutex<Zone>>);

#[derive(Debug, Default)]
struct Zone {
    txt: BTreeMap<String, Records<String>>,
    addresses: BTreeMap<String, Records<IpAddr>>,
}

fn key(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

impl MemoryResolver {
    /// A world without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the texts of a name, in place of those before.
    pub fn set_txt<S: Into<String>>(
        &self,
        name: &str,
        values: impl IntoIterator<Item = S>,
        ttl: Duration,
    ) {
        let values = values.into_iter().map(Into::into).collect();
        self.zone().txt.insert(key(name), Records::new(values, ttl));
    }

    /// Sets the addresses of a name, in place of those before.
    pub fn set_addresses(
        &self,
        name: &str,
        values: impl IntoIterator<Item = IpAddr>,
        ttl: Duration,
    ) {
        let values = values.into_iter().collect();
        self.zone().addresses.insert(key(name), Records::new(values, ttl));
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found<T: Clone>(table: &BTreeMap<String, Records<T>>, name: &str) -> Records<T> {
    let mut records = table.get(&key(name)).cloned().unwrap_or_default();
    records.values.truncate(MAX_RECORDS);
    records
}

#[async_trait]
impl Resolver for MemoryResolver {
    async fn txt(&self, name: &str) -> Result<Records<String>> {
        Ok(found(&self.zone().txt, name))
    }

    async fn addresses(&self, name: &str) -> Result<Records<IpAddr>> {
        Ok(found(&self.zone().addresses, name))
    }
}
