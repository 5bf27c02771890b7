//! Temporal joins by event time: each left row with the version of the right side that held at the row's time.
//!
//! Every row of the right side is a version of its key, from its rowtime until the next one's; a row that is taken away ends the
//! version that held at its rowtime. A left row waits until the watermark of both sides has passed its time: then all versions up
//! to it are known, and so its answer is final, and the result is only appended to. A version is let go when the watermark
//! has passed the next one.
//!
//! Late rows count too. A late version is put where it belongs, for the left rows that are answered from then on. A late left row
//! is answered when the watermark moves on, from the versions that are still held. Both are told from the watermark that was in
//! force before the row, so that the answers do not depend on steps: before late rows are taken in, what the watermark before
//! them passes is answered.

mod answer;
mod persist;
#[cfg(test)]
mod tests;
mod versions;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use self::answer::Answers;
use self::versions::Versions;
use super::over::waiting::Queue;
use super::reached::{Origin, Reached};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, Watermark, rowtime_millis};
use crate::state::{Expiry, Keys, StateTable};
use crate::{Error, Result};

/// One input of a temporal join.
#[derive(Debug, Clone)]
pub struct TemporalInput {
    /// Its columns.
    pub schema: SchemaRef,
    /// The key columns; as many on both sides, of the same types. NULL is a key like any other, as in Flink.
    pub keys: Vec<usize>,
    /// Its rowtime.
    pub time: usize,
}

/// Makes temporal joins.
#[derive(Debug, Clone)]
pub struct TemporalJoinFactory {
    /// The left input, which is only appended to, and the right.
    pub inputs: [TemporalInput; 2],
    /// Whether left rows without a match are given, padded with NULLs.
    pub outer: bool,
    /// What a row and its version must satisfy to match: over the left input's columns followed by the right input's.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// Whether both inputs come from the same sources.
    pub origin: Origin,
    /// Whether a version that is older than the last of its key to come is passed over, as in a deduplication.
    pub newest: bool,
    /// The columns of the result, counted as in the condition.
    pub outputs: Vec<usize>,
    /// The result's columns.
    pub schema: SchemaRef,
    /// How long the versions of a key are kept that no row of either side touches, in milliseconds of processing time.
    pub ttl: Option<i64>,
}

impl OperatorFactory for TemporalJoinFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TemporalJoin::try_new(self)?))
    }

    fn name(&self) -> &'static str {
        "TemporalJoin"
    }
}

/// With fewer keys it is not asked whether they are still needed.
const CHECK_KEYS_FROM: usize = 4096;

struct TemporalJoin {
    plan: TemporalJoinFactory,
    answers: Answers,
    /// The keys of both sides.
    keys: Keys,
    versions: Versions,
    queue: Queue,
    /// By key: how many rows wait.
    waiting: Vec<u32>,
    /// By key: the time of the newest version, where older ones are passed over.
    newest: Vec<i64>,
    expiry: Expiry,
    /// The watermark that rows have been answered for.
    fired: i64,
    reached: Reached,
    pending: [Vec<ChangeBatch>; 2],
    /// With so many keys it is asked which are still needed.
    check_keys_at: usize,
}

/// Rows of one input with their keys and times.
struct Rows {
    input: usize,
    batch: ChangeBatch,
    keys: Vec<u32>,
    times: Vec<i64>,
}

impl Rows {
    fn take(&self, at: Vec<u32>) -> Result<Self> {
        let keys = at.iter().map(|i| self.keys[*i as usize]).collect();
        let times = at.iter().map(|i| self.times[*i as usize]).collect();
        Ok(Self { input: self.input, batch: self.batch.take(&UInt32Array::from(at))?, keys, times })
    }

    fn slice(&self, from: usize, len: usize) -> Self {
        Self {
            input: self.input,
            batch: self.batch.slice(from, len),
            keys: self.keys[from..from + len].to_vec(),
            times: self.times[from..from + len].to_vec(),
        }
    }
}

/// Late rows of one batch, and for each the watermark that it came at.
struct Late {
    rows: Rows,
    levels: Vec<i64>,
}

impl TemporalJoin {
    fn try_new(plan: &TemporalJoinFactory) -> Result<Self> {
        let [left, right] = &plan.inputs;
        Ok(Self {
            answers: Answers::try_new(plan)?,
            keys: Keys::try_new(Arc::new(left.schema.project(&left.keys)?))?,
            versions: Versions::new(Arc::clone(&right.schema)),
            queue: Queue::new(Arc::clone(&left.schema)),
            waiting: Vec::new(),
            newest: Vec::new(),
            expiry: Expiry::new(plan.ttl),
            fired: Watermark::MIN.0,
            reached: Reached::new(plan.origin),
            pending: [Vec::new(), Vec::new()],
            check_keys_at: CHECK_KEYS_FROM,
            plan: plan.clone(),
        })
    }

    fn intern(&mut self, input: usize, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> = self.plan.inputs[input].keys.iter().map(|k| Arc::clone(rows.column(*k))).collect();
        let mut ids = Vec::new();
        self.keys.intern(&columns, rows.num_rows(), &mut ids)?;
        self.waiting.resize(self.keys.len(), 0);
        self.versions.resize(self.keys.len());
        if self.plan.newest {
            self.newest.resize(self.keys.len(), i64::MIN);
        }
        Ok(ids)
    }

    fn times(&self, input: usize, rows: &RecordBatch) -> Result<Vec<i64>> {
        let TemporalInput { schema, time, .. } = &self.plan.inputs[input];
        let times = rowtime_millis(rows.column(*time))?;
        match times.null_count() {
            0 => Ok(times.values().to_vec()),
            _ => {
                let name = schema.field(*time).name();
                Err(Error::Execution(format!("the time attribute '{name}' of a temporal join is NULL in a row")))
            }
        }
    }

