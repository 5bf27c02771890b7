//! Aggregates that are updated: GROUP BY without windows, aggregates over everything, DISTINCT.
//!
//! A step's rows go into running aggregates by group. What the operator gives out is one net change for each group whose
//! row is another than before the step: `+I` when its first row has come, `-U +U` when an aggregate is another, `-D` when its
//! last row has gone. Old and new values are computed for the groups that the step touched, and for no others.

mod accumulate;
mod bag;
mod count;
mod distinct;
mod emit;
mod extreme;
mod floats;
mod function;
mod layout;
mod order;
mod running;
mod sent;
mod state;
mod total;
mod values;
mod windowed;

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

use self::accumulate::Rows;
use self::emit::Change;
pub use self::layout::{Keeping, keeping};
use self::layout::{Layout, Setting};
pub use self::sent::Emit;
pub use self::windowed::ChangingWindowAggregate;
pub use super::grouped::Aggregate;
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::Result;
use crate::change::ChangeBatch;
use crate::state::{Expiry, Keys, Remap, StateTable, absent_row};

/// With fewer dead groups it is not worth while to number the others anew.
const COMPACT_FROM: usize = 4096;

/// Groups rows by key and keeps aggregates of each group up to date.
#[derive(Debug, Clone)]
pub struct GroupAggregateFactory {
    /// The key columns of the input.
    pub keys: Vec<usize>,
    /// The aggregates, over the input's columns.
    pub aggregates: Vec<Aggregate>,
    /// The input's columns.
    pub input: SchemaRef,
    /// The result's columns: the keys, then the aggregates.
    pub schema: SchemaRef,
    /// Whether rows of the input may go again.
    pub changing: bool,
    /// State TTL: a group that no row has touched for so many milliseconds of processing time is forgotten.
    pub ttl: Option<i64>,
}

impl OperatorFactory for GroupAggregateFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(GroupAggregate::try_new(self.clone())?))
    }

    fn name(&self) -> &'static str {
        "GroupAggregate"
    }

    fn works_by_key(&self) -> bool {
        true
    }

    fn state_ttl(&self) -> Option<i64> {
        self.ttl
    }
}

struct GroupAggregate {
    plan: GroupAggregateFactory,
    keys: Keys,
    layout: Layout,
    /// How many rows each group has; 1 for all that has any, where rows only come. A group without rows is not there.
    rows: Vec<u32>,
    /// How many groups are there.
    alive: usize,
    expiry: Expiry,
    touched: Touched,
    /// The step's input.
    pending: Vec<ChangeBatch>,
}

/// The groups that a step touches, in the order in which it does.
#[derive(Default)]
struct Touched {
    /// By group: the step that touched it last.
    step_of: Vec<u32>,
    step: u32,
    groups: Vec<u32>,
}

impl Touched {
    fn begin(&mut self) {
        self.groups.clear();
        self.step = self.step.wrapping_add(1);
        if self.step == 0 {
            self.step_of.fill(0);
            self.step = 1;
        }
    }

    fn add(&mut self, groups: &[u32], total: usize) {
        self.step_of.resize(total, 0);
        for group in groups {
            let step = &mut self.step_of[*group as usize];
            if *step != self.step {
                *step = self.step;
                self.groups.push(*group);
            }
        }
    }
}

