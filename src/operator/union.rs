//! UNION ALL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::{Operator, OperatorFactory, StepTime};
use crate::change::{ChangeBatch, Watermark};
use crate::state::{Placement, StateTable};
use crate::{Error, Result};

/// Passes on what any of its inputs brings. Its watermark is the least of theirs, and so a row is late behind it only
/// where it is late by that: by its own watermark, and by where those of other sources stood when the step began.
#[derive(Debug, Clone)]
pub struct UnionAll {
    /// For each input a number; inputs of one number come from the same sources, row by row at the same watermark.
    origins: Vec<usize>,
    /// For each input by how much its watermark is ahead of the least of those from the same sources.
    ahead: Vec<i64>,
    /// The inputs' watermarks at the end of the last step.
    inputs: Vec<i64>,
    /// Of all inputs' rows: a column may be NULL where it may in one of them.
    schema: SchemaRef,
}

impl UnionAll {
    /// A union of inputs: for each a number, the same for those that come from the same sources, and by how much its watermark is
    /// ahead of the least of these. Their schemas differ from the result's in nothing but that columns may be NULL.
    pub fn new(origins: Vec<usize>, ahead: Vec<i64>, schema: SchemaRef) -> Self {
        Self { inputs: vec![Watermark::MIN.0; origins.len()], origins, ahead, schema }
    }

    /// The least watermark of the inputs that come from elsewhere than `input`.
    fn others(&self, input: usize) -> i64 {
        let others = self.origins.iter().zip(&self.inputs).filter(|(o, _)| **o != self.origins[input]);
        others.map(|(_, w)| *w).min().unwrap_or(i64::MAX)
    }
}

impl Operator for UnionAll {
    fn push(&mut self, input: usize, mut batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if let Some(own) = &batch.watermarks {
            let (others, ahead) = (self.others(input), self.ahead[input]);
            batch.watermarks = Some(own.unary(|w| w.saturating_sub(ahead).min(others)));
        }
        batch.rows = batch.rows.with_schema(Arc::clone(&self.schema))?;
        out.push(batch);
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.inputs = time.inputs.iter().map(|w| w.0).collect();
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let marks: ArrayRef = Arc::new(Int64Array::from(self.inputs.clone()));
        let rows = vec![RecordBatch::try_from_iter([("watermark", marks)])?];
        Ok(vec![StateTable { name: "inputs".into(), placement: Placement::All, rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        for rows in tables.iter().flat_map(|t| &t.rows) {
            // Every worker saw the same watermarks.
            match rows.columns() {
                [marks] if marks.len() == self.inputs.len() => {
                    self.inputs = watermarks(marks)?;
                }
                _ => return Err(Error::internal("state of a union with other inputs")),
            }
        }
        Ok(())
    }
}

fn watermarks(marks: &ArrayRef) -> Result<Vec<i64>> {
    match marks.as_any().downcast_ref::<Int64Array>() {
        Some(marks) => Ok(marks.values().to_vec()),
        None => Err(Error::internal("state of another type than was handed out")),
    }
}

impl OperatorFactory for UnionAll {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "Union"
    }
}
