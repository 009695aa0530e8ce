//! What is announced, for whoever is asked.

use std::sync::Arc;

use async_trait::async_trait;
use ipfs_traits::{Datastore, Multihash, Result};

use super::table::{Placed, Table};
use crate::dht::Announced;

/// What a [`Provider`](super::Provider) announces, as it stands in its datastore: with it a DHT names
/// this node to those who ask it, whoever else keeps the record.
#[derive(Clone, Debug)]
pub struct Announcements(Table);

impl Announcements {
    /// Of the provider on this datastore; of none, nothing is announced.
    pub fn new(datastore: Arc<dyn Datastore>) -> Self {
        Self(Table(datastore))
    }
}

#[async_trait]
impl Announced for Announcements {
    async fn announces(&self, key: &Multihash) -> Result<bool> {
        self.0.has(&Placed::new(*key)).await
    }
}
