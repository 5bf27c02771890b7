//! Functions over rows in the order of time, each of which goes out once.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use datafusion_expr::{AggregateUDF, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion_functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion_physical_expr::aggregate::AggregateExprBuilder;

use super::Call;
use super::inputs::Inputs;
use crate::Result;
use crate::operator::over::{AggregateCall, Frame, OverCall, OverFunction, OverTime};

/// A function over rows in the order of time; `None` where its answers change with later rows, or where it is known to
/// DataFusion alone.
pub(super) fn by_time(
    call: &Call<'_>,
    inputs: &mut Inputs<'_>,
    time: OverTime,
    time_column: usize,
) -> Result<Option<OverFunction>> {
    let params = call.params();
    let whole = |call| Ok(Some(OverFunction { call, frame: Frame::Rows(None) }));
    let udwf = match &call.function.fun {
        WindowFunctionDefinition::AggregateUDF(udaf) => {
            let Some(frame) = frame_of(&params.window_frame, time)? else { return Ok(None) };
            let call = OverCall::Aggregate(aggregate(udaf, call, inputs, time_column)?);
            return Ok(Some(OverFunction { call, frame }));
        }
        WindowFunctionDefinition::WindowUDF(udwf) => udwf.name(),
    };
    match udwf {
        "row_number" => whole(OverCall::RowNumber),
        // In the order of arrival no two rows tie.
        "rank" | "dense_rank" if time == OverTime::Arrival => whole(OverCall::RowNumber),
        "rank" => whole(OverCall::Rank),
        "dense_rank" => whole(OverCall::DenseRank),
        "lag" => match lag(call, inputs)? {
            Some(lag) => whole(lag),
            None => Ok(None),
        },
        "first_value" | "last_value" => {
            let Some(frame) = frame_of(&params.window_frame, time)? else { return Ok(None) };
            let [argument] = params.args.as_slice() else { return Ok(None) };
            let (first, ignore_nulls) = (udwf == "first_value", call.ignores_nulls());
            let call = if frame.is_unbounded() {
                let udaf = if first { first_value_udaf() } else { last_value_udaf() };
                OverCall::Aggregate(aggregate(&udaf, call, inputs, time_column)?)
            } else {
                let column = inputs.column(argument)?;
                match first {
                    true => OverCall::First { column, ignore_nulls },
                    false => OverCall::Last { column, ignore_nulls },
                }
            };
            Ok(Some(OverFunction { call, frame }))
        }
        _ => Ok(None),
    }
}

fn aggregate(
    udaf: &Arc<AggregateUDF>,
    call: &Call<'_>,
    inputs: &mut Inputs<'_>,
    never_null: usize,
) -> Result<AggregateCall> {
    let params = call.params();
    let argument = |e: &Expr| match e {
        // COUNT(*) counts the values of a column that has no NULLs.
        Expr::Literal(value, _) if udaf.name() == "count" && !value.is_null() && !params.distinct => Ok(never_null),
        other => inputs.column(other),
    };
    let arguments = params.args.iter().map(argument).collect::<Result<Vec<_>>>()?;
    let filter = params.filter.as_ref().map(|f| inputs.column(f)).transpose()?;
    let columns = arguments.iter().map(|c| inputs.reference(*c)).collect();
    let function = AggregateExprBuilder::new(Arc::clone(udaf), columns)
        .schema(inputs.schema())
        .alias(call.field.name())
        .with_ignore_nulls(call.ignores_nulls())
        .with_distinct(params.distinct)
        .build()?;
    Ok(AggregateCall { function: Arc::new(function), arguments, filter })
}

fn lag(call: &Call<'_>, inputs: &mut Inputs<'_>) -> Result<Option<OverCall>> {
    let args = &call.params().args;
    let literal = |at: usize| match args.get(at) {
        None => Some(ScalarValue::Null),
        Some(Expr::Literal(value, _)) => Some(value.clone()),
        Some(_) => None,
    };
    let (Some(argument), Some(offset), Some(default)) = (args.first(), literal(1), literal(2)) else { return Ok(None) };
    let offset = match offset.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(Some(offset)) => u64::try_from(offset).ok(),
        _ => Some(1),
    };
    match offset {
        Some(offset) if !call.ignores_nulls() => {
            Ok(Some(OverCall::Lag { column: inputs.column(argument)?, offset, default }))
        }
        _ => Ok(None),
    }
}

/// The frame, if it ends with the current row and reaches back a number of rows, a fixed time, or to the first row.
fn frame_of(frame: &WindowFrame, time: OverTime) -> Result<Option<Frame>> {
    if frame.end_bound != WindowFrameBound::CurrentRow {
        return Ok(None);
    }
    let range = |ms| match time {
        OverTime::Rowtime(_) => Frame::Range(Some(ms)),
        OverTime::Arrival => Frame::Recent(ms),
    };
    Ok(match (frame.units, &frame.start_bound) {
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(n)) if n.is_null() => Some(Frame::Rows(None)),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(n)) => match n.cast_to(&DataType::UInt64)? {
            ScalarValue::UInt64(Some(n)) => Some(Frame::Rows(Some(n))),
            _ => None,
        },
        (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => Some(Frame::Rows(Some(0))),
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(n)) if n.is_null() => match time {
            OverTime::Rowtime(_) => Some(Frame::Range(None)),
            OverTime::Arrival => Some(Frame::Rows(None)),
        },
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(span)) => millis_of(span).map(range),
        (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => Some(range(0)),
        _ => None,
    })
}

/// A span of fixed length in milliseconds.
fn millis_of(span: &ScalarValue) -> Option<i64> {
    match span {
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 && v.nanoseconds % 1_000_000 == 0 => {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(v.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(v)) => {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(i64::from(v.milliseconds))
        }
        _ => None,
    }
    .filter(|ms| *ms >= 0)
}
