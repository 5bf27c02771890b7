//! `FOR SYSTEM_TIME AS OF`: a join with the state that the right side had at a time of the left row's.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use datafusion_common::tree_node::Transformed;
use datafusion_common::{Column, DFSchemaRef, ExprSchema, JoinType, Result, plan_err};
use datafusion_expr::logical_plan::builder::build_join_schema;
use datafusion_expr::logical_plan::{Filter, Projection, SubqueryAlias};
use datafusion_expr::utils::{conjunction, split_conjunction_owned};
use datafusion_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::{OptimizerConfig, OptimizerRule};

use super::lookup::LookupHint;
use super::scan;
use super::table::StreamTable;

/// `left JOIN right FOR SYSTEM_TIME AS OF left.time ON condition`, inner or left.
///
/// It is a node of its own, so that no rule takes it for an ordinary join: a condition on the right side alone holds of the row
/// that was found, and must not choose which one is. What the time is, is settled when it is lowered: with a rowtime of the
/// left side it is a temporal join, with a processing time a lookup.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TemporalJoin {
    /// The rows that ask.
    pub left: Arc<LogicalPlan>,
    /// What is asked.
    pub right: Arc<LogicalPlan>,
    /// Inner or left.
    pub join_type: JoinType,
    /// The whole of ON, over both sides' columns.
    pub condition: Expr,
    /// The column of the left side that says as of when.
    pub time: Column,
    /// The rowtime of the right side, if it has one: each row is a version from then on.
    pub version_time: Option<Column>,
    /// What a hint says of how the right side is looked up.
    pub hint: Option<LookupHint>,
    schema: DFSchemaRef,
}

impl TemporalJoin {
    /// A join of two sides as of a column of the left.
    ///
    /// # Errors
    /// When the join is neither inner nor left, or there is no such column.
    pub fn try_new(
        [left, right]: [Arc<LogicalPlan>; 2],
        join_type: JoinType,
        condition: Expr,
        time: Column,
    ) -> Result<Self> {
        if !matches!(join_type, JoinType::Inner | JoinType::Left) {
            return plan_err!("a join with FOR SYSTEM_TIME AS OF is INNER or LEFT");
        }
        ExprSchema::field_from_column(left.schema().as_ref(), &time)?;
        let version_time = rowtime_of(&right).map(|i| right.schema().columns()[i].clone());
        Self::of([left, right], join_type, condition, time, version_time)
    }

    /// The same join with what a hint says of it.
    pub fn hinted(self, hint: Option<LookupHint>) -> Self {
        Self { hint, ..self }
    }

    fn of(
        [left, right]: [Arc<LogicalPlan>; 2],
        join_type: JoinType,
        condition: Expr,
        time: Column,
        version_time: Option<Column>,
    ) -> Result<Self> {
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &join_type)?);
        Ok(Self { left, right, join_type, condition, time, version_time, hint: None, schema })
    }
}

impl PartialOrd for TemporalJoin {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (&self.condition, &self.time).partial_cmp(&(&other.condition, &other.time))
    }
}

impl UserDefinedLogicalNodeCore for TemporalJoin {
    fn name(&self) -> &str {
        "TemporalJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        let version_time = self.version_time.clone().map(Expr::Column);
        [self.condition.clone(), Expr::Column(self.time.clone())].into_iter().chain(version_time).collect()
    }

    /// All: DataFusion would push a condition into both sides. The rule `PushIntoTemporalJoin` sees to those on the left.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.schema.fields().iter().map(|f| f.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}({}, as of {}, on={})", self.name(), self.join_type, self.time, self.condition)
    }

    fn with_exprs_and_inputs(&self, exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (mut exprs, mut inputs) = (exprs.into_iter(), inputs.into_iter());
        let (Some(condition), Some(Expr::Column(time))) = (exprs.next(), exprs.next()) else {
            return plan_err!("a join as of a time has a condition and a time");
        };
        let (Some(left), Some(right)) = (inputs.next(), inputs.next()) else {
            return plan_err!("a join as of a time has two inputs");
        };
        let version_time = match exprs.next() {
            Some(Expr::Column(column)) => Some(column),
            _ => None,
        };
        let of = Self::of([Arc::new(left), Arc::new(right)], self.join_type, condition, time, version_time)?;
        Ok(of.hinted(self.hint))
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let (mut left, mut right): (Vec<usize>, Vec<usize>) = output_columns.iter().partition(|i| **i < width);
        right.iter_mut().for_each(|i| *i -= width);
        let exprs = self.expressions();
        for column in exprs.iter().flat_map(Expr::column_refs) {
            match self.left.schema().index_of_column(column) {
                Ok(index) => left.push(index),
                Err(_) => right.push(self.right.schema().index_of_column(column).ok()?),
            }
        }
        for side in [&mut left, &mut right] {
            side.sort_unstable();
            side.dedup();
        }
        Some(vec![left, right])
    }
}

/// Where among a plan's columns the rowtime of the table that it reads stands, passed on unchanged.
pub(super) fn rowtime_of(plan: &LogicalPlan) -> Option<usize> {
    let place = |input: &LogicalPlan, plan: &LogicalPlan| {
        let column = input.schema().columns().into_iter().nth(rowtime_of(input)?)?;
        plan.schema().index_of_column(&column).ok()
    };
    match plan {
        LogicalPlan::TableScan(table) if table.source.is::<StreamTable>() => scan::rowtime(table).ok().flatten(),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => rowtime_of(input),
        LogicalPlan::Filter(Filter { input, .. }) => rowtime_of(input),
        LogicalPlan::Window(window) => place(&window.input, plan),
        LogicalPlan::Projection(Projection { input, expr, .. }) => {
            let column = input.schema().columns().into_iter().nth(rowtime_of(input)?)?;
            expr.iter().position(|e| matches!(e.clone().unalias_nested().data, Expr::Column(c) if c == column))
        }
        _ => None,
    }
}

/// Lets conditions on the left side alone choose its rows before they ask.
#[derive(Debug)]
pub(super) struct PushIntoTemporalJoin;

impl OptimizerRule for PushIntoTemporalJoin {
    fn name(&self) -> &str {
        "push_into_temporal_join"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Extension(below) = filter.input.as_ref() else { return Ok(Transformed::no(plan)) };
        let Some(join) = below.node.as_any().downcast_ref::<TemporalJoin>() else { return Ok(Transformed::no(plan)) };
        let on_left = |e: &Expr| {
            let known = e.column_refs().into_iter().all(|c| join.left.schema().index_of_column(c).is_ok());
            known && !e.is_volatile()
        };
        let conditions = split_conjunction_owned(filter.predicate.clone());
        let (pushed, kept): (Vec<_>, Vec<_>) = conditions.into_iter().partition(on_left);
        let Some(pushed) = conjunction(pushed) else { return Ok(Transformed::no(plan)) };
        let left = Arc::new(LogicalPlan::Filter(Filter::try_new(pushed, Arc::clone(&join.left))?));
        let join = LogicalPlan::Extension(Extension { node: Arc::new(TemporalJoin { left, ..join.clone() }) });
        Ok(Transformed::yes(match conjunction(kept) {
            Some(kept) => LogicalPlan::Filter(Filter::try_new(kept, Arc::new(join))?),
            None => join,
        }))
    }
}
