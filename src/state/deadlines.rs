//! When something of a key is due.

use std::collections::BTreeMap;

use super::Remap;

/// Keys by the times when something of theirs is due. Times that come together, and nearly in order, are kept as they come: a run of
/// them is sorted once, and then only gone along.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// By the first time that is left of a run, and the run's number.
    runs: BTreeMap<(i64, u64), Run>,
    next: u64,
}

/// Times of one span that ends before `base` + 2^32 milliseconds, with their keys.
#[derive(Debug)]
struct Run {
    base: i64,
    /// In the order of the times: in the upper half how far a time is behind `base`, in the lower the key.
    entries: Vec<u64>,
    /// How many of them are past.
    past: usize,
}

impl Run {
    fn time(&self, entry: u64) -> i64 {
        self.base.saturating_add((entry >> 32) as i64)
    }
}

impl Deadlines {
    /// Notes times and keys.
    pub fn add(&mut self, entries: &[(i64, u32)]) {
        let times = || entries.iter().map(|(time, _)| *time);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return };
        if u32::try_from(last.saturating_sub(first)).is_ok() {
            return self.add_run(first, entries);
        }
        // More than 49 days from the first to the last.
        let mut sorted = entries.to_vec();
        sorted.sort_unstable();
        let mut rest = sorted.as_slice();
        while let Some((base, _)) = rest.first() {
            let near = rest.partition_point(|(time, _)| u32::try_from(time.saturating_sub(*base)).is_ok());
            let (run, others) = rest.split_at(near);
            self.add_run(*base, run);
            rest = others;
        }
    }

    fn add_run(&mut self, base: i64, entries: &[(i64, u32)]) {
        let packed = entries.iter().map(|(time, key)| (time.saturating_sub(base) as u64) << 32 | u64::from(*key));
        let mut entries: Vec<u64> = packed.collect();
        entries.sort_unstable();
        self.put(Run { base, entries, past: 0 });
    }

    fn put(&mut self, run: Run) {
        if let Some(entry) = run.entries.get(run.past) {
            self.runs.insert((run.time(*entry), self.next), run);
            self.next += 1;
        }
    }

    /// Tells the keys of which something is due by now, once for each time that was noted.
    pub fn due(&mut self, now: i64, mut tell: impl FnMut(u32)) {
        while let Some(first) = self.runs.first_entry().filter(|e| e.key().0 <= now) {
            let mut run = first.remove();
            let rest = &run.entries[run.past..];
            let due = rest.partition_point(|entry| run.time(*entry) <= now);
            rest[..due].iter().for_each(|entry| tell(*entry as u32));
            run.past += due;
            self.put(run);
        }
    }

    /// The first time that is noted.
    pub fn first(&self) -> Option<i64> {
        self.runs.first_key_value().map(|((time, _), _)| *time)
    }

    /// Follows keys to their new numbers; what is noted of those that were dropped is dropped too.
    pub fn remap(&mut self, keys: &Remap) {
        for (_, run) in std::mem::take(&mut self.runs) {
            let left = run.entries.iter().skip(run.past);
            let moved = left.filter_map(|entry| Some((run.time(*entry), keys.get(*entry as u32)?)));
            self.add(&moved.collect::<Vec<_>>());
        }
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.runs.values().map(|run| run.entries.capacity() * size_of::<u64>() + 64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_told_once() {
        let mut deadlines = Deadlines::default();
        deadlines.add(&[(30, 0), (10, 1), (20, 2)]);
        deadlines.add(&[(25, 3), (5, 1)]);
        deadlines.add(&[]);
        assert_eq!(deadlines.first(), Some(5));
        let mut told = Vec::new();
        deadlines.due(20, |key| told.push(key));
        assert_eq!(told, [1, 1, 2]);
        assert_eq!(deadlines.first(), Some(25));
        deadlines.remap(&Remap::keeping(4, |key| key != 3));
        assert_eq!(deadlines.first(), Some(30));
        told.clear();
        deadlines.due(i64::MAX, |key| told.push(key));
        assert_eq!((told, deadlines.first(), deadlines.bytes()), (vec![0], None, 0));
    }

    #[test]
    fn times_can_be_ages_apart() {
        let mut deadlines = Deadlines::default();
        let times = [i64::MAX, 0, i64::MIN, 1 << 40, (1 << 32) - 1, 1 << 32];
        deadlines.add(&times.map(|time| (time, (time >> 32) as u32)));
        let mut sorted = times;
        sorted.sort_unstable();
        for time in sorted {
            assert_eq!(deadlines.first(), Some(time));
            let mut told = Vec::new();
            deadlines.due(time, |key| told.push(key));
            assert_eq!(told, [(time >> 32) as u32]);
        }
        assert_eq!(deadlines.first(), None);
    }
}
