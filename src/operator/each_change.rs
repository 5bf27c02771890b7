//! Every change of an operator that else gives the net changes of a step, each with the watermark that it came at: for
//! windows behind it, which must know of each change whether it came in time, however the input was cut into steps.

use super::late::{LateRows, in_order, sorted};
use super::{Factory, Operator, OperatorFactory, OperatorStats, StepTime};
use crate::Result;
use crate::change::{ChangeBatch, Watermark};
use crate::state::StateTable;

/// Runs an operator of one input row by row, as if each row were a step of its own.
#[derive(Debug, Clone)]
pub struct EachChange(pub Factory);

impl OperatorFactory for EachChange {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(RowByRow { inner: self.0.build()?, pending: Vec::new() }))
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }
}

struct RowByRow {
    inner: Box<dyn Operator>,
    /// The step's batches.
    pending: Vec<ChangeBatch>,
}

impl RowByRow {
    fn each(&mut self, batch: &ChangeBatch, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        for row in 0..batch.num_rows() {
            let mark = batch.watermarks.as_ref().map(|w| w.value(row));
            let watermark = mark.map_or(Watermark::MIN, Watermark);
            let then = StepTime { inputs: vec![watermark], watermark, processing_time: time.processing_time };
            let mut given = Vec::new();
            let one = ChangeBatch { watermarks: None, ..batch.slice(row, 1) };
            self.inner.push(0, one, &mut given)?;
            self.inner.advance(&then, &mut given)?;
            out.extend(given.into_iter().map(|changes| {
                let watermarks = mark.map(|mark| vec![mark; changes.num_rows()].into());
                ChangeBatch { watermarks, ..changes }
            }));
        }
        Ok(())
    }
}

impl Operator for RowByRow {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut pending = std::mem::take(&mut self.pending);
        if !in_order(&pending) {
            // A union's inputs, one after another.
            let (marked, plain): (Vec<_>, Vec<_>) = pending.into_iter().partition(|b| b.watermarks.is_some());
            pending = plain;
            pending.extend(sorted(&marked)?);
        }
        pending.iter().try_for_each(|batch| self.each(batch, time, out))?;
        self.inner.advance(time, out)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.inner.snapshot()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.inner.restore(tables)
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        self.inner.late_rows()
    }

    fn stats(&self) -> OperatorStats {
        self.inner.stats()
    }
}
