//! The test driver for programs.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;

use super::action::Action;
use super::desk::{Desk, unknown_output};
use super::rows::rows_of;
use super::running::{Output, Running, Saved};
use super::time::{START, millis};
use crate::change::{ChangeBatch, RowKind};
use crate::runtime::circuit::SinkSpec;
use crate::runtime::{Circuit, OperatorMetrics, SourceState};
use crate::sql::Session;
use crate::table::SourceChangelog;
use crate::{Error, Result};

/// Drives queries by hand: rows, watermarks and the clock go in when the test says so, and after each step the test can look
/// at what has come out and at what the operators hold.
///
/// Nothing is opened, no thread is started on one worker, and nothing ever sleeps: tables are fed by name whatever connector they
/// are declared with, and the clock stands at 2024-01-01 00:00:00 UTC until it is moved. Times may be written without their date,
/// which is that day's.
///
/// ```
/// use millstream::testing::TestDriver;
///
/// let mut driver = TestDriver::new();
/// driver.execute(
///     "CREATE TABLE payments (card STRING, amount INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
///      WITH ('connector' = 'channel')",
/// )?;
/// driver.query(
///     "spent",
///     "SELECT card, window_end, SUM(amount) FROM TABLE(TUMBLE(TABLE payments, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
///      GROUP BY card, window_start, window_end",
/// )?;
///
/// driver.push("payments", "a, 10, 00:00:01\nb,  5, 00:00:20\na,  7, 00:00:30")?;
/// driver.step()?;
/// assert!(driver.changes("spent")?.is_empty());
///
/// // The same state in another executor, on three workers.
/// let snapshot = driver.snapshot()?;
/// driver.restore(&snapshot, 3)?;
///
/// driver.watermark("payments", "00:01:00")?;
/// driver.step()?;
/// let mut changes = driver.changes("spent")?;
/// changes.sort();
/// assert_eq!(changes, ["+I[a, 2024-01-01T00:01, 17]", "+I[b, 2024-01-01T00:01, 5]"]);
///
/// // The window is closed: this one is late, and nothing is held for it.
/// driver.push("payments", "a, 1, 00:00:59")?;
/// driver.step()?;
/// assert_eq!(driver.late_rows("spent")?, 1);
/// assert!(driver.operators("spent")?.iter().all(|o| o.stats.state_rows == 0));
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct TestDriver {
    desk: Desk,
    workers: usize,
    now: i64,
    /// What goes in with the next step.
    pending: Vec<Action>,
    /// What has gone in, for queries that are started later: they see it all.
    history: Vec<(i64, Vec<Action>)>,
    queries: Vec<Named>,
}

/// A query, and the names under which what comes out of it is asked for.
struct Named {
    /// By sink.
    names: Vec<String>,
    running: Running,
}

/// A driver's queries as they stood between two steps.
#[derive(Clone)]
pub struct TestSnapshot {
    now: i64,
    steps: usize,
    queries: Vec<Saved>,
}

impl Default for TestDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl TestDriver {
    /// A driver without tables, on one worker.
    pub fn new() -> Self {
        Self {
            desk: Desk::new(),
            workers: 1,
            now: START,
            pending: Vec::new(),
            history: Vec::new(),
            queries: Vec::new(),
        }
    }

