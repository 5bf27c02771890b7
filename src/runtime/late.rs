//! Late rows as rows of a table of the user's.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use crate::change::{ChangeBatch, RowKind};
use crate::format::json;
use crate::operator::late::LateBatch;
use crate::{Error, Result};

/// What can be told of a late row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateColumn {
    /// `operator_name` STRING: the operator that dropped it, as `EXPLAIN` calls it.
    OperatorName,
    /// `operator_id` INT or BIGINT: the number that `EXPLAIN` shows for it.
    OperatorId,
    /// `row_time`: its event time.
    RowTime,
    /// `row_watermark`: the watermark that it is behind.
    RowWatermark,
    /// `row_kind` STRING: `+I`, `-U`, `+U` or `-D`.
    RowKind,
    /// `row_json` STRING: the row itself, as the operator took it in.
    RowJson,
}

impl LateColumn {
    /// All of them.
    pub const ALL: [LateColumn; 6] = [
        LateColumn::OperatorName,
        LateColumn::OperatorId,
        LateColumn::RowTime,
        LateColumn::RowWatermark,
        LateColumn::RowKind,
        LateColumn::RowJson,
    ];

    /// What the column is called.
    pub fn name(self) -> &'static str {
        match self {
            LateColumn::OperatorName => "operator_name",
            LateColumn::OperatorId => "operator_id",
            LateColumn::RowTime => "row_time",
            LateColumn::RowWatermark => "row_watermark",
            LateColumn::RowKind => "row_kind",
            LateColumn::RowJson => "row_json",
        }
    }

    /// The types that the column may have, in words.
    pub fn types(self) -> &'static str {
        match self {
            LateColumn::OperatorName | LateColumn::RowKind | LateColumn::RowJson => "STRING",
            LateColumn::OperatorId => "INT or BIGINT",
            LateColumn::RowTime | LateColumn::RowWatermark => "TIMESTAMP or TIMESTAMP_LTZ",
        }
    }

    /// Whether the column may have a type.
    pub fn fits(self, data_type: &DataType) -> bool {
        match self {
            LateColumn::OperatorName | LateColumn::RowKind | LateColumn::RowJson => *data_type == DataType::Utf8,
            LateColumn::OperatorId => matches!(data_type, DataType::Int32 | DataType::Int64),
            LateColumn::RowTime | LateColumn::RowWatermark => matches!(data_type, DataType::Timestamp(..)),
        }
    }
}

/// The rows that an operator dropped, in the columns of a table.
pub(super) fn rows_of_table(
    late: &LateBatch,
    (operator, name): (usize, &str),
    columns: &[LateColumn],
    schema: &SchemaRef,
) -> Result<ChangeBatch> {
    let rows = late.rows.num_rows();
    let text = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
    let column = |column: &LateColumn| -> Result<ArrayRef> {
        Ok(match column {
            LateColumn::OperatorName => text(name),
            LateColumn::OperatorId => {
                let id = i32::try_from(operator).map_err(|_| Error::internal("a circuit with too many nodes"))?;
                Arc::new(Int32Array::from(vec![id; rows]))
            }
            LateColumn::RowTime => Arc::new(TimestampMillisecondArray::new(late.times.values().clone(), None)),
            LateColumn::RowWatermark => {
                Arc::new(TimestampMillisecondArray::new(late.watermarks.values().clone(), None))
            }
            LateColumn::RowKind => match &late.kinds {
                None => text(RowKind::Insert.short()),
                Some(kinds) => Arc::new(kinds.iter().map(|k| Some(k.short())).collect::<StringArray>()),
            },
            LateColumn::RowJson => Arc::new(json::objects(&late.rows)?),
        })
    };
    let typed = columns.iter().zip(schema.fields()).map(|(c, field)| match field.data_type() {
        // Event times are instants, whatever zone shows them.
        DataType::Timestamp(unit, zone) => {
            let instants = cast(&column(c)?, &DataType::Timestamp(*unit, None))?;
            match zone {
                None => Ok(instants),
                Some(_) => {
                    let utc = cast(&instants, &DataType::Timestamp(*unit, Some("UTC".into())))?;
                    Ok(cast(&utc, field.data_type())?)
                }
            }
        }
        other => Ok(cast(&column(c)?, other)?),
    });
    Ok(ChangeBatch::append(RecordBatch::try_new(Arc::clone(schema), typed.collect::<Result<Vec<_>>>()?)?))
}
