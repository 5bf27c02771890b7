//! The versions of each key, by time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;

use crate::Result;
use crate::change::{ChangeBatch, RowKind};
use crate::state::{GONE, Remap, RowStore, row_store};

/// What a key holds from a time on.
#[derive(Debug, Clone, Copy)]
struct Version {
    time: i64,
    row: u32,
    /// Whether from then on it holds nothing; the row is then the one that was taken away.
    ended: bool,
}

/// The versions of all keys.
pub(super) struct Versions {
    rows: Box<dyn RowStore>,
    /// By key its versions, ascending and distinct by time.
    by_key: Vec<VecDeque<Version>>,
    /// The times of versions that the watermark has yet to pass, with their keys. Passing one ends those before it.
    due: BinaryHeap<Reverse<(i64, u32)>>,
}

impl Versions {
    pub fn new(schema: SchemaRef) -> Self {
        Self { rows: row_store(schema), by_key: Vec::new(), due: BinaryHeap::new() }
    }

    /// Makes room for so many keys.
    pub fn resize(&mut self, keys: usize) {
        self.by_key.resize_with(keys, VecDeque::new);
    }

    /// Adds rows with their keys and times. Of a key's versions of one time the last to come holds.
    pub fn add(&mut self, batch: &ChangeBatch, keys: &[u32], times: &[i64]) -> Result<()> {
        let first = self.rows.append(&batch.rows)?;
        for (at, (key, time)) in keys.iter().zip(times).enumerate() {
            let row = first + at as u32;
            match batch.kind(at) {
                // What takes its place says from when on.
                RowKind::UpdateBefore => self.rows.remove(row),
                kind => self.insert(*key, Version { time: *time, row, ended: !kind.is_addition() }),
            }
        }
        Ok(())
    }

    fn insert(&mut self, key: u32, version: Version) {
        let versions = &mut self.by_key[key as usize];
        let at = match versions.back() {
            Some(last) if last.time >= version.time => versions.partition_point(|v| v.time < version.time),
            _ => versions.len(),
        };
        match versions.get_mut(at).filter(|v| v.time == version.time) {
            Some(same) => {
                let before = std::mem::replace(same, version);
                self.rows.remove(before.row);
            }
            None => versions.insert(at, version),
        }
        self.due.push(Reverse((version.time, key)));
    }

    /// The row that a key holds at a time; [`GONE`] where it holds none.
    pub fn at(&self, key: u32, time: i64) -> u32 {
        let versions = &self.by_key[key as usize];
        let found = versions.partition_point(|v| v.time <= time).checked_sub(1).and_then(|i| versions.get(i));
        found.filter(|v| !v.ended).map_or(GONE, |v| v.row)
    }

    /// Some columns of some rows.
    pub fn take(&self, columns: &[usize], rows: &[u32]) -> Result<Vec<arrow::array::ArrayRef>> {
        self.rows.take_columns(columns, rows)
    }

    /// Lets go of all versions of a key at or before a watermark but the last; of that too where it says that there is none.
    pub fn release(&mut self, watermark: i64) {
        while let Some(Reverse((time, key))) = self.due.peek().copied() {
            if time > watermark {
                return;
            }
            self.due.pop();
            let versions = &mut self.by_key[key as usize];
            let passed = versions.partition_point(|v| v.time <= watermark);
            let last_ended = passed.checked_sub(1).and_then(|i| versions.get(i)).is_some_and(|v| v.ended);
            let gone = if last_ended { passed } else { passed.saturating_sub(1) };
            for version in versions.drain(..gone) {
                self.rows.remove(version.row);
            }
            if versions.is_empty() {
                *versions = VecDeque::new();
            }
        }
    }

    /// Forgets a key.
    pub fn drop_key(&mut self, key: u32) {
        for version in std::mem::take(&mut self.by_key[key as usize]) {
            self.rows.remove(version.row);
        }
    }

    /// Whether a key has versions.
    pub fn has(&self, key: u32) -> bool {
        !self.by_key[key as usize].is_empty()
    }

    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn bytes(&self) -> usize {
        let lists: usize = self.by_key.iter().map(|v| v.capacity() * size_of::<Version>()).sum();
        let lists = lists + self.by_key.capacity() * size_of::<VecDeque<Version>>();
        self.rows.bytes() + lists + self.due.capacity() * 16
    }

    /// Gives back the room of rows that have gone, once that is most.
    pub fn tidy(&mut self) -> Result<()> {
        if self.rows.wants_compaction() {
            let remap = self.rows.compact()?;
            let versions = self.by_key.iter_mut().flatten();
            versions.for_each(|v| v.row = remap.get(v.row).unwrap_or(v.row));
        }
        Ok(())
    }

    /// Follows keys to their new numbers.
    pub fn remap_keys(&mut self, keys: &Remap) {
        keys.apply(&mut self.by_key);
        let due = std::mem::take(&mut self.due).into_iter();
        self.due = due.filter_map(|Reverse((time, key))| Some(Reverse((time, keys.get(key)?)))).collect();
    }

    /// All versions, key by key: their keys, their rows, and which end what held before.
    pub fn freeze(&self, batch_rows: usize) -> Result<Vec<(Vec<u32>, RecordBatch, BooleanArray)>> {
        let all = (0u32..).zip(&self.by_key).flat_map(|(key, versions)| versions.iter().map(move |v| (key, *v)));
        let all: Vec<(u32, Version)> = all.collect();
        let batch = |part: &[(u32, Version)]| {
            let rows: Vec<u32> = part.iter().map(|(_, v)| v.row).collect();
            let ended: Vec<bool> = part.iter().map(|(_, v)| v.ended).collect();
            Ok((part.iter().map(|(key, _)| *key).collect(), self.rows.take(&rows)?, BooleanArray::from(ended)))
        };
        all.chunks(batch_rows).map(batch).collect()
    }

    /// Takes back versions that were handed out.
    pub fn thaw(&mut self, rows: &RecordBatch, ended: &BooleanArray, keys: &[u32], times: &[i64]) -> Result<()> {
        let first = self.rows.append(rows)?;
        for (at, (key, time)) in keys.iter().zip(times).enumerate() {
            self.insert(*key, Version { time: *time, row: first + at as u32, ended: ended.value(at) });
        }
        Ok(())
    }
}