    /// Runs what is started from here on on that many workers.
    #[must_use]
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// The session, to add functions and connectors to, or settings.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.desk.session
    }

    /// Carries out statements: declarations and settings take effect; INSERTs start, and what they write is asked for under the
    /// names of their tables. Gives what SHOW, DESCRIBE and EXPLAIN say, a text a row.
    ///
    /// # Errors
    /// The first error, with its place; also for a bare query, which needs a name: see [`TestDriver::query`].
    pub fn execute(&mut self, sql: &str) -> Result<Vec<String>> {
        let planned = self.desk.carry_out(sql)?;
        for circuit in planned.circuits {
            let names: Option<Vec<_>> = Running::sinks(&circuit).map(|(_, name)| name.map(str::to_string)).collect();
            let Some(names) = names else {
                return Err(Error::Option("a bare query needs a name: TestDriver::query".into()));
            };
            self.start(circuit, names)?;
        }
        Ok(planned.rows.unwrap_or_default())
    }

    /// Starts a query under a name. It sees all that has gone in so far.
    ///
    /// # Errors
    /// When it cannot be planned, is no single query, or fails on what has gone in so far.
    pub fn query(&mut self, name: &str, sql: &str) -> Result<()> {
        let mut circuits = self.desk.carry_out(sql)?.circuits;
        match (circuits.pop(), circuits.is_empty()) {
            (Some(circuit), true)
                if circuit.sinks.len() == 1 || matches!(circuit.sinks[..], [SinkSpec::Result, ..]) =>
            {
                // Behind it there may be the table that takes late rows.
                let named =
                    |(sink, table): (usize, Option<&str>)| table.filter(|_| sink > 0).unwrap_or(name).to_string();
                let names = Running::sinks(&circuit).map(named).collect();
                self.start(circuit, names)
            }
            _ => Err(Error::Option("one query is expected".into())),
        }
    }

    fn start(&mut self, circuit: Circuit, names: Vec<String>) -> Result<()> {
        let first = self.history.first().map_or(self.now, |(now, _)| *now);
        let mut running = Running::new(Arc::new(circuit), self.workers, first)?;
        self.history.iter().for_each(|(now, actions)| running.step(actions, *now));
        running.check()?;
        self.queries.push(Named { names, running });
        Ok(())
    }

    /// Has rows of text go in with the next step: lines such as `1, a`, `{"k": 1, "v": "a"}` or `-D[1, a]`.
    ///
    /// # Errors
    /// When there is no such table, or a line is no row of it.
    pub fn push(&mut self, table: &str, lines: &str) -> Result<()> {
        let lines: Vec<&str> = lines.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let rows = rows_of(self.desk.table(table)?.as_ref(), &lines);
        let rows = rows.map_err(|(line, e)| Error::Option(format!("row {}: {e}", line + 1)))?;
        self.pending.push(Action::Rows(table.to_string(), rows));
        Ok(())
    }

    /// Has new rows go in with the next step. They have all columns that the table's connector gives.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn push_rows(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        self.push_changes(table, ChangeBatch::append(rows))
    }

    /// Has changes go in with the next step.
    ///
    /// # Errors
    /// When there is no such table, or it takes new rows only.
    pub fn push_changes(&mut self, table: &str, changes: ChangeBatch) -> Result<()> {
        let found = self.desk.table(table)?;
        let appends = found.connector.changelog(&found.descriptor)? == SourceChangelog::Append;
        if appends && (0..changes.num_rows()).any(|row| changes.kind(row) != RowKind::Insert) {
            return Err(Error::Option(format!("table '{table}' takes new rows only")));
        }
        self.pending.push(Action::Rows(table.to_string(), changes));
        Ok(())
    }

    /// Moves a table's watermark on with the next step, behind the rows that go in with it: `'2024-01-01 00:00:10'`, `00:00:10`.
    ///
    /// # Errors
    /// When there is no such table, it declares no watermark, or the time is none.
    pub fn watermark(&mut self, table: &str, time: &str) -> Result<()> {
        self.desk.timed_table(table)?;
        self.pending.push(Action::Watermark(table.to_string(), millis(time)?));
        Ok(())
    }

    /// Moves the clock on; the next step runs at that time.
    pub fn advance_clock(&mut self, by: Duration) {
        self.now = self.now.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// With the next step a table's source is idle, until rows come again: others do not wait for its watermark.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn idle(&mut self, table: &str) -> Result<()> {
        self.stands(table, SourceState::Idle)
    }

    /// With the next step a table's input ends, behind the rows that go in with it.
    ///
    /// # Errors
    /// When there is no such table.
    pub fn end(&mut self, table: &str) -> Result<()> {
        self.stands(table, SourceState::Ended)
    }

    fn stands(&mut self, table: &str, state: SourceState) -> Result<()> {
        self.desk.table(table)?;
        self.pending.push(Action::Stands(Some(table.to_string()), state));
        Ok(())
    }

    /// With the next step all input ends: every window closes.
    pub fn end_all(&mut self) {
        self.pending.push(Action::Stands(None, SourceState::Ended));
    }

    /// Takes everything in since the last step, as one step.
    ///
    /// # Errors
    /// When a query fails on it. The others have taken it in, and go on.
    pub fn step(&mut self) -> Result<()> {
        let actions = std::mem::take(&mut self.pending);
        self.queries.iter_mut().for_each(|q| q.running.step(&actions, self.now));
        self.history.push((self.now, actions));
        self.queries.iter().try_for_each(|q| q.running.check())
    }

    /// The changes that have come out under a name since they were last asked for, as `+I[1, a]`.
    ///
    /// # Errors
    /// When nothing runs under the name, or it has failed.
    pub fn changes(&mut self, name: &str) -> Result<Vec<String>> {
        Ok(std::mem::take(&mut self.output(name)?.changes))
    }

    /// The rows that stand under a name, as `1, a`.
    ///
    /// # Errors
    /// As [`TestDriver::changes`].
    pub fn table(&mut self, name: &str) -> Result<Vec<String>> {
        Ok(self.output(name)?.table.rows().cloned().collect())
    }

    /// How many rows came too late for the query of a name.
    ///
    /// # Errors
    /// As [`TestDriver::changes`].
    pub fn late_rows(&mut self, name: &str) -> Result<u64> {
        self.named(name)?.0.late_rows()
    }

    /// What the operators of the query of a name have counted and hold, in topological order.
    ///
    /// # Errors
    /// As [`TestDriver::changes`].
    pub fn operators(&mut self, name: &str) -> Result<Vec<OperatorMetrics>> {
        self.named(name)?.0.operators()
    }

    /// The circuit of the query of a name.
    ///
    /// # Errors
    /// As [`TestDriver::changes`].
    pub fn circuit(&mut self, name: &str) -> Result<Arc<Circuit>> {
        Ok(Arc::clone(self.named(name)?.0.circuit()))
    }

    fn output(&mut self, name: &str) -> Result<&mut Output> {
        let (running, sink) = self.named(name)?;
        Ok(running.output(sink))
    }

    fn named(&mut self, name: &str) -> Result<(&mut Running, usize)> {
        let find = |q: &Named| q.names.iter().position(|n| n == name);
        let Some((at, sink)) = self.queries.iter().enumerate().rev().find_map(|(at, q)| Some((at, find(q)?))) else {
            let known = self.queries.iter().flat_map(|q| q.names.iter().map(String::as_str));
            return Err(unknown_output(name, known));
        };
        let running = &mut self.queries[at].running;
        running.check()?;
        Ok((running, sink))
    }

    /// All queries' state as it stands between two steps, with what has come out so far.
    ///
    /// # Errors
    /// When a query has failed.
    pub fn snapshot(&mut self) -> Result<TestSnapshot> {
        let queries = self.queries.iter_mut().map(|q| q.running.save()).collect::<Result<_>>()?;
        Ok(TestSnapshot { now: self.now, steps: self.history.len(), queries })
    }

    /// Throws all executors away and goes on from a snapshot in new ones, on that many workers. What has been pushed and not
    /// been taken in is dropped.
    ///
    /// # Errors
    /// When the snapshot is of other queries.
    pub fn restore(&mut self, snapshot: &TestSnapshot, workers: usize) -> Result<()> {
        if snapshot.queries.len() != self.queries.len() || snapshot.steps > self.history.len() {
            return Err(Error::Option("the snapshot is of other queries".into()));
        }
        for (query, saved) in self.queries.iter_mut().zip(&snapshot.queries) {
            query.running.restore(saved, workers.max(1))?;
        }
        self.pending.clear();
        self.history.truncate(snapshot.steps);
        self.now = snapshot.now;
        Ok(())
    }
}
