//! Windows over rows that come and go: the aggregates of each window, which go out once, when the watermark closes it.
//!
//! While a window is open its rows change the aggregates of its groups as those of a GROUP BY without windows, and nothing
//! is said of it; what comes or goes when it is closed is late. A group whose rows have all gone gives no row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::{Aggregate, GroupAggregate, GroupAggregateFactory};
use crate::change::{ChangeBatch, WallClock, Watermark, rowtime_millis};
use crate::operator::late::{Late, LateRows};
use crate::operator::window_aggregate::{WindowOutput, window_times};
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Placement, Remap, StateTable};
use crate::{Error, Result};

/// How many rows of results go out in one batch.
const BATCH_ROWS: usize = 8192;

/// Groups the rows of each window by key and aggregates them, where rows may go again. Each row stands there once for each
/// of its windows.
#[derive(Debug, Clone)]
pub struct ChangingWindowAggregate {
    /// The columns that hold a row's window: its start and its end.
    pub window: [usize; 2],
    /// The key columns.
    pub keys: Vec<usize>,
    /// The clock that windows were cut by.
    pub clock: WallClock,
    /// The aggregates, over the input's columns.
    pub aggregates: Vec<Aggregate>,
    /// What each column of `schema` is.
    pub outputs: Vec<WindowOutput>,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema.
    pub schema: SchemaRef,
}

impl OperatorFactory for ChangingWindowAggregate {
    fn build(&self) -> Result<Box<dyn Operator>> {
        let groups = GroupAggregate::try_new(GroupAggregateFactory {
            keys: self.window.iter().chain(&self.keys).copied().collect(),
            aggregates: self.aggregates.clone(),
            input: Arc::clone(&self.input),
            schema: Arc::clone(&self.schema),
            changing: true,
            ttl: None,
        })?;
        Ok(Box::new(Windowed {
            plan: self.clone(),
            groups,
            open: BTreeMap::new(),
            is_open: Vec::new(),
            reached: i64::MIN,
            pending: Vec::new(),
            late: LateRows::default(),
        }))
    }

    fn name(&self) -> &'static str {
        "WindowAggregate"
    }
}

struct Windowed {
    plan: ChangingWindowAggregate,
    /// Groups by window and key.
    groups: GroupAggregate,
    /// The groups of open windows, by the windows' ends.
    open: BTreeMap<i64, Vec<u32>>,
    /// By group: whether it is among these.
    is_open: Vec<bool>,
    /// The watermark that the last step ended with, as the windows' clock shows it.
    reached: i64,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
    late: LateRows,
}

impl Windowed {
    fn ends(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let ends = rowtime_millis(rows.column(self.plan.window[1]))?;
        match ends.null_count() {
            0 => Ok(ends),
            _ => Err(Error::Execution("the end of a window is NULL in a row".into())),
        }
    }

    /// Brings a batch into the groups of open windows; what is in closed ones is dropped, whether it comes or goes.
    fn add(&mut self, batch: &ChangeBatch) -> Result<()> {
        let ends = self.ends(&batch.rows)?;
        let marks = batch.watermarks.as_ref().map(|w| self.plan.clock.all_at(w.clone()));
        let mark = |row: usize| marks.as_ref().map_or(self.reached, |m| m.value(row).max(self.reached));
        let in_time = BooleanBuffer::collect_bool(ends.len(), |row| ends.value(row).saturating_sub(1) > mark(row));
        if in_time.count_set_bits() == ends.len() {
            return self.add_in_time(batch);
        }
        let late = (0..ends.len()).filter(|row| !in_time.value(*row)).map(|row| Late {
            row: row as u32,
            time: self.plan.clock.instant(ends.value(row).saturating_sub(1)),
            watermark: self.plan.clock.instant(mark(row)),
        });
        self.late.dropped(&batch.rows, batch.kinds.as_ref(), &late.collect::<Vec<_>>())?;
        self.add_in_time(&batch.filter(&BooleanArray::new(in_time, None))?)
    }

    fn add_in_time(&mut self, batch: &ChangeBatch) -> Result<()> {
        let Some(groups) = self.groups.enter(std::slice::from_ref(batch))?.pop() else { return Ok(()) };
        let touched = std::mem::take(&mut self.groups.touched.groups);
        self.note_open(&touched)?;
        self.groups.touched.groups = touched;
        self.groups.apply(batch, &groups)
    }

