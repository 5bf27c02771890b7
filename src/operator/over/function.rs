//! What is computed over a frame that ends with the current row.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion_common::ScalarValue;
use datafusion_expr::Accumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;

use super::frame::Frame;
use crate::Result;

/// A function and its frame.
#[derive(Debug, Clone)]
pub struct OverFunction {
    /// The function.
    pub call: OverCall,
    /// The rows that it sees; of no meaning to ranks and LAG.
    pub frame: Frame,
}

/// A function whose arguments are columns of the input.
#[derive(Debug, Clone)]
pub enum OverCall {
    /// An aggregate.
    Aggregate(AggregateCall),
    /// `LAG`: the value of a row some places before the current one.
    Lag {
        /// The column.
        column: usize,
        /// How many places.
        offset: u64,
        /// What stands for a row before the first.
        default: ScalarValue,
    },
    /// `FIRST_VALUE`: the frame's first value.
    First {
        /// The column.
        column: usize,
        /// Whether NULLs are passed over.
        ignore_nulls: bool,
    },
    /// `LAST_VALUE`: the frame's last value.
    Last {
        /// The column.
        column: usize,
        /// Whether NULLs are passed over.
        ignore_nulls: bool,
    },
    /// `ROW_NUMBER`: counts all rows so far.
    RowNumber,
    /// `RANK`: one more than there are rows of an earlier time.
    Rank,
    /// `DENSE_RANK`: counts the times so far.
    DenseRank,
}

/// An aggregate over columns of the input.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function.
    pub function: Arc<AggregateFunctionExpr>,
    /// Its arguments.
    pub arguments: Vec<usize>,
    /// The column of `FILTER (WHERE …)`.
    pub filter: Option<usize>,
}

impl AggregateCall {
    /// An accumulator for the frame, and whether it can take rows back.
    pub(super) fn accumulator(&self, frame: Frame) -> Result<(Box<dyn Accumulator>, bool)> {
        if !frame.is_unbounded()
            && let Ok(sliding) = self.function.create_sliding_accumulator()
        {
            return Ok((sliding, true));
        }
        Ok((self.function.create_accumulator()?, false))
    }
}

impl OverFunction {
    /// Whether the function keeps what it needs of rows long gone by itself, or needs nothing of them.
    pub(super) fn is_running(&self) -> bool {
        match &self.call {
            OverCall::Aggregate(_) => self.frame.is_unbounded(),
            OverCall::Lag { .. } | OverCall::First { .. } | OverCall::Last { .. } => false,
            OverCall::RowNumber | OverCall::Rank | OverCall::DenseRank => true,
        }
    }

    /// Whether its answers depend on rows that came before the frame that it is called with.
    pub(super) fn remembers_all(&self) -> bool {
        match &self.call {
            OverCall::Lag { .. } | OverCall::RowNumber | OverCall::Rank | OverCall::DenseRank => true,
            _ => self.frame.is_unbounded(),
        }
    }

    /// The columns that it reads of rows that have gone out already.
    pub(super) fn columns_of_history(&self) -> Vec<usize> {
        match &self.call {
            OverCall::Aggregate(call) if !self.frame.is_unbounded() => {
                call.arguments.iter().copied().chain(call.filter).collect()
            }
            OverCall::Lag { column, .. } | OverCall::First { column, .. } | OverCall::Last { column, .. } => {
                vec![*column]
            }
            _ => Vec::new(),
        }
    }
}

/// Adds to or takes from an accumulator; the filter leaves rows out.
pub(super) fn apply(
    columns: &[ArrayRef],
    filter: Option<&arrow::array::BooleanArray>,
    rows: std::ops::Range<usize>,
    mut change: impl FnMut(&[ArrayRef]) -> datafusion_common::Result<()>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sliced: Vec<ArrayRef> = columns.iter().map(|c| c.slice(rows.start, rows.len())).collect();
    let Some(filter) = filter else { return Ok(change(&sliced)?) };
    let keep = filter.slice(rows.start, rows.len());
    let kept = sliced.iter().map(|c| arrow::compute::filter(c, &keep)).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(change(&kept)?)
}
