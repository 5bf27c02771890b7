//! The names of a query's columns.

use datafusion_common::Result;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::sqlparser::ast::{Expr as SqlExpr, Query, SelectItem, SetExpr};

/// Gives columns without a name of their own the names that Flink gives them: `EXPR$0`, `EXPR$1`, by their position.
pub(super) fn name_unnamed(plan: LogicalPlan, query: &Query) -> Result<LogicalPlan> {
    let Some(named) = named_items(&query.body) else { return Ok(plan) };
    let columns = plan.schema().columns();
    if named.len() != columns.len() || named.iter().all(|n| *n) {
        return Ok(plan);
    }
    let renamed = columns.into_iter().zip(named).enumerate().map(|(i, (column, named))| match named {
        true => Expr::Column(column),
        false => Expr::Column(column).alias(format!("EXPR${i}")),
    });
    LogicalPlanBuilder::from(plan).project(renamed.collect::<Vec<_>>())?.build()
}

/// For each item of the leftmost SELECT whether it has a name; `None` where a wildcard makes that unknown.
fn named_items(body: &SetExpr) -> Option<Vec<bool>> {
    match body {
        SetExpr::Select(select) => select.projection.iter().map(is_named).collect(),
        SetExpr::Query(query) => named_items(&query.body),
        SetExpr::SetOperation { left, .. } => named_items(left),
        SetExpr::Values(values) => Some(vec![false; values.rows.first().map_or(0, |r| r.len())]),
        _ => None,
    }
}

fn is_named(item: &SelectItem) -> Option<bool> {
    match item {
        SelectItem::UnnamedExpr(SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) => Some(true),
        SelectItem::UnnamedExpr(_) => Some(false),
        SelectItem::ExprWithAlias { .. } => Some(true),
        _ => None,
    }
}
