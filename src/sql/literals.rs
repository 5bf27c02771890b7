//! Literals as Flink types them: a whole number that fits is an INT, where DataFusion says BIGINT.

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::expr::WindowFunctionDefinition;
use datafusion_expr::expr_rewriter::NamePreserver;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// Types the literals of a plan. Must run before types are coerced.
pub(super) fn flink_literals(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| match plan {
        // LIMIT and OFFSET are BIGINT to DataFusion.
        LogicalPlan::Limit(_) => Ok(Transformed::no(plan)),
        LogicalPlan::Values(values) => {
            let rows = values.values.into_iter().map(|row| row.into_iter().map(flink_literal).collect());
            let rows = rows.collect::<Result<Vec<Vec<_>>>>()?;
            Ok(Transformed::yes(LogicalPlanBuilder::values(rows)?.build()?))
        }
        plan => {
            let names = NamePreserver::new(&plan);
            let typed = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(Transformed::yes(name.restore(flink_literal(expr)?)))
            })?;
            typed.map_data(LogicalPlan::recompute_schema)
        }
    })
    .map(|t| t.data)
}

/// Types the literals of an expression.
pub(super) fn flink_literal(expr: Expr) -> Result<Expr> {
    expr.transform_down(|expr| {
        Ok(match expr {
            Expr::Literal(ScalarValue::Int64(Some(v)), meta) => match i32::try_from(v) {
                Ok(v) => Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(v)), meta)),
                Err(_) => Transformed::no(Expr::Literal(ScalarValue::Int64(Some(v)), meta)),
            },
            // Positions in NTILE, LAG and their like are BIGINT to DataFusion.
            Expr::WindowFunction(f) if matches!(f.fun, WindowFunctionDefinition::WindowUDF(_)) => {
                Transformed::new(Expr::WindowFunction(f), false, TreeNodeRecursion::Jump)
            }
            other => Transformed::no(other),
        })
    })
    .map(|t| t.data)
}
