//! Any aggregate function, by DataFusion's accumulators.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator as Evaluator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use crate::Result;

/// A function, with the results that were given out last: what goes must be what came, and costs nothing to tell again.
pub(super) struct Function {
    expr: Arc<AggregateFunctionExpr>,
    /// By group.
    last: Vec<Option<ScalarValue>>,
}

impl Function {
    pub fn new(expr: Arc<AggregateFunctionExpr>) -> Self {
        Self { expr, last: Vec::new() }
    }

    pub fn evaluator(&self) -> Result<Box<dyn Evaluator>> {
        Ok(self.expr.create_accumulator()?)
    }

    pub fn data_type(&self) -> DataType {
        self.expr.field().data_type().clone()
    }

    /// The types of a partial state.
    pub fn state_types(&self) -> Result<Vec<DataType>> {
        Ok(self.expr.state_fields()?.iter().map(|f| f.data_type().clone()).collect())
    }

    pub fn grow(&mut self, groups: usize) {
        self.last.resize(groups, None);
    }

    /// Whether the result of a group must be made anew.
    pub fn is_stale(&self, group: u32) -> bool {
        self.last[group as usize].is_none()
    }

    pub fn set(&mut self, group: u32, result: ScalarValue) {
        self.last[group as usize] = Some(result);
    }

    pub fn forget(&mut self, group: u32) {
        self.last[group as usize] = None;
    }

    pub fn last_mut(&mut self) -> &mut Vec<Option<ScalarValue>> {
        &mut self.last
    }

    /// The last results of some groups; NULL where there is none.
    pub fn results(&self, groups: &[u32]) -> Result<ArrayRef> {
        let null = ScalarValue::try_from(&self.data_type())?;
        let results = groups.iter().map(|g| self.last[*g as usize].clone().unwrap_or_else(|| null.clone()));
        column(results, &self.data_type())
    }

    pub fn bytes(&self) -> usize {
        let heap: usize = self.last.iter().flatten().map(|v| v.size() - size_of_val(v)).sum();
        self.last.capacity() * size_of::<Option<ScalarValue>>() + heap
    }
}

/// Scalars as a column of a type.
pub(super) fn column(values: impl ExactSizeIterator<Item = ScalarValue>, data_type: &DataType) -> Result<ArrayRef> {
    if values.len() == 0 {
        return Ok(new_empty_array(data_type));
    }
    let array = ScalarValue::iter_to_array(values)?;
    if array.data_type() == data_type { Ok(array) } else { Ok(arrow::compute::cast(&array, data_type)?) }
}
