//! Aggregates over sessions.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::partials::Partials;
use super::sessions::{NONE, SessionWindow, Sessions};
use super::{Pending, SessionSpec, fired_of, fired_table, int64};
use crate::change::ChangeBatch;
use crate::operator::grouped::{Aggregate, Grouping};
use crate::operator::processing_time::{Closing, ClosingFactory};
use crate::operator::window::Window;
use crate::operator::window_aggregate::WindowOutput;
use crate::operator::window_assign::{WindowEdge, window_column};
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::StateTable;
use crate::{Error, Result};

/// How many sessions' results go out in one batch.
const BATCH_ROWS: usize = 8192;

/// Aggregates the rows of each session; its result goes out when the watermark closes it.
#[derive(Debug, Clone)]
pub struct SessionAggregateFactory {
    /// The sessions.
    pub sessions: SessionSpec,
    /// The aggregates, over the input's columns. What they come to does not depend on the order of rows.
    pub aggregates: Vec<Aggregate>,
    /// What each column of `schema` is; keys are those of the sessions.
    pub outputs: Vec<WindowOutput>,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema.
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAggregateFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.make()?))
    }

    fn name(&self) -> &'static str {
        "SessionAggregate"
    }
}

impl ClosingFactory for SessionAggregateFactory {
    fn build_closing(&self) -> Result<Box<dyn Closing>> {
        Ok(Box::new(self.make()?))
    }
}

impl SessionAggregateFactory {
    fn make(&self) -> Result<SessionAggregate> {
        let keys = Arc::new(self.input.project(&self.sessions.keys)?);
        let grouping = Grouping::try_new(Arc::new(Schema::empty()), self.aggregates.clone())?;
        Ok(SessionAggregate {
            sessions: Sessions::try_new(self.sessions.gap, keys)?,
            partials: Partials::try_new(Arc::new(grouping))?,
            plan: self.clone(),
            pending: Pending::default(),
            assigned: Vec::new(),
            late_rows: 0,
        })
    }
}

struct SessionAggregate {
    plan: SessionAggregateFactory,
    sessions: Sessions,
    partials: Partials,
    pending: Pending,
    /// Kept between calls for its memory: the session of each row.
    assigned: Vec<u32>,
    late_rows: u64,
}

impl Operator for SessionAggregate {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("an aggregate of sessions over changing input"));
        }
        match self.pending.pass(batch) {
            Some(batch) => self.add(&batch),
            None => Ok(()),
        }
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for batch in self.pending.take()? {
            self.add(&batch)?;
        }
        let ended = self.sessions.close(self.plan.sessions.clock.at(time.watermark.0));
        for ended in ended.chunks(BATCH_ROWS) {
            out.push(ChangeBatch::append(self.result(ended)?));
        }
        self.sessions.release(&ended)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let open = self.sessions.all_open();
        let (places, states) = match self.plan.aggregates.is_empty() {
            true => ((0..open.len()).collect(), None),
            false => {
                let (places, states) = self.partials.snapshot(&open)?;
                (places, Some(states))
            }
        };
        let of_part: Vec<SessionWindow> = places.iter().map(|place| open[*place]).collect();
        let keys = self.sessions.key_columns(&of_part.iter().map(|s| s.key).collect::<Vec<_>>())?;
        let bound = |f: fn(&Window) -> i64| {
            Arc::new(Int64Array::from_iter_values(of_part.iter().map(|s| f(&s.window)))) as ArrayRef
        };
        let columns = [bound(|w| w.start), bound(|w| w.end)].into_iter().chain(keys);
        let columns = columns.chain(states.iter().flat_map(|s| s.columns().iter().cloned())).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(of_part.len()));
        let rows = RecordBatch::try_new_with_options(self.state_schema()?, columns, &options)?;
        let placement = self.plan.sessions.placement((2..2 + self.plan.sessions.keys.len()).collect());
        Ok(vec![StateTable { name: "sessions", placement, rows: vec![rows] }, fired_table(self.sessions.fired())?])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            match table.name {
                "sessions" => table.rows.iter().try_for_each(|rows| self.take_over(rows))?,
                "fired" => self.sessions.set_fired(fired_of(&table.rows)?),
                other => return Err(Error::internal(format!("an aggregate of sessions has no state named '{other}'"))),
            }
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats {
            state_rows: self.partials.len().max(self.sessions.len()) as u64,
            state_bytes: (self.sessions.bytes() + self.partials.bytes()) as u64,
            late_rows: self.late_rows,
        }
    }
}

