//! The order of a partition's rows.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::row::{RowConverter, Rows as Encoded, SortField};

use crate::Result;

/// Columns that rows are ordered by, and behind these either their numbers or all that they hold.
#[derive(Debug, Clone)]
pub(super) struct Ordering {
    columns: Vec<(usize, SortOptions)>,
    /// Whether no two rows tie that differ.
    pub is_total: bool,
}

impl Ordering {
    /// By some columns, and then, `by_content`, by all others as far as they have an order.
    pub fn new(mut columns: Vec<(usize, SortOptions)>, by_content: bool, rows: &arrow::datatypes::Schema) -> Self {
        let mut is_total = true;
        if by_content {
            let rest = (0..rows.fields().len()).filter(|c| !columns.iter().any(|(known, _)| known == c));
            let ordered =
                |c: &usize| RowConverter::supports_fields(&[SortField::new(rows.field(*c).data_type().clone())]);
            let (rest, without): (Vec<usize>, Vec<usize>) = rest.partition(ordered);
            is_total = without.is_empty();
            columns.extend(rest.into_iter().map(|c| (c, SortOptions::default())));
        }
        Self { columns, is_total }
    }

    /// Rows as bytes that compare as the rows are ordered; `None` where they are in order as they stand.
    pub fn encode(&self, rows: &RecordBatch) -> Result<Option<Encoded>> {
        if self.columns.is_empty() {
            return Ok(None);
        }
        let field = |(c, options): &(usize, SortOptions)| {
            SortField::new_with_options(rows.column(*c).data_type().clone(), *options)
        };
        let converter = RowConverter::new(self.columns.iter().map(field).collect())?;
        let columns: Vec<ArrayRef> = self.columns.iter().map(|(c, _)| std::sync::Arc::clone(rows.column(*c))).collect();
        Ok(Some(converter.convert_columns(&columns)?))
    }
}
