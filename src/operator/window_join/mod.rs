//! Window joins: of two inputs whose rows carry windows, within each window.
//!
//! The rows of an open window are only held. When the watermark closes it, what came to it is joined as a whole, by a hash table
//! of its keys, and goes out: the result only grows, and nothing is held but the rows of open windows. A row is late when the
//! window that it carries is closed.

mod meet;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, max, min};

use super::join::output::Layout;
use super::join::{JoinFactory, JoinKind};
use super::late::{Late, LateRows};
use super::reached::{Origin, REACHED, Reached};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, WallClock, Watermark, rowtime_millis, take_rows};
use crate::state::{Placement, RowStore, StateTable, row_store};
use crate::{Error, Result};

/// Makes window joins.
#[derive(Debug, Clone)]
pub struct WindowJoinFactory {
    /// What is joined, and what comes of it. The windows' starts and ends are among its keys.
    pub join: JoinFactory,
    /// The columns of each input that hold a window's start and end.
    pub windows: [(usize, usize); 2],
    /// The clock that windows are cut by, and watermarks are read off.
    pub clock: WallClock,
    /// Where the inputs' rows come from.
    pub origin: Origin,
}

impl OperatorFactory for WindowJoinFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        if self.join.kind == JoinKind::NotIn || self.join.inputs.iter().any(|i| i.changing) {
            return Err(Error::internal("a window join of another kind"));
        }
        let layout = Layout::try_new(&self.join)?;
        let sides = [Side::try_new(self, &layout, 0)?, Side::try_new(self, &layout, 1)?];
        let reached = Reached::new(self.origin);
        Ok(Box::new(WindowJoin {
            plan: self.clone(),
            layout,
            sides,
            pending: [Vec::new(), Vec::new()],
            reached,
            late: LateRows::default(),
        }))
    }

    fn name(&self) -> &'static str {
        "WindowJoin"
    }
}

struct WindowJoin {
    plan: WindowJoinFactory,
    layout: Layout,
    sides: [Side; 2],
    /// What the step brought so far.
    pending: [Vec<ChangeBatch>; 2],
    reached: Reached,
    late: LateRows,
}

/// The rows of one side.
struct Side {
    /// The columns of the input that are kept.
    kept: Vec<usize>,
    /// Of these, the key columns, in the order of the keys.
    keys: Vec<usize>,
    /// Of these, the key columns but for the windows'.
    plain_keys: Vec<usize>,
    /// Of these, the windows' starts and ends.
    window: (usize, usize),
    /// By the windows' ends.
    open: BTreeMap<i64, Box<dyn RowStore>>,
    schema: arrow::datatypes::SchemaRef,
}

impl Side {
    fn try_new(plan: &WindowJoinFactory, layout: &Layout, side: usize) -> Result<Self> {
        let input = &plan.join.inputs[side];
        let kept = layout.kept[side].clone();
        let place = |column: usize| {
            let place = kept.iter().position(|c| *c == column);
            place.ok_or_else(|| Error::internal("a window that is no key of its join"))
        };
        let (start, end) = plan.windows[side];
        let keys = input.keys.iter().map(|k| place(*k)).collect::<Result<Vec<_>>>()?;
        let pairs = plan.join.inputs[0].keys.iter().zip(&plan.join.inputs[1].keys);
        let [left, right] = plan.windows;
        let is_window = |(l, r): (&usize, &usize)| (*l, *r) == (left.0, right.0) || (*l, *r) == (left.1, right.1);
        let plain_keys = keys.iter().zip(pairs).filter(|(_, pair)| !is_window(*pair)).map(|(k, _)| *k).collect();
        Ok(Self {
            keys,
            plain_keys,
            window: (place(start)?, place(end)?),
            open: BTreeMap::new(),
            schema: Arc::new(input.schema.project(&kept)?),
            kept,
        })
    }

    /// The ends of some rows' windows.
    fn ends(&self, rows: &RecordBatch) -> Result<Int64Array> {
        let ends = rowtime_millis(rows.column(self.window.1))?;
        match ends.null_count() {
            0 => Ok(ends),
            _ => Err(Error::Execution("the end of a window is NULL in a row".into())),
        }
    }

    /// Holds rows, by the ends of their windows.
    fn hold(&mut self, rows: &RecordBatch, ends: &Int64Array) -> Result<()> {
        let (Some(first), Some(last)) = (min(ends), max(ends)) else { return Ok(()) };
        if first == last {
            return self.hold_window(first, rows);
        }
        let mut windows: Vec<(i64, Vec<u32>)> = Vec::new();
        for (row, end) in (0u32..).zip(ends.values()) {
            // Neighbours mostly share a window: it is almost always among the last.
            match windows.iter_mut().rev().find(|(e, _)| e == end) {
                Some((_, rows)) => rows.push(row),
                None => windows.push((*end, vec![row])),
            }
        }
        windows.into_iter().try_for_each(|(end, picked)| {
            let rows = take_rows(rows, &UInt32Array::from(picked))?;
            self.hold_window(end, &rows)
        })
    }

