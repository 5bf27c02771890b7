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

#[derive(Debug)]
struct Run {
    /// Times and keys, in the order of the times.
    entries: Vec<(i64, u32)>,
    /// How many of them are past.
    past: usize,
}

impl Deadlines {
    /// Notes times and keys.
    pub fn add(&mut self, mut entries: Vec<(i64, u32)>) {
        entries.sort_by_key(|(time, _)| *time);
        self.put(Run { entries, past: 0 });
    }

    fn put(&mut self, run: Run) {
        if let Some((time, _)) = run.entries.get(run.past) {
            self.runs.insert((*time, self.next), run);
            self.next += 1;
        }
    }

    /// Tells the keys of which something is due by now, once for each time that was noted.
    pub fn due(&mut self, now: i64, mut tell: impl FnMut(u32)) {
        while let Some(first) = self.runs.first_entry().filter(|e| e.key().0 <= now) {
            let mut run = first.remove();
            let rest = &run.entries[run.past..];
            let due = rest.partition_point(|(time, _)| *time <= now);
            rest[..due].iter().for_each(|(_, key)| tell(*key));
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
            let left = run.entries.into_iter().skip(run.past);
            let entries = left.filter_map(|(time, key)| Some((time, keys.get(key)?))).collect();
            self.put(Run { entries, past: 0 });
        }
    }

    /// About how many bytes of memory they take.
    pub fn bytes(&self) -> usize {
        self.runs.values().map(|run| run.entries.capacity() * size_of::<(i64, u32)>() + 64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_told_once() {
        let mut deadlines = Deadlines::default();
        deadlines.add(vec![(30, 0), (10, 1), (20, 2)]);
        deadlines.add(vec![(25, 3), (5, 1)]);
        deadlines.add(Vec::new());
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
}
