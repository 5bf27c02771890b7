//! State time-to-live.

use std::collections::BTreeMap;

use super::Remap;

/// When entries were last written, so that those that no row has touched for long can be let go. Without a time-to-live it
/// holds nothing and costs nothing.
#[derive(Debug, Default)]
pub struct Expiry {
    /// Milliseconds.
    ttl: Option<i64>,
    /// By entry: when it was written; [`NEVER`] where it was not, or has been told of.
    written: Vec<i64>,
    /// What was written when. What was written again later stands in it more than once, until that is most of it.
    queue: BTreeMap<i64, Vec<u32>>,
    /// How many stand in `queue`.
    queued: usize,
}

const NEVER: i64 = i64::MIN;
/// With fewer in the queue it is not asked which stand in it in vain.
const PRUNE_FROM: usize = 4096;

impl Expiry {
    /// Entries expire `ttl` milliseconds after they were last written; never, if that is `None`.
    pub fn new(ttl: Option<i64>) -> Self {
        Self { ttl, ..Self::default() }
    }

    /// Whether entries expire at all.
    pub fn is_on(&self) -> bool {
        self.ttl.is_some()
    }

    /// Notes that some entries were written at a time, in milliseconds.
    pub fn touch(&mut self, ids: &[u32], now: i64) {
        let Some(last) = ids.iter().max().filter(|_| self.is_on()) else { return };
        if self.written.len() <= *last as usize {
            self.written.resize(*last as usize + 1, NEVER);
        }
        let at = self.queue.entry(now).or_default();
        let before = at.len();
        for id in ids {
            if std::mem::replace(&mut self.written[*id as usize], now) != now {
                at.push(*id);
            }
        }
        self.queued += at.len() - before;
        if self.queued >= PRUNE_FROM && self.queued / 2 > self.written.len() {
            self.prune();
        }
    }

    /// Drops from the queue what was written again later.
    fn prune(&mut self) {
        let Self { written, queue, .. } = self;
        queue.retain(|time, ids| {
            ids.retain(|id| written.get(*id as usize) == Some(time));
            ids.shrink_to_fit();
            !ids.is_empty()
        });
        self.queued = self.queue.values().map(Vec::len).sum();
    }

    /// The entries that have expired by now, each told once.
    pub fn expired(&mut self, now: i64) -> Vec<u32> {
        let Some(ttl) = self.ttl else { return Vec::new() };
        let mut expired = Vec::new();
        while let Some(first) = self.queue.first_entry().filter(|e| e.key().saturating_add(ttl) <= now) {
            let (time, ids) = first.remove_entry();
            self.queued -= ids.len();
            for id in ids {
                if let Some(written) = self.written.get_mut(id as usize).filter(|w| **w == time) {
                    *written = NEVER;
                    expired.push(id);
                }
            }
        }
        expired
    }

    /// When an entry was written last, in milliseconds.
    pub fn written(&self, id: u32) -> i64 {
        self.written.get(id as usize).copied().unwrap_or(NEVER)
    }

    /// Follows entries to their new numbers.
    pub fn remap(&mut self, remap: &Remap) {
        if !self.is_on() {
            return;
        }
        let known = remap.kept().iter().max().map_or(0, |last| *last as usize + 1).max(self.written.len());
        self.written.resize(known, NEVER);
        remap.apply(&mut self.written);
        for ids in self.queue.values_mut() {
            *ids = ids.iter().filter_map(|id| remap.get(*id)).collect();
        }
        self.prune();
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.written.capacity() * 8 + self.queue.values().map(|ids| ids.capacity() * 4 + 32).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_touched_lives_on() {
        let mut expiry = Expiry::new(Some(10));
        expiry.touch(&[0, 1, 1, 2], 100);
        expiry.touch(&[1], 105);
        assert!(expiry.expired(109).is_empty());
        assert_eq!(expiry.expired(110), [0, 2]);
        assert_eq!(expiry.written(1), 105);
        expiry.remap(&Remap::keeping(3, |id| id == 1));
        assert_eq!((expiry.written(0), expiry.expired(114)), (105, vec![]));
        assert_eq!(expiry.expired(115), [0]);
        assert!(expiry.expired(1000).is_empty());
        // What was never written is not taken to be written at 0.
        expiry.remap(&Remap::keeping(6, |id| id == 5));
        assert_eq!(expiry.written(0), NEVER);
        expiry.touch(&[0], 50);
        expiry.touch(&[3], 40);
        assert_eq!(expiry.expired(51), [3]);
    }

    #[test]
    fn what_is_touched_often_is_held_once() {
        let mut expiry = Expiry::new(Some(1_000_000));
        (0..100_000).for_each(|now| expiry.touch(&[0, 1], now));
        assert!(expiry.bytes() < 1 << 18, "{} bytes", expiry.bytes());
        expiry.touch(&[2], 100_001);
        assert_eq!(expiry.expired(1_099_999), [0, 1]);
        assert_eq!(expiry.expired(1_100_001), [2]);
    }

    #[test]
    fn times_may_come_in_any_order() {
        let mut expiry = Expiry::new(Some(10));
        // As a snapshot tells them: by entry, not by time.
        let count = 50_000;
        for id in 0..count {
            expiry.touch(&[id], i64::from(id) * 7919 % i64::from(count));
        }
        assert_eq!(expiry.expired(i64::from(count) / 2 + 9).len(), count as usize / 2);
        assert_eq!(expiry.expired(i64::from(count) + 9).len(), count as usize / 2);
    }

    #[test]
    fn without_a_time_nothing_expires() {
        let mut expiry = Expiry::new(None);
        expiry.touch(&[0], 0);
        assert_eq!((expiry.expired(i64::MAX), expiry.bytes()), (vec![], 0));
    }
}
