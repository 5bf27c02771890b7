//! An interval join's state as columns, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::IntervalJoin;
use super::batches::{ON_TIME, TimedRows};
use crate::operator::reached::REACHED;
use crate::operator::top_n::frozen::{split_columns, with_columns};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// The tables of the two sides.
const NAMES: [&str; 2] = ["left", "right"];

impl IntervalJoin {
    /// The rows that are held. Which of them are indexed is no part of it: that is found out anew.
    pub(super) fn freeze(&self) -> Result<Vec<StateTable>> {
        let mut tables = vec![self.reached.freeze()?];
        for (side, name) in self.sides.iter().zip(NAMES) {
            let placement = Placement::Key(side.kept_keys.clone());
            let rows = side.batches.freeze().map(|held| frozen(held?)).collect::<Result<Vec<_>>>()?;
            tables.push(StateTable { name: name.into(), placement, rows });
        }
        Ok(tables)
    }

    pub(super) fn thaw(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name == REACHED {
                self.reached.thaw(&table);
                continue;
            }
            let side = NAMES.iter().position(|name| *name == table.name);
            let side =
                side.ok_or_else(|| Error::internal(format!("'{}' is no state of an interval join", table.name)))?;
            table.rows.iter().try_for_each(|rows| self.thaw_rows(side, rows))?;
        }
        Ok(())
    }

    fn thaw_rows(&mut self, side: usize, rows: &RecordBatch) -> Result<()> {
        let odd = || Error::internal("a table that is no state of this interval join");
        let own = &mut self.sides[side];
        let (rows, more) = split_columns(rows, own.kept.len())?;
        let [times, marks, matched] = more.as_slice() else { return Err(odd()) };
        let times = times.as_primitive_opt::<Int64Type>().ok_or_else(odd)?.values().clone();
        let marks = marks.as_primitive_opt::<Int64Type>().ok_or_else(odd)?.values();
        let marks = if marks.iter().all(|m| *m == ON_TIME) { Vec::new() } else { marks.to_vec() };
        let matched = matched.as_boolean_opt().ok_or_else(odd)?.values().iter().collect();
        let held = TimedRows { rows, times, marks, matched };
        let span = held.span();
        own.batches.append(held, span).map(|_| ())
    }
}

/// Rows, each with its time, the watermark before it, and whether it has had a match.
fn frozen(held: TimedRows) -> Result<RecordBatch> {
    let marks = (0..held.len()).map(|row| held.mark(row)).collect::<Int64Array>();
    let matched = (0..held.len()).map(|row| Some(held.matched.get(row).copied().unwrap_or(false)));
    let matched: BooleanArray = matched.collect();
    let times: ArrayRef = Arc::new(Int64Array::new(held.times, None));
    with_columns(held.rows, [("time", times), ("watermark", Arc::new(marks)), ("matched", Arc::new(matched))])
}
