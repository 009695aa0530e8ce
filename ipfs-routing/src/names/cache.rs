//! What names lead to, as far as it was found lately.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use super::resolve::{Answer, Root};

/// Answers until their time is over; the one that was longest of no use gives way.
#[derive(Debug)]
pub(super) struct Cache {
    entries: BTreeMap<Root, Entry>,
    max: usize,
    /// Counts uses, so that it is known which entry was used last.
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    answer: Answer,
    until: Instant,
    used: u64,
}

impl Cache {
    pub(super) const fn new(max: usize) -> Self {
        Self { entries: BTreeMap::new(), max, uses: 0 }
    }

    /// The answer, with what is left of its time. That a record has ended is said by the time of
    /// day: the other clock may stand still while the machine sleeps.
    pub(super) fn get(&mut self, root: &Root, now: Instant, wall: SystemTime) -> Option<Answer> {
        let entry = self.entries.get_mut(root)?;
        let left = entry.until.saturating_duration_since(now);
        let ended = entry.answer.record.as_ref().is_some_and(|record| wall > record.validity());
        if left == Duration::ZERO || ended {
            self.entries.remove(root);
            return None;
        }
        self.uses += 1;
        entry.used = self.uses;
        Some(Answer { ttl: left, ..entry.answer.clone() })
    }

    pub(super) fn insert(&mut self, root: Root, answer: Answer, now: Instant) {
        let until = now.checked_add(answer.ttl).filter(|_| answer.ttl > Duration::ZERO);
        let Some(until) = until.filter(|_| self.max > 0) else { return };
        if self.entries.len() >= self.max && !self.entries.contains_key(&root) {
            self.evict(now);
        }
        self.uses += 1;
        self.entries.insert(root, Entry { answer, until, used: self.uses });
    }

    pub(super) fn remove(&mut self, root: &Root) {
        self.entries.remove(root);
    }

    fn evict(&mut self, now: Instant) {
        let worth = |entry: &Entry| (entry.until > now, entry.used);
        let least = self.entries.iter().min_by_key(|(_, entry)| worth(entry));
        if let Some(root) = least.map(|(root, _)| root.clone()) {
            self.entries.remove(&root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(number: usize) -> Root {
        Root::Domain(format!("{number}.example"))
    }

    fn answer(seconds: u64) -> Answer {
        let ttl = Duration::from_secs(seconds);
        Answer { path: "/ipfs/bafkqaaa".into(), ttl, record: None }
    }

    #[test]
    fn the_one_that_is_of_least_use_gives_way() {
        let (mut cache, now, wall) = (Cache::new(3), Instant::now(), SystemTime::UNIX_EPOCH);
        let has = |cache: &mut Cache, number| cache.get(&domain(number), now, wall).is_some();
        for number in 0..3 {
            cache.insert(domain(number), answer(60), now);
        }
        assert!(has(&mut cache, 0));
        cache.insert(domain(3), answer(60), now);
        assert_eq!(cache.entries.len(), 3);
        assert!(!has(&mut cache, 1));
        assert!(has(&mut cache, 0) && has(&mut cache, 2) && has(&mut cache, 3));
        let later = now + Duration::from_secs(30);
        cache.insert(domain(3), answer(1), now);
        cache.insert(domain(4), answer(60), later);
        assert!(has(&mut cache, 0) && has(&mut cache, 2) && has(&mut cache, 4));
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_no_longer() {
        let (mut cache, now, wall) = (Cache::new(3), Instant::now(), SystemTime::UNIX_EPOCH);
        cache.insert(domain(0), answer(60), now);
        let after = |cache: &mut Cache, seconds| {
            let found = cache.get(&domain(0), now + Duration::from_secs(seconds), wall);
            found.map(|answer| answer.ttl.as_secs())
        };
        assert_eq!(after(&mut cache, 59), Some(1));
        assert_eq!(after(&mut cache, 60), None);
        assert!(cache.entries.is_empty());
        cache.insert(domain(0), answer(0), now);
        cache.insert(domain(1), Answer { ttl: Duration::MAX, ..answer(0) }, now);
        assert!(cache.entries.is_empty());
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let (mut cache, now) = (Cache::new(0), Instant::now());
        cache.insert(domain(0), answer(60), now);
        assert!(cache.entries.is_empty());
    }
}