impl Closing for SessionAggregate {
    fn next_end(&self) -> Option<i64> {
        let last = self.sessions.next_end()?.saturating_sub(1);
        Some(self.plan.sessions.clock.instant(last).saturating_add(1))
    }
}

impl SessionAggregate {
    fn add(&mut self, batch: &ChangeBatch) -> Result<()> {
        let spec = &self.plan.sessions;
        let times = spec.times(&batch.rows)?;
        let marks = batch.watermarks.as_ref().map(|w| spec.clock.all_at(w.clone()));
        let marks = marks.as_ref().map(|w| w.values().as_ref());
        let mut assigned = std::mem::take(&mut self.assigned);
        self.sessions.assign(&spec.key_columns(&batch.rows), times.values(), marks, &mut assigned)?;
        let merged = self.sessions.take_merged();
        for (from, into) in &merged {
            self.partials.merge(*from, *into);
        }
        if !merged.is_empty() {
            assigned.iter_mut().for_each(|session| *session = self.sessions.resolve(*session));
        }
        self.aggregate(&batch.rows, &mut assigned)?;
        self.assigned = assigned;
        Ok(())
    }

    /// Adds rows to their sessions, but for late ones.
    fn aggregate(&mut self, rows: &RecordBatch, assigned: &mut Vec<u32>) -> Result<()> {
        let late = assigned.iter().filter(|session| **session == NONE).count();
        self.late_rows += late as u64;
        if late == assigned.len() {
            return Ok(());
        }
        let inputs = self.partials.grouping().inputs(rows)?;
        if late == 0 {
            return self.partials.update(assigned, &inputs);
        }
        let kept = (0u32..).zip(assigned.iter()).filter(|(_, session)| **session != NONE).map(|(row, _)| row);
        let kept = UInt32Array::from_iter_values(kept);
        assigned.retain(|session| *session != NONE);
        self.partials.update(assigned, &inputs.select(|a| Ok(take(a, &kept, None)?))?)
    }

    fn result(&mut self, ended: &[SessionWindow]) -> Result<RecordBatch> {
        let keys = self.sessions.key_columns(&ended.iter().map(|e| e.key).collect::<Vec<_>>())?;
        let aggregates = self.partials.finish(ended)?;
        let windows: Vec<Window> = ended.iter().map(|e| e.window).collect();
        let clock = self.plan.sessions.clock;
        let columns = self.plan.outputs.iter().zip(self.plan.schema.fields()).map(|(output, field)| match output {
            WindowOutput::Key(i) => Ok(Arc::clone(&keys[*i])),
            WindowOutput::Aggregate(i) => Ok(Arc::clone(&aggregates[*i])),
            WindowOutput::Start => window_column(WindowEdge::Start, &windows, clock, field.data_type()),
            WindowOutput::End => window_column(WindowEdge::End, &windows, clock, field.data_type()),
            WindowOutput::Time => window_column(WindowEdge::Time, &windows, clock, field.data_type()),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(ended.len()));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options)?)
    }

    /// The schema of a snapshot: start and end, the keys, partial aggregates.
    fn state_schema(&self) -> Result<SchemaRef> {
        let bounds = ["session_start", "session_end"].map(|n| Arc::new(Field::new(n, DataType::Int64, false)));
        let keys = self.plan.input.project(&self.plan.sessions.keys)?;
        let keys = keys.fields().iter().map(|f| Arc::new(f.as_ref().clone().with_nullable(true))).collect::<Vec<_>>();
        let states = self.partials.grouping().partial.fields().iter().cloned();
        Ok(Arc::new(Schema::new(bounds.into_iter().chain(keys).chain(states).collect::<Vec<_>>())))
    }

    /// Takes over rows of a snapshot.
    fn take_over(&mut self, rows: &RecordBatch) -> Result<()> {
        let (starts, ends) = (int64(rows.column(0))?, int64(rows.column(1))?);
        let bounds = starts.values().iter().zip(ends.values());
        let windows: Vec<Window> = bounds.map(|(start, end)| Window { start: *start, end: *end }).collect();
        let behind_keys = 2 + self.plan.sessions.keys.len();
        let sessions = self.sessions.restore(&rows.columns()[2..behind_keys], &windows)?;
        if self.plan.aggregates.is_empty() {
            return Ok(());
        }
        self.partials.restore(&sessions, rows.columns()[behind_keys..].to_vec())
    }
}
