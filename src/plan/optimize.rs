//! DataFusion's optimizer, with the rules that are sound for a stream.

use std::sync::Arc;

use datafusion_common::NullEquality;
use datafusion_common::config::ConfigOptions;
use datafusion_common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion_expr::LogicalPlan;
use datafusion_optimizer::common_subexpr_eliminate::CommonSubexprEliminate;
use datafusion_optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion_optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion_optimizer::eliminate_cross_join::EliminateCrossJoin;
use datafusion_optimizer::eliminate_duplicated_expr::EliminateDuplicatedExpr;
use datafusion_optimizer::eliminate_filter::EliminateFilter;
use datafusion_optimizer::eliminate_group_by_constant::EliminateGroupByConstant;
use datafusion_optimizer::eliminate_outer_join::EliminateOuterJoin;
use datafusion_optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion_optimizer::optimize_projections::OptimizeProjections;
use datafusion_optimizer::optimize_unions::OptimizeUnions;
use datafusion_optimizer::optimizer::ApplyOrder;
use datafusion_optimizer::propagate_empty_relation::PropagateEmptyRelation;
use datafusion_optimizer::push_down_filter::PushDownFilter;
use datafusion_optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion_optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion_optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion_optimizer::simplify_expressions::SimplifyExpressions;
use datafusion_optimizer::{Optimizer, OptimizerConfig, OptimizerContext, OptimizerRule};

use super::as_of::PushIntoTemporalJoin;
use super::subquery::{self, NotInRule};
use super::{global, set_operation};
use crate::Result;

/// Optimizes a plan. Left out are the rules that split a DISTINCT aggregate in two (windows would be lost on the way),
/// those that drop joins or NULL keys (a join sees to these itself), those for limits, which streams plan their own way,
/// and the folding of the current time: a query that runs for days has no one start time.
///
/// # Errors
/// When an expression is found to be wrong, such as a constant division by zero.
pub fn optimize(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(OptimizeUnions::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(NotInRule),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(Equijoins(ExtractEquijoinPredicate::new())),
        Arc::new(EliminateDuplicatedExpr::new()),
        Arc::new(EliminateFilter::new()),
        Arc::new(CrossJoins(EliminateCrossJoin::new())),
        Arc::new(PropagateEmptyRelation::new()),
        Arc::new(EliminateOuterJoin::new()),
        Arc::new(PushDownFilter::new()),
        Arc::new(PushIntoTemporalJoin),
        Arc::new(EliminateGroupByConstant::new()),
        Arc::new(CommonSubexprEliminate::new()),
        Arc::new(OptimizeProjections::new()),
    ];
    let mut config = ConfigOptions::new();
    // Else they are left to a physical planner, which is not ours.
    config.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    let context = OptimizerContext::new_with_config_options(Arc::new(config)).without_query_execution_start_time();
    let plan = subquery::name_compared(subquery::complete_in(set_operation::rewrite(plan)?)?)?;
    let plan = global::hold(subquery::assert_single_rows(plan)?)?;
    Ok(global::release(Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})?)?)
}

/// DataFusion's rule, where it is right: of joins in a row it takes one for all to say whether NULL is equal to NULL.
#[derive(Debug)]
struct CrossJoins(EliminateCrossJoin);

impl OptimizerRule for CrossJoins {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> datafusion_common::Result<Transformed<LogicalPlan>> {
        let mut nulls_equal = false;
        plan.apply_with_subqueries(|node| {
            let join = matches!(node, LogicalPlan::Join(j) if j.null_equality == NullEquality::NullEqualsNull);
            nulls_equal |= join;
            Ok(if join { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if nulls_equal { Ok(Transformed::no(plan)) } else { self.0.rewrite(plan, config) }
    }
}

/// DataFusion's rule, where it is right: to a join by `IS NOT DISTINCT FROM` it would add a plain equality, as the join's WHERE
/// may bring it there later, as if that held of NULLs too.
#[derive(Debug)]
struct Equijoins(ExtractEquijoinPredicate);

impl OptimizerRule for Equijoins {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> datafusion_common::Result<Transformed<LogicalPlan>> {
        match &plan {
            LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => Ok(Transformed::no(plan)),
            _ => self.0.rewrite(plan, config),
        }
    }
}
