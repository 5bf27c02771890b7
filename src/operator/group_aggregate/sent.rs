//! What has gone out of each window, where results go out before or after the watermark closes it.

use std::collections::BTreeSet;
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
    /// By group: the time that it waits for, or [`NEVER`].
    waits: Vec<i64>,
    /// The times that groups wait for, or did until they were told of otherwise.
    timers: BTreeSet<i64>,
}

/// The time of a group that waits for none.
const NEVER: i64 = i64::MAX;

impl Sent {
    pub fn new(emit: Emit, schema: SchemaRef) -> Self {
        let (last, is_dirty, dirty) = (Vec::new(), Vec::new(), Vec::new());
        Self { emit, rows: row_store(schema), last, is_dirty, dirty, waits: Vec::new(), timers: BTreeSet::new() }
    }

    /// Notes that there are `total` groups.
    pub fn grow(&mut self, total: usize) {
        self.last.resize(total, GONE);
        self.is_dirty.resize(total, false);
        self.waits.resize(total, NEVER);
    }

    /// Notes that groups were touched; there are `total`.
    pub fn touch(&mut self, groups: &[u32], total: usize) {
        self.grow(total);
        for group in groups {
            if !std::mem::replace(&mut self.is_dirty[*group as usize], true) {
                self.dirty.push(*group);
            }
        }
    }

    /// Has a group wait for a time.
    pub fn wait(&mut self, group: u32, until: i64) {
        self.waits[group as usize] = until;
        self.timers.insert(until);
    }

    /// Takes the groups out that are to be told of now: those that have waited long enough, and those whose windows
    /// `closes` now. `is_closed` says whose are.
    pub fn due(&mut self, now: i64, is_closed: impl Fn(u32) -> bool, closes: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut due = Vec::new();
        for group in std::mem::take(&mut self.dirty) {
            let delay = if is_closed(group) { self.emit.late } else { self.emit.early };
            if self.waits[group as usize] <= now || closes(group) || delay == Some(0) {
                self.is_dirty[group as usize] = false;
                self.waits[group as usize] = NEVER;
                due.push(group);
                continue;
            }
            self.dirty.push(group);
            if let Some(delay) = delay.filter(|_| self.waits[group as usize] == NEVER) {
                self.wait(group, now.saturating_add(delay));
            }
        }
        self.timers = self.timers.split_off(&now.saturating_add(1));
        due.sort_unstable();
        due
    }

    /// The groups that are to be told of, each with the time that it waits for.
    pub fn waiting(&self) -> (Vec<u32>, Vec<Option<i64>>) {
        let mut groups = self.dirty.clone();
        groups.sort_unstable();
        let times = groups.iter().map(|group| Some(self.waits[*group as usize]).filter(|at| *at != NEVER));
        let times = times.collect();
        (groups, times)
    }

    pub fn next_timer(&self) -> Option<i64> {
        self.timers.first().copied()
    }

    /// The groups that are to be told of.
    pub fn untold(&self) -> impl Iterator<Item = u32> {
        self.dirty.iter().copied()
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
            self.waits[*group as usize] = NEVER;
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
        remap.apply(&mut self.waits);
        self.dirty = self.dirty.iter().filter_map(|group| remap.get(*group)).collect();
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
        (self.rows.len(), self.rows.bytes() + self.last.capacity() * 13 + self.dirty.capacity() * 4)
    }
}
