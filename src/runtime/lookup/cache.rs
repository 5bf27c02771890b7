//! Answers that are kept: bounded, and expiring by the time of the steps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::connector::lookup::CacheOptions;
use crate::operator::OperatorStats;

/// The rows of a key, each as bytes.
pub(super) type CachedRows = Arc<[Box<[u8]>]>;

/// Keys, as bytes, and their rows. The key that was asked for the longest time ago goes first.
pub(super) struct Cache {
    options: CacheOptions,
    entries: HashMap<Arc<[u8]>, Entry>,
    /// By when they were last asked for.
    order: BTreeMap<u64, Arc<[u8]>>,
    /// How often the cache was used.
    uses: u64,
    /// What all entries count for.
    rows: usize,
    /// What their keys and rows take.
    bytes: usize,
}

struct Entry {
    rows: CachedRows,
    /// Milliseconds since the epoch, both.
    written: i64,
    used: i64,
    place: u64,
}

impl Entry {
    /// A key without rows counts as one.
    fn weight(&self) -> usize {
        self.rows.len().max(1)
    }

    fn bytes(&self, key: &[u8]) -> usize {
        key.len() + self.rows.iter().map(|row| row.len()).sum::<usize>()
    }
}

impl Cache {
    pub fn new(options: CacheOptions) -> Self {
        Self { options, entries: HashMap::new(), order: BTreeMap::new(), uses: 0, rows: 0, bytes: 0 }
    }

    /// What is known of a key at `now`.
    pub fn get(&mut self, key: &[u8], now: i64) -> Option<CachedRows> {
        let entry = self.entries.get_mut(key)?;
        let is_past = |since: i64, span: Option<Duration>| {
            span.is_some_and(|span| now.saturating_sub(since).max(0) as u128 >= span.as_millis())
        };
        let expired = is_past(entry.written, self.options.expire_after_write)
            || is_past(entry.used, self.options.expire_after_access);
        if expired {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        entry.used = now;
        if let Some(key) = self.order.remove(&std::mem::replace(&mut entry.place, self.uses)) {
            self.order.insert(self.uses, key);
        }
        Some(Arc::clone(&entry.rows))
    }

    /// Keeps what was found for a key at `now`.
    pub fn put(&mut self, key: &[u8], rows: CachedRows, now: i64) {
        self.remove(key);
        if rows.is_empty() && !self.options.cache_missing_key {
            return;
        }
        self.uses += 1;
        let entry = Entry { rows, written: now, used: now, place: self.uses };
        if entry.weight() > self.options.max_rows {
            return;
        }
        while self.rows + entry.weight() > self.options.max_rows {
            let Some(oldest) = self.order.values().next().cloned() else { break };
            self.remove(&oldest);
        }
        self.rows += entry.weight();
        self.bytes += entry.bytes(key);
        let key: Arc<[u8]> = key.into();
        self.order.insert(entry.place, Arc::clone(&key));
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.order.remove(&entry.place);
            self.rows -= entry.weight();
            self.bytes -= entry.bytes(key);
        }
    }

    /// How much it holds.
    pub fn stats(&self) -> OperatorStats {
        OperatorStats { state_rows: self.rows as u64, state_bytes: self.bytes as u64, ..OperatorStats::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(texts: &[&str]) -> CachedRows {
        texts.iter().map(|t| t.as_bytes().into()).collect()
    }

    fn cache(options: CacheOptions) -> Cache {
        Cache::new(options)
    }

    #[test]
    fn the_key_asked_for_the_longest_time_ago_goes_first() {
        let mut cache = cache(CacheOptions { max_rows: 3, ..CacheOptions::default() });
        cache.put(b"a", rows(&["1"]), 0);
        cache.put(b"b", rows(&[]), 0);
        cache.put(b"c", rows(&["3"]), 0);
        assert!(cache.get(b"a", 0).is_some());
        cache.put(b"d", rows(&["4"]), 0);
        assert!(cache.get(b"b", 0).is_none(), "a key without rows counts as one row");
        cache.put(b"e", rows(&["5", "6"]), 0);
        assert!(cache.get(b"c", 0).is_none() && cache.get(b"a", 0).is_none());
        assert_eq!(cache.get(b"d", 0).unwrap().len() + cache.get(b"e", 0).unwrap().len(), 3);
        cache.put(b"f", rows(&["1", "2", "3", "4"]), 0);
        assert!(cache.get(b"f", 0).is_none() && cache.get(b"d", 0).is_some(), "what does not fit is not kept");
        assert_eq!((cache.rows, cache.order.len(), cache.entries.len()), (3, 2, 2));
        assert_eq!(cache.bytes, 2 + 3);
    }

    #[test]
    fn answers_expire_by_the_clock() {
        let second = Some(Duration::from_secs(1));
        let mut written = cache(CacheOptions { expire_after_write: second, ..CacheOptions::default() });
        written.put(b"a", rows(&["1"]), 1_000);
        assert!(written.get(b"a", 1_999).is_some());
        assert!(written.get(b"a", 2_000).is_none());
        let mut used = cache(CacheOptions { expire_after_access: second, ..CacheOptions::default() });
        used.put(b"a", rows(&["1"]), 1_000);
        assert!(used.get(b"a", 1_999).is_some());
        assert!(used.get(b"a", 2_998).is_some());
        assert!(used.get(b"a", 3_998).is_none());
        assert_eq!(used.stats(), OperatorStats::default());
    }

    #[test]
    fn missing_keys_are_kept_if_wanted() {
        let mut cache = cache(CacheOptions { cache_missing_key: false, ..CacheOptions::default() });
        cache.put(b"a", rows(&["1"]), 0);
        cache.put(b"a", rows(&[]), 0);
        assert!(cache.get(b"a", 0).is_none(), "what was known before is wrong now");
    }
}
