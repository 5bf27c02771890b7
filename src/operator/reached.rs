//! How far the watermarks of a join's inputs have come, for its rows one by one.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;

use super::StepTime;
use crate::Result;
use crate::change::{ChangeBatch, Watermark};
use crate::state::{Placement, StateTable};

/// The watermarks of two inputs as the step began.
#[derive(Debug)]
pub(super) struct Reached {
    inputs: [i64; 2],
    origin: Origin,
}

/// Where the rows of two inputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From different sources.
    Apart,
    /// From the same sources, row by row: for each input by how much its watermark is ahead of the lesser of both.
    Same([i64; 2]),
}

/// The name of its state.
pub(super) const REACHED: &str = "reached";

impl Reached {
    pub fn new(origin: Origin) -> Self {
        Self { inputs: [Watermark::MIN.0; 2], origin }
    }

    /// The lesser of both watermarks just before each row: by the row's own where both come from the same sources, else by that and
    /// by where the other input's stood when the step began. `None` where no row is behind its own.
    pub fn marks(&self, input: usize, batch: &ChangeBatch) -> Option<Int64Array> {
        let own = batch.watermarks.as_ref()?;
        Some(match self.origin {
            Origin::Apart => own.unary(|mark| mark.min(self.inputs[1 - input])),
            Origin::Same(ahead) => own.unary(|mark| mark.saturating_sub(ahead[input])),
        })
    }

    /// The watermark that the last step ended with.
    pub fn least(&self) -> i64 {
        self.inputs[0].min(self.inputs[1])
    }

    /// Ends a step.
    pub fn advance(&mut self, time: &StepTime) {
        self.inputs.iter_mut().zip(&time.inputs).for_each(|(own, input)| *own = input.0);
    }

    pub fn freeze(&self) -> Result<StateTable> {
        let marks: ArrayRef = Arc::new(Int64Array::from(self.inputs.to_vec()));
        let rows = vec![RecordBatch::try_from_iter([("watermark", marks)])?];
        Ok(StateTable { name: REACHED.into(), placement: Placement::All, rows })
    }

    /// Takes over what [`Reached::freeze`] gave on any worker: all saw the same.
    pub fn thaw(&mut self, table: &StateTable) {
        let columns = table.rows.iter().filter_map(|rows| rows.columns().first()?.as_primitive_opt::<Int64Type>());
        for marks in columns {
            self.inputs.iter_mut().zip(marks.values()).for_each(|(own, mark)| *own = (*own).max(*mark));
        }
    }
}
