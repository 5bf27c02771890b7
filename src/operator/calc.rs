//! Projection and filter in one operator.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::collect_columns;

use super::{Operator, OperatorFactory};
use crate::Result;
use crate::change::ChangeBatch;

/// Keeps the rows that satisfy a condition and computes new columns from them. Keeps no state.
#[derive(Debug, Clone)]
pub struct Calc {
    filter: Option<Filter>,
    projection: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
}

/// A condition, and the columns that are still wanted once it holds: no other column is copied.
#[derive(Debug, Clone)]
struct Filter {
    condition: Arc<dyn PhysicalExpr>,
    kept: Vec<usize>,
}

impl Calc {
    /// A projection of the rows that satisfy `condition` (all, where there is none); all expressions are over the
    /// columns of `input`, and `schema` is the schema of what the projection gives.
    ///
    /// # Errors
    /// When an expression refers to a column that `input` lacks.
    pub fn try_new(
        input: &SchemaRef,
        condition: Option<Arc<dyn PhysicalExpr>>,
        projection: Vec<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Result<Self> {
        let Some(condition) = condition else {
            return Ok(Self { filter: None, projection, schema });
        };
        let mut kept: Vec<usize> = projection.iter().flat_map(collect_columns).map(|c| c.index()).collect();
        kept.sort_unstable();
        kept.dedup();
        let narrowed = Arc::new(input.project(&kept)?);
        let projection =
            projection.into_iter().map(|e| reassign_by_index(e, &kept, &narrowed)).collect::<Result<Vec<_>>>()?;
        Ok(Self { filter: Some(Filter { condition, kept }), projection, schema })
    }
}

/// Points an expression's columns at their places among the kept ones. By index: names need not be unique.
fn reassign_by_index(
    expr: Arc<dyn PhysicalExpr>,
    kept: &[usize],
    narrowed: &SchemaRef,
) -> Result<Arc<dyn PhysicalExpr>> {
    use datafusion_common::tree_node::{Transformed, TreeNode};
    use datafusion_physical_expr::expressions::Column;
    let moved = expr.transform(|e| {
        let Some(column) = e.downcast_ref::<Column>() else {
            return Ok(Transformed::no(e));
        };
        let at = kept.binary_search(&column.index()).map_err(|_| {
            datafusion_common::DataFusionError::Internal(format!("column {} was not kept", column.name()))
        })?;
        Ok(Transformed::yes(Arc::new(Column::new(narrowed.field(at).name(), at)) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(moved.data)
}

impl Operator for Calc {
    fn push(&mut self, _input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let batch = match &self.filter {
            Some(filter) => match filter.apply(batch)? {
                Some(kept) => kept,
                None => return Ok(()),
            },
            None => batch,
        };
        let rows = batch.num_rows();
        let columns =
            self.projection.iter().map(|e| e.evaluate(&batch.rows)?.into_array(rows)).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let projected = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        out.push(batch.with_rows(projected));
        Ok(())
    }
}

impl Filter {
    /// The rows that satisfy the condition, with the kept columns; `None` when there are none.
    fn apply(&self, batch: ChangeBatch) -> Result<Option<ChangeBatch>> {
        let verdict = self.condition.evaluate(&batch.rows)?.into_array(batch.num_rows())?;
        let verdict: &BooleanArray = verdict.as_boolean();
        let matches = verdict.true_count();
        if matches == 0 {
            return Ok(None);
        }
        let narrowed = batch.with_rows(batch.rows.project(&self.kept)?);
        if matches == batch.num_rows() { Ok(Some(narrowed)) } else { narrowed.filter(verdict).map(Some) }
    }
}

impl OperatorFactory for Calc {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "Calc"
    }
}
