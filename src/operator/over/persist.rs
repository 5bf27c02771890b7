//! The state of [`Over`] as columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt64Array};
use datafusion_common::ScalarValue;

use super::aggregate::Over;
use super::function::{AggregateCall, OverCall};
use super::partition::{Held, Memory, Partition};
use crate::change::rowtime_millis;
use crate::operator::over::OverTime;
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// How many rows of state stand in one batch.
const BATCH_ROWS: usize = 8192;
/// The columns of a partition behind its keys: how many rows went out, rank, dense rank, last time, when it was written.
const COUNTERS: usize = 5;

impl Over {
    pub(super) fn freeze(&mut self) -> Result<Vec<StateTable>> {
        let keyed = |columns: Vec<usize>| if columns.is_empty() { Placement::First } else { Placement::Key(columns) };
        let first_keys = keyed((0..self.plan.keys.len()).collect());
        let fired: ArrayRef = Arc::new(Int64Array::from(vec![self.fired]));
        Ok(vec![
            StateTable { name: "partitions".into(), placement: first_keys.clone(), rows: self.freeze_partitions()? },
            StateTable { name: "held".into(), placement: first_keys, rows: self.freeze_held()? },
            StateTable {
                name: "waiting".into(),
                placement: keyed(self.plan.keys.clone()),
                rows: self.queue.freeze(BATCH_ROWS)?,
            },
            StateTable {
                name: "fired".into(),
                placement: Placement::All,
                rows: vec![RecordBatch::try_from_iter([("watermark", fired)])?],
            },
        ])
    }

    /// Keys, counters, and what functions remember that cannot be made anew from the rows that are held.
    fn freeze_partitions(&mut self) -> Result<Vec<RecordBatch>> {
        let live: Vec<u32> = (0u32..).zip(&self.partitions).filter(|(_, p)| p.count > 0).map(|(k, _)| k).collect();
        live.chunks(BATCH_ROWS).map(|keys| self.freeze_some(keys)).collect()
    }

