//! Group windows: `GROUP BY TUMBLE(ts, INTERVAL …)` and `TUMBLE_START(…)`, the same for HOP and SESSION.
//!
//! They are planned as calls of marker functions first, `TUMBLE_START(x)` as `__window_start(TUMBLE(x))`: so it is DataFusion that
//! finds the group window that a start belongs to. Then each aggregate over a marker becomes one over the window table function.

use std::any::Any;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, Result, internal_err, plan_err};
use datafusion_expr::expr::ScalarFunction;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::logical_plan::{Aggregate, Projection};
use datafusion_expr::{
    ColumnarValue, Expr, Extension, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    UserDefinedLogicalNode, Volatility,
};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, VisitMut, visit_expressions_mut,
};

use super::window::interval_millis;
use crate::operator::window::{WindowKind, WindowSpec};
use crate::plan::{SessionTvf, WindowTvf};

/// The group windows, by the names of their functions.
const WINDOWS: [&str; 3] = ["TUMBLE", "HOP", "SESSION"];
/// What is asked of a window, and the marker that asks it.
const PARTS: [(&str, &str); 4] = [
    ("_START", "__window_start"),
    ("_END", "__window_end"),
    ("_ROWTIME", "__window_rowtime"),
    ("_PROCTIME", "__window_proctime"),
];

/// Makes `TUMBLE_START(x)` into `__window_start(TUMBLE(x))`, everywhere below `node`.
pub(super) fn prepare<V: VisitMut>(node: &mut V) {
    let _ = visit_expressions_mut(node, |expr| {
        if let SqlExpr::Function(function) = expr
            && let Some((window, marker)) = part_of(function)
        {
            let inner = SqlExpr::Function(Function { name: named(window, function), ..function.clone() });
            function.name = named(marker, function);
            function.args = FunctionArguments::List(FunctionArgumentList {
                duplicate_treatment: None,
                args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(inner))],
                clauses: Vec::new(),
            });
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The window whose part a function gives, and the part's marker.
fn part_of(function: &Function) -> Option<(&'static str, &'static str)> {
    let [name] = function.name.0.as_slice() else { return None };
    let name = name.as_ident()?.value.to_ascii_uppercase();
    let window = WINDOWS.into_iter().find(|w| name.starts_with(w))?;
    let (_, marker) = PARTS.into_iter().find(|(part, _)| name[window.len()..] == **part)?;
    Some((window, marker))
}

/// A name in the place of a function's own.
fn named(name: &str, function: &Function) -> ObjectName {
    let mut ident = Ident::new(name);
    if let Some(own) = function.name.0.first().and_then(|n| n.as_ident()) {
        ident.span = own.span;
    }
    ObjectName::from(vec![ident])
}

/// The marker of that name.
pub(super) fn marker(name: &str) -> Option<Arc<ScalarUDF>> {
    let windows = WINDOWS.into_iter().find(|w| w.eq_ignore_ascii_case(name));
    let name = windows.or_else(|| PARTS.into_iter().map(|(_, marker)| marker).find(|m| *m == name))?;
    Some(Arc::new(ScalarUDF::new_from_impl(Marker { name, signature: Signature::variadic_any(Volatility::Immutable) })))
}

/// A function that is planned and never called.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Marker {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Marker {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        let zone = match args.first() {
            Some(DataType::Timestamp(_, zone)) => zone.clone(),
            _ => return plan_err!("the time of '{}' must be a time attribute", self.name),
        };
        let zone = if matches!(self.name, "__window_start" | "__window_end") { None } else { zone };
        Ok(DataType::Timestamp(TimeUnit::Millisecond, zone))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} is no function of rows", self.name)
    }
}

/// An expression as the call of a marker.
fn as_marker(expr: &Expr) -> Option<(&'static str, &ScalarFunction)> {
    match expr {
        Expr::ScalarFunction(call) => {
            (call.func.inner().as_ref() as &dyn Any).downcast_ref::<Marker>().map(|m| (m.name, call))
        }
        Expr::Alias(alias) => as_marker(&alias.expr),
        _ => None,
    }
}

