//! Aggregates over sessions.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};

use super::partials::Partials;
use super::sessions::{NONE, SessionWindow, Sessions};
use super::{
    Pending, SessionSpec, fired_of, fired_table, session_columns, session_fields, sessions_of, sessions_table,
};
use crate::change::{ChangeBatch, take_rows};
use crate::operator::grouped::{Aggregate, Grouping};
use crate::operator::late::LateRows;
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
            sessions: Sessions::try_new(self.sessions.gap, self.sessions.strict, keys)?,
            partials: Partials::try_new(Arc::new(grouping))?,
            plan: self.clone(),
            pending: Pending::default(),
            assigned: Vec::new(),
            late: LateRows::default(),
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
    late: LateRows,
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
        let ended = self.sessions.close(self.plan.sessions.clock.passed(time.watermark.0));
        for ended in ended.chunks(BATCH_ROWS) {
            out.push(ChangeBatch::append(self.result(ended)?));
        }
        self.sessions.release(&ended)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        if self.plan.aggregates.is_empty() {
            let sessions = sessions_table(&self.sessions, &self.plan.sessions, &self.plan.input)?;
            return Ok(vec![sessions, fired_table(self.sessions.fired())?]);
        }
        let open = self.sessions.all_open();
        let (places, states) = self.partials.snapshot(&open)?;
        let of_part: Vec<SessionWindow> = places.iter().map(|place| open[*place]).collect();
        let known = session_columns(&self.sessions, &of_part)?;
        let columns = known.into_iter().chain(states.columns().iter().cloned()).collect();
        let fields = session_fields(&self.plan.sessions, &self.plan.input)?;
        let fields = fields.into_iter().chain(self.partials.grouping().partial.fields().iter().cloned());
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?;
        let placement = self.plan.sessions.placement((2..2 + self.plan.sessions.keys.len()).collect());
        Ok(vec![
            StateTable { name: "sessions".into(), placement, rows: vec![rows] },
            fired_table(self.sessions.fired())?,
        ])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            match table.name.as_ref() {
                "sessions" => table.rows.iter().try_for_each(|rows| self.take_over(rows))?,
                "fired" => self.sessions.set_fired(fired_of(&table.rows)?),
                other => return Err(Error::internal(format!("an aggregate of sessions has no state named '{other}'"))),
            }
        }
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats {
            state_rows: self.sessions.len() as u64,
            state_bytes: (self.sessions.bytes() + self.partials.bytes()) as u64,
            late_rows: self.late.count(),
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
        let marks = batch.watermarks.as_ref().map(|w| spec.clock.all_passed(w.clone()));
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
        self.aggregate(batch, &mut assigned)?;
        self.assigned = assigned;
        Ok(())
    }

    /// Adds rows to their sessions, but for late ones.
    fn aggregate(&mut self, batch: &ChangeBatch, assigned: &mut Vec<u32>) -> Result<()> {
        let all = (0u32..).zip(assigned.iter());
        let late: Vec<u32> = all.clone().filter(|(_, session)| **session == NONE).map(|(row, _)| row).collect();
        if late.is_empty() {
            let inputs = self.partials.grouping().inputs(&batch.rows)?;
            return self.partials.update(assigned, &inputs);
        }
        let kept = UInt32Array::from_iter_values(all.filter(|(_, session)| **session != NONE).map(|(row, _)| row));
        let late = self.plan.sessions.late(batch, &late, self.sessions.fired())?;
        self.late.dropped(&batch.rows, None, &late)?;
        assigned.retain(|session| *session != NONE);
        let inputs = self.partials.grouping().inputs(&take_rows(&batch.rows, &kept)?)?;
        self.partials.update(assigned, &inputs)
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

    /// Takes over rows of a snapshot.
    fn take_over(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.plan.sessions.keys.len();
        let (key_columns, windows) = sessions_of(rows, keys)?;
        let sessions = self.sessions.restore(key_columns, &windows)?;
        if self.plan.aggregates.is_empty() {
            return Ok(());
        }
        self.partials.restore(&sessions, rows.columns()[2 + keys..].to_vec())
    }
}
