//! A temporal join's state as columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};

use super::TemporalJoin;
use crate::operator::reached::REACHED;
use crate::operator::top_n::placement;
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// How many rows of state stand in one batch.
const BATCH_ROWS: usize = 8192;

impl TemporalJoin {
    pub(super) fn freeze(&mut self) -> Result<Vec<StateTable>> {
        let [left, right] = &self.plan.inputs;
        let marks: ArrayRef = Arc::new(Int64Array::from(vec![self.fired]));
        let versions = self.versions.freeze(BATCH_ROWS)?.into_iter().map(|(keys, rows, ended)| {
            let written = Int64Array::from_iter_values(keys.iter().map(|key| self.expiry.written(*key)));
            let more: [ArrayRef; 2] = [Arc::new(ended), Arc::new(written)];
            let columns = rows.columns().iter().cloned().chain(more).enumerate();
            Ok(RecordBatch::try_from_iter_with_nullable(columns.map(|(i, c)| (format!("c{i}"), c, true)))?)
        });
        Ok(vec![
            StateTable {
                name: "fired".into(),
                placement: Placement::All,
                rows: vec![RecordBatch::try_from_iter([("watermark", marks)])?],
            },
            StateTable {
                name: "versions".into(),
                placement: placement(&right.keys),
                rows: versions.collect::<Result<Vec<_>>>()?,
            },
            self.reached.freeze()?,
            StateTable {
                name: "waiting".into(),
                placement: placement(&left.keys),
                rows: self.queue.freeze(BATCH_ROWS)?,
            },
        ])
    }

    pub(super) fn thaw(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for table in tables {
            if table.name == REACHED {
                self.reached.thaw(&table);
                continue;
            }
            for rows in &table.rows {
                match table.name.as_ref() {
                    // Every worker saw the same watermarks at the end of a step.
                    "fired" => {
                        self.fired = typed::<Int64Array>(rows, 0)?.values().iter().fold(self.fired, |a, b| a.max(*b))
                    }
                    "versions" => self.thaw_versions(rows)?,
                    "waiting" => self.thaw_waiting(rows)?,
                    _ => return Err(foreign()),
                }
            }
        }
        Ok(())
    }

    fn thaw_versions(&mut self, rows: &RecordBatch) -> Result<()> {
        let schema = Arc::clone(&self.plan.inputs[1].schema);
        let width = schema.fields().len();
        let (ended, written) = (typed(rows, width)?, typed::<Int64Array>(rows, width + 1)?);
        let own = RecordBatch::try_new(schema, rows.columns()[..width].to_vec())?;
        let keys = self.intern(1, &own)?;
        let times = self.times(1, &own)?;
        keys.iter().zip(written.values()).for_each(|(key, at)| self.expiry.touch(&[*key], *at));
        if self.plan.newest {
            for (key, time) in keys.iter().zip(&times) {
                self.newest[*key as usize] = self.newest[*key as usize].max(*time);
            }
        }
        self.versions.thaw(&own, &ended, &keys, &times)
    }

    fn thaw_waiting(&mut self, rows: &RecordBatch) -> Result<()> {
        let keys = self.intern(0, rows)?;
        let times = self.times(0, rows)?;
        keys.iter().for_each(|key| self.waiting[*key as usize] += 1);
        self.queue.push(rows, &keys, &times)
    }
}

fn typed<A: Array + Clone + 'static>(rows: &RecordBatch, at: usize) -> Result<A> {
    let column = rows.columns().get(at).and_then(|c| c.as_any().downcast_ref::<A>());
    column.cloned().ok_or_else(foreign)
}

fn foreign() -> Error {
    Error::internal("the state of another operator than a temporal join")
}
