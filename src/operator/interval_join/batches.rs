//! The rows that a side of an interval join holds, in the batches in which they came.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{concat_batches, filter_record_batch, interleave, take};
use arrow::datatypes::SchemaRef;

use crate::{Error, Result};

/// No watermark: the row was on time.
pub(super) const ON_TIME: i64 = i64::MIN;

/// Batches of at least so many rows are kept as they are; smaller ones are joined with their neighbours.
const WHOLE_ROWS: usize = 2048;
/// No batch has more rows.
const MOST_ROWS: usize = 8192;
/// A batch some of whose rows have gone so often has the others sorted.
const SORT_AFTER: u32 = 8;
/// So many numbers may be of rows that are gone; and as many as twice those of rows that are held.
const SPARE_NUMBERS: usize = 2 * MOST_ROWS;

/// Rows, and what is known of each.
pub(super) struct TimedRows {
    /// The columns that are kept.
    pub rows: RecordBatch,
    pub times: ScalarBuffer<i64>,
    /// For each the watermark just before it if it is late, else [`ON_TIME`]; empty where none is late.
    pub marks: Vec<i64>,
    /// For each whether it has had a match; empty where that is not asked.
    pub matched: Vec<bool>,
}

impl TimedRows {
    pub fn len(&self) -> usize {
        self.times.len()
    }

    pub fn mark(&self, row: usize) -> i64 {
        self.marks.get(row).copied().unwrap_or(ON_TIME)
    }

    /// The least and the greatest time.
    pub fn span(&self) -> (i64, i64) {
        self.times.iter().fold((i64::MAX, i64::MIN), |(least, most), time| (least.min(*time), most.max(*time)))
    }

    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        let kept = || keep.values().set_indices();
        Ok(Self {
            rows: filter_record_batch(&self.rows, keep)?,
            times: kept().map(|i| self.times[i]).collect(),
            marks: if self.marks.is_empty() { Vec::new() } else { kept().map(|i| self.marks[i]).collect() },
            matched: if self.matched.is_empty() { Vec::new() } else { kept().map(|i| self.matched[i]).collect() },
        })
    }

    fn slice(&self, from: usize, len: usize) -> Self {
        Self {
            rows: self.rows.slice(from, len),
            times: self.times.slice(from, len),
            marks: self.marks.get(from..from + len).unwrap_or_default().to_vec(),
            matched: self.matched.get(from..from + len).unwrap_or_default().to_vec(),
        }
    }

    fn joined(schema: &SchemaRef, parts: [&Self; 2]) -> Result<Self> {
        let late = parts.iter().any(|p| !p.marks.is_empty());
        let marks = parts.iter().filter(|_| late).flat_map(|p| (0..p.len()).map(|row| p.mark(row)));
        Ok(Self {
            rows: concat_batches(schema, parts.map(|p| &p.rows))?,
            times: parts.iter().flat_map(|p| p.times.iter().copied()).collect(),
            marks: marks.collect(),
            matched: parts.iter().flat_map(|p| p.matched.iter().copied()).collect(),
        })
    }
}

/// Rows that came together, some of which may be gone.
pub(super) struct Batch {
    /// The number of the first row; the others follow.
    pub first: u32,
    pub held: TimedRows,
    /// The least time of those that are there.
    earliest: i64,
    latest: i64,
    /// How many are there.
    live: usize,
    bytes: usize,
    /// How often it was gone through for rows that match.
    pub scans: u32,
    /// How many of the first of its rows are in the index, all of them.
    pub indexed: usize,
    /// How often some of its rows have gone.
    parted: u32,
    /// Its rows that are there by time, the last first, once some have gone often; else empty.
    sorted: Vec<(i64, u32)>,
}

