//! Regions that were looked up a moment ago: what is announced next is often near.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{dht::sweep::Region, keyspace::Position};

/// How long a region is taken to have the same peers: a minute, as a lookup may take as long itself.
const KEPT: Duration = Duration::from_secs(60);

/// Regions that are kept: a megabyte, of 60 peers each. In a network of some hundred peers they are
/// the whole of it.
const MOST: usize = 16;

/// The oldest first.
#[derive(Debug, Default)]
pub(super) struct Regions(VecDeque<(Instant, Arc<Region>)>);

impl Regions {
    /// The one that this position is in.
    pub(super) fn of(&mut self, position: &Position, now: Instant) -> Option<Arc<Region>> {
        self.0.retain(|(since, _)| now < *since + KEPT);
        let held = self.0.iter().find(|(_, region)| region.holds(position));
        held.map(|(_, region)| region.clone())
    }

    pub(super) fn keep(&mut self, region: Arc<Region>, now: Instant) {
        self.0.push_back((now, region));
        if self.0.len() > MOST {
            self.0.pop_front();
        }
    }

    /// One of its peers is no longer there.
    pub(super) fn forget(&mut self, region: &Arc<Region>) {
        self.0.retain(|(_, other)| !Arc::ptr_eq(other, region));
    }
}
