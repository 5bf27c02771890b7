//! Window table functions in FROM: `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), …))`.

use std::sync::Arc;

use datafusion_common::{Column, ScalarValue, plan_err};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, Extension, LogicalPlan};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, ObjectNamePart, TableAlias,
    TableFactor,
};

use crate::operator::window::{WindowKind, WindowSpec};
use crate::plan::WindowTvf;

type DfResult<T> = datafusion_common::Result<T>;

/// Plans window table functions.
#[derive(Debug)]
pub(super) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> DfResult<RelationPlanning> {
        let Some((call, alias)) = as_window_call(&relation)? else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let plan = plan_window(call, context)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

struct WindowCall {
    name: String,
    table: ObjectName,
    time: Ident,
    args: Vec<SqlExpr>,
}

fn as_window_call(relation: &TableFactor) -> DfResult<Option<(WindowCall, Option<TableAlias>)>> {
    let TableFactor::TableFunction { expr: SqlExpr::Function(function), alias } = relation else { return Ok(None) };
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let mut args = Vec::new();
    for arg in &list.args {
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => args.push(e.clone()),
            other => return plan_err!("unexpected argument {other} of a window function"),
        }
    }
    let mut args = args.into_iter();
    let table = match args.next() {
        Some(SqlExpr::Identifier(i)) => ObjectName(vec![ObjectNamePart::Identifier(i)]),
        Some(SqlExpr::CompoundIdentifier(parts)) => {
            ObjectName(parts.into_iter().map(ObjectNamePart::Identifier).collect())
        }
        _ => return plan_err!("a window function's first argument is a table"),
    };
    let time = match args.next() {
        Some(SqlExpr::Function(f)) if f.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => descriptor(&f.args),
        _ => None,
    };
    let Some(time) = time else { return plan_err!("a window function's second argument is DESCRIPTOR(column)") };
    let name = function.name.to_string().to_ascii_uppercase();
    Ok(Some((WindowCall { name, table, time, args: args.collect() }, alias.clone())))
}

fn descriptor(args: &FunctionArguments) -> Option<Ident> {
    let FunctionArguments::List(list) = args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Identifier(i)))] => Some(i.clone()),
        _ => None,
    }
}

fn plan_window(call: WindowCall, context: &mut dyn RelationPlannerContext) -> DfResult<LogicalPlan> {
    let input = context.plan(table_factor(call.table))?;
    let time = match context.sql_to_expr(SqlExpr::Identifier(call.time), input.schema())? {
        Expr::Column(column) => column,
        other => return plan_err!("'{other}' is no column"),
    };
    let mut spans = Vec::new();
    for arg in call.args {
        spans.push(millis(&context.sql_to_expr(arg, input.schema())?)?);
    }
    let spec = spec(&call.name, &spans)?;
    node(input, time, spec)
}

fn node(input: LogicalPlan, time: Column, spec: WindowSpec) -> DfResult<LogicalPlan> {
    let node = WindowTvf::try_new(Arc::new(input), time, spec)?;
    Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
}

fn table_factor(name: ObjectName) -> TableFactor {
    TableFactor::Table {
        name,
        alias: None,
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

fn spec(name: &str, spans: &[i64]) -> DfResult<WindowSpec> {
    let (kind, offset) = match (name, spans) {
        ("TUMBLE", [size, rest @ ..]) => (WindowKind::Tumble { size: *size }, rest.first()),
        ("HOP", [slide, size, rest @ ..]) => (WindowKind::Hop { size: *size, slide: *slide }, rest.first()),
        ("CUMULATE", [step, size, rest @ ..]) => (WindowKind::Cumulate { size: *size, step: *step }, rest.first()),
        _ => return plan_err!("'{name}' is no window function, or misses its sizes"),
    };
    Ok(WindowSpec { kind, offset: offset.copied().unwrap_or(0) })
}

/// A day-time interval literal in milliseconds.
fn millis(expr: &Expr) -> DfResult<i64> {
    match expr {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) if v.months == 0 => {
            Ok(i64::from(v.days) * 86_400_000 + v.nanoseconds / 1_000_000)
        }
        other => plan_err!("a window's size must be an INTERVAL of days to seconds, it is {other}"),
    }
}