    /// Notes when the windows of some groups close.
    fn note_open(&mut self, groups: &[u32]) -> Result<()> {
        self.is_open.resize(self.groups.keys.len(), false);
        let fresh: Vec<u32> = groups.iter().copied().filter(|g| !self.is_open[*g as usize]).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let keys = self.groups.keys.take(&fresh)?;
        let ends = keys.get(1).ok_or_else(|| Error::internal("windows without an end"))?;
        for (group, end) in fresh.iter().zip(rowtime_millis(ends)?.values()) {
            self.is_open[*group as usize] = true;
            self.open.entry(*end).or_default().push(*group);
        }
        Ok(())
    }

    /// Lets out the results of all windows that the watermark has closed, in the order in which they end.
    fn fire(&mut self, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut closed = Vec::new();
        while let Some(first) = self.open.first_entry().filter(|e| e.key().saturating_sub(1) <= self.reached) {
            let mut groups = first.remove();
            groups.sort_unstable();
            closed.append(&mut groups);
        }
        closed.iter().for_each(|group| self.is_open[*group as usize] = false);
        closed.retain(|group| self.groups.rows[*group as usize] > 0);
        for part in closed.chunks(BATCH_ROWS) {
            out.push(ChangeBatch::append(self.result(part)?));
        }
        self.groups.forget(&closed);
        Ok(())
    }

    fn result(&mut self, groups: &[u32]) -> Result<RecordBatch> {
        let keys = self.groups.keys.take(groups)?;
        let values = self.groups.evaluate(groups)?;
        let values: Vec<ArrayRef> = self.groups.layout.columns.iter().filter_map(|c| values.get(*c).cloned()).collect();
        let missing = || Error::internal("a result without its column");
        let columns = self.plan.outputs.iter().zip(self.plan.schema.fields()).map(|(output, field)| match output {
            WindowOutput::Key(i) => keys.get(i + 2).cloned().ok_or_else(missing),
            WindowOutput::Aggregate(i) => values.get(*i).cloned().ok_or_else(missing),
            WindowOutput::Start => Ok(cast(keys.first().ok_or_else(missing)?, field.data_type())?),
            WindowOutput::End => Ok(cast(keys.get(1).ok_or_else(missing)?, field.data_type())?),
            WindowOutput::Time => {
                let ends = rowtime_millis(keys.get(1).ok_or_else(missing)?)?;
                let clock = self.plan.clock;
                window_times(ends.unary(|end| clock.instant(end.saturating_sub(1))), field.data_type())
            }
        });
        Ok(RecordBatch::try_new(Arc::clone(&self.plan.schema), columns.collect::<Result<Vec<_>>>()?)?)
    }

    fn remap(&mut self, remap: &Remap) {
        remap.apply(&mut self.is_open);
        for groups in self.open.values_mut() {
            *groups = groups.iter().filter_map(|group| remap.get(*group)).collect();
        }
    }
}

impl Operator for Windowed {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for batch in std::mem::take(&mut self.pending) {
            self.add(&batch)?;
        }
        self.reached = match time.watermark {
            Watermark::MAX => i64::MAX,
            Watermark(at) => self.plan.clock.at(at),
        };
        self.fire(out)?;
        if let Some(remap) = self.groups.compact()? {
            self.remap(&remap);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut tables = self.groups.save()?;
        let reached: ArrayRef = Arc::new(Int64Array::from(vec![self.reached]));
        let rows = vec![RecordBatch::try_from_iter([("watermark", reached)])?];
        tables.push(StateTable { name: "reached", placement: Placement::All, rows });
        Ok(tables)
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name != "reached" {
                self.groups.load(&table)?;
                continue;
            }
            let marks = table.rows.iter().filter_map(|r| r.column(0).as_primitive_opt::<Int64Type>());
            let reached = marks.filter_map(|m| m.values().iter().max().copied()).max();
            self.reached = self.reached.max(reached.unwrap_or(i64::MIN));
        }
        let all: Vec<u32> = (0u32..).take(self.groups.keys.len()).collect();
        self.note_open(&all)
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let OperatorStats { state_rows, state_bytes, .. } = self.groups.stats();
        let own = self.is_open.capacity() + self.open.values().map(|g| g.capacity() * 4).sum::<usize>();
        OperatorStats { state_rows, state_bytes: state_bytes + own as u64, late_rows: self.late.count() }
    }
}
