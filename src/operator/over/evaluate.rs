//! Rows that go out, function by function.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::ScalarValue;

use super::firing::{Firing, Run, Span, numbers, rank_of_last, ranks};
use super::frame::Frame;
use super::function::{AggregateCall, OverCall, OverFunction, apply};
use super::partition::{Held, Memory, Partition};
use crate::state::{RowStore, row_store};
use crate::{Error, Result};

/// The functions, and the rows that have gone out and that their frames may still reach.
pub(super) struct Evaluator {
    functions: Vec<OverFunction>,
    types: Vec<DataType>,
    /// For each function whether its accumulators take rows back.
    retracts: Vec<bool>,
    /// The columns of the input that the history has.
    columns: Vec<usize>,
    history: Box<dyn RowStore>,
}

impl Evaluator {
    /// `types` are those of the results.
    pub fn try_new(functions: Vec<OverFunction>, types: Vec<DataType>, input: &SchemaRef) -> Result<Self> {
        let mut columns: Vec<usize> = functions.iter().flat_map(OverFunction::columns_of_history).collect();
        columns.sort_unstable();
        columns.dedup();
        let retracts = functions.iter().map(|f| match &f.call {
            OverCall::Aggregate(call) => Ok(call.accumulator(f.frame)?.1),
            _ => Ok(false),
        });
        let retracts = retracts.collect::<Result<_>>()?;
        let history = row_store(Arc::new(input.project(&columns)?));
        Ok(Self { functions, types, retracts, columns, history })
    }

    /// The rows that frames may still reach.
    pub fn history(&mut self) -> &mut dyn RowStore {
        self.history.as_mut()
    }

    /// Whether a function's accumulators take rows back.
    pub fn retracts(&self, function: usize) -> bool {
        self.retracts[function]
    }

    /// Rows held and bytes of the history.
    pub fn size(&self) -> (usize, usize) {
        (self.history.len(), self.history.bytes())
    }

    /// The functions' results for rows that go out, in the order of their time within each partition.
    pub fn evaluate(
        &mut self,
        rows: &RecordBatch,
        keys: &[u32],
        times: &[i64],
        partitions: &mut [Partition],
    ) -> Result<Vec<ArrayRef>> {
        let mut firing = Firing::new(keys, times);
        self.admit(rows, &mut firing, partitions)?;
        let mut results = Vec::with_capacity(self.functions.len());
        for (index, function) in self.functions.iter().enumerate() {
            let column = match &function.call {
                OverCall::Aggregate(call) if function.frame.is_unbounded() => {
                    self.running(index, call, rows, &firing, partitions)?
                }
                OverCall::Aggregate(call) if self.retracts[index] => self.sliding(index, call, &firing, partitions)?,
                OverCall::Aggregate(call) => self.anew(index, call, &firing, partitions)?,
                OverCall::Lag { column, offset, default } => {
                    let find = |p: &Partition, run: &Run, at: usize| p.at(run.ordinal(at).checked_sub(*offset)?);
                    self.found(*column, Some(default), &firing, partitions, find)?
                }
                OverCall::First { column, ignore_nulls: false } => {
                    let frame = function.frame;
                    let time = |at: usize| firing.times[at];
                    let find = |p: &Partition, run: &Run, at: usize| p.at(p.begin(frame, run.ordinal(at), time(at)));
                    self.found(*column, None, &firing, partitions, find)?
                }
                OverCall::First { column, .. } => self.valid(index, *column, true, &firing, partitions)?,
                OverCall::Last { column, ignore_nulls: true } => {
                    self.valid(index, *column, false, &firing, partitions)?
                }
                OverCall::Last { column, .. } => self.last(function.frame, *column, &firing, partitions)?,
                OverCall::RowNumber => numbers(&firing, |run, at| run.ordinal(at) + 1),
                OverCall::Rank => ranks(&firing, partitions, false),
                OverCall::DenseRank => ranks(&firing, partitions, true),
            };
            let column =
                if column.data_type() == &self.types[index] { column } else { cast(&column, &self.types[index])? };
            results.push(firing.restore(&column)?);
        }
        self.settle(&firing, partitions)?;
        Ok(results)
    }

