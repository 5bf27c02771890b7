//! Windows over rows that come and go: the aggregates of each window, which go out once, when the watermark closes it.
//!
//! While a window is open its rows change the aggregates of its groups as those of a GROUP BY without windows, and nothing
//! is said of it; what comes or goes when it is closed is late. A group whose rows have all gone gives no row.
//!
//! Where results are asked for earlier or later ([`Emit`]), what has gone out of each group is kept, and changes to it go out
//! while the window takes rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::sent::{Emit, Sent};
use super::{Aggregate, GroupAggregate, GroupAggregateFactory};
use crate::change::{ChangeBatch, WallClock, Watermark, rowtime_millis};
use crate::operator::late::{Late, LateRows};
use crate::operator::window_aggregate::{WindowOutput, window_times};
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Placement, Remap, StateTable};
use crate::{Error, Result};

/// How many rows of results go out in one batch.
const BATCH_ROWS: usize = 8192;
/// The state that holds what has gone out.
const SENT: &str = "sent";
/// The state that holds the groups that are to be told of, and until when they wait.
const WAITING: &str = "waiting";

/// Groups the rows of each window by key and aggregates them, where rows may go again. Each row stands there once for each
/// of its windows.
#[derive(Debug, Clone)]
pub struct ChangingWindowAggregate {
    /// The columns that hold a row's window: its start and its end.
    pub window: [usize; 2],
    /// The key columns.
    pub keys: Vec<usize>,
    /// Whether rows of the input may go again.
    pub changing: bool,
    /// The clock that windows were cut by.
    pub clock: WallClock,
    /// The aggregates, over the input's columns.
    pub aggregates: Vec<Aggregate>,
    /// When results go out beside when the watermark closes their window.
    pub emit: Option<Emit>,
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
            changing: self.changing,
            ttl: None,
        })?;
        let sent = self.emit.map(|emit| Sent::new(emit, Arc::clone(&self.schema)));
        Ok(Box::new(Windowed {
            plan: self.clone(),
            groups,
            sent,
            open: BTreeMap::new(),
            ends: Vec::new(),
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
    /// What has gone out, where windows give results more than once.
    sent: Option<Sent>,
    /// The groups of windows that take rows, by the windows' ends.
    open: BTreeMap<i64, Vec<u32>>,
    /// By group: the end of its window.
    ends: Vec<i64>,
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

    /// How long after its end a window takes rows.
    fn lateness(&self) -> i64 {
        self.plan.emit.map_or(0, |emit| emit.lateness)
    }

    /// Brings a batch into the groups of open windows; what is in closed ones is dropped, whether it comes or goes.
    fn add(&mut self, batch: &ChangeBatch) -> Result<()> {
        let ends = self.ends(&batch.rows)?;
        let marks = batch.watermarks.as_ref().map(|w| self.plan.clock.all_passed(w.clone()));
        let mark = |row: usize| marks.as_ref().map_or(self.reached, |m| m.value(row).max(self.reached));
        let lateness = self.lateness();
        let last = |row: usize| ends.value(row).saturating_sub(1).saturating_add(lateness);
        let in_time = BooleanBuffer::collect_bool(ends.len(), |row| last(row) > mark(row));
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
        if let Some(sent) = &mut self.sent {
            sent.touch(&touched, self.groups.keys.len());
        }
        self.groups.touched.groups = touched;
        self.groups.apply(batch, &groups)
    }

    /// Notes when the windows of some groups close.
    fn note_open(&mut self, groups: &[u32]) -> Result<()> {
        self.is_open.resize(self.groups.keys.len(), false);
        self.ends.resize(self.groups.keys.len(), i64::MAX);
        let fresh: Vec<u32> = groups.iter().copied().filter(|g| !self.is_open[*g as usize]).collect();
        if fresh.is_empty() {
            return Ok(());
        }
        let keys = self.groups.keys.take(&fresh)?;
        let ends = keys.get(1).ok_or_else(|| Error::internal("windows without an end"))?;
        for (group, end) in fresh.iter().zip(rowtime_millis(ends)?.values()) {
            self.is_open[*group as usize] = true;
            self.ends[*group as usize] = *end;
            self.open.entry(*end).or_default().push(*group);
        }
        Ok(())
    }

    /// Takes the groups out whose windows take no more rows, in the order in which these end.
    fn take_closed(&mut self) -> Vec<u32> {
        let (mut closed, lateness) = (Vec::new(), self.lateness());
        let is_past = |end: i64| end.saturating_sub(1).saturating_add(lateness) <= self.reached;
        while let Some(first) = self.open.first_entry().filter(|e| is_past(*e.key())) {
            let mut groups = first.remove();
            groups.sort_unstable();
            closed.append(&mut groups);
        }
        closed.iter().for_each(|group| self.is_open[*group as usize] = false);
        closed
    }

    /// Tells what has changed of windows that take rows, as far as it is due, and of those that the watermark, `before` until
    /// now, has closed.
    fn tell(&mut self, before: i64, now: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let Some(mut sent) = self.sent.take() else { return Ok(()) };
        let (ends, lateness) = (&self.ends, self.lateness());
        let last = |group: u32| ends[group as usize].saturating_sub(1);
        let is_past = |time: i64| time > before && time <= self.reached;
        let closes = |group: u32| is_past(last(group)) || is_past(last(group).saturating_add(lateness));
        let mut due = sent.due(now, |group| last(group) <= self.reached, closes);
        due.sort_by_key(|group| (ends[*group as usize], *group));
        for part in due.chunks(BATCH_ROWS) {
            let live: Vec<u32> = part.iter().copied().filter(|g| self.groups.rows[*g as usize] > 0).collect();
            let rows = self.result(&live)?;
            sent.tell(part, |group| self.groups.rows[group as usize] > 0, &rows, out)?;
        }
        let mut gone = self.take_closed();
        sent.forget(&gone)?;
        gone.retain(|group| self.groups.rows[*group as usize] > 0);
        self.groups.forget(&gone);
        self.sent = Some(sent);
        Ok(())
    }

    /// Lets out the results of all windows that the watermark has closed, in the order in which they end.
    fn fire(&mut self, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut closed = self.take_closed();
        closed.retain(|group| self.groups.rows[*group as usize] > 0);
        for part in closed.chunks(BATCH_ROWS) {
            out.push(ChangeBatch::append(self.result(part)?));
        }
        self.groups.forget(&closed);
        Ok(())
    }

    fn result(&mut self, groups: &[u32]) -> Result<RecordBatch> {
        if groups.is_empty() {
            return Ok(RecordBatch::new_empty(Arc::clone(&self.plan.schema)));
        }
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

    /// Takes over what has gone out, behind the keys of its groups.
    fn take_sent(&mut self, rows: &RecordBatch) -> Result<()> {
        let groups = self.groups.groups_of(rows)?;
        let columns: Vec<usize> = (2 + self.plan.keys.len()..rows.num_columns()).collect();
        let rows = rows.project(&columns)?;
        let rows = RecordBatch::try_new(Arc::clone(&self.plan.schema), rows.columns().to_vec())?;
        if let Some(sent) = &mut self.sent {
            sent.grow(self.groups.keys.len());
            sent.keep(&groups, &rows)?;
        }
        Ok(())
    }

    /// The groups that are to be told of, by their keys, with the time that each waits for.
    fn freeze_waiting(&self, sent: &Sent) -> Result<RecordBatch> {
        let (groups, times) = sent.waiting();
        let keys = self.groups.keys.take(&groups)?;
        let keys = keys.into_iter().enumerate().map(|(i, key)| (format!("k{i}"), key, true));
        let times: ArrayRef = Arc::new(Int64Array::from(times));
        Ok(RecordBatch::try_from_iter_with_nullable(keys.chain([("until".to_string(), times, true)]))?)
    }

    /// Takes over which groups are to be told of.
    fn take_waiting(&mut self, rows: &RecordBatch) -> Result<()> {
        let groups = self.groups.groups_of(rows)?;
        let times = rows.columns().last().and_then(|c| c.as_primitive_opt::<Int64Type>());
        let times = times.ok_or_else(|| Error::internal("state of another type than was handed out"))?;
        let Some(sent) = &mut self.sent else { return Ok(()) };
        sent.touch(&groups, self.groups.keys.len());
        groups.iter().zip(times).for_each(|(group, until)| until.into_iter().for_each(|at| sent.wait(*group, at)));
        Ok(())
    }

    fn remap(&mut self, remap: &Remap) {
        remap.apply(&mut self.is_open);
        remap.apply(&mut self.ends);
        if let Some(sent) = &mut self.sent {
            sent.remap(remap);
        }
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
        let before = self.reached;
        self.reached = match time.watermark {
            Watermark::MAX => i64::MAX,
            Watermark(at) => self.plan.clock.passed(at),
        };
        match &self.sent {
            Some(_) => self.tell(before, time.processing_time, out)?,
            None => self.fire(out)?,
        }
        // A group that is no more is still to be told of.
        let rows = &self.groups.rows;
        if self.sent.as_ref().is_none_or(|sent| sent.untold().all(|group| rows[group as usize] > 0))
            && let Some(remap) = self.groups.compact()?
        {
            self.remap(&remap);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut tables = self.groups.save()?;
        let reached: ArrayRef = Arc::new(Int64Array::from(vec![self.reached]));
        let rows = vec![RecordBatch::try_from_iter([("watermark", reached)])?];
        tables.push(StateTable { name: "reached".into(), placement: Placement::All, rows });
        if let Some(sent) = &self.sent {
            let groups = sent.groups();
            let rows = vec![sent.freeze(&groups, self.groups.keys.take(&groups)?)?];
            let keys = 2 + self.plan.keys.len();
            tables.push(StateTable { name: SENT.into(), placement: Placement::Key((0..keys).collect()), rows });
            let rows = vec![self.freeze_waiting(sent)?];
            tables.push(StateTable { name: WAITING.into(), placement: Placement::Key((0..keys).collect()), rows });
        }
        Ok(tables)
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name == SENT {
                table.rows.iter().try_for_each(|rows| self.take_sent(rows))?;
                continue;
            }
            if table.name == WAITING {
                table.rows.iter().try_for_each(|rows| self.take_waiting(rows))?;
                continue;
            }
            if table.name != "reached" {
                self.groups.load(&table)?;
                continue;
            }
            let marks = table.rows.iter().filter_map(|r| r.column(0).as_primitive_opt::<Int64Type>());
            let reached = marks.filter_map(|m| m.values().iter().max().copied()).max();
            self.reached = self.reached.max(reached.unwrap_or(i64::MIN));
        }
        let all: Vec<u32> = (0u32..).take(self.groups.keys.len()).collect();
        if let Some(sent) = &mut self.sent {
            sent.grow(all.len());
        }
        self.note_open(&all)
    }

    fn next_timer(&self) -> Option<i64> {
        self.sent.as_ref().and_then(Sent::next_timer)
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let OperatorStats { state_rows, state_bytes, .. } = self.groups.stats();
        let (sent_rows, sent_bytes) = self.sent.as_ref().map_or((0, 0), Sent::size);
        let state_rows = state_rows + sent_rows as u64;
        let state_bytes = state_bytes + sent_bytes as u64;
        let own = self.is_open.capacity() * 9 + self.open.values().map(|g| g.capacity() * 4).sum::<usize>();
        OperatorStats { state_rows, state_bytes: state_bytes + own as u64, late_rows: self.late.count() }
    }
}
