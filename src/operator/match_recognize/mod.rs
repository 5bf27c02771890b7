//! MATCH_RECOGNIZE: rows of a partition in the order of time, searched for a pattern.
//!
//! Rows wait until the watermark reaches them. Then each partition is searched from its first row on for the match that begins
//! there (`run`): the pattern's automaton goes from row to row with all ways to match, the preferred first, each of which
//! remembers what conditions may ask for of its rows. When that search is over, by a match or because no way is left, or by
//! WITHIN, the next one begins where AFTER MATCH says, or at the next row. So there is one search at a time for each partition,
//! and rows before it are let go.
//!
//! Where NEXT looks ahead the search stays as many rows behind those that the watermark has reached, until the input ends: no row
//! is looked at, and no match told, before the rows are there that conditions and measures may ask for.

mod automaton;
mod history;
mod measures;
mod partition;
mod pattern;
mod persist;
mod program;
mod queue;
mod run;
mod scalar;
mod slot;
mod tape;
mod term;
#[cfg(test)]
mod tests;
mod trace;
mod zone;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

pub use self::automaton::{Automaton, Edge, Position};
pub use self::measures::{Measures, Output};
pub use self::partition::Skip;
use self::partition::{Found, Partition, Reached};
pub use self::pattern::{MAX_DEPTH, Pattern};
pub use self::program::{Condition, Program, Update};
use self::queue::Queue;
use self::run::Scratch;
pub use self::scalar::{Scalar, is_scalar, scalars};
pub use self::slot::{End, Frame, General, Matched, Navigation, Segment, Slot, Slots, Variables};
use self::tape::Held;
pub use self::term::{Arithmetic, Beside, Compare, Number, Term};
use super::late::{Late, LateRows, in_order, sorted};
use super::top_n::{Encoder, OrderColumn};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, Watermark, rowtime_millis};
use crate::state::{Keys, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// What orders the rows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchTime {
    /// A rowtime column; rows wait for the watermark.
    Rowtime(usize),
    /// Their arrival.
    Arrival,
}

/// Finds a pattern in the rows of each partition.
#[derive(Debug, Clone)]
pub struct MatchRecognize {
    /// `PARTITION BY`: columns of the input.
    pub keys: Vec<usize>,
    /// `ORDER BY`: what comes first.
    pub time: MatchTime,
    /// What tells rows of one time apart; rows that tie are in the order of arrival.
    pub order: Vec<OrderColumn>,
    /// `PATTERN`.
    pub automaton: Arc<Automaton>,
    /// `DEFINE`.
    pub program: Arc<Program>,
    /// The variables' names.
    pub names: Arc<[String]>,
    /// `WITHIN`, in milliseconds: a match's last row is less than this after its first.
    pub within: Option<i64>,
    /// `AFTER MATCH SKIP`.
    pub skip: Skip,
    /// What comes out of a match.
    pub measures: Arc<Measures>,
    /// The input's schema: what conditions and measures read.
    pub input: SchemaRef,
    /// Of its columns those that rows came with; the others are computed of them.
    pub own: Vec<usize>,
    /// The result's schema.
    pub schema: SchemaRef,
}

impl OperatorFactory for MatchRecognize {
    fn build(&self) -> Result<Box<dyn Operator>> {
        let keys = Arc::new(self.input.project(&self.keys)?);
        Ok(Box::new(Matcher {
            encoder: Encoder::try_new(&self.input, &self.order)?,
            plan: self.clone(),
            keys: Keys::try_new(keys)?,
            partitions: Vec::new(),
            store: row_store(Arc::clone(&self.input)),
            queue: Queue::default(),
            pending: Vec::new(),
            deadlines: BinaryHeap::new(),
            reached: i64::MIN,
            late: LateRows::default(),
            scratch: Scratch::default(),
            cells: Vec::new(),
            touched: Vec::new(),
            looked_at: COMPACT_FROM / 2,
        }))
    }

    fn name(&self) -> &'static str {
        "MatchRecognize"
    }
}