/// The plan with window table functions in the place of markers.
///
/// # Errors
/// When a marker stands where no window is grouped by, or its arguments are not what they must be.
pub(super) fn plan_group_windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_markers(&plan)? {
        return Ok(plan);
    }
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => over_window(aggregate),
        other => with_parts(other),
    })?;
    let mut left = None;
    plan.data.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            e.apply(|e| {
                left = left.take().or_else(|| as_marker(e).map(|(name, call)| misplaced(name, call)));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match left {
        Some(message) => plan_err!("{message}"),
        None => Ok(plan.data),
    }
}

/// What is said of a marker that stands where it cannot.
fn misplaced(name: &str, call: &ScalarFunction) -> String {
    let part = PARTS.into_iter().find(|(_, marker)| *marker == name);
    match (part, call.args.first().and_then(as_marker)) {
        (Some((part, _)), Some((window, _))) => {
            format!("'{window}{part}' needs {window} of the same arguments in GROUP BY")
        }
        _ => format!("the group window '{name}' can stand in GROUP BY only"),
    }
}

fn has_markers(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            found |= e.exists(|e| Ok(as_marker(e).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// An aggregate over the window table function that its marker stands for.
fn over_window(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let mut windows = aggregate.group_expr.iter().filter_map(as_marker);
    let Some((name, call)) = windows.next() else { return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))) };
    if windows.next().is_some() {
        return plan_err!("'GROUP BY' holds two windows; it can hold one");
    }
    let keys: Vec<Expr> = aggregate.group_expr.iter().filter(|e| as_marker(e).is_none()).cloned().collect();
    if keys.iter().any(|key| matches!(key, Expr::GroupingSet(_))) {
        return plan_err!("'{name}' cannot stand beside GROUPING SETS, CUBE or ROLLUP; use TABLE({name}(TABLE …))");
    }
    let (time, spans) = arguments(name, call)?;
    let (input, columns) = if name == "SESSION" { with_keys(&aggregate.input, &keys)? } else { (None, Vec::new()) };
    let input = input.unwrap_or_else(|| Arc::clone(&aggregate.input));
    let spec = |kind| WindowSpec { kind, offset: 0 };
    let node: Arc<dyn UserDefinedLogicalNode> = match (name, spans.as_slice()) {
        ("TUMBLE", [size]) => Arc::new(WindowTvf::of_group(input, time, spec(WindowKind::Tumble { size: *size }))?),
        ("HOP", [slide, size]) => {
            let kind = WindowKind::Hop { size: *size, slide: *slide };
            Arc::new(WindowTvf::of_group(input, time, spec(kind))?)
        }
        (_, [gap]) => Arc::new(SessionTvf::of_group(input, time, columns.clone(), *gap)?),
        _ => return internal_err!("a group window of another number of spans"),
    };
    let windowed = LogicalPlan::Extension(Extension { node });
    let keys = if columns.is_empty() { keys } else { columns.into_iter().map(Expr::Column).collect() };
    let bounds = windowed.schema().columns().into_iter().rev().take(3).rev().map(Expr::Column);
    let group = keys.into_iter().chain(bounds).collect();
    let aggregate = Aggregate::try_new(Arc::new(windowed), group, aggregate.aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

/// The time column of a window and its spans in milliseconds.
fn arguments(name: &str, call: &ScalarFunction) -> Result<(Column, Vec<i64>)> {
    let wanted = if name == "HOP" { 3 } else { 2 };
    let Some((time, spans)) = call.args.split_first().filter(|_| call.args.len() == wanted) else {
        let takes = if name == "HOP" { "a time, its slide and its size" } else { "a time and a span" };
        return plan_err!(
            "the group window '{name}' takes {takes}; windows with an offset are TABLE({name}(TABLE …))'s"
        );
    };
    let Expr::Column(time) = time else { return plan_err!("the time of '{name}' must be a time attribute") };
    let spans = spans.iter().map(|span| match interval_millis(span) {
        Some(Some(ms)) if ms > 0 => Ok(ms),
        _ => plan_err!("'{name}' takes spans of days to seconds, more than 0, such as INTERVAL '10' MINUTE"),
    });
    Ok((time.clone(), spans.collect::<Result<_>>()?))
}

/// The input with the keys that are no plain columns computed, under the names that they have, and all keys as columns.
fn with_keys(input: &Arc<LogicalPlan>, keys: &[Expr]) -> Result<(Option<Arc<LogicalPlan>>, Vec<Column>)> {
    let name = |key: &Expr| match key {
        Expr::Column(column) => column.clone(),
        other => Column::from_name(other.schema_name().to_string()),
    };
    let columns = keys.iter().map(name).collect();
    let mut computed = keys.iter().filter(|key| !matches!(key, Expr::Column(_))).peekable();
    if computed.peek().is_none() {
        return Ok((None, columns));
    }
    let all = input.schema().columns().into_iter().map(Expr::Column);
    let computed = computed.map(|key| key.clone().alias(key.schema_name().to_string()));
    let projection = Projection::try_new(all.chain(computed).collect(), Arc::clone(input))?;
    Ok((Some(Arc::new(LogicalPlan::Projection(projection))), columns))
}

/// A plan with window columns in the place of what is asked of the group window below it.
fn with_parts(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let preserver = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expr| {
        let name = preserver.save(&expr);
        let replaced = expr.transform_up(|e| {
            let Some((marker, call)) = as_marker(&e).filter(|_| matches!(e, Expr::ScalarFunction(_))) else {
                return Ok(Transformed::no(e));
            };
            Ok(match (marker, call.args.as_slice()) {
                ("__window_start", [Expr::Column(_)]) => Transformed::yes(window_column("$window_start")),
                ("__window_end", [Expr::Column(_)]) => Transformed::yes(window_column("$window_end")),
                ("__window_rowtime" | "__window_proctime", [Expr::Column(_)]) => {
                    Transformed::yes(window_column("$window_time"))
                }
                _ => Transformed::no(e),
            })
        })?;
        Ok(replaced.update_data(|e| name.restore(e)))
    })?;
    if rewritten.transformed { rewritten.map_data(LogicalPlan::recompute_schema) } else { Ok(rewritten) }
}

fn window_column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}
