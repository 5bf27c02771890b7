//! Answers: left rows with what their versions say.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::collect_columns;

use super::TemporalJoinFactory;
use super::versions::Versions;
use crate::Result;
use crate::change::ChangeBatch;
use crate::operator::join::reassign;
use crate::operator::over::waiting::Waiting;
use crate::state::GONE;

/// How many rows go out in one batch.
const BATCH_ROWS: usize = 8192;

/// A condition, and what it reads.
struct Condition {
    expr: Arc<dyn PhysicalExpr>,
    /// The columns of each side, in the order in which the condition has them.
    columns: [Vec<usize>; 2],
    schema: SchemaRef,
}

impl Condition {
    fn try_new(plan: &TemporalJoinFactory, expr: &Arc<dyn PhysicalExpr>) -> Result<Self> {
        let width = plan.inputs[0].schema.fields().len();
        let mut read: Vec<usize> = collect_columns(expr).iter().map(|c| c.index()).collect();
        read.sort_unstable();
        let (left, right): (Vec<usize>, Vec<usize>) = read.iter().partition(|c| **c < width);
        let columns = [left, right.into_iter().map(|c| c - width).collect()];
        let fields = [0, 1].map(|side| {
            let schema = &plan.inputs[side].schema;
            columns[side].iter().map(|c| Arc::clone(&schema.fields()[*c])).collect::<Vec<_>>()
        });
        let schema = Arc::new(Schema::new(fields.concat()));
        Ok(Self { expr: reassign(Arc::clone(expr), &read)?, columns, schema })
    }
}

/// Makes the rows of the result.
pub(super) struct Answers {
    outer: bool,
    condition: Option<Condition>,
    /// The columns of each side that the result has.
    taken: [Vec<usize>; 2],
    /// The result's columns: the side, and the place among those taken of it.
    outputs: Vec<(usize, usize)>,
    schema: SchemaRef,
}

impl Answers {
    pub fn try_new(plan: &TemporalJoinFactory) -> Result<Self> {
        let width = plan.inputs[0].schema.fields().len();
        let mut taken = [Vec::new(), Vec::new()];
        let mut outputs = Vec::with_capacity(plan.outputs.len());
        for column in &plan.outputs {
            let (side, column) = if *column < width { (0, *column) } else { (1, *column - width) };
            taken[side].push(column);
            outputs.push((side, taken[side].len() - 1));
        }
        let condition = plan.condition.as_ref().map(|expr| Condition::try_new(plan, expr)).transpose()?;
        Ok(Self { outer: plan.outer, condition, taken, outputs, schema: Arc::clone(&plan.schema) })
    }

    /// Answers rows, in their order. Those up to `late` are late for whoever stands behind: that watermark was in force
    /// before.
    pub fn give(
        &self,
        rows: RecordBatch,
        ready: &[Waiting],
        versions: &Versions,
        late: i64,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        for from in (0..ready.len()).step_by(BATCH_ROWS) {
            let len = BATCH_ROWS.min(ready.len() - from);
            let (rows, ready) = (rows.slice(from, len), &ready[from..from + len]);
            let mut found: Vec<u32> = ready.iter().map(|w| versions.at(w.key, w.time)).collect();
            self.test(&rows, &mut found, versions)?;
            let is_late = ready.first().is_some_and(|first| first.time <= late);
            let answered = self.rows(&rows, &found, versions)?;
            if answered.num_rows() > 0 {
                let watermarks = is_late.then(|| Int64Array::from(vec![late; answered.num_rows()]));
                out.push(ChangeBatch { rows: answered, kinds: None, watermarks });
            }
        }
        Ok(())
    }

    /// Takes back the versions that do not satisfy the condition.
    fn test(&self, rows: &RecordBatch, found: &mut [u32], versions: &Versions) -> Result<()> {
        let Some(condition) = &self.condition else { return Ok(()) };
        let (at, ids) = matched(found);
        if at.is_empty() {
            return Ok(());
        }
        let mut columns = taken(rows, &condition.columns[0], &at)?;
        columns.extend(versions.take(&condition.columns[1], &ids)?);
        let options = RecordBatchOptions::new().with_row_count(Some(at.len()));
        let pairs = RecordBatch::try_new_with_options(Arc::clone(&condition.schema), columns, &options)?;
        let verdict = condition.expr.evaluate(&pairs)?.into_array(at.len())?;
        let verdict = verdict.as_boolean();
        for (i, row) in at.iter().enumerate() {
            if !(verdict.is_valid(i) && verdict.value(i)) {
                found[*row as usize] = GONE;
            }
        }
        Ok(())
    }

    fn rows(&self, rows: &RecordBatch, found: &[u32], versions: &Versions) -> Result<RecordBatch> {
        let (at, ids) = matched(found);
        let right = versions.take(&self.taken[1], &ids)?;
        let all = at.len() == found.len();
        let (left, right) = match self.outer {
            true if all => (rows.project(&self.taken[0])?.columns().to_vec(), right),
            true => (rows.project(&self.taken[0])?.columns().to_vec(), padded(&right, found)?),
            false => (taken(rows, &self.taken[0], &at)?, right),
        };
        let count = if self.outer { found.len() } else { at.len() };
        let sides = [left, right];
        let columns = self.outputs.iter().map(|(side, place)| Arc::clone(&sides[*side][*place])).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// The rows that have a version, and the versions.
fn matched(found: &[u32]) -> (Vec<u32>, Vec<u32>) {
    (0u32..).zip(found).filter(|(_, id)| **id != GONE).map(|(at, id)| (at, *id)).unzip()
}

/// Some columns of some rows; as they are where all rows are taken.
fn taken(rows: &RecordBatch, columns: &[usize], at: &[u32]) -> Result<Vec<ArrayRef>> {
    if at.len() == rows.num_rows() {
        return Ok(columns.iter().map(|c| Arc::clone(rows.column(*c))).collect());
    }
    let at = UInt32Array::from(at.to_vec());
    columns.iter().map(|c| Ok(take(rows.column(*c), &at, None)?)).collect()
}

/// Columns of the versions that were found, at the places of their rows; NULL for rows without one.
fn padded(columns: &[ArrayRef], found: &[u32]) -> Result<Vec<ArrayRef>> {
    let mut next = 0..;
    let places: UInt32Array = found.iter().map(|id| if *id == GONE { None } else { next.next() }).collect();
    let spread = |column: &ArrayRef| match column.is_empty() {
        true => Ok(new_null_array(column.data_type(), found.len())),
        false => Ok(take(column, &places, None)?),
    };
    columns.iter().map(spread).collect()
}
