//! State time-to-live.

use std::collections::VecDeque;

use super::Remap;

/// When entries were last written, so that those that no row has touched for long can be let go. Without a time-to-live it
/// holds nothing and costs nothing.
#[derive(Debug, Default)]
pub struct Expiry {
    /// Milliseconds.
    ttl: Option<i64>,
    /// By entry: when it was written; [`NEVER`] where it was not, or has been told of.
    written: Vec<i64>,
    /// What was written when, in the order of time. What was written again later stands in it twice.
    queue: VecDeque<(i64, Vec<u32>)>,
}

const NEVER: i64 = i64::MIN;

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
        ids.iter().for_each(|id| self.written[*id as usize] = now);
        // Times go back only when a snapshot is restored.
        let at = self.queue.partition_point(|(time, _)| *time < now);
        match self.queue.get_mut(at) {
            Some((time, known)) if *time == now => known.extend_from_slice(ids),
            _ => self.queue.insert(at, (now, ids.to_vec())),
        }
    }

    /// The entries that have expired by now, each told once.
    pub fn expired(&mut self, now: i64) -> Vec<u32> {
        let Some(ttl) = self.ttl else { return Vec::new() };
        let mut expired = Vec::new();
        while self.queue.front().is_some_and(|(time, _)| time.saturating_add(ttl) <= now) {
            let Some((time, ids)) = self.queue.pop_front() else { break };
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
        remap.apply(&mut self.written);
        for (_, ids) in &mut self.queue {
            *ids = ids.iter().filter_map(|id| remap.get(*id)).collect();
        }
    }

    /// About how many bytes of memory it takes.
    pub fn bytes(&self) -> usize {
        self.written.capacity() * 8 + self.queue.iter().map(|(_, ids)| ids.capacity() * 4 + 32).sum::<usize>()
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
        expiry.touch(&[0], 50);
        expiry.touch(&[3], 40);
        assert_eq!(expiry.expired(51), [3]);
    }

    #[test]
    fn without_a_time_nothing_expires() {
        let mut expiry = Expiry::new(None);
        expiry.touch(&[0], 0);
        assert_eq!((expiry.expired(i64::MAX), expiry.bytes()), (vec![], 0));
    }
}
