//! What has gone out of each window, where results go out before or after the watermark closes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use crate::Result;
use crate::change::{ChangeBatch, RowKind, take_rows};
use crate::state::{GONE, Remap, RowStore, row_store};

/// When a window's results go out beside when the watermark closes it: `table.exec.emit.*`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Emit {
    /// How long after its end a window takes rows, in milliseconds.
    pub lateness: i64,
    /// Before the watermark closes it: so many milliseconds of processing time after a change; 0: at the end of the step.
    pub early: Option<i64>,
    /// The same behind the watermark.
    pub late: Option<i64>,
}

/// The last row of each group that has gone out, and the groups that are another since.
pub(super) struct Sent {
    emit: Emit,
    rows: Box<dyn RowStore>,
    /// By group: the number of its row, or [`GONE`].
    last: Vec<u32>,
    /// By group: whether it may be another than what went out.
    is_dirty: Vec<bool>,
    dirty: Vec<u32>,
    /// By group: whether it waits for a time.
    has_timer: Vec<bool>,
    timers: BTreeMap<i64, Vec<u32>>,
}

impl Sent {
    pub fn new(emit: Emit, schema: SchemaRef) -> Self {
        let (last, is_dirty, dirty) = (Vec::new(), Vec::new(), Vec::new());
        Self { emit, rows: row_store(schema), last, is_dirty, dirty, has_timer: Vec::new(), timers: BTreeMap::new() }
    }

