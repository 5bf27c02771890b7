//! One side of an interval join: the rows that are held, and the way to those that are asked for.
//!
//! To enter a row in the index costs many times as much as going over it. So rows are entered when they have been gone over for a while,
//! or are about to be asked for by many; until then, of a batch whose times are asked for, those rows are picked out, and entered,
//! whose keys are. What is found is found in the index, the same rows in the same order whenever they were entered.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};

use super::batches::{Batch, Batches, ON_TIME, TimedRows};
use super::index::{Index, KeyFilter, hashes};
use super::{IntervalJoinFactory, JoinTime};
use crate::Result;
use crate::operator::join::Role;
use crate::operator::join::output::Layout;

/// A batch that has been gone over so often is indexed.
const SCANS: u32 = 16;
/// Where a row asks for so many or fewer, these are indexed at once.
const FEW: usize = 4;

/// The rows of one side.
pub(super) struct Side {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The columns of the input that are kept.
    pub kept: Vec<usize>,
    /// Of `kept`, which are key columns, in the order of the keys.
    pub kept_keys: Vec<usize>,
    /// The column of the input that holds the rowtime.
    pub time: Option<usize>,
    pub role: Role,
    /// By how much rows of the other side that match can be later.
    pub span: i64,
    pub batches: Batches,
    pub index: Index,
    /// Whether keys can be looked for by their hashes.
    scans: bool,
    /// Kept between calls for its memory.
    hashes: Vec<u64>,
}

/// Rows that a step brings, all with a key and a time.
pub(super) struct Fresh {
    /// The number of the first row; the others follow.
    pub first: u32,
    /// The columns that are kept.
    pub rows: arrow::array::RecordBatch,
    pub keys: Vec<ArrayRef>,
    pub times: arrow::buffer::ScalarBuffer<i64>,
    /// For each the watermark just before it if it is late, else [`ON_TIME`]; empty where none is late.
    pub marks: Vec<i64>,
    /// The least and the greatest time of what they can match.
    pub asks: (i64, i64),
}

impl Fresh {
    pub fn mark(&self, row: usize) -> i64 {
        self.marks.get(row).copied().unwrap_or(ON_TIME)
    }
}

impl Side {
    pub fn try_new(plan: &IntervalJoinFactory, layout: &Layout, side: usize) -> Result<Self> {
        let input = &plan.join.inputs[side];
        let kept = layout.kept[side].clone();
        let time = match plan.time {
            JoinTime::Rowtime(columns) => Some(columns[side]),
            JoinTime::Processing => None,
        };
        let role = plan.join.kind.role(side);
        let key_schema = Arc::new(input.schema.project(&input.keys)?);
        Ok(Self {
            keys: input.keys.clone(),
            kept_keys: input.keys.iter().filter_map(|k| kept.iter().position(|c| c == k)).collect(),
            time,
            role,
            span: plan.reach[side],
            batches: Batches::new(Arc::new(input.schema.project(&kept)?), role != Role::None),
            kept,
            scans: KeyFilter::suits(&key_schema),
            index: Index::try_new(key_schema)?,
            hashes: Vec::new(),
        })
    }

    pub fn bytes(&self) -> usize {
        self.batches.bytes() + self.index.bytes()
    }

    /// By how much the watermark passes a row before it is let go.
    fn ahead(&self) -> i64 {
        self.span.saturating_add(1).max(0)
    }

    /// Whether a row was held when it came, and still is when a row comes at watermark `now`.
    pub fn holds(&self, time: i64, mark: i64, now: i64) -> bool {
        let until = time.saturating_add(self.span);
        // Before its own time it may not have come yet: then it is the other that was held.
        (mark == ON_TIME || mark < until) && (now <= until || now < time)
    }

    /// The watermark at which the first of the rows is let go.
    pub fn first_end(&self) -> Option<i64> {
        Some(self.batches.earliest()?.saturating_add(self.ahead()))
    }

    /// Lets go of the rows that nothing can match once the watermark stands at `now`. Gives those that have to go out by themselves.
    pub fn pass(&mut self, now: i64) -> Result<Vec<TimedRows>> {
        let until = if now == i64::MAX { now } else { now.saturating_sub(self.ahead()) };
        self.batches.pass(until, self.role == Role::Unmatched)
    }

    /// Enters the rows that some of the other side can match into the index.
    pub fn prepare(&mut self, asking: &[Fresh]) -> Result<()> {
        let spans = asking.iter().map(|fresh| fresh.asks);
        let Some(span) = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else { return Ok(()) };
        let asked = |batch: &&mut Batch| batch.not_indexed() > 0 && batch.overlaps(span);
        let held: usize = self.batches.iter_mut().filter(asked).map(|batch| batch.not_indexed()).sum();
        if held == 0 {
            return Ok(());
        }
        let asking_rows: usize = asking.iter().map(|fresh| fresh.times.len()).sum();
        let mut filter = None;
        if self.scans && asking_rows.saturating_mul(FEW) < held {
            let filter = filter.insert(KeyFilter::new(asking_rows));
            for fresh in asking {
                filter.put(hashes(&fresh.keys, fresh.times.len(), &mut self.hashes)?);
            }
        }
        let past = self.batches.past();
        for batch in self.batches.iter_mut().filter(asked) {
            let keys = batch.columns_not_indexed(&self.kept_keys);
            if let Some(filter) = filter.as_ref().filter(|_| batch.scans < SCANS) {
                batch.scans += 1;
                let places = picked(batch, hashes(&keys, batch.not_indexed(), &mut self.hashes)?, filter, span);
                if places.len() * FEW < batch.not_indexed() {
                    self.index.enter(batch, &keys, Some(&UInt32Array::from(places)), past)?;
                    continue;
                }
            }
            self.index.enter(batch, &keys, None, past)?;
            batch.indexed = batch.len();
        }
        self.index.lines.settle();
        Ok(())
    }

    /// Gives up what is no longer needed, once that is most.
    pub fn tidy(&mut self) -> Result<()> {
        if self.batches.wants_compaction() {
            self.batches.compact()?;
            self.index.clear()?;
        }
        self.index.tidy(self.batches.rows(), self.batches.past())
    }
}

/// The places, among a batch's rows that are not in the index, of those whose times are in a span and whose keys may be in a filter.
fn picked(batch: &Batch, hashes: &[u64], filter: &KeyFilter, (from, to): (i64, i64)) -> Vec<u32> {
    let rows = (0u32..).zip(hashes.iter().zip(&batch.held.times[batch.indexed..]));
    let picked = rows.filter(|(_, (hash, time))| filter.may_have(**hash) && from <= **time && **time <= to);
    picked.map(|(place, _)| place).collect()
}
