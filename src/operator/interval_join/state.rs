//! An interval join's state as columns, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::IntervalJoin;
use super::side::{Fresh, ON_TIME, Side};
use crate::operator::join::Role;
use crate::operator::reached::REACHED;
use crate::operator::top_n::frozen::{split_columns, with_columns};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// The tables of the two sides.
const NAMES: [&str; 2] = ["left", "right"];

impl IntervalJoin {
    pub(super) fn freeze(&self) -> Result<Vec<StateTable>> {
        let mut tables = vec![self.reached.freeze()?];
        for (side, name) in self.sides.iter().zip(NAMES) {
            let placement = Placement::Key(side.kept_keys.clone());
            tables.push(StateTable { name: name.into(), placement, rows: side.frozen()? });
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
        let own = &self.sides[side];
        let width = own.kept.len();
        let (rows, more) = split_columns(rows, width)?;
        let [times, marks, matched] = more.as_slice() else { return Err(odd()) };
        let times = times.as_primitive_opt::<Int64Type>().ok_or_else(odd)?;
        let marks = marks.as_primitive_opt::<Int64Type>().ok_or_else(odd)?;
        let matched = matched.as_boolean_opt().ok_or_else(odd)?;
        let keys: Vec<ArrayRef> = own.kept_keys.iter().map(|k| rows.column(*k).clone()).collect();
        let mut ids = Vec::new();
        self.keys.intern(&keys, rows.num_rows(), &mut ids)?;
        let fresh = Fresh { rows, keys: ids, times: times.values().to_vec(), marks: marks.values().to_vec() };
        let own = &mut self.sides[side];
        let first = own.announce(fresh.keys.len()) as usize;
        if own.role != Role::None {
            matched.values().iter().enumerate().for_each(|(i, m)| own.matched[first + i] = m);
        }
        own.hold(&fresh)
    }
}

impl Side {
    /// The rows that are held, each with its time, the watermark before it, and whether it has had a match.
    fn frozen(&self) -> Result<Vec<RecordBatch>> {
        let mut times = vec![0; self.store.ids() as usize];
        let held = (0..self.lines.keys()).flat_map(|key| self.lines.of(key));
        held.for_each(|timed| times[timed.row as usize] = timed.time);
        let mut live = (0..self.store.ids()).filter(|row| self.store.is_live(*row));
        let extended = |rows: RecordBatch| {
            let own: Vec<u32> = live.by_ref().take(rows.num_rows()).collect();
            let times = Int64Array::from_iter_values(own.iter().map(|row| times[*row as usize]));
            let marks =
                Int64Array::from_iter_values(own.iter().map(|row| self.late.get(row).copied().unwrap_or(ON_TIME)));
            let matched = own.iter().map(|row| Some(self.matched.get(*row as usize).copied().unwrap_or(false)));
            let matched: BooleanArray = matched.collect();
            let more: [(&'static str, ArrayRef); 3] =
                [("time", Arc::new(times)), ("watermark", Arc::new(marks)), ("matched", Arc::new(matched))];
            with_columns(rows, more)
        };
        self.store.freeze()?.into_iter().map(extended).collect()
    }
}