    /// Adds the rows to the history and to their partitions.
    fn admit(&mut self, rows: &RecordBatch, firing: &mut Firing, partitions: &mut [Partition]) -> Result<()> {
        let base = match self.columns.is_empty() {
            true => None,
            false => Some(self.history.append(&rows.project(&self.columns)?)?),
        };
        for run in &mut firing.runs {
            let partition = &mut partitions[run.key as usize];
            run.first = partition.count;
            partition.memory.resize_with(self.functions.len(), Memory::default);
            partition.count += run.rows.len() as u64;
            if let Some(base) = base {
                let held =
                    run.rows.clone().map(|at| Held { id: base + firing.order.value(at), time: firing.times[at] });
                partition.held.extend(held);
            }
        }
        Ok(())
    }

    /// An aggregate over all rows so far.
    fn running(
        &self,
        index: usize,
        call: &AggregateCall,
        rows: &RecordBatch,
        firing: &Firing,
        partitions: &mut [Partition],
    ) -> Result<ArrayRef> {
        let frame = self.functions[index].frame;
        let sorted = |c: &usize| Ok(take(rows.column(*c), &firing.order, None)?);
        let columns = call.arguments.iter().map(sorted).collect::<Result<Vec<_>>>()?;
        let filter = call.filter.as_ref().map(sorted).transpose()?.map(|f| mask(&f));
        let mut results = Results::new(firing.times.len());
        for run in &firing.runs {
            let memory = &mut partitions[run.key as usize].memory[index];
            if !matches!(memory, Memory::Running(_)) {
                *memory = Memory::Running(call.accumulator(frame)?.0);
            }
            let Memory::Running(accumulator) = memory else { continue };
            for group in firing.groups(run, frame) {
                apply(&columns, filter.as_ref(), group.clone(), |v| accumulator.update_batch(v))?;
                results.push(accumulator.evaluate()?, group.len());
            }
        }
        results.finish(&self.types[index])
    }

    /// The arguments and the filter of an aggregate, read from the history.
    fn inputs(&self, call: &AggregateCall, ids: &[u32]) -> Result<(Vec<ArrayRef>, Option<BooleanArray>)> {
        let columns: Vec<usize> = call.arguments.iter().chain(&call.filter).map(|c| self.place(*c)).collect();
        let mut taken = self.history.take_columns(&columns, ids)?;
        let filter = call.filter.and_then(|_| taken.pop()).map(|f| mask(&f));
        Ok((taken, filter))
    }

    /// The place of an input's column in the history.
    fn place(&self, column: usize) -> usize {
        self.columns.partition_point(|c| *c < column)
    }

    /// An aggregate over a frame that moves: rows are added in front and taken back behind.
    fn sliding(
        &self,
        index: usize,
        call: &AggregateCall,
        firing: &Firing,
        partitions: &mut [Partition],
    ) -> Result<ArrayRef> {
        let frame = self.functions[index].frame;
        let mut ids = Vec::new();
        let mut spans = Vec::with_capacity(firing.runs.len());
        for run in &firing.runs {
            let partition = &partitions[run.key as usize];
            let begin = |at: usize| partition.begin(frame, run.ordinal(at), firing.times[at]);
            let (start, cut) = match &partition.memory[index] {
                Memory::Sliding(_, start) => (*start, begin(run.rows.end - 1).clamp(*start, run.first.max(*start))),
                _ => (begin(run.rows.start), run.first),
            };
            spans.push(Span { offset: ids.len(), start, cut, first: run.first });
            ids.extend(partition.ids(start..cut).chain(partition.ids(run.first..run.end())));
        }
        let (columns, filter) = self.inputs(call, &ids)?;
        let mut results = Results::new(firing.times.len());
        for (run, span) in firing.runs.iter().zip(&spans) {
            let partition = &mut partitions[run.key as usize];
            let (mut accumulator, mut start, mut end) = match std::mem::take(&mut partition.memory[index]) {
                Memory::Sliding(accumulator, start) => (accumulator, start, run.first),
                _ => (call.accumulator(frame)?.0, span.start, span.start),
            };
            for group in firing.groups(run, frame) {
                let to = run.ordinal(group.end);
                let from = partition.begin(frame, run.ordinal(group.start), firing.times[group.start]);
                apply(&columns, filter.as_ref(), span.range(end..to), |v| accumulator.update_batch(v))?;
                apply(&columns, filter.as_ref(), span.range(start..from), |v| accumulator.retract_batch(v))?;
                (start, end) = (from, to);
                results.push(accumulator.evaluate()?, group.len());
            }
            partition.memory[index] = Memory::Sliding(accumulator, start);
        }
        results.finish(&self.types[index])
    }

