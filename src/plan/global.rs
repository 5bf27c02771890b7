//! Aggregates over all rows of their input, through the optimizer.
//!
//! In batch such an aggregate always has one row, so DataFusion puts a constant row in its place where no column of it is
//! used. In a stream it has none as long as its input has none. While the optimizer works, each stands below a node
//! that uses its first column, and whose columns may all be NULL: so is the value of a subquery without a row.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{DFSchema, DFSchemaRef, Result, ScalarValue, plan_err};
use datafusion_expr::logical_plan::Aggregate;
use datafusion_expr::{Expr, Extension, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, lit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
struct Held {
    input: Arc<LogicalPlan>,
    schema: HeldSchema,
}

/// The input's schema, its columns nullable. Says nothing that the input does not say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct HeldSchema(DFSchemaRef);

impl PartialOrd for HeldSchema {
    fn partial_cmp(&self, _other: &Self) -> Option<Ordering> {
        Some(Ordering::Equal)
    }
}

impl Held {
    fn try_new(input: Arc<LogicalPlan>) -> Result<Self> {
        let fields = input
            .schema()
            .iter()
            .map(|(relation, field)| (relation.cloned(), Arc::new(field.as_ref().clone().with_nullable(true))));
        let schema = DFSchema::new_with_metadata(fields.collect(), input.schema().metadata().clone())?;
        Ok(Self { input, schema: HeldSchema(Arc::new(schema)) })
    }
}

/// The plan with a node above each aggregate over all rows. Not in correlated subqueries, which are answered for each outer
/// row as in batch.
pub(super) fn hold(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut any = false;
    let held = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(a) if a.group_expr.is_empty() && a.input.all_out_ref_exprs().is_empty() => {
            let held = Held::try_new(Arc::new(node))?;
            any = true;
            Ok(Transformed::yes(LogicalPlan::Extension(Extension { node: Arc::new(held) })))
        }
        _ if any => Ok(Transformed::yes(node.recompute_schema()?)),
        _ => Ok(Transformed::no(node)),
    });
    Ok(held?.data)
}

/// The plan without these nodes.
pub(super) fn release(plan: LogicalPlan) -> Result<LogicalPlan> {
    let released = plan.transform_down_with_subqueries(|node| match &node {
        LogicalPlan::Extension(e) => match e.node.as_any().downcast_ref::<Held>() {
            Some(held) => Ok(Transformed::yes(held.input.as_ref().clone())),
            None => Ok(Transformed::no(node)),
        },
        LogicalPlan::Aggregate(a) if a.group_expr.is_empty() && is_nothing(&a.input) => {
            Ok(Transformed::yes(of_nothing(a)?))
        }
        _ => Ok(Transformed::no(node)),
    });
    Ok(released?.data)
}

fn is_nothing(plan: &LogicalPlan) -> bool {
    matches!(plan, LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
}

/// The row of an aggregate that was not held: it stood in a correlated subquery, of which it has turned out that no outer row
/// finds anything in it.
fn of_nothing(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let calls = aggregate.aggr_expr.iter().zip(aggregate.schema.iter());
    let values = calls.map(|(call, (relation, field))| {
        let value = match call.clone().unalias() {
            Expr::AggregateFunction(call) => call.func.default_value(field.data_type())?,
            _ => ScalarValue::try_from(field.data_type())?,
        };
        Ok(lit(value).alias_qualified(relation.cloned(), field.name()))
    });
    let row = LogicalPlanBuilder::empty(true).project(values.collect::<Result<Vec<_>>>()?)?;
    row.build()
}

impl UserDefinedLogicalNodeCore for Held {
    fn name(&self) -> &str {
        "Held"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema.0
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let Some(input) = inputs.into_iter().next() else { return plan_err!("an aggregate has one input") };
        Self::try_new(Arc::new(input))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![if output_columns.is_empty() { vec![0] } else { output_columns.to_vec() }])
    }
}
