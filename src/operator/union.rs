//! UNION ALL.

use arrow::array::Int64Array;

use super::{Operator, OperatorFactory, StepTime};
use crate::Result;
use crate::change::{ChangeBatch, Watermark};
use crate::state::StateTable;

/// Passes on what any of its inputs brings. Its watermark is the least of theirs, and so a row is late behind it only
/// where it is late by that.
#[derive(Debug, Clone)]
pub struct UnionAll {
    /// The inputs' watermarks at the end of the last step.
    inputs: Vec<Watermark>,
}

impl UnionAll {
    /// A union of that many inputs of one schema.
    pub fn new(inputs: usize) -> Self {
        Self { inputs: vec![Watermark::MIN; inputs] }
    }

    /// The least watermark of the inputs other than `input`.
    fn others(&self, input: usize) -> i64 {
        let others = self.inputs.iter().enumerate().filter(|(i, _)| *i != input);
        others.map(|(_, w)| w.0).min().unwrap_or(i64::MAX)
    }
}

impl Operator for UnionAll {
    fn push(&mut self, input: usize, mut batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        if let Some(own) = &batch.watermarks {
            let others = self.others(input);
            batch.watermarks = Some(Int64Array::from_iter_values(own.values().iter().map(|w| (*w).min(others))));
        }
        out.push(batch);
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.inputs.clone_from(&time.inputs);
        Ok(())
    }

    fn restore(&mut self, _tables: Vec<StateTable>) -> Result<()> {
        Ok(())
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
