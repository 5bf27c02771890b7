//! Subqueries in expressions: what DataFusion's rules for them leave open.

use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{Exists, InSubquery};
use datafusion_expr::logical_plan::{Filter, Join, Projection, Subquery};
use datafusion_expr::utils::{conjunction, find_valid_equijoin_key_pair, split_conjunction_owned};
use datafusion_expr::{
    BinaryExpr, Expr, ExprSchemable, Extension, LogicalPlan, Operator, UserDefinedLogicalNodeCore, lit, when,
};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

/// Gives `NOT IN` its three values where it is not by one plain equality of both sides.
///
/// DataFusion marks the anti join of a `NOT IN` as null-aware, the equality of both sides standing first in its condition. What
/// that means is settled only where it stands alone; with a correlation beside it, a row is out when some row of the
/// subquery *for it* is equal or not known to be unequal. So the equality becomes a condition that is true there, and the join an
/// ordinary one.
#[derive(Debug)]
pub(super) struct NotInRule;

impl OptimizerRule for NotInRule {
    fn name(&self) -> &str {
        "not_in"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Join(join) if join.null_aware && join.on.is_empty() => spell_out(join),
            other => Ok(Transformed::no(other)),
        }
    }
}

fn spell_out(join: Join) -> Result<Transformed<LogicalPlan>> {
    let mut conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    let Some(Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })) = conditions.first().cloned() else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    let pair = find_valid_equijoin_key_pair(&left, &right, join.left.schema(), join.right.schema())?;
    if conditions.len() == 1 && pair.is_some() {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    conditions[0] = conditions[0].clone().is_not_false();
    let filter = conjunction(conditions);
    Ok(Transformed::yes(LogicalPlan::Join(Join { filter, null_aware: false, ..join })))
}

/// Gives `IN` its three values inside of larger conditions.
///
/// There DataFusion makes a column of it that says whether there is a match: true or false, but never unknown. That will do
/// where unknown counts as false, which is so under AND and OR alone. Elsewhere, as in `a = 1 OR b NOT IN (…)`, it is spelled out:
/// without a match, it is unknown if the subquery gives a NULL, or gives anything while the left side is NULL.
pub(super) fn complete_in(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        let parts = split_conjunction_owned(filter.predicate.clone());
        let schema = filter.input.schema();
        let completed = parts.into_iter().map(|part| match part {
            Expr::InSubquery(query) if query.negated => none_unknown(query, schema),
            Expr::Not(inner) => match *inner {
                Expr::InSubquery(query) if !query.negated => {
                    none_unknown(InSubquery { negated: true, ..query }, schema)
                }
                other => complete(Expr::Not(Box::new(other)), true, schema),
            },
            other => complete(other, true, schema),
        });
        let completed = completed.collect::<Result<Vec<_>>>()?;
        if !completed.iter().any(|part| part.transformed) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let predicate = conjunction(completed.into_iter().map(|part| part.data));
        let predicate = predicate.unwrap_or_else(|| filter.predicate.clone());
        Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(predicate, filter.input)?)))
    })?;
    Ok(plan.data)
}

/// `plain` says that unknown counts as false where the expression stands.
fn complete(expr: Expr, plain: bool, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (complete(*left, plain, schema)?, complete(*right, plain, schema)?);
            let transformed = left.transformed || right.transformed;
            let whole = BinaryExpr::new(Box::new(left.data), op, Box::new(right.data));
            Ok(Transformed::new_transformed(Expr::BinaryExpr(whole), transformed))
        }
        Expr::InSubquery(query) if plain && !query.negated => Ok(Transformed::no(Expr::InSubquery(query))),
        Expr::InSubquery(query) => spell_out_in(query, schema),
        other => other.map_children(|child| complete(child, false, schema)),
    }
}

/// `NOT IN` of a correlated subquery as `NOT EXISTS` of a row that is equal or not known to be unequal. DataFusion would take the
/// equality and a correlation of the same columns for one.
fn none_unknown(query: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let value = query.subquery.subquery.schema().iter().next().map(|(q, f)| (Column::from((q, f)), f.is_nullable()));
    let Some((column, nullable)) = value else { return plan_err!("a subquery without a column") };
    let known = !nullable && !query.expr.nullable(schema)?;
    if known || query.subquery.outer_ref_columns.is_empty() {
        return Ok(Transformed::no(Expr::InSubquery(query)));
    }
    let outer = query.expr.as_ref().clone().transform_up(|e| match e {
        Expr::Column(c) => {
            let field = Arc::clone(schema.field_from_column(&c)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, c)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let unlike = Expr::Column(column).eq(outer.data).is_not_false();
    let filter = LogicalPlan::Filter(Filter::try_new(unlike, Arc::clone(&query.subquery.subquery))?);
    let outer_ref_columns = filter.all_out_ref_exprs();
    let subquery = Subquery { subquery: Arc::new(filter), outer_ref_columns, ..query.subquery };
    Ok(Transformed::yes(Expr::Exists(Exists { subquery, negated: true })))
}

fn spell_out_in(query: InSubquery, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let value = query.subquery.subquery.schema().iter().next().map(|(q, f)| (Column::from((q, f)), f.is_nullable()));
    let Some((column, nullable)) = value else { return plan_err!("a subquery without a column") };
    let left_nullable = query.expr.nullable(schema)?;
    if !nullable && !left_nullable {
        return Ok(Transformed::no(Expr::InSubquery(query)));
    }
    let exists = |subquery: Subquery| Expr::Exists(Exists { subquery, negated: false });
    let nulls = Filter::try_new(Expr::Column(column).is_null(), Arc::clone(&query.subquery.subquery))?;
    let nulls = Subquery { subquery: Arc::new(LogicalPlan::Filter(nulls)), ..query.subquery.clone() };
    let left_unknown = query.expr.as_ref().clone().is_null().and(exists(query.subquery.clone()));
    let matched = Expr::InSubquery(InSubquery { negated: false, ..query.clone() });
    let spelled = when(matched, lit(!query.negated))
        .when(exists(nulls).or(left_unknown), lit(ScalarValue::Boolean(None)))
        .otherwise(lit(query.negated))?;
    Ok(Transformed::yes(spelled))
}

/// Has each uncorrelated scalar subquery watched that could give more than one row. Correlated ones cannot: they are aggregates.
pub(super) fn assert_single_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        node.map_expressions(|expr| {
            expr.transform_up(|e| match e {
                Expr::ScalarSubquery(query) if needs_watching(&query) => {
                    let subquery = Arc::new(watched(Arc::clone(&query.subquery))?);
                    Ok(Transformed::yes(Expr::ScalarSubquery(Subquery { subquery, ..query })))
                }
                other => Ok(Transformed::no(other)),
            })
        })
    })?;
    Ok(plan.data)
}

/// The projection is there for DataFusion, which takes a subquery's expression from it.
fn watched(input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
    let node = LogicalPlan::Extension(Extension { node: Arc::new(SingleRowNode { input }) });
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(node))?))
}

fn needs_watching(query: &Subquery) -> bool {
    query.outer_ref_columns.is_empty() && query.subquery.max_rows().is_none_or(|rows| rows > 1)
}

/// A scalar subquery's rows, of which there must be one at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct SingleRowNode {
    /// The subquery.
    pub input: Arc<LogicalPlan>,
}

impl UserDefinedLogicalNodeCore for SingleRowNode {
    fn name(&self) -> &str {
        "SingleRow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match inputs.into_iter().next() {
            Some(input) => Ok(Self { input: Arc::new(input) }),
            None => plan_err!("a single row of nothing"),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![output_columns.to_vec()])
    }
}
