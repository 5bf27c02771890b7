//! Expressions in GROUPING SETS, CUBE and ROLLUP.
//!
//! DataFusion's coercion of types renames expressions within grouping sets, and what refers to them is then lost. So they
//! are computed in front of the aggregate, under the names that they have, and become columns.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, Result};
use datafusion_expr::logical_plan::{Aggregate, Projection};
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Expr, GroupingSet, LogicalPlan};

/// The plan with columns only in its grouping sets.
pub(super) fn compute_grouped(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(a) if matches!(a.group_expr.as_slice(), [Expr::GroupingSet(_)]) => computed(a),
        _ => Ok(Transformed::no(node)),
    });
    Ok(rewritten?.data)
}

fn computed(aggregate: &Aggregate) -> Result<Transformed<LogicalPlan>> {
    let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
    let keys: Vec<Expr> = keys.into_iter().filter(|key| !matches!(key, Expr::Column(_))).cloned().collect();
    if keys.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate.clone())));
    }
    let all = aggregate.input.schema().columns().into_iter().map(Expr::Column);
    let named = keys.iter().map(|key| key.clone().alias(key.schema_name().to_string()));
    let input = Projection::try_new(all.chain(named).collect(), Arc::clone(&aggregate.input))?;
    let column = |expr: Expr| match keys.contains(&expr) {
        true => Transformed::yes(Expr::Column(Column::from_name(expr.schema_name().to_string()))),
        false => Transformed::no(expr),
    };
    let all_columns = |exprs: &Vec<Expr>| exprs.iter().map(|e| column(e.clone()).data).collect::<Vec<_>>();
    let sets = aggregate.group_expr.iter().map(|expr| match expr {
        Expr::GroupingSet(GroupingSet::Rollup(keys)) => Expr::GroupingSet(GroupingSet::Rollup(all_columns(keys))),
        Expr::GroupingSet(GroupingSet::Cube(keys)) => Expr::GroupingSet(GroupingSet::Cube(all_columns(keys))),
        Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
            Expr::GroupingSet(GroupingSet::GroupingSets(sets.iter().map(all_columns).collect()))
        }
        other => other.clone(),
    });
    let calls = aggregate.aggr_expr.iter().map(|call| Ok(call.clone().transform_down(|e| Ok(column(e)))?.data));
    let calls = calls.collect::<Result<Vec<_>>>()?;
    let computed = Aggregate::try_new(Arc::new(LogicalPlan::Projection(input)), sets.collect(), calls)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(computed)))
}
