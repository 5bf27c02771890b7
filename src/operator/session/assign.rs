//! The window function SESSION by itself: every row with its session, when the session is final.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::sessions::{NONE, SessionWindow, Sessions};
use super::{Pending, SessionSpec, fired_of, fired_table};
use crate::change::ChangeBatch;
use crate::operator::processing_time::{Closing, ClosingFactory};
use crate::operator::window::Window;
use crate::operator::window_assign::window_columns;
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Lists, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// How many rows go out in one batch, but for a session's that are not parted.
const BATCH_ROWS: usize = 8192;

/// Gives every row with the columns `window_start`, `window_end` and `window_time` of its session when the watermark closes
/// that; drops late rows.
#[derive(Debug, Clone)]
pub struct SessionAssignFactory {
    /// The sessions.
    pub sessions: SessionSpec,
    /// The input's schema.
    pub input: SchemaRef,
    /// The input's with the three window columns behind it.
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAssignFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.make()?))
    }

    fn name(&self) -> &'static str {
        "SessionWindow"
    }
}

impl ClosingFactory for SessionAssignFactory {
    fn build_closing(&self) -> Result<Box<dyn Closing>> {
        Ok(Box::new(self.make()?))
    }
}

impl SessionAssignFactory {
    fn make(&self) -> Result<SessionAssign> {
        let keys = Arc::new(self.input.project(&self.sessions.keys)?);
        Ok(SessionAssign {
            sessions: Sessions::try_new(self.sessions.gap, keys)?,
            rows: row_store(Arc::clone(&self.input)),
            by_session: Lists::default(),
            plan: self.clone(),
            pending: Pending::default(),
            late_rows: 0,
        })
    }
}

struct SessionAssign {
    plan: SessionAssignFactory,
    sessions: Sessions,
    /// The rows of open sessions, in the order of arrival.
    rows: Box<dyn RowStore>,
    by_session: Lists,
    pending: Pending,
    late_rows: u64,
}

impl Operator for SessionAssign {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("sessions of changing input"));
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
        self.emit(&ended, out)?;
        self.sessions.release(&ended)?;
        if self.rows.wants_compaction() {
            let remap = self.rows.compact()?;
            self.by_session.remap_rows(&remap);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let placement = self.plan.sessions.placement(self.plan.sessions.keys.clone());
        Ok(vec![StateTable { name: "rows", placement, rows: self.rows.freeze()? }, fired_table(self.sessions.fired())?])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let mut fired = i64::MIN;
        for table in tables {
            match table.name {
                // Sessions are made of their rows anew; none was closed.
                "rows" => table.rows.into_iter().try_for_each(|rows| self.add(&ChangeBatch::append(rows)))?,
                "fired" => fired = fired.max(fired_of(&table.rows)?),
                other => return Err(Error::internal(format!("sessions have no state named '{other}'"))),
            }
        }
        self.sessions.set_fired(fired);
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats {
            state_rows: self.rows.len() as u64,
            state_bytes: (self.sessions.bytes() + self.rows.bytes() + self.by_session.bytes()) as u64,
            late_rows: self.late_rows,
        }
    }
}

impl Closing for SessionAssign {
    fn next_end(&self) -> Option<i64> {
        let last = self.sessions.next_end()?.saturating_sub(1);
        Some(self.plan.sessions.clock.instant(last).saturating_add(1))
    }
}

impl SessionAssign {
    fn add(&mut self, batch: &ChangeBatch) -> Result<()> {
        let spec = &self.plan.sessions;
        let times = spec.times(&batch.rows)?;
        let marks = batch.watermarks.as_ref().map(|w| spec.clock.all_at(w.clone()));
        let marks = marks.as_ref().map(|w| w.values().as_ref());
        let mut assigned = Vec::new();
        self.sessions.assign(&spec.key_columns(&batch.rows), times.values(), marks, &mut assigned)?;
        let merged = self.sessions.take_merged();
        let first = self.rows.append(&batch.rows)?;
        for (from, into) in &merged {
            self.by_session.join(*from, *into);
        }
        for (session, row) in assigned.into_iter().zip(first..) {
            if session == NONE {
                self.late_rows += 1;
                self.rows.remove(row);
                continue;
            }
            self.by_session.push(self.sessions.resolve(session), row);
        }
        Ok(())
    }

    /// Lets the rows of sessions out, session by session, each session's in the order of arrival.
    fn emit(&mut self, ended: &[SessionWindow], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let (mut rows, mut windows): (Vec<u32>, Vec<Window>) = (Vec::new(), Vec::new());
        for (nth, session) in ended.iter().enumerate() {
            let from = rows.len();
            self.by_session.take(session.session, &mut rows);
            rows[from..].sort_unstable();
            windows.resize(rows.len(), session.window);
            if rows.len() < BATCH_ROWS && nth + 1 < ended.len() {
                continue;
            }
            let mut columns: Vec<ArrayRef> = self.rows.take(&rows)?.columns().to_vec();
            columns.extend(window_columns(&windows, self.plan.sessions.clock, &self.plan.schema)?);
            out.push(ChangeBatch::append(RecordBatch::try_new(Arc::clone(&self.plan.schema), columns)?));
            rows.drain(..).for_each(|row| self.rows.remove(row));
            windows.clear();
        }
        Ok(())
    }
}
