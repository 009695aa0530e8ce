//! What was found lately, for a while.

use std::{collections::BTreeMap, time::Instant};

/// Lists under keys. A full one forgets the list that would be forgotten first.
#[derive(Debug)]
pub(crate) struct Cache<K, T> {
    lists: BTreeMap<K, List<T>>,
    limit: usize,
}

#[derive(Debug)]
struct List<T> {
    items: Vec<T>,
    whole: bool,
    until: Instant,
}

/// The most items that are kept of a list: whoever wants more asks again.
pub(crate) const MAX_KEPT: usize = 100;

impl<K: Ord + Clone, T: Clone> Cache<K, T> {
    /// A cache of so many lists.
    pub(crate) const fn new(limit: usize) -> Self {
        Self { lists: BTreeMap::new(), limit }
    }

    /// The list under a key, if there are `want` items of it or it is whole.
    pub(crate) fn get(&self, key: &K, want: usize, now: Instant) -> Option<Vec<T>> {
        let list = self.lists.get(key).filter(|list| list.until > now)?;
        let enough = list.whole || list.items.len() >= want;
        enough.then(|| list.items.iter().take(want).cloned().collect())
    }

    /// Keeps a list, or the beginning of one, for a time.
    pub(crate) fn put(&mut self, key: K, mut items: Vec<T>, whole: bool, until: Instant) {
        let whole = whole && items.len() <= MAX_KEPT;
        items.truncate(MAX_KEPT);
        if self.limit == 0 || !whole && items.is_empty() {
            return;
        }
        self.lists.remove(&key);
        if self.lists.len() >= self.limit {
            let first = self.lists.iter().min_by_key(|(_, list)| list.until);
            let first = first.map(|(key, _)| key.clone());
            first.and_then(|key| self.lists.remove(&key));
        }
        self.lists.insert(key, List { items, whole, until });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_part_serves_those_who_want_no_more() {
        let (mut cache, now) = (Cache::new(2), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        cache.put(1, vec!['a', 'b'], false, at(10));
        assert_eq!(cache.get(&1, 2, now), Some(vec!['a', 'b']));
        assert_eq!(cache.get(&1, 1, now), Some(vec!['a']));
        assert_eq!(cache.get(&1, 3, now), None);
        assert_eq!(cache.get(&1, 1, at(10)), None);
        cache.put(1, Vec::new(), true, at(10));
        assert_eq!(cache.get(&1, 3, now), Some(Vec::new()));
    }

    #[test]
    fn what_would_go_first_makes_room() {
        let (mut cache, now) = (Cache::new(2), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for (key, until) in [(1, at(2)), (2, at(1)), (3, at(3))] {
            cache.put(key, vec![()], true, until);
        }
        let kept = [1, 2, 3].map(|key| cache.get(&key, 1, now).is_some());
        assert_eq!(kept, [true, false, true]);
        cache.put(1, vec![(); MAX_KEPT + 1], true, at(4));
        assert_eq!(cache.get(&1, MAX_KEPT + 1, now), None, "a long list is kept in part");
    }
}