struct Matcher {
    plan: MatchRecognize,
    encoder: Encoder,
    keys: Keys,
    /// By key.
    partitions: Vec<Partition>,
    /// All rows that are held, those that wait for the watermark and those in partitions.
    store: Box<dyn RowStore>,
    queue: Queue,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
    /// When searches run out of time, and their partitions. Some are over before.
    deadlines: BinaryHeap<Reverse<(i64, u32)>>,
    /// The watermark up to which rows have been looked at.
    reached: i64,
    late: LateRows,
    scratch: Scratch,
    /// Kept for its memory: by cell, the values of the rows that are looked at.
    cells: Vec<Vec<Scalar>>,
    /// Partitions that got rows.
    touched: Vec<u32>,
    /// How many partitions there were that were not idle, when they were looked through last.
    looked_at: usize,
}

/// With fewer partitions it is not worth looking for idle ones.
const COMPACT_FROM: usize = 4096;

impl Matcher {
    fn times(&self, rows: &RecordBatch) -> Result<Option<Int64Array>> {
        let MatchTime::Rowtime(column) = self.plan.time else { return Ok(None) };
        let times = rowtime_millis(rows.column(column))?;
        if times.null_count() > 0 {
            let name = self.plan.input.field(column).name();
            return Err(Error::Execution(format!("the time attribute '{name}' of MATCH_RECOGNIZE is NULL in a row")));
        }
        Ok(Some(times))
    }

