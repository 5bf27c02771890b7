//! `IN` and `NOT IN` with a subquery where they are only a part of a condition.
//!
//! DataFusion makes a mark of them that is false where SQL does not know. Here they become EXISTS, which is always known.
//! So does a `NOT IN` that refers to the query around: DataFusion takes a correlation that says the same as the membership
//! for the same.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Case, Exists, InSubquery};
use datafusion_expr::logical_plan::{Filter, Subquery};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, LogicalPlanBuilder, Operator, lit};

/// Spells out each `IN` in a condition that is more than that.
pub(super) fn spell_out(plan: LogicalPlan) -> Result<LogicalPlan> {
    let spelt = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Filter(filter) if has_membership(&filter.predicate)? => {
            let schema = Arc::clone(filter.input.schema());
            let conditions = split_conjunction_owned(filter.predicate).into_iter();
            let conditions = conditions.map(|c| match c {
                Expr::InSubquery(alone) if !alone.negated || alone.subquery.outer_ref_columns.is_empty() => {
                    Ok(Expr::InSubquery(alone))
                }
                other => in_condition(other, &schema, true),
            });
            let Some(predicate) = conjunction(conditions.collect::<Result<Vec<_>>>()?) else {
                return Ok(Transformed::yes(Arc::unwrap_or_clone(filter.input)));
            };
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(spelt?.data)
}

fn has_membership(expr: &Expr) -> Result<bool> {
    expr.exists(|e| Ok(matches!(e, Expr::InSubquery(_))))
}

/// `truth`: whether all that counts is whether the expression is true.
fn in_condition(expr: Expr, outer: &DFSchema, truth: bool) -> Result<Expr> {
    match expr {
        Expr::InSubquery(membership) if truth => if_true(membership, outer),
        Expr::InSubquery(membership) => in_three_values(membership, outer),
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let [left, right] = [left, right].map(|side| in_condition(*side, outer, truth));
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left?), op, Box::new(right?))))
        }
        other => {
            let spelt = other.transform_up(|e| match e {
                Expr::InSubquery(membership) => Ok(Transformed::yes(in_three_values(membership, outer)?)),
                other => Ok(Transformed::no(other)),
            });
            Ok(spelt?.data)
        }
    }
}

/// What is true where the membership is, and false or NULL elsewhere.
fn if_true(membership: InSubquery, outer: &DFSchema) -> Result<Expr> {
    match membership.negated {
        true => exists(&membership, outer, true, Expr::is_not_false),
        false => exists(&membership, outer, false, |equal| equal),
    }
}

fn in_three_values(membership: InSubquery, outer: &DFSchema) -> Result<Expr> {
    let found = exists(&membership, outer, false, |equal| equal)?;
    let unknown = exists(&membership, outer, false, Expr::is_null)?;
    let when = [
        (Box::new(found), Box::new(lit(!membership.negated))),
        (Box::new(unknown), Box::new(lit(ScalarValue::Boolean(None)))),
    ];
    Ok(Expr::Case(Case { expr: None, when_then_expr: when.into(), else_expr: Some(Box::new(lit(membership.negated))) }))
}

/// Whether there is a row in the subquery of whose equality with the wanted value something holds.
fn exists(membership: &InSubquery, outer: &DFSchema, negated: bool, test: fn(Expr) -> Expr) -> Result<Expr> {
    let wanted = referring(membership.expr.as_ref().clone(), outer)?;
    let subquery = &membership.subquery;
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    wanted.apply(|e| {
        outer_ref_columns.extend(matches!(e, Expr::OuterReferenceColumn(..)).then(|| e.clone()));
        Ok(TreeNodeRecursion::Continue)
    })?;
    let given = subquery.subquery.schema().columns().into_iter().next().map_or_else(|| lit(true), Expr::Column);
    let asked = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).filter(test(given.eq(wanted)))?.build()?;
    let subquery = Subquery { subquery: Arc::new(asked), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Expr::Exists(Exists { subquery, negated }))
}

/// The expression as it is written within the subquery.
fn referring(expr: Expr, outer: &DFSchema) -> Result<Expr> {
    let columns: HashSet<Column> = expr.column_refs().into_iter().cloned().collect();
    let refer = |e: Expr| match e {
        Expr::Column(column) if columns.contains(&column) => {
            let (_, field) = outer.qualified_field_from_column(&column)?;
            Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
        }
        other => Ok(Transformed::no(other)),
    };
    Ok(expr.transform_up(refer)?.data)
}