    /// An aggregate that cannot take rows back: over the whole frame for each row.
    fn anew(&self, index: usize, call: &AggregateCall, firing: &Firing, partitions: &[Partition]) -> Result<ArrayRef> {
        let frame = self.functions[index].frame;
        let mut ids = Vec::new();
        let mut spans = Vec::with_capacity(firing.runs.len());
        for run in &firing.runs {
            let partition = &partitions[run.key as usize];
            let start = partition.begin(frame, run.first, firing.times[run.rows.start]);
            spans.push(Span { offset: ids.len(), start, cut: run.first, first: run.first });
            ids.extend(partition.ids(start..run.end()));
        }
        let (columns, filter) = self.inputs(call, &ids)?;
        let mut results = Results::new(firing.times.len());
        for (run, span) in firing.runs.iter().zip(&spans) {
            let partition = &partitions[run.key as usize];
            for group in firing.groups(run, frame) {
                let from = partition.begin(frame, run.ordinal(group.start), firing.times[group.start]);
                let mut accumulator = call.accumulator(frame)?.0;
                let range = span.range(from..run.ordinal(group.end));
                apply(&columns, filter.as_ref(), range, |v| accumulator.update_batch(v))?;
                results.push(accumulator.evaluate()?, group.len());
            }
        }
        results.finish(&self.types[index])
    }

    /// For each row the value of another that is held; where there is none, a default.
    fn found(
        &self,
        column: usize,
        default: Option<&ScalarValue>,
        firing: &Firing,
        partitions: &[Partition],
        find: impl Fn(&Partition, &Run, usize) -> Option<Held>,
    ) -> Result<ArrayRef> {
        let mut ids = Vec::with_capacity(firing.times.len());
        let mut at: Vec<Option<u32>> = Vec::with_capacity(firing.times.len());
        for run in &firing.runs {
            let partition = &partitions[run.key as usize];
            for row in run.rows.clone() {
                at.push(find(partition, run, row).map(|held| {
                    ids.push(held.id);
                    ids.len() as u32 - 1
                }));
            }
        }
        self.pick(column, default, &ids, at)
    }

    /// The values of some rows that are held, spread over the rows that go out.
    fn pick(
        &self,
        column: usize,
        default: Option<&ScalarValue>,
        ids: &[u32],
        mut at: Vec<Option<u32>>,
    ) -> Result<ArrayRef> {
        let mut values = self.history.take_column(self.place(column), ids)?;
        if let Some(default) = default.filter(|d| !d.is_null() && at.contains(&None)) {
            let default = cast(&default.to_array()?, values.data_type())?;
            values = concat(&[values.as_ref(), default.as_ref()])?;
            at.iter_mut().for_each(|a| *a = a.or(Some(ids.len() as u32)));
        }
        Ok(take(&values, &UInt32Array::from(at), None)?)
    }

    /// The frame's last value: the row's own, or that of the last row of its time.
    fn last(&self, frame: Frame, column: usize, firing: &Firing, partitions: &[Partition]) -> Result<ArrayRef> {
        let mut ids = Vec::new();
        let mut at = Vec::with_capacity(firing.times.len());
        for run in &firing.runs {
            for group in firing.groups(run, frame) {
                let last = partitions[run.key as usize].at(run.ordinal(group.end - 1));
                let last = last.ok_or_else(|| Error::internal("a row that went out and is not held"))?;
                at.extend(std::iter::repeat_n(Some(ids.len() as u32), group.len()));
                ids.push(last.id);
            }
        }
        self.pick(column, None, &ids, at)
    }