impl Operator for GroupAggregate {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.expire(time.processing_time);
        let batches = std::mem::take(&mut self.pending);
        if batches.is_empty() {
            return Ok(());
        }
        let groups = self.enter(&batches)?;
        let touched = std::mem::take(&mut self.touched.groups);
        let before: Vec<u32> = touched.iter().copied().filter(|g| self.rows[*g as usize] > 0).collect();
        let old = self.evaluate(&before)?;
        for (batch, groups) in batches.iter().zip(&groups) {
            self.apply(batch, groups)?;
        }
        let change = self.change(&touched, &before, old)?;
        self.emit(&change, out)?;
        self.expiry.touch(&touched, time.processing_time);
        self.bury(&touched);
        self.touched.groups = touched;
        self.compact()?;
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.save()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        tables.into_iter().try_for_each(|table| self.load(&table))
    }

    fn stats(&self) -> OperatorStats {
        let accumulators = &self.layout.accumulators;
        let rows = self.alive + accumulators.iter().map(|a| a.entries()).sum::<usize>();
        let own = (self.rows.capacity() + self.touched.step_of.capacity()) * size_of::<u32>();
        let bytes =
            self.keys.bytes() + own + self.expiry.bytes() + accumulators.iter().map(|a| a.bytes()).sum::<usize>();
        OperatorStats { state_rows: rows as u64, state_bytes: bytes as u64, late_rows: 0 }
    }
}

impl GroupAggregate {
    fn try_new(plan: GroupAggregateFactory) -> Result<Self> {
        let setting = Setting { schema: &plan.input, changing: plan.changing, expires: plan.ttl.is_some() };
        Ok(Self {
            keys: Keys::try_new(Arc::new(plan.input.project(&plan.keys)?))?,
            layout: Layout::try_new(&plan.aggregates, setting)?,
            rows: Vec::new(),
            alive: 0,
            expiry: Expiry::new(plan.ttl),
            touched: Touched::default(),
            pending: Vec::new(),
            plan,
        })
    }

