//! COLLECT: the values as a multiset, a map from each to how often it came.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type};
use datafusion_common::utils::SingleRowListArrayBuilder;
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion_expr::utils::format_state_name;
use datafusion_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use indexmap::IndexMap;

/// COLLECT.
pub(super) fn function() -> AggregateUDF {
    AggregateUDF::new_from_impl(Collect { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Collect {
    signature: Signature,
}

fn entry(of: &DataType) -> Fields {
    [Field::new("key", of.clone(), false), Field::new("value", DataType::Int32, false)].into_iter().collect()
}

fn entries(of: &DataType) -> FieldRef {
    Arc::new(Field::new("entries", DataType::Struct(entry(of)), false))
}

impl AggregateUDFImpl for Collect {
    fn name(&self) -> &str {
        "collect"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] => Ok(DataType::Map(entries(of), false)),
            _ => plan_err!("COLLECT takes one argument"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let [input] = args.input_fields else { return plan_err!("COLLECT takes one argument") };
        let list = |name, of: &DataType| {
            let list = DataType::List(Arc::new(Field::new_list_field(of.clone(), true)));
            Arc::new(Field::new(format_state_name(args.name, name), list, true))
        };
        Ok(vec![list("values", input.data_type()), list("counts", &DataType::Int32)])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let [input] = args.expr_fields else { return plan_err!("COLLECT takes one argument") };
        let distinct = args.is_distinct;
        Ok(Box::new(Multiset { of: input.data_type().clone(), counts: IndexMap::new(), distinct }))
    }
}

#[derive(Debug)]
struct Multiset {
    of: DataType,
    counts: IndexMap<ScalarValue, i32>,
    distinct: bool,
}

impl Multiset {
    fn add(&mut self, array: &ArrayRef, row: usize, n: i32) -> Result<()> {
        if array.is_null(row) {
            return Ok(());
        }
        let value = ScalarValue::try_from_array(array, row)?.compacted();
        let count = self.counts.entry(value.clone()).or_insert(0);
        *count = count.saturating_add(n);
        if *count == 0 {
            self.counts.shift_remove(&value);
        }
        Ok(())
    }

    fn each(&mut self, values: &[ArrayRef], n: i32) -> Result<()> {
        let Some(array) = values.first() else { return exec_err!("COLLECT without an argument") };
        (0..array.len()).try_for_each(|row| self.add(array, row, n))
    }

    fn columns(&self) -> Result<(ArrayRef, ArrayRef)> {
        let keys = if self.counts.is_empty() {
            arrow::array::new_empty_array(&self.of)
        } else {
            ScalarValue::iter_to_array(self.counts.keys().cloned())?
        };
        let counts: Int32Array = self.counts.values().map(|n| Some(if self.distinct { 1 } else { *n })).collect();
        Ok((keys, Arc::new(counts)))
    }
}

impl Accumulator for Multiset {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let (keys, counts) = self.columns()?;
        let offsets = OffsetBuffer::from_lengths([keys.len()]);
        let rows = StructArray::try_new(entry(&self.of), vec![keys, counts], None)?;
        Ok(ScalarValue::Map(Arc::new(MapArray::try_new(entries(&self.of), offsets, rows, None, false)?)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (keys, counts) = self.columns()?;
        let list = |array| SingleRowListArrayBuilder::new(array).with_nullable(true).build_list_scalar();
        Ok(vec![list(keys), list(counts)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [keys, counts] = states else { return exec_err!("the state of COLLECT is two lists") };
        for (keys, counts) in keys.as_list::<i32>().iter().zip(counts.as_list::<i32>().iter()) {
            let (Some(keys), Some(counts)) = (keys, counts) else { continue };
            for (row, n) in counts.as_primitive::<Int32Type>().iter().enumerate() {
                self.add(&keys, row, n.unwrap_or(0))?;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counts.keys().map(|k| k.size() + size_of::<i32>()).sum::<usize>()
    }
}