    /// The frame's first or last value that is not NULL.
    fn valid(
        &self,
        index: usize,
        column: usize,
        wants_first: bool,
        firing: &Firing,
        partitions: &mut [Partition],
    ) -> Result<ArrayRef> {
        let frame = self.functions[index].frame;
        let mut fresh = Vec::new();
        for run in &firing.runs {
            let partition = &partitions[run.key as usize];
            let from = if matches!(partition.memory[index], Memory::Valid(_)) { run.first } else { partition.first() };
            fresh.extend(partition.ids(from..run.end()));
        }
        let values = self.history.take_column(self.place(column), &fresh)?;
        let (mut next, mut ids) = (0, Vec::new());
        let mut at: Vec<Option<u32>> = Vec::with_capacity(firing.times.len());
        for run in &firing.runs {
            let partition = &mut partitions[run.key as usize];
            let (mut valid, mut end) = match std::mem::take(&mut partition.memory[index]) {
                Memory::Valid(valid) => (valid, run.first),
                _ => (Default::default(), partition.first()),
            };
            for group in firing.groups(run, frame) {
                while end < run.ordinal(group.end) {
                    if values.is_valid(next) {
                        valid.push_back((end, fresh[next]));
                    }
                    (next, end) = (next + 1, end + 1);
                }
                let from = partition.begin(frame, run.ordinal(group.start), firing.times[group.start]);
                while valid.front().is_some_and(|(ordinal, _)| *ordinal < from) {
                    valid.pop_front();
                }
                let wanted = if wants_first { valid.front() } else { valid.back() };
                at.extend(std::iter::repeat_n(wanted.map(|_| ids.len() as u32), group.len()));
                ids.extend(wanted.map(|(_, id)| *id));
            }
            partition.memory[index] = Memory::Valid(valid);
        }
        self.pick(column, None, &ids, at)
    }

    /// Lets go of what no frame reaches any more, and keeps the ranks.
    fn settle(&mut self, firing: &Firing, partitions: &mut [Partition]) -> Result<()> {
        for run in &firing.runs {
            let partition = &mut partitions[run.key as usize];
            let last = firing.times[run.rows.end - 1];
            (partition.rank, partition.dense) = rank_of_last(firing, run, partition);
            partition.last = Some(last);
            let keeps = self.functions.iter().zip(&partition.memory).map(|(f, memory)| match (&f.call, memory) {
                _ if f.is_running() => partition.count,
                (OverCall::Lag { offset, .. }, _) => partition.count.saturating_sub(*offset),
                (_, Memory::Sliding(_, start)) => *start,
                _ => partition.begin(f.frame, partition.count - 1, last),
            });
            let keep = keeps.min().unwrap_or(partition.count);
            partition.trim(keep, |id| self.history.remove(id));
        }
        Ok(())
    }

    /// Gives up the places of rows that are gone.
    pub fn compact(&mut self, partitions: &mut [Partition]) -> Result<()> {
        if !self.history.wants_compaction() {
            return Ok(());
        }
        let remap = self.history.compact()?;
        let moved = |id: &mut u32| *id = remap.get(*id).unwrap_or(*id);
        for partition in partitions {
            partition.held.iter_mut().for_each(|h| moved(&mut h.id));
            for memory in &mut partition.memory {
                if let Memory::Valid(valid) = memory {
                    valid.iter_mut().for_each(|(_, id)| moved(id));
                }
            }
        }
        Ok(())
    }
}

/// Results, row by row.
struct Results(Vec<ScalarValue>);

impl Results {
    fn new(rows: usize) -> Self {
        Self(Vec::with_capacity(rows))
    }

    fn push(&mut self, value: ScalarValue, rows: usize) {
        self.0.extend(std::iter::repeat_n(value, rows));
    }

    fn finish(self, data_type: &DataType) -> Result<ArrayRef> {
        if self.0.is_empty() {
            return Ok(new_empty_array(data_type));
        }
        Ok(ScalarValue::iter_to_array(self.0)?)
    }
}

/// The rows that a filter lets through: NULL counts as false.
fn mask(filter: &ArrayRef) -> BooleanArray {
    let filter = filter.as_boolean();
    match filter.nulls() {
        Some(nulls) => BooleanArray::new(filter.values() & nulls.inner(), None),
        None => filter.clone(),
    }
}
