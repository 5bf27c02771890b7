//! How far the answers of functions reach.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion_physical_expr::window::WindowExpr;

use super::Call;
use crate::Result;

/// How many rows before and behind a row a function's answer depends on, where that is fixed.
pub(super) fn reach_of(call: &Call<'_>, expr: &Arc<dyn WindowExpr>) -> Result<Option<(usize, usize)>> {
    let params = call.params();
    let by_frame = || Some((rows_of(&params.window_frame, false)?, rows_of(&params.window_frame, true)?));
    let name = match &call.function.fun {
        WindowFunctionDefinition::AggregateUDF(udaf) => {
            // Sums that slide over other rows are rounded in another way.
            let rounds = expr.field()?.data_type().is_floating() && !["min", "max"].contains(&udaf.name());
            return Ok(if rounds { None } else { by_frame() });
        }
        WindowFunctionDefinition::WindowUDF(udwf) => udwf.name(),
    };
    Ok(match name {
        "first_value" | "last_value" | "nth_value" => by_frame(),
        "lag" | "lead" if !call.ignores_nulls() => match params.args.get(1) {
            None => Some((1, 1)),
            Some(Expr::Literal(offset, _)) => match offset.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(Some(n)) => usize::try_from(n.unsigned_abs()).ok().map(|n| (n, n)),
                _ => Some((1, 1)),
            },
            Some(_) => None,
        },
        _ => None,
    }
    .filter(|(back, ahead): &(usize, usize)| *back.max(ahead) <= MAX_REACH))
}

/// Windows that reach further are not cut to what they reach.
const MAX_REACH: usize = 1_000_000;

/// How many rows a frame of rows reaches ahead, or back.
fn rows_of(frame: &WindowFrame, ahead: bool) -> Option<usize> {
    let bound = if ahead { &frame.end_bound } else { &frame.start_bound };
    let rows = |n: &ScalarValue| match n.cast_to(&DataType::UInt64) {
        Ok(ScalarValue::UInt64(Some(n))) => usize::try_from(n).ok(),
        _ => None,
    };
    match bound {
        _ if frame.units != WindowFrameUnits::Rows => None,
        WindowFrameBound::Following(n) if ahead || n.is_null() => rows(n),
        WindowFrameBound::Preceding(n) if !ahead || n.is_null() => rows(n),
        _ => Some(0),
    }
    .filter(|n| *n <= MAX_REACH)
}