impl Batch {
    fn new(first: u32, held: TimedRows, (earliest, latest): (i64, i64)) -> Self {
        let of_column = |c: &ArrayRef| c.to_data().get_slice_memory_size().unwrap_or_default();
        let of_rows: usize = held.rows.columns().iter().map(of_column).sum();
        let bytes = of_rows + held.times.len() * 8 + held.marks.len() * 8 + held.matched.len();
        Self {
            first,
            live: held.len(),
            held,
            earliest,
            latest,
            bytes,
            scans: 0,
            indexed: 0,
            parted: 0,
            sorted: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// How many of its last rows are not in the index, but for some of them.
    pub fn not_indexed(&self) -> usize {
        self.len() - self.indexed
    }

    /// Some columns of these.
    pub fn columns_not_indexed(&self, columns: &[usize]) -> Vec<ArrayRef> {
        let part = |c: &usize| self.held.rows.column(*c).slice(self.indexed, self.not_indexed());
        columns.iter().map(part).collect()
    }

    fn end(&self) -> u32 {
        self.first + self.len() as u32
    }

    /// Whether the times of its rows and a span can have one in common.
    pub fn overlaps(&self, (from, to): (i64, i64)) -> bool {
        self.earliest <= to && self.latest >= from
    }

    /// Lets go of the rows up to a time. Tells which went, if that is asked.
    fn pass(&mut self, until: i64, past: Past, asked: bool) -> Option<BooleanArray> {
        if !self.sorted.is_empty() {
            return self.pass_sorted(until, asked);
        }
        let goes = |(row, time): (u32, &i64)| Some(*time <= until && past.is_there(*time, row));
        let gone = asked.then(|| (self.first..).zip(self.held.times.iter()).map(goes).collect());
        self.live = 0;
        if self.latest > until {
            let later = self.held.times.iter().map(|t| if *t > until { (1, *t) } else { (0, i64::MAX) });
            (self.live, self.earliest) = later.fold((0, i64::MAX), |(n, least), (one, t)| (n + one, least.min(t)));
            self.parted += 1;
            if self.parted >= SORT_AFTER {
                let rows = self.held.times.iter().copied().zip(0u32..);
                self.sorted = rows.filter(|(time, _)| *time > until).collect();
                self.sorted.sort_unstable_by(|a, b| b.cmp(a));
            }
        }
        gone
    }

    fn pass_sorted(&mut self, until: i64, asked: bool) -> Option<BooleanArray> {
        self.live = self.sorted.partition_point(|(time, _)| *time > until);
        let gone = asked.then(|| {
            let mut gone = BooleanBufferBuilder::new(self.len());
            gone.append_n(self.len(), false);
            self.sorted[self.live..].iter().for_each(|(_, row)| gone.set_bit(*row as usize, true));
            BooleanArray::new(gone.finish(), None)
        });
        self.sorted.truncate(self.live);
        self.earliest = self.sorted.last().map_or(self.latest, |(time, _)| *time);
        gone
    }
}

/// Which rows have been let go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    /// Those up to this time...
    pub until: i64,
    /// ... of the numbers before this one: later ones have come since.
    pub before: u32,
}

impl Past {
    pub fn is_there(self, time: i64, row: u32) -> bool {
        time > self.until || row >= self.before
    }
}

/// A side's rows. They have numbers in the order in which they came, and go when the watermark has passed them: batch by batch as far
/// as memory is concerned, but row by row for all who ask.
pub(super) struct Batches {
    schema: SchemaRef,
    batches: VecDeque<Batch>,
    /// The number of the next row.
    next: u32,
    past: Past,
    /// Whether it is asked which rows have had a match.
    matches: bool,
}

impl Batches {
    pub fn new(schema: SchemaRef, matches: bool) -> Self {
        Self { schema, batches: VecDeque::new(), next: 0, past: Past { until: i64::MIN, before: 0 }, matches }
    }