    /// Takes in the rows of a batch that are not late, and gives back those that are.
    fn take_in(&mut self, input: usize, batch: ChangeBatch, now: i64) -> Result<Option<Late>> {
        let keys = self.intern(input, &batch.rows)?;
        let times = self.times(input, &batch.rows)?;
        self.expiry.touch(&keys, now);
        let mut rows = Rows { input, batch, keys, times };
        if self.plan.newest && input == 1 {
            rows = self.in_order(rows)?;
        }
        let Some(marks) = self.reached.marks(input, &rows.batch) else { return self.put(&rows).map(|()| None) };
        let is_late = |i: u32| rows.times[i as usize] <= marks.value(i as usize);
        let (late, fresh): (Vec<u32>, Vec<u32>) = (0..rows.keys.len() as u32).partition(|i| is_late(*i));
        if late.is_empty() {
            return self.put(&rows).map(|()| None);
        }
        self.put(&rows.take(fresh)?)?;
        let levels = late.iter().map(|i| marks.value(*i as usize)).collect();
        Ok(Some(Late { rows: rows.take(late)?, levels }))
    }

    /// The versions less those that are older than one of their key that came before.
    fn in_order(&mut self, rows: Rows) -> Result<Rows> {
        let mut kept = Vec::with_capacity(rows.keys.len());
        for (at, (key, time)) in (0u32..).zip(rows.keys.iter().zip(&rows.times)) {
            let newest = &mut self.newest[*key as usize];
            if *time >= *newest {
                *newest = *time;
                kept.push(at);
            }
        }
        if kept.len() == rows.keys.len() { Ok(rows) } else { rows.take(kept) }
    }

    fn put(&mut self, rows: &Rows) -> Result<()> {
        if rows.keys.is_empty() {
            return Ok(());
        }
        if rows.input == 1 {
            return self.versions.add(&rows.batch, &rows.keys, &rows.times);
        }
        rows.keys.iter().for_each(|key| self.waiting[*key as usize] += 1);
        self.queue.push(&rows.batch.rows, &rows.keys, &rows.times)
    }

    /// Takes in late rows in the order of the watermarks that they came at, having answered what these pass.
    fn take_in_late(&mut self, late: &[Late], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let places = late.iter().enumerate().flat_map(|(part, l)| (0..l.levels.len()).map(move |row| (part, row)));
        let mut places: Vec<(usize, usize)> = places.collect();
        let level = |(part, row): (usize, usize)| late[part].levels[row];
        places.sort_by_key(|place| level(*place));
        let mut rest = places.as_slice();
        while let Some(&(part, from)) = rest.first() {
            let next = |i: usize| (part, from + i);
            let run = rest
                .iter()
                .enumerate()
                .take_while(|(i, place)| **place == next(*i) && level(**place) == level((part, from)));
            let run = run.count();
            self.fire(level((part, from)), out)?;
            self.put(&late[part].rows.slice(from, run))?;
            rest = &rest[run..];
        }
        Ok(())
    }

    /// Answers the rows that a watermark passes, and lets go of the versions that no row can ask for any more.
    fn fire(&mut self, watermark: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if watermark <= self.fired {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.fired, watermark);
        if self.queue.has(watermark) {
            let (rows, ready) = self.queue.pop(watermark)?;
            ready.iter().for_each(|w| self.waiting[w.key as usize] -= 1);
            self.answers.give(rows, &ready, &self.versions, before, out)?;
        }
        self.versions.release(watermark);
        Ok(())
    }

    fn tidy(&mut self) -> Result<()> {
        self.versions.tidy()?;
        if self.keys.len() < self.check_keys_at {
            return Ok(());
        }
        let (versions, waiting) = (&self.versions, &self.waiting);
        let is_live = |key: u32| waiting[key as usize] > 0 || versions.has(key);
        let live = (0..self.keys.len() as u32).filter(|key| is_live(*key)).count();
        if live < self.keys.len() / 2 {
            let remap = self.keys.retain(is_live)?;
            remap.apply(&mut self.waiting);
            self.newest = remap.kept().iter().filter_map(|key| self.newest.get(*key as usize).copied()).collect();
            self.versions.remap_keys(&remap);
            self.queue.remap_keys(&remap);
            self.expiry.remap(&remap);
        }
        self.check_keys_at = (self.keys.len() * 2).max(CHECK_KEYS_FROM);
        Ok(())
    }
}

impl Operator for TemporalJoin {
    fn push(&mut self, input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if input == 0 && batch.kinds.is_some() {
            return Err(Error::internal("a temporal join of a left side that changes"));
        }
        if batch.num_rows() > 0 {
            self.pending[input].push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for key in self.expiry.expired(time.processing_time) {
            self.versions.drop_key(key);
            self.newest.get_mut(key as usize).into_iter().for_each(|newest| *newest = i64::MIN);
        }
        let mut late = Vec::new();
        for input in [1, 0] {
            for batch in std::mem::take(&mut self.pending[input]) {
                late.extend(self.take_in(input, batch, time.processing_time)?);
            }
        }
        self.take_in_late(&late, out)?;
        self.fire(time.watermark.0, out)?;
        self.reached.advance(time);
        self.tidy()
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.freeze()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.thaw(tables)
    }

    fn stats(&self) -> OperatorStats {
        let (waiting, waiting_bytes) = self.queue.size();
        let own = self.keys.bytes() + self.waiting.capacity() * 4 + self.expiry.bytes();
        OperatorStats {
            state_rows: (waiting + self.versions.len()) as u64,
            state_bytes: (waiting_bytes + self.versions.bytes() + own) as u64,
            ..OperatorStats::default()
        }
    }
}
