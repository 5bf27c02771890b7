//! The window function SESSION by itself: every row with its session, when the session is final.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::sessions::{NONE, SessionWindow, Sessions};
use super::{Pending, SessionSpec, fired_of, fired_table, sessions_of, sessions_table};
use crate::change::ChangeBatch;
use crate::operator::late::LateRows;
use crate::operator::processing_time::{Closing, ClosingFactory};
use crate::operator::window::Window;
use crate::operator::window_assign::window_columns;
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Lists, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// How many rows go out in one batch, but for a session's that are not parted.
const BATCH_ROWS: usize = 8192;

/// Gives every row with the columns `window_start`, `window_end` and `window_time` of its session when the watermark closes
/// that; drops late rows. A row that goes while its session is open is not given; the session stays as long as it was.
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
            sessions: Sessions::try_new(self.sessions.gap, self.sessions.strict, keys)?,
            rows: row_store(Arc::clone(&self.input)),
            by_session: Lists::default(),
            plan: self.clone(),
            pending: Pending::default(),
            late: LateRows::default(),
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
    late: LateRows,
}

impl Operator for SessionAssign {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
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
        Ok(vec![
            sessions_table(&self.sessions, &self.plan.sessions, &self.plan.input)?,
            StateTable { name: "rows".into(), placement, rows: self.rows.freeze()? },
            fired_table(self.sessions.fired())?,
        ])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let (mut fired, mut rows) = (i64::MIN, Vec::new());
        for table in tables {
            match table.name.as_ref() {
                "sessions" => table.rows.iter().try_for_each(|rows| {
                    let (keys, windows) = sessions_of(rows, self.plan.sessions.keys.len())?;
                    self.sessions.restore(keys, &windows).map(|_| ())
                })?,
                "rows" => rows.extend(table.rows),
                "fired" => fired = fired.max(fired_of(&table.rows)?),
                other => return Err(Error::internal(format!("sessions have no state named '{other}'"))),
            }
        }
        // Each row finds its session again: none was closed.
        rows.into_iter().try_for_each(|rows| self.add(&ChangeBatch::append(rows)))?;
        self.sessions.set_fired(fired);
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats {
            state_rows: self.rows.len() as u64,
            state_bytes: (self.sessions.bytes() + self.rows.bytes() + self.by_session.bytes()) as u64,
            late_rows: self.late.count(),
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
        let marks = batch.watermarks.as_ref().map(|w| spec.clock.all_passed(w.clone()));
        let marks = marks.as_ref().map(|w| w.values().as_ref());
        let mut assigned = Vec::new();
        self.sessions.assign(&spec.key_columns(&batch.rows), times.values(), marks, &mut assigned)?;
        let merged = self.sessions.take_merged();
        let first = self.rows.append(&batch.rows)?;
        for (from, into) in &merged {
            self.by_session.join(*from, *into);
        }
        let mut late = Vec::new();
        for (nth, (session, row)) in assigned.into_iter().zip(first..).enumerate() {
            let session = self.sessions.resolve(session);
            let kept = session != NONE && batch.kind(nth).is_addition();
            if kept {
                self.by_session.push(session, row);
                continue;
            }
            self.rows.remove(row);
            if session == NONE || !self.take_away(session, &batch.rows, nth)? {
                late.push(nth as u32);
            }
        }
        let late = self.plan.sessions.late(batch, &late, self.sessions.fired())?;
        self.late.dropped(&batch.rows, batch.kinds.as_ref(), &late)
    }

    /// Takes a row out of its session; false if it is not there, because it was late.
    fn take_away(&mut self, session: u32, rows: &RecordBatch, at: usize) -> Result<bool> {
        let members: Vec<u32> = self.by_session.iter(session).collect();
        let equal = self.rows.equal(&members, rows, &vec![at as u32; members.len()])?;
        let Some(found) = equal.iter().rposition(|equal| *equal) else { return Ok(false) };
        self.by_session.remove(session, members[found]);
        self.rows.remove(members[found]);
        Ok(true)
    }

    /// Lets the rows of sessions out, session by session, each session's in the order of arrival.
    fn emit(&mut self, ended: &[SessionWindow], out: &mut Vec<ChangeBatch>) -> Result<()> {
        let (mut rows, mut windows): (Vec<u32>, Vec<Window>) = (Vec::new(), Vec::new());
        for (nth, session) in ended.iter().enumerate() {
            let from = rows.len();
            self.by_session.take(session.session, &mut rows);
            rows[from..].sort_unstable();
            windows.resize(rows.len(), session.window);
            if rows.is_empty() || (rows.len() < BATCH_ROWS && nth + 1 < ended.len()) {
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
