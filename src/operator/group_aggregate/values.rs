//! Arguments of aggregates to dense numbers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array, new_empty_array};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, Schema, UInt32Type};

use crate::Result;
use crate::state::{Keys, Remap};

/// Values of some arguments by group, each combination with a number. Floating-point numbers are told apart by their bits:
/// unlike in GROUP BY, -0.0 is not 0.0.
pub(super) struct Values {
    types: Vec<DataType>,
    keys: Keys,
}

impl Values {
    pub fn try_new(types: &[DataType]) -> Result<Self> {
        let mut fields = vec![Field::new("group", DataType::UInt32, false)];
        fields.extend(types.iter().enumerate().map(|(i, t)| Field::new(format!("v{i}"), bits_type(t), true)));
        Ok(Self { types: types.to_vec(), keys: Keys::try_new(Arc::new(Schema::new(fields)))? })
    }

    /// Finds or makes the number of each row's value, into `found`.
    pub fn intern(&mut self, groups: &[u32], arguments: &[ArrayRef], found: &mut Vec<u32>) -> Result<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from_iter_values(groups.iter().copied()))];
        columns.extend(arguments.iter().map(to_bits));
        self.keys.intern(&columns, groups.len(), found)
    }

    /// The arguments of some values.
    pub fn take(&self, values: &[u32]) -> Result<Vec<ArrayRef>> {
        if values.is_empty() {
            return Ok(self.types.iter().map(new_empty_array).collect());
        }
        let columns = self.keys.take(values)?;
        Ok(columns.iter().skip(1).zip(&self.types).map(|(column, t)| from_bits(column, t)).collect())
    }

    /// The groups of all values, in the order of their numbers.
    pub fn groups(&self) -> Result<Vec<u32>> {
        let mut groups = Vec::with_capacity(self.keys.len());
        for chunk in self.keys.freeze()? {
            groups.extend_from_slice(chunk.column(0).as_primitive::<UInt32Type>().values());
        }
        Ok(groups)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Drops the values for which `live` is false and numbers the others anew.
    pub fn retain(&mut self, live: impl Fn(u32) -> bool) -> Result<Remap> {
        self.keys.retain(live)
    }

    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }
}

fn bits_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Float32 => DataType::Int32,
        DataType::Float64 => DataType::Int64,
        other => other.clone(),
    }
}

fn to_bits(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Int32Type>(|v| v.to_bits() as i32))
        }
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Int64Type>(|v| v.to_bits() as i64))
        }
        _ => Arc::clone(column),
    }
}

fn from_bits(column: &ArrayRef, data_type: &DataType) -> ArrayRef {
    match data_type {
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Int32Type>().unary::<_, Float32Type>(|v| f32::from_bits(v as u32)))
        }
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Int64Type>().unary::<_, Float64Type>(|v| f64::from_bits(v as u64)))
        }
        _ => Arc::clone(column),
    }
}