    fn freeze_some(&mut self, keys: &[u32]) -> Result<RecordBatch> {
        let mut columns = self.keys.take(keys)?;
        let of = |f: fn(&Partition) -> u64| {
            Arc::new(UInt64Array::from_iter_values(keys.iter().map(|k| f(&self.partitions[*k as usize])))) as ArrayRef
        };
        columns.extend([of(|p| p.count), of(|p| p.rank), of(|p| p.dense)]);
        let last = keys.iter().map(|k| self.partitions[*k as usize].last);
        columns.push(Arc::new(last.collect::<Int64Array>()));
        columns.push(Arc::new(Int64Array::from_iter_values(keys.iter().map(|k| self.expiry.written(*k)))));
        for (index, function) in self.plan.functions.iter().enumerate() {
            let OverCall::Aggregate(call) = &function.call else { continue };
            if !self.remembers(index, call) {
                continue;
            }
            let mut states: Vec<Vec<ScalarValue>> = vec![Vec::new(); call.function.state_fields()?.len()];
            for key in keys {
                let memory = &mut self.partitions[*key as usize].memory[index];
                let (Memory::Running(accumulator) | Memory::Sliding(accumulator, _)) = memory else {
                    return Err(Error::internal("a partition without its aggregates"));
                };
                let state = accumulator.state()?;
                // Handing out its state may leave an accumulator empty.
                *accumulator = call.accumulator(function.frame)?.0;
                let arrays = state.iter().map(ScalarValue::to_array).collect::<datafusion_common::Result<Vec<_>>>()?;
                accumulator.merge_batch(&arrays)?;
                states.iter_mut().zip(state).for_each(|(column, value)| column.push(value));
            }
            for state in states {
                columns.push(ScalarValue::iter_to_array(state)?);
            }
        }
        let named = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c, true));
        Ok(RecordBatch::try_from_iter_with_nullable(named)?)
    }

    /// Whether an aggregate's state is kept: where it holds rows long gone, and where making it anew from the rows of its
    /// frame would round otherwise than adding and taking back has.
    fn remembers(&self, index: usize, call: &AggregateCall) -> bool {
        let function = &self.plan.functions[index];
        let floats = call.function.field().data_type().is_floating();
        let exact = ["min", "max"].contains(&call.function.fun().name());
        function.frame.is_unbounded() || (floats && !exact && self.evaluator.retracts(index))
    }

    /// Keys, times and the history's columns of the rows that are held, those of a partition in their order.
    fn freeze_held(&mut self) -> Result<Vec<RecordBatch>> {
        let held = (0u32..).zip(&self.partitions).flat_map(|(key, p)| p.held.iter().map(move |held| (key, *held)));
        let held: Vec<(u32, Held)> = held.collect();
        let mut batches = Vec::new();
        for chunk in held.chunks(BATCH_ROWS) {
            let keys: Vec<u32> = chunk.iter().map(|(key, _)| *key).collect();
            let ids: Vec<u32> = chunk.iter().map(|(_, held)| held.id).collect();
            let times = Int64Array::from_iter_values(chunk.iter().map(|(_, held)| held.time));
            let mut columns = self.keys.take(&keys)?;
            columns.push(Arc::new(times));
            columns.extend(self.evaluator.history().take(&ids)?.columns().iter().cloned());
            let named = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c, true));
            batches.push(RecordBatch::try_from_iter_with_nullable(named)?);
        }
        Ok(batches)
    }

    pub(super) fn thaw(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for name in ["fired", "partitions", "held", "waiting"] {
            for rows in tables.iter().filter(|t| t.name == name).flat_map(|t| &t.rows) {
                match name {
                    "fired" => {
                        let marks = rows.column(0).as_any().downcast_ref::<Int64Array>();
                        self.fired = self.fired.max(marks.and_then(|m| m.iter().flatten().max()).unwrap_or(i64::MIN));
                    }
                    "partitions" => self.thaw_partitions(rows)?,
                    "held" => self.thaw_held(rows)?,
                    _ => self.thaw_waiting(rows)?,
                }
            }
        }
        for index in 0..self.partitions.len() {
            self.thaw_sliding(index)?;
            let idle = self.partitions[index].last.filter(|_| self.reach.is_some());
            idle.iter().for_each(|last| self.idle.entry(*last).or_default().push(index as u32));
        }
        Ok(())
    }

    fn thaw_keys(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.keys.intern(&rows.columns()[..self.plan.keys.len()], rows.num_rows(), &mut ids)?;
        self.partitions.resize_with(self.keys.len(), Partition::default);
        Ok(ids)
    }

    fn thaw_partitions(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.thaw_keys(rows)?;
        let width = self.plan.keys.len();
        let number = |c: usize| column::<UInt64Array>(rows, width + c);
        let (count, rank, dense) = (number(0)?, number(1)?, number(2)?);
        let (last, written) = (column::<Int64Array>(rows, width + 3)?, column::<Int64Array>(rows, width + 4)?);
        for (row, key) in keys.iter().enumerate() {
            let partition = &mut self.partitions[*key as usize];
            (partition.count, partition.rank, partition.dense) = (count.value(row), rank.value(row), dense.value(row));
            partition.last = last.is_valid(row).then(|| last.value(row));
            partition.memory.resize_with(self.plan.functions.len(), Memory::default);
            self.expiry.touch(&[*key], written.value(row));
        }
        let mut next = width + COUNTERS;
        for (index, function) in self.plan.functions.iter().enumerate() {
            let OverCall::Aggregate(call) = &function.call else { continue };
            let unbounded = function.frame.is_unbounded();
            if !self.remembers(index, call) {
                continue;
            }
            let states = call.function.state_fields()?.len();
            for (row, key) in keys.iter().enumerate() {
                let state: Vec<ArrayRef> = (next..next + states).map(|c| rows.column(c).slice(row, 1)).collect();
                let mut accumulator = call.accumulator(function.frame)?.0;
                accumulator.merge_batch(&state)?;
                let memory = &mut self.partitions[*key as usize].memory[index];
                *memory = if unbounded { Memory::Running(accumulator) } else { Memory::Sliding(accumulator, 0) };
            }
            next += states;
        }
        Ok(())
    }

    fn thaw_held(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.thaw_keys(rows)?;
        let width = self.plan.keys.len();
        let times = column::<Int64Array>(rows, width)?;
        let columns: Vec<usize> = (width + 1..rows.num_columns()).collect();
        let first = self.evaluator.history().append(&rows.project(&columns)?)?;
        for ((key, time), id) in keys.iter().zip(times.values()).zip(first..) {
            self.partitions[*key as usize].held.push_back(Held { id, time: *time });
        }
        Ok(())
    }

    fn thaw_waiting(&mut self, rows: &RecordBatch) -> Result<()> {
        let OverTime::Rowtime(time) = self.plan.time else {
            return Err(Error::internal("rows that wait for a watermark, ordered by processing time"));
        };
        let keys = self.intern(rows)?;
        let times = rowtime_millis(rows.column(time))?;
        self.wait(rows, &keys, times.values())
    }

    /// What a sliding aggregate covers ends with the last row, and so begins where that row's frame does.
    fn thaw_sliding(&mut self, index: usize) -> Result<()> {
        let partition = &mut self.partitions[index];
        let Some(last) = partition.last else { return Ok(()) };
        for (index, function) in self.plan.functions.iter().enumerate() {
            let begin = partition.begin(function.frame, partition.count.saturating_sub(1), last);
            if let Some(Memory::Sliding(_, start)) = partition.memory.get_mut(index) {
                *start = begin;
            }
        }
        Ok(())
    }
}

fn column<A: Array + Clone + 'static>(rows: &RecordBatch, at: usize) -> Result<A> {
    let typed = rows.columns().get(at).and_then(|c| c.as_any().downcast_ref::<A>());
    typed.cloned().ok_or_else(|| Error::internal("state of another type than was handed out"))
}