    /// Finds or makes the group of each row, and notes which are touched.
    fn enter(&mut self, batches: &[ChangeBatch]) -> Result<Vec<Vec<u32>>> {
        self.touched.begin();
        let mut entered = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut groups = Vec::new();
            let keys: Vec<ArrayRef> = self.plan.keys.iter().map(|k| Arc::clone(batch.rows.column(*k))).collect();
            self.keys.intern(&keys, batch.num_rows(), &mut groups)?;
            self.touched.add(&groups, self.keys.len());
            entered.push(groups);
        }
        self.grow();
        Ok(entered)
    }

    fn grow(&mut self) {
        let groups = self.keys.len();
        self.rows.resize(groups, 0);
        self.layout.accumulators.iter_mut().for_each(|a| a.grow(groups));
    }

    /// The aggregates of some groups, as the accumulators give them.
    fn evaluate(&mut self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        if groups.is_empty() {
            return Ok(columns);
        }
        self.layout.accumulators.iter_mut().try_for_each(|a| a.evaluate(groups, &mut columns))?;
        Ok(columns)
    }

    /// Brings a batch into the aggregates.
    fn apply(&mut self, batch: &ChangeBatch, groups: &[u32]) -> Result<()> {
        let Some(signs) = signs(batch) else {
            self.come(groups)?;
            return self.update(&batch.rows, groups, None);
        };
        let ignored = self.count(batch, groups, &signs)?;
        if ignored.is_empty() {
            return self.update(&batch.rows, groups, Some(&signs));
        }
        let mut kept: Vec<u32> = (0..groups.len() as u32).collect();
        ignored.iter().for_each(|row| kept[*row as usize] = u32::MAX);
        kept.retain(|row| *row != u32::MAX);
        let kept = UInt32Array::from(kept);
        let rows = batch.take(&kept)?.rows;
        let groups: Vec<u32> = kept.values().iter().map(|row| groups[*row as usize]).collect();
        let signs = take(&Int8Array::from(signs), &kept, None)?;
        let signs: &Int8Array = arrow::array::AsArray::as_primitive(&signs);
        self.update(&rows, &groups, Some(signs.values()))
    }

    /// Counts rows that all come.
    fn come(&mut self, groups: &[u32]) -> Result<()> {
        let more = u32::from(self.plan.changing);
        for group in groups {
            let rows = &mut self.rows[*group as usize];
            self.alive += usize::from(*rows == 0);
            *rows = rows.checked_add(more).ok_or_else(accumulate::too_many)?.max(1);
        }
        Ok(())
    }

    /// Counts rows that come and go; gives those that are to be ignored, since their groups have expired.
    fn count(&mut self, batch: &ChangeBatch, groups: &[u32], signs: &[i8]) -> Result<Vec<u32>> {
        let mut ignored = Vec::new();
        for ((row, group), sign) in (0u32..).zip(groups).zip(signs) {
            let rows = &mut self.rows[*group as usize];
            match (*sign > 0, *rows) {
                (true, 0) => {
                    *rows = 1;
                    self.alive += 1;
                }
                (true, _) => *rows = rows.checked_add(1).ok_or_else(accumulate::too_many)?,
                (false, 0) if self.expiry.is_on() => ignored.push(row),
                (false, 0) => return Err(absent_row(&batch.rows, row as usize)),
                (false, n) => {
                    *rows = n - 1;
                    self.alive -= usize::from(n == 1);
                }
            }
        }
        Ok(ignored)
    }

    fn update(&mut self, batch: &RecordBatch, groups: &[u32], signs: Option<&[i8]>) -> Result<()> {
        let inputs = self.layout.inputs.evaluate(batch)?;
        let rows = Rows { batch, groups, signs, inputs: &inputs };
        self.layout.accumulators.iter_mut().try_for_each(|a| a.update(&rows))
    }

    /// What the step made of the groups that it touched.
    fn change(&mut self, touched: &[u32], before: &[u32], old: Vec<ArrayRef>) -> Result<Change> {
        let new = self.evaluate(touched)?;
        let pick = |columns: Vec<ArrayRef>| -> Vec<ArrayRef> {
            self.layout.columns.iter().filter_map(|c| columns.get(*c).cloned()).collect()
        };
        let there = touched.iter().map(|g| self.rows[*g as usize] > 0).collect();
        Change::try_new(touched, before, there, pick(old), pick(new))
    }

    /// Forgets what aggregates hold of groups whose last row has gone.
    fn bury(&mut self, touched: &[u32]) {
        let dead: Vec<u32> = touched.iter().copied().filter(|g| self.rows[*g as usize] == 0).collect();
        self.clear(&dead);
    }

    /// Forgets groups that are there.
    fn forget(&mut self, groups: &[u32]) {
        groups.iter().for_each(|g| self.rows[*g as usize] = 0);
        self.alive -= groups.len();
        self.clear(groups);
    }

    fn clear(&mut self, groups: &[u32]) {
        if !groups.is_empty() {
            self.layout.accumulators.iter_mut().for_each(|a| a.clear(groups));
        }
    }

    /// Forgets groups that no row has touched for too long.
    fn expire(&mut self, now: i64) {
        let mut expired = self.expiry.expired(now);
        expired.retain(|g| std::mem::take(&mut self.rows[*g as usize]) > 0);
        self.alive -= expired.len();
        self.clear(&expired);
    }

    /// Numbers the groups anew when most are dead.
    fn compact(&mut self) -> Result<Option<Remap>> {
        let dead = self.keys.len() - self.alive;
        if dead < COMPACT_FROM || dead < self.alive {
            return Ok(None);
        }
        let rows = &self.rows;
        let remap = self.keys.retain(|g| rows[g as usize] > 0)?;
        remap.apply(&mut self.rows);
        remap.apply(&mut self.touched.step_of);
        self.expiry.remap(&remap);
        self.layout.accumulators.iter_mut().try_for_each(|a| a.remap(&remap))?;
        Ok(Some(remap))
    }
}

/// 1 for each row that comes, -1 for each that goes; `None` when all come.
fn signs(batch: &ChangeBatch) -> Option<Vec<i8>> {
    let kinds = batch.kinds.as_ref()?;
    Some(kinds.iter().map(|k| if k.is_addition() { 1 } else { -1 }).collect())
}
