//! At most one row: what a scalar subquery must give.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::ChangeBatch;
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// Hands its input on, and fails when a step leaves more than one row standing. Runs on one worker.
#[derive(Debug, Clone, Default)]
pub struct SingleRow {
    rows: i64,
}

impl Operator for SingleRow {
    fn push(&mut self, _input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let rows = batch.num_rows();
        let added = batch.kinds.as_ref().map_or(rows, |k| k.iter().filter(|k| k.is_addition()).count());
        self.rows += added as i64 - (rows - added) as i64;
        out.push(batch);
        Ok(())
    }

    fn advance(&mut self, _time: &StepTime, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        match self.rows {
            ..=1 => Ok(()),
            rows => Err(Error::Execution(format!("a scalar subquery gives more than one row: {rows} rows"))),
        }
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let rows: ArrayRef = Arc::new(Int64Array::from(vec![self.rows]));
        let rows = RecordBatch::try_from_iter([("rows", rows)])?;
        Ok(vec![StateTable { name: "rows".into(), placement: Placement::First, rows: vec![rows] }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.iter().flat_map(|t| &t.rows) {
            let column = rows.columns().first().and_then(|c| c.as_primitive_opt::<Int64Type>());
            let column = column.ok_or_else(|| Error::internal("a table that is no state of a single row"))?;
            self.rows += column.values().iter().sum::<i64>();
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        OperatorStats { state_rows: self.rows.clamp(0, 1).unsigned_abs(), ..OperatorStats::default() }
    }
}

impl OperatorFactory for SingleRow {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "SingleRow"
    }
}
