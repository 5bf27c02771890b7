//! UNNEST: a row for each element of an array, columns for the fields of a ROW.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StructArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};

use super::{Operator, OperatorFactory};
use crate::change::ChangeBatch;
use crate::{Error, Result};

/// How many rows go out in one batch: a row may hold a long array.
const BATCH_ROWS: usize = 8192;

/// What becomes of an input column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnnestColumn {
    /// It is repeated for each element.
    Repeat,
    /// An array: a row for each element; several arrays run side by side, the shorter filled up with NULL.
    Elements,
    /// A ROW: a column for each field.
    Fields,
}

/// Which rows without elements are kept, as one row with NULL for the element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Those whose array is NULL.
    pub null: bool,
    /// Those whose array is empty.
    pub empty: bool,
}

/// Gives for each row one row an element; a row whose arrays are all empty or NULL gives none, unless it is to be kept.
#[derive(Debug, Clone)]
pub struct Unnest {
    columns: Vec<UnnestColumn>,
    kept: Kept,
    schema: SchemaRef,
}

impl Unnest {
    /// `columns` says what becomes of each input column; `schema` is the result's.
    pub fn new(columns: Vec<UnnestColumn>, kept: Kept, schema: SchemaRef) -> Self {
        Self { columns, kept, schema }
    }

    fn lists<'a>(&self, rows: &'a RecordBatch) -> Result<Vec<(usize, &'a ListArray)>> {
        let elements = self.columns.iter().enumerate().filter(|(_, c)| **c == UnnestColumn::Elements);
        elements
            .map(|(i, _)| match rows.column(i).as_list_opt::<i32>() {
                Some(list) => Ok((i, list)),
                None => Err(Error::internal(format!("UNNEST of {}", rows.column(i).data_type()))),
            })
            .collect()
    }

    /// How many rows one row becomes.
    fn length(&self, lists: &[(usize, &ListArray)], row: usize) -> usize {
        if lists.is_empty() {
            return 1;
        }
        let lengths = lists.iter().map(|(_, list)| match list.is_valid(row) {
            true => (list.value_length(row) as usize).max(usize::from(self.kept.empty)),
            false => usize::from(self.kept.null),
        });
        lengths.max().unwrap_or(0)
    }

    /// The rows given by `picked`: pairs of a row and the place of an element in its arrays.
    fn emit(
        &self,
        batch: &ChangeBatch,
        lists: &[(usize, &ListArray)],
        picked: &[(u32, u32)],
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        let rows = UInt32Array::from_iter_values(picked.iter().map(|(row, _)| *row));
        let repeated = batch.take(&rows)?;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (i, column) in self.columns.iter().enumerate() {
            match column {
                UnnestColumn::Repeat => columns.push(Arc::clone(repeated.rows.column(i))),
                UnnestColumn::Fields => columns.extend(fields(repeated.rows.column(i))?),
                UnnestColumn::Elements => {
                    let list = lists.iter().find(|(at, _)| *at == i).map(|(_, list)| *list);
                    let list = list.ok_or_else(|| Error::internal("an array went missing"))?;
                    columns.push(elements(list, picked)?);
                }
            }
        }
        out.push(repeated.with_rows(RecordBatch::try_new(Arc::clone(&self.schema), columns)?));
        Ok(())
    }
}

/// The chosen elements; NULL behind the end of an array.
fn elements(list: &ListArray, picked: &[(u32, u32)]) -> Result<ArrayRef> {
    let offsets = list.value_offsets();
    let at = picked.iter().map(|(row, element)| {
        let (from, to) = (offsets[*row as usize] as u32, offsets[*row as usize + 1] as u32);
        (list.is_valid(*row as usize) && from + element < to).then_some(from + element)
    });
    Ok(take(list.values(), &UInt32Array::from_iter(at), None)?)
}

/// A ROW's fields as columns; NULL where the ROW is.
fn fields(column: &ArrayRef) -> Result<Vec<ArrayRef>> {
    let Some(rows) = column.as_any().downcast_ref::<StructArray>() else {
        return Err(Error::internal(format!("UNNEST of {}", column.data_type())));
    };
    let Some(nulls) = rows.nulls() else { return Ok(rows.columns().to_vec()) };
    let is_null = arrow::array::BooleanArray::new(!nulls.inner(), None);
    let masked = rows.columns().iter().map(|c| match c.data_type() {
        DataType::Null => Ok(Arc::clone(c)),
        _ => Ok(arrow::compute::nullif(c, &is_null)?),
    });
    masked.collect()
}

impl Operator for Unnest {
    fn push(&mut self, _input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let lists = self.lists(&batch.rows)?;
        let mut picked = Vec::new();
        for row in 0..batch.num_rows() {
            for element in 0..self.length(&lists, row) {
                picked.push((row as u32, element as u32));
                if picked.len() == BATCH_ROWS {
                    self.emit(&batch, &lists, &picked, out)?;
                    picked.clear();
                }
            }
        }
        if picked.is_empty() { Ok(()) } else { self.emit(&batch, &lists, &picked, out) }
    }
}

impl OperatorFactory for Unnest {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }

    fn name(&self) -> &'static str {
        "Unnest"
    }
}