    /// How many rows are held.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(|b| b.live).sum()
    }

    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|b| b.bytes + b.sorted.capacity() * size_of::<(i64, u32)>()).sum()
    }

    pub fn past(&self) -> Past {
        self.past
    }

    /// The least time of the rows that are held.
    pub fn earliest(&self) -> Option<i64> {
        self.batches.iter().map(|b| b.earliest).min()
    }

    /// Whether rows of a span of times may be held.
    pub fn overlap(&self, span: (i64, i64)) -> bool {
        self.batches.iter().any(|b| b.overlaps(span))
    }

    pub fn any_late(&self) -> bool {
        self.batches.iter().any(|b| !b.held.marks.is_empty())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Batch> {
        self.batches.iter_mut()
    }

    /// Holds some more rows, whose times are in a span; gives the number of the first. Large batches are shared, not copied.
    pub fn append(&mut self, mut held: TimedRows, span: (i64, i64)) -> Result<u32> {
        let first = self.next;
        let options = RecordBatchOptions::new().with_row_count(Some(held.len()));
        held.rows =
            RecordBatch::try_new_with_options(Arc::clone(&self.schema), held.rows.columns().to_vec(), &options)?;
        if !self.matches {
            held.matched.clear();
        } else if held.matched.is_empty() {
            held.matched = vec![false; held.len()];
        }
        if held.len() <= MOST_ROWS {
            self.push(held, span)?;
            return Ok(first);
        }
        for from in (0..held.len()).step_by(MOST_ROWS) {
            let part = held.slice(from, MOST_ROWS.min(held.len() - from));
            let span = part.span();
            self.push(part, span)?;
        }
        Ok(first)
    }

    fn push(&mut self, held: TimedRows, span: (i64, i64)) -> Result<()> {
        let end = u32::try_from(held.len()).ok().and_then(|rows| self.next.checked_add(rows));
        let end = end.ok_or_else(|| Error::Execution("a step brings a join more than four billion rows".into()))?;
        if held.len() > 0 {
            self.batches.push_back(Batch::new(self.next, held, span));
        }
        self.next = end;
        self.join_small()
    }

    /// Joins the last batches while they are small and about of one size: each row is copied a few times at most.
    fn join_small(&mut self) -> Result<()> {
        while self.batches.len() > 1 {
            let at = self.batches.len() - 2;
            let [before, last] = [&self.batches[at], &self.batches[at + 1]];
            let neighbours = before.end() == last.first && before.len() + last.len() <= MOST_ROWS;
            if !neighbours || last.len() >= WHOLE_ROWS || before.len() > last.len() * 2 {
                return Ok(());
            }
            let span = (before.earliest.min(last.earliest), before.latest.max(last.latest));
            let joined = Batch {
                live: before.live + last.live,
                scans: before.scans.max(last.scans),
                indexed: before.indexed + if before.not_indexed() == 0 { last.indexed } else { 0 },
                ..Batch::new(before.first, TimedRows::joined(&self.schema, [&before.held, &last.held])?, span)
            };
            self.batches.truncate(at);
            self.batches.push_back(joined);
        }
        Ok(())
    }

    /// Which batch has a row, if any; `at` is a guess.
    fn batch_of(&self, row: u32, at: usize) -> Option<usize> {
        let has = |batch: &Batch| batch.first <= row && row < batch.end();
        if self.batches.get(at).is_some_and(has) {
            return Some(at);
        }
        let at = self.batches.partition_point(|b| b.first <= row).checked_sub(1)?;
        self.batches.get(at).is_some_and(has).then_some(at)
    }

    /// The watermark before a row, if it was late.
    pub fn mark(&self, row: u32) -> i64 {
        let batch = self.batch_of(row, usize::MAX).map(|at| &self.batches[at]);
        batch.map_or(ON_TIME, |b| b.held.mark((row - b.first) as usize))
    }

    /// Notes that rows have a match; tells of each whether it is the first.
    pub fn note_matches(&mut self, rows: impl Iterator<Item = u32>, mut tell: impl FnMut(bool)) {
        let mut at = 0;
        for row in rows {
            let Some(found) = self.batch_of(row, at) else { continue };
            at = found;
            let batch = &mut self.batches[at];
            let place = (row - batch.first) as usize;
            tell(!std::mem::replace(&mut batch.held.matched[place], true));
        }
    }

    /// Some columns of some rows, in any order, repeats allowed.
    pub fn take_columns(&self, columns: &[usize], rows: &[u32]) -> Result<Vec<ArrayRef>> {
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        // Each batch's place among those that are looked at.
        let mut slots = vec![usize::MAX; self.batches.len()];
        let mut read: Vec<&RecordBatch> = Vec::new();
        let mut places = Vec::with_capacity(rows.len());
        let mut at = 0;
        for row in rows {
            at = self.batch_of(*row, at).ok_or_else(|| Error::internal("a row that a join does not hold"))?;
            if slots[at] == usize::MAX {
                slots[at] = read.len();
                read.push(&self.batches[at].held.rows);
            }
            places.push((slots[at], (row - self.batches[at].first) as usize));
        }
        if let [only] = read.as_slice() {
            let places = UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row as u32));
            return columns.iter().map(|c| Ok(take(only.column(*c), &places, None)?)).collect();
        }
        let gather = |column: &usize| {
            let parts: Vec<&dyn Array> = read.iter().map(|rows| rows.column(*column).as_ref()).collect();
            match parts.is_empty() {
                true => Ok(arrow::array::new_empty_array(self.schema.field(*column).data_type())),
                false => Ok(interleave(&parts, &places)?),
            }
        };
        columns.iter().map(gather).collect()
    }

    /// Lets go of the rows up to a time, that included. Gives those that had no match, where matches are noted and that is asked.
    pub fn pass(&mut self, until: i64, unmatched: bool) -> Result<Vec<TimedRows>> {
        let past = self.past;
        let mut given = Vec::new();
        for batch in self.batches.iter_mut().filter(|b| b.earliest <= until) {
            let Some(gone) = batch.pass(until, past, unmatched) else { continue };
            let alone = gone.values() & &!&batch.held.matched.iter().copied().collect::<BooleanBuffer>();
            if alone.count_set_bits() > 0 {
                given.push(batch.held.filter(&BooleanArray::new(alone, None))?);
            }
        }
        self.batches.retain(|b| b.live > 0);
        self.past = Past { until: past.until.max(until), before: self.next };
        Ok(given)
    }

    /// The rows of a batch that are there.
    fn live_of(&self, batch: &Batch) -> Result<TimedRows> {
        let rows = (batch.first..).zip(batch.held.times.iter());
        batch.held.filter(&rows.map(|(row, time)| Some(self.past.is_there(*time, row))).collect())
    }

    /// All rows that are held, in their order.
    pub fn freeze(&self) -> impl Iterator<Item = Result<TimedRows>> {
        self.batches.iter().map(|batch| self.live_of(batch))
    }

    /// Whether so many rows are gone beside or behind such as are held that these should be numbered anew.
    pub fn wants_compaction(&self) -> bool {
        let first = self.batches.front().map_or(self.next, |b| b.first);
        (self.next - first) as usize > self.rows() * 2 + SPARE_NUMBERS || self.next > u32::MAX / 2
    }

    /// Gives up the memory of rows that are gone, and numbers the others anew, in their order. None is indexed after that.
    pub fn compact(&mut self) -> Result<()> {
        let live = self.freeze().collect::<Result<Vec<_>>>()?;
        self.batches.clear();
        (self.next, self.past.before) = (0, 0);
        live.into_iter().try_for_each(|held| {
            let span = held.span();
            self.push(held, span)
        })?;
        self.past.before = self.next;
        Ok(())
    }
}
