//! What became of a search: so that one that comes to stand as it stood at some row need not go the same way again.
//!
//! Only where conditions ask for nothing of the rows bound so far: then where the threads stand is all there is to a search.

use std::collections::HashMap;

/// With more lists than these it is not worth the memory.
const MAX_LISTS: usize = 4096;
/// With fewer entries none are looked for that could go.
const FEW: usize = 1024;

/// Where a search's threads stood, row by row, and how it ended.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Before a row and those that follow up to the next entry: the number of the list.
    entries: Vec<(u64, u32)>,
    /// Where threads stand, the preferred first.
    lists: Vec<Box<[u32]>>,
    numbers: HashMap<Box<[u32]>, u32>,
    /// The first row that it did not look at.
    pub until: u64,
    /// The time at which it began.
    pub began: i64,
    /// Whether no thread was left.
    pub died: bool,
    /// Where the match ends that it had found.
    pub candidate: Option<u64>,
}

impl Trace {
    /// Notes where threads stand before a row.
    pub fn note(&mut self, row: u64, positions: impl Iterator<Item = u32> + Clone) {
        let known = self.entries.last().and_then(|(_, list)| self.lists.get(*list as usize));
        if known.is_some_and(|list| positions.clone().eq(list.iter().copied())) {
            return;
        }
        if self.lists.len() > MAX_LISTS {
            self.clear();
        }
        let list: Box<[u32]> = positions.collect();
        let number = *self.numbers.entry(list).or_insert_with_key(|list| {
            self.lists.push(list.clone());
            (self.lists.len() - 1) as u32
        });
        self.entries.push((row, number));
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.lists.clear();
        self.numbers.clear();
        self.until = 0;
    }

    /// Forgets what was before a row.
    pub fn release(&mut self, before: u64) {
        let gone = self.entries.partition_point(|(row, _)| *row < before).saturating_sub(1);
        if self.entries.len() > FEW && gone > self.entries.len() / 2 {
            self.entries.drain(..gone);
        }
    }

    /// Where the threads stood before a row.
    pub fn at(&self, row: u64) -> Option<&[u32]> {
        let after = self.entries.partition_point(|(from, _)| *from <= row);
        let (_, list) = self.entries.get(after.checked_sub(1)?).filter(|_| row < self.until)?;
        self.lists.get(*list as usize).map(AsRef::as_ref)
    }

    /// Where the threads stood in the end.
    pub fn last(&self) -> &[u32] {
        let last = self.entries.last().and_then(|(_, list)| self.lists.get(*list as usize));
        last.map_or(&[], AsRef::as_ref)
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let lists: usize = self.lists.iter().map(|l| l.len() * 8 + 64).sum();
        self.entries.capacity() * 16 + lists
    }
}