    /// Notes that groups were touched; there are `total`.
    pub fn touch(&mut self, groups: &[u32], total: usize) {
        self.last.resize(total, GONE);
        self.is_dirty.resize(total, false);
        self.has_timer.resize(total, false);
        for group in groups {
            if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                self.dirty.push(*group);
            }
        }
    }

    /// Takes the groups out that are to be told of now: those that have waited long enough, and those whose windows
    /// `closes` now. `is_closed` says whose are.
    pub fn due(&mut self, now: i64, is_closed: impl Fn(u32) -> bool, closes: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut due = Vec::new();
        while let Some(first) = self.timers.first_entry().filter(|e| *e.key() <= now) {
            for group in first.remove() {
                self.has_timer[group as usize] = false;
                due.push(group);
            }
        }
        due.retain(|group| self.is_dirty[*group as usize]);
        for group in &self.dirty {
            let wait = if is_closed(*group) { self.emit.late } else { self.emit.early };
            match wait {
                _ if closes(*group) => due.push(*group),
                Some(0) => due.push(*group),
                Some(wait) if !self.has_timer[*group as usize] => {
                    self.has_timer[*group as usize] = true;
                    self.timers.entry(now.saturating_add(wait)).or_default().push(*group);
                }
                _ => {}
            }
        }
        due.sort_unstable();
        due.dedup();
        due.iter().for_each(|group| self.is_dirty[*group as usize] = false);
        self.dirty.retain(|group| self.is_dirty[*group as usize]);
        due
    }

    pub fn next_timer(&self) -> Option<i64> {
        self.timers.keys().next().copied()
    }

    /// Whether all that is to be told has been.
    pub fn is_told(&self) -> bool {
        self.dirty.is_empty()
    }

    /// Tells what some groups are now; of those of `there`, in their order, `rows` holds the rows, the others are no more.
    pub fn tell(
        &mut self,
        groups: &[u32],
        there: impl Fn(u32) -> bool,
        rows: &RecordBatch,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        let (mut kinds, mut places, mut old, mut fresh) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let unchanged = self.unchanged(groups, &there, rows)?;
        let mut next = 0;
        for group in groups {
            let new = there(*group).then_some(next);
            next += usize::from(new.is_some());
            if new.is_some_and(|new| unchanged[new]) {
                continue;
            }
            let before = self.last[*group as usize];
            match (before != GONE, new.is_some()) {
                (true, true) => kinds.extend([RowKind::UpdateBefore, RowKind::UpdateAfter]),
                (true, false) => kinds.push(RowKind::Delete),
                (false, true) => kinds.push(RowKind::Insert),
                (false, false) => {}
            }
            if before != GONE {
                places.push((0, old.len()));
                old.push(before);
            }
            if let Some(new) = new {
                places.push((1, new));
                fresh.push((*group, new as u32));
            }
            self.last[*group as usize] = GONE;
        }
        if kinds.is_empty() {
            return Ok(());
        }
        let before = self.rows.take(&old)?;
        let changed = interleave_record_batch(&[&before, rows], &places)?;
        let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
        out.push(ChangeBatch { rows: changed, kinds, watermarks: None });
        old.into_iter().for_each(|row| self.rows.remove(row));
        let (keepers, taken): (Vec<u32>, Vec<u32>) = fresh.into_iter().unzip();
        self.keep(&keepers, &take_rows(rows, &UInt32Array::from(taken))?)
    }

    /// For each of the rows whether it is what went out last.
    fn unchanged(&self, groups: &[u32], there: impl Fn(u32) -> bool, rows: &RecordBatch) -> Result<Vec<bool>> {
        let mut unchanged = vec![false; rows.num_rows()];
        let live = groups.iter().filter(|group| there(**group));
        let known = live.zip(0u32..).map(|(group, place)| (self.last[*group as usize], place));
        let (olds, news): (Vec<u32>, Vec<u32>) = known.filter(|(old, _)| *old != GONE).unzip();
        for (new, equal) in news.iter().zip(self.rows.equal(&olds, rows, &news)?) {
            unchanged[*new as usize] = equal;
        }
        Ok(unchanged)
    }

    /// Takes rows for what has gone out of some groups.
    pub fn keep(&mut self, groups: &[u32], rows: &RecordBatch) -> Result<()> {
        let first = self.rows.append(rows)?;
        groups.iter().zip(first..).for_each(|(group, row)| self.last[*group as usize] = row);
        Ok(())
    }

    /// Forgets groups whose windows take no more rows.
    pub fn forget(&mut self, groups: &[u32]) -> Result<()> {
        for group in groups {
            let row = std::mem::replace(&mut self.last[*group as usize], GONE);
            if row != GONE {
                self.rows.remove(row);
            }
            self.is_dirty[*group as usize] = false;
        }
        self.dirty.retain(|group| self.is_dirty[*group as usize]);
        if self.rows.wants_compaction() {
            let moved = self.rows.compact()?;
            self.last.iter_mut().for_each(|row| *row = moved.get(*row).unwrap_or(GONE));
        }
        Ok(())
    }

    pub fn remap(&mut self, remap: &Remap) {
        remap.apply(&mut self.last);
        remap.apply(&mut self.is_dirty);
        remap.apply(&mut self.has_timer);
        for groups in self.timers.values_mut() {
            *groups = groups.iter().filter_map(|group| remap.get(*group)).collect();
        }
    }

    /// The groups of which something has gone out.
    pub fn groups(&self) -> Vec<u32> {
        (0u32..).zip(&self.last).filter(|(_, row)| **row != GONE).map(|(group, _)| group).collect()
    }

    /// What has gone out of some groups, behind their keys.
    pub fn freeze(&self, groups: &[u32], keys: Vec<ArrayRef>) -> Result<RecordBatch> {
        let last: Vec<u32> = groups.iter().map(|group| self.last[*group as usize]).collect();
        let rows = self.rows.take(&last)?;
        let named = keys.iter().enumerate();
        let fields = named.map(|(i, k)| Arc::new(Field::new(format!("k{i}"), k.data_type().clone(), true)));
        let fields: Vec<_> = fields.chain(rows.schema().fields().iter().cloned()).collect();
        let columns = keys.into_iter().chain(rows.columns().iter().cloned()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?)
    }

    pub fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.bytes() + self.last.capacity() * 6 + self.dirty.capacity() * 4)
    }
}
