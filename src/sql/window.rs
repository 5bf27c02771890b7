//! Flink's relations in FROM: window table functions, tables as of a time, and UNNEST.

use std::sync::Arc;

use datafusion_common::{DataFusionError, Diagnostic, ScalarValue, plan_datafusion_err};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNode};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, ObjectName, Spanned, TableFactor};
use datafusion_sql::sqlparser::tokenizer::Span;

use super::hints::own_name;
use super::match_recognize;
use super::parse::query::{WindowCall, WindowInput, as_window_call};
use super::unnest::plan_call;
use super::version::plan_version;
use crate::error::{Position, SqlError};
use crate::operator::window::{WindowKind, WindowSpec};
use crate::plan::{SessionTvf, WindowTvf};

type DfResult<T> = datafusion_common::Result<T>;

const DAY: i64 = 86_400_000;

/// Plans the relations that DataFusion does not know.
#[derive(Debug)]
pub(super) struct FlinkRelations;

impl RelationPlanner for FlinkRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        if let Some(call) = as_window_call(&relation) {
            let plan = plan_window(call.map_err(|e| unread(&e))?, context)?;
            let alias = match relation {
                TableFactor::TableFunction { alias, .. } | TableFactor::Table { alias, .. } => alias,
                _ => None,
            };
            return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))));
        }
        let alias = match &relation {
            TableFactor::Table { alias, .. } => alias.clone(),
            _ => None,
        };
        let relation = match plan_version(relation, context)? {
            Ok(plan) => return Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias)))),
            Err(relation) => relation,
        };
        match relation {
            TableFactor::MatchRecognize { ref alias, .. } => {
                let alias = alias.clone();
                let plan = match_recognize::plan(relation, context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            TableFactor::UNNEST { array_exprs, alias, .. } => {
                let plan = plan_call(array_exprs, context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

fn plan_window(call: WindowCall, context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
    let windows = read_windows(&call, context)?;
    if let (Windows::Slices(_), Some(key)) = (windows, call.partition_by.first()) {
        return Err(at(key.span(), format!("{} takes no PARTITION BY", call.name)));
    }
    let input = context.plan(table_factor(call.input))?;
    let [time] = call.time.as_slice() else {
        return Err(at(call.span, format!("{} takes one time column in DESCRIPTOR", call.name)));
    };
    let mut column = |name: SqlExpr| match context.sql_to_expr(name.clone(), input.schema())? {
        Expr::Column(column) => Ok(column),
        _ => Err(at(name.span(), format!("'{name}' is no column"))),
    };
    let span = time.span;
    let time = column(SqlExpr::Identifier(time.clone()))?;
    let keys = call.partition_by.into_iter().map(column).collect::<DfResult<Vec<_>>>()?;
    let input = Arc::new(input);
    let node: Arc<dyn UserDefinedLogicalNode> = match windows {
        Windows::Slices(spec) => Arc::new(WindowTvf::try_new(input, time, spec).map_err(|e| located(e, span))?),
        Windows::Session { gap } => {
            Arc::new(SessionTvf::try_new(input, time, keys, gap).map_err(|e| located(e, span))?)
        }
    };
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// The windows of a function, as its arguments say.
#[derive(Debug, Clone, Copy)]
enum Windows {
    Slices(WindowSpec),
    Session { gap: i64 },
}

fn table_factor(input: WindowInput) -> TableFactor {
    match input {
        WindowInput::Query(subquery) => TableFactor::Derived { lateral: false, subquery, alias: None, sample: None },
        WindowInput::Table(name) => named(name),
    }
}

fn named(name: ObjectName) -> TableFactor {
    let alias = own_name(&name);
    TableFactor::Table {
        name,
        alias,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}

/// The names of a function's arguments in their order; OFFSET may be left out.
fn parameters(name: &str) -> &'static [&'static str] {
    match name {
        "TUMBLE" => &["SIZE", "OFFSET"],
        "HOP" => &["SLIDE", "SIZE", "OFFSET"],
        "SESSION" => &["GAP"],
        _ => &["STEP", "SIZE", "OFFSET"],
    }
}

/// The arguments' spans of time by their parameters, with their places.
fn read_windows(call: &WindowCall, context: &mut dyn RelationPlannerContext) -> DfResult<Windows> {
    let parameters = parameters(call.name);
    let mut given: Vec<Option<(i64, Span)>> = vec![None; parameters.len()];
    for (nth, (name, value)) in call.args.iter().enumerate() {
        let index = match name {
            None => Some(nth).filter(|n| *n < parameters.len()),
            Some(name) => parameters.iter().position(|p| p == name),
        };
        let slot = index.and_then(|i| given.get_mut(i)).ok_or_else(|| {
            let takes = parameters.join(", ");
            at(value.span(), format!("{} takes {takes}", call.name))
        })?;
        if slot.replace((millis(value, context)?, value.span())).is_some() {
            return Err(at(value.span(), "this argument is given twice"));
        }
    }
    let offset = if parameters.contains(&"OFFSET") { given.pop().flatten() } else { None };
    let mut spans = Vec::new();
    for (value, parameter) in given.iter().zip(parameters) {
        match value {
            None => return Err(at(call.span, format!("{} needs {parameter}", call.name))),
            Some((ms, span)) if *ms <= 0 => return Err(at(*span, format!("{parameter} must be more than 0"))),
            Some(value) => spans.push(*value),
        }
    }
    let kind = match spans.as_slice() {
        [(gap, _)] if call.name == "SESSION" => return Ok(Windows::Session { gap: *gap }),
        [(size, _)] => WindowKind::Tumble { size: *size },
        [(part, span), (size, _)] if size % part != 0 => {
            let part = parameters.first().copied().unwrap_or_default();
            return Err(at(*span, format!("{}'s SIZE must be a multiple of its {part}", call.name)));
        }
        [(slide, _), (size, _)] if call.name == "HOP" => WindowKind::Hop { size: *size, slide: *slide },
        [(step, _), (size, _)] => WindowKind::Cumulate { size: *size, step: *step },
        _ => return Err(at(call.span, format!("{} needs {}", call.name, parameters.join(", ")))),
    };
    let (offset, span) = offset.unwrap_or((0, call.span));
    let spec = WindowSpec { kind, offset };
    if offset.unsigned_abs() >= spec.size().unsigned_abs() {
        return Err(at(span, format!("{}'s OFFSET must be less than its SIZE", call.name)));
    }
    Ok(Windows::Slices(spec))
}

/// A constant interval of days to seconds, in milliseconds.
fn millis(value: &SqlExpr, context: &mut dyn RelationPlannerContext) -> DfResult<i64> {
    let span = value.span();
    let planned = context.sql_to_expr(value.clone(), &datafusion_common::DFSchema::empty());
    match interval_millis(&planned.map_err(|e| located(e, span))?) {
        Some(Some(ms)) => Ok(ms),
        Some(None) => Err(at(span, "a window's times are whole milliseconds")),
        None => Err(at(span, "expected an INTERVAL of days to seconds, such as INTERVAL '10' MINUTE")),
    }
}

/// A constant interval of days to seconds in milliseconds: the inner `None` where these are not whole, the outer if it is none.
pub(super) fn interval_millis(expr: &Expr) -> Option<Option<i64>> {
    let (sign, literal) = match expr {
        Expr::Negative(inner) => (-1, inner.as_ref()),
        other => (1, other),
    };
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) = literal else { return None };
    if v.months != 0 {
        return None;
    }
    let whole = i64::from(v.days).checked_mul(DAY).and_then(|d| d.checked_add(v.nanoseconds / 1_000_000));
    Some(whole.filter(|_| v.nanoseconds % 1_000_000 == 0).map(|ms| sign * ms))
}

pub(super) fn at(span: Span, message: impl Into<String>) -> DataFusionError {
    located(plan_datafusion_err!("{}", message.into()), span)
}

/// An error that has a place, unless it had one.
pub(super) fn located(error: DataFusionError, span: Span) -> DataFusionError {
    if error.diagnostic().is_some_and(|d| d.span.is_some()) {
        return error;
    }
    let message = error.strip_backtrace();
    error.with_diagnostic(Diagnostic::new_error(message, datafusion_common::Span::try_from_sqlparser_span(span)))
}

/// An error of reading the call, which has its place but not the line.
fn unread(error: &SqlError) -> DataFusionError {
    use datafusion_sql::sqlparser::tokenizer::Location;
    let Some(Position { line, column }) = error.position else { return plan_datafusion_err!("{}", error.message) };
    let end = Location::new(line, column + error.length as u64);
    at(Span::new(Location::new(line, column), end), error.message.clone())
}