    fn hold_window(&mut self, end: i64, rows: &RecordBatch) -> Result<()> {
        let store = self.open.entry(end).or_insert_with(|| row_store(Arc::clone(&self.schema)));
        store.append(rows)?;
        Ok(())
    }

    /// Takes out the rows of the windows that end at a time.
    fn close(&mut self, end: i64) -> Result<RecordBatch> {
        let rows = self.open.remove(&end).map_or(Ok(Vec::new()), |store| store.freeze())?;
        match rows.as_slice() {
            [one] => Ok(one.clone()),
            many => Ok(concat_batches(&self.schema, many)?),
        }
    }

    fn rows(&self) -> usize {
        self.open.values().map(|store| store.len()).sum()
    }

    fn bytes(&self) -> usize {
        self.open.values().map(|store| store.bytes()).sum()
    }
}

impl WindowJoin {
    fn take_in(&mut self, side: usize, batch: &ChangeBatch) -> Result<()> {
        let own = &self.sides[side];
        let mut rows = batch.rows.project(&own.kept)?;
        let mut ends = own.ends(&rows)?;
        let reached = self.clocked(self.reached.least());
        let marks = self.reached.marks(side, batch).map(|marks| self.plan.clock.all_passed(marks));
        let mark = |row: usize| marks.as_ref().map_or(reached, |m| m.value(row).max(reached));
        let in_time = BooleanBuffer::collect_bool(ends.len(), |row| ends.value(row).saturating_sub(1) > mark(row));
        if in_time.count_set_bits() < ends.len() {
            let late = (0..ends.len()).filter(|row| !in_time.value(*row)).map(|row| Late {
                row: row as u32,
                time: self.plan.clock.instant(ends.value(row).saturating_sub(1)),
                watermark: self.plan.clock.instant(mark(row)),
            });
            self.late.dropped(&batch.rows, batch.kinds.as_ref(), &late.collect::<Vec<_>>())?;
            rows = arrow::compute::filter_record_batch(&rows, &BooleanArray::new(in_time, None))?;
            ends = own.ends(&rows)?;
        }
        self.sides[side].hold(&rows, &ends)
    }

    /// A watermark as the windows' clock shows it.
    fn clocked(&self, watermark: i64) -> i64 {
        if watermark == i64::MAX || watermark == i64::MIN { watermark } else { self.plan.clock.passed(watermark) }
    }

    /// Joins the windows that the watermark has closed, one end after another.
    fn fire(&mut self, watermark: i64, out: &mut Vec<ChangeBatch>) -> Result<()> {
        loop {
            let firsts = self.sides.iter().filter_map(|s| s.open.first_key_value().map(|(end, _)| *end));
            let Some(end) = firsts.min().filter(|end| end.saturating_sub(1) <= watermark) else { return Ok(()) };
            let rows = [self.sides[0].close(end)?, self.sides[1].close(end)?];
            self.meet(rows, out)?;
        }
    }
}

impl Operator for WindowJoin {
    fn push(&mut self, input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("a window join of changing rows"));
        }
        if batch.num_rows() > 0 {
            self.pending[input].push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for side in [0, 1] {
            for batch in std::mem::take(&mut self.pending[side]) {
                self.take_in(side, &batch)?;
            }
        }
        self.reached.advance(time);
        let Watermark(reached) = time.watermark;
        self.fire(self.clocked(reached), out)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let mut tables = vec![self.reached.freeze()?];
        for (side, name) in self.sides.iter().zip(["left", "right"]) {
            let rows = side.open.values().map(|store| store.freeze()).collect::<Result<Vec<_>>>()?.concat();
            tables.push(StateTable { name: name.into(), placement: Placement::Key(side.keys.clone()), rows });
        }
        Ok(tables)
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            let side = match table.name.as_ref() {
                REACHED => {
                    self.reached.thaw(&table);
                    continue;
                }
                "left" => &mut self.sides[0],
                "right" => &mut self.sides[1],
                other => return Err(Error::internal(format!("'{other}' is no state of a window join"))),
            };
            for rows in &table.rows {
                let ends = side.ends(rows)?;
                side.hold(rows, &ends)?;
            }
        }
        Ok(())
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats {
            state_rows: self.sides.iter().map(Side::rows).sum::<usize>() as u64,
            state_bytes: self.sides.iter().map(Side::bytes).sum::<usize>() as u64,
            late_rows: self.late.count(),
        }
    }
}
