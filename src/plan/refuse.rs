//! What cannot be planned yet, by the name it has in SQL.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};

use crate::{Error, Result};

/// Why a plan's topmost node is refused. The first word or words, up to a colon, are the SQL keyword to look for.
pub(super) fn plan(plan: &LogicalPlan) -> Error {
    let what = match plan {
        LogicalPlan::Sort(_) => "ORDER BY: sorting is not planned yet",
        LogicalPlan::Limit(_) => "LIMIT: limiting is not planned yet",
        LogicalPlan::RecursiveQuery(_) => "RECURSIVE: recursive queries are not planned",
        LogicalPlan::Subquery(_) => "SELECT: subqueries in expressions are not planned yet",
        other => return Error::Unsupported(format!("{}: not planned yet", other.display())),
    };
    Error::Unsupported(what.into())
}

/// Refuses an expression with parts that only a plan of its own could answer.
pub(super) fn expression(expr: &Expr) -> Result<()> {
    let mut found = None;
    expr.apply(|e| {
        found = match e {
            Expr::InSubquery(_) => Some("IN: subqueries in expressions are not planned yet"),
            Expr::Exists(_) => Some("EXISTS: subqueries in expressions are not planned yet"),
            Expr::ScalarSubquery(_) => Some("SELECT: subqueries in expressions are not planned yet"),
            Expr::OuterReferenceColumn(..) => Some("SELECT: correlated subqueries are not planned yet"),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    })?;
    found.map_or(Ok(()), |what| Err(Error::Unsupported(what.into())))
}
