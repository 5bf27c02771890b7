//! DISTINCT in front of any aggregate of one argument.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::utils::SingleRowListArrayBuilder;
use datafusion_common::{Result, ScalarValue, exec_err};
use datafusion_expr::Accumulator;
use datafusion_expr::utils::format_state_name;
use indexmap::IndexSet;

/// Keeps the different values, in the order of their arrival, and hands them on when the result is asked for.
#[derive(Debug)]
pub(super) struct Distinct {
    of: DataType,
    values: IndexSet<ScalarValue>,
    inner: Box<dyn Accumulator>,
    /// How many values `inner` has seen.
    seen: usize,
}

impl Distinct {
    /// In front of an aggregate that has seen nothing yet.
    pub(super) fn new(of: DataType, inner: Box<dyn Accumulator>) -> Self {
        Self { of, values: IndexSet::new(), inner, seen: 0 }
    }

    /// The field of its state: a list of values.
    pub(super) fn state_field(name: &str, of: &DataType) -> FieldRef {
        let list = DataType::List(Arc::new(Field::new_list_field(of.clone(), true)));
        Arc::new(Field::new(format_state_name(name, "distinct"), list, true))
    }

    fn array(&self, from: usize) -> Result<ArrayRef> {
        let values: Vec<ScalarValue> = self.values.iter().skip(from).cloned().collect();
        if values.is_empty() { Ok(arrow::array::new_empty_array(&self.of)) } else { ScalarValue::iter_to_array(values) }
    }
}

impl Accumulator for Distinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(array) = values.first() else { return exec_err!("DISTINCT without an argument") };
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            self.values.insert(ScalarValue::try_from_array(array, row)?.compacted());
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.update_batch(&[self.array(self.seen)?])?;
        self.seen = self.values.len();
        self.inner.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![SingleRowListArrayBuilder::new(self.array(0)?).with_nullable(true).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|s| s.as_list_opt::<i32>()) else {
            return exec_err!("the state of DISTINCT is a list");
        };
        lists.iter().flatten().try_for_each(|list| self.update_batch(&[list]))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.values.iter().map(ScalarValue::size).sum::<usize>()
    }
}