    /// Takes in the step's rows that are not late.
    fn add_pending(&mut self, now: i64) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        if !in_order(&pending) {
            // A union's inputs one after another. Rows that are not behind the watermark may go first.
            let (marked, plain): (Vec<_>, Vec<_>) = pending.into_iter().partition(|b| b.watermarks.is_some());
            pending = plain;
            pending.extend(sorted(&marked)?);
        }
        for batch in pending {
            let times = self.times(&batch.rows)?;
            let batch = match (&batch.watermarks, &times) {
                (Some(watermarks), Some(times)) => {
                    let marked = times.values().iter().zip(watermarks.values()).zip(0u32..);
                    let late = marked.clone().filter(|((time, mark), _)| time <= mark);
                    let late = late.map(|((time, mark), row)| Late { row, time: *time, watermark: *mark });
                    let late: Vec<Late> = late.collect();
                    if !late.is_empty() {
                        self.late.dropped(&batch.rows.project(&self.plan.own)?, None, &late)?;
                    }
                    let ahead: BooleanArray = marked.map(|((time, mark), _)| Some(time > mark)).collect();
                    batch.filter(&ahead)?
                }
                _ => batch,
            };
            let first = self.store.append(&batch.rows)?;
            match self.times(&batch.rows)? {
                Some(times) => self.queue.push(first, times.values()),
                None => self.queue.push(first, &vec![now; batch.num_rows()]),
            }
        }
        Ok(())
    }

    /// Gives the rows whose time has come to their partitions.
    fn release_rows(&mut self, until: i64) -> Result<()> {
        let mut ready = self.queue.pop(until);
        if ready.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<u32> = ready.iter().map(|row| row.id).collect();
        let mut rows = self.store.take(&ids)?;
        if !self.plan.order.is_empty() {
            self.break_ties(&mut ready, &rows)?;
            ids = ready.iter().map(|row| row.id).collect();
            rows = self.store.take(&ids)?;
        }
        let mut keys = Vec::new();
        let key_columns: Vec<ArrayRef> = self.plan.keys.iter().map(|c| Arc::clone(rows.column(*c))).collect();
        self.keys.intern(&key_columns, rows.num_rows(), &mut keys)?;
        self.partitions.resize_with(self.keys.len(), Partition::default);
        self.fill_cells(&rows);
        for (at, (key, row)) in keys.iter().zip(&ready).enumerate() {
            let partition = &mut self.partitions[*key as usize];
            if !partition.touched {
                partition.touched = true;
                self.touched.push(*key);
            }
            partition.tape.push(*row, self.cells.iter().map(|cell| cell[at]));
        }
        Ok(())
    }

    fn fill_cells(&mut self, rows: &RecordBatch) {
        self.cells.resize_with(self.plan.program.cells.len(), Vec::new);
        for (cell, column) in self.cells.iter_mut().zip(&self.plan.program.cells) {
            scalars(rows.column(*column), cell);
        }
    }

    /// Puts rows of one time in the order of the further columns.
    fn break_ties(&self, ready: &mut [Held], rows: &RecordBatch) -> Result<()> {
        let order = self.encoder.encode(rows)?.sorted();
        let mut rank = vec![0u32; order.len()];
        (0u32..).zip(order.iter()).for_each(|(at, row)| rank[*row as usize] = at);
        let mut ranked: Vec<(i64, u32, Held)> =
            ready.iter().zip(rank).map(|(row, rank)| (row.time, rank, *row)).collect();
        ranked.sort_by_key(|(time, rank, _)| (*time, *rank));
        ready.iter_mut().zip(ranked).for_each(|(row, (.., sorted))| *row = sorted);
        Ok(())
    }

    /// Searches the partitions that got rows, and those whose searches run out of time.
    fn search(&mut self, reached: Reached, found: &mut Found) -> Result<()> {
        let mut touched = std::mem::take(&mut self.touched);
        while let Some(Reverse((deadline, key))) = self.deadlines.peek().copied() {
            if deadline > reached.time {
                break;
            }
            self.deadlines.pop();
            let partition = &mut self.partitions[key as usize];
            partition.deadline = None;
            if !std::mem::replace(&mut partition.touched, true) {
                touched.push(key);
            }
        }
        if reached.ended {
            let rest = self.partitions.iter_mut().zip(0u32..).filter(|(p, _)| p.is_searched() && !p.touched);
            touched.extend(rest.map(|(_, key)| key));
        }
        for key in &touched {
            let partition = &mut self.partitions[*key as usize];
            partition.touched = false;
            let deadline = partition.drive(&self.plan, self.store.as_ref(), reached, &mut self.scratch, found)?;
            if let Some(deadline) = deadline
                && partition.deadline.is_none_or(|known| known > deadline)
            {
                partition.deadline = Some(deadline);
                self.deadlines.push(Reverse((deadline, *key)));
            }
        }
        for key in &touched {
            let store = &mut self.store;
            self.partitions[*key as usize].release(&self.plan, |id| store.remove(id));
        }
        touched.clear();
        self.touched = touched;
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        if self.store.wants_compaction() {
            let remap = self.store.compact()?;
            let new = |id: u32| remap.get(id).unwrap_or(id);
            self.queue.renumber(new);
            self.partitions.iter_mut().for_each(|p| p.tape.renumber(new));
        }
        if self.partitions.len() < COMPACT_FROM || self.plan.keys.is_empty() {
            return Ok(());
        }
        let numbered = self.plan.measures.numbered();
        let idle = |p: &Partition| p.is_idle(numbered);
        if self.partitions.len() < self.looked_at * 2 {
            return Ok(());
        }
        let live = self.partitions.iter().filter(|p| !idle(p)).count();
        if live * 2 < self.partitions.len() {
            let partitions = &self.partitions;
            let remap = self.keys.retain(|key| partitions.get(key as usize).is_some_and(|p| !idle(p)))?;
            remap.apply(&mut self.partitions);
            let known = self.deadlines.drain().filter_map(|Reverse((at, key))| Some(Reverse((at, remap.get(key)?))));
            self.deadlines = known.collect();
        }
        self.looked_at = live.max(COMPACT_FROM / 2);
        Ok(())
    }
}

impl Operator for Matcher {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("rows that change matched against a pattern"));
        }
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.add_pending(time.processing_time)?;
        let ended = time.watermark == Watermark::MAX;
        let until = match self.plan.time {
            MatchTime::Rowtime(_) => time.watermark.0,
            MatchTime::Arrival => time.processing_time,
        };
        self.reached = self.reached.max(until);
        let mut found = Found::default();
        self.release_rows(if ended { i64::MAX } else { self.reached })?;
        self.search(Reached { time: if ended { i64::MAX } else { self.reached }, ended }, &mut found)?;
        self.plan.measures.emit(&self.plan, found, self.store.as_ref(), out)?;
        self.compact()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.freeze()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.thaw(tables)
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let partitions: usize = self.partitions.iter().map(Partition::bytes).sum();
        let queue = self.queue.len() * size_of::<Held>();
        let state_bytes = (self.store.bytes() + self.keys.bytes() + partitions + queue) as u64;
        OperatorStats { state_rows: self.store.len() as u64, state_bytes, late_rows: self.late.count() }
    }
}
