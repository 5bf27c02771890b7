//! What comes out of matches.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion_physical_expr::PhysicalExpr;

use super::MatchRecognize;
use super::partition::{Found, Match};
use super::slot::{Frame, Matched, Slot, Slots};
use crate::Result;
use crate::change::ChangeBatch;
use crate::state::RowStore;

/// How many matches, or rows of them, go out in one batch.
const BATCH_ROWS: usize = 8192;

/// A column of the result.
#[derive(Debug, Clone)]
pub enum Output {
    /// A column of the match's row, or where a match is one row of its first.
    Column(usize),
    /// An expression over the slots.
    Measure(Arc<dyn PhysicalExpr>),
}

/// What comes out of a match.
#[derive(Debug)]
pub struct Measures {
    /// What measures read.
    pub slots: Slots,
    /// The columns of the result.
    pub outputs: Vec<Output>,
    /// `ALL ROWS PER MATCH`.
    pub all_rows: bool,
    /// Whether a match without rows is shown.
    pub empty: bool,
}

impl Measures {
    /// Whether matches are numbered.
    pub fn numbered(&self) -> bool {
        self.slots.slots.iter().any(|slot| matches!(slot, Slot::Number))
    }

    /// Sends out matches, in the order in which they were found.
    pub(super) fn emit(
        &self,
        plan: &MatchRecognize,
        mut found: Found,
        store: &dyn RowStore,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        found.matches.sort_by_key(|m| m.found);
        let mut rows: Vec<u32> = Vec::new();
        let mut frames: Vec<Frame> = Vec::new();
        for one in &found.matches {
            self.frames(one, &found, &mut frames, &mut rows);
            if frames.len() >= BATCH_ROWS {
                self.send(plan, &mut found.matched, &mut frames, &mut rows, store, out)?;
            }
        }
        self.send(plan, &mut found.matched, &mut frames, &mut rows, store, out)
    }

    /// The rows of the result that come of a match: what each sees, and the row whose columns it has.
    fn frames(&self, one: &Match, found: &Found, frames: &mut Vec<Frame>, rows: &mut Vec<u32>) {
        let frame = one.frame;
        if !self.all_rows || frame.first == frame.whole {
            if self.empty || frame.first < frame.whole {
                frames.push(frame);
                rows.push(one.first);
            }
            return;
        }
        let segments = &found.matched.segments[frame.segments.0..frame.segments.1];
        for row in segments.iter().filter(|s| !s.excluded).flat_map(|s| s.rows.0..s.rows.1) {
            frames.push(Frame { end: row + 1, ..frame });
            rows.push(found.matched.ids[row]);
        }
    }

    fn send(
        &self,
        plan: &MatchRecognize,
        matched: &mut Matched,
        frames: &mut Vec<Frame>,
        rows: &mut Vec<u32>,
        store: &dyn RowStore,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        matched.frames = std::mem::take(frames);
        let slots = self.slots.read(matched, &plan.names, store)?;
        let column = |output: &Output| -> Result<ArrayRef> {
            match output {
                Output::Column(column) => store.take_column(*column, rows),
                Output::Measure(expr) => Ok(expr.evaluate(&slots)?.into_array(slots.num_rows())?),
            }
        };
        let columns = self.outputs.iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&plan.schema), columns, &options)?;
        out.push(ChangeBatch::append(batch));
        rows.clear();
        Ok(())
    }
}
