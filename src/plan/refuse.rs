//! What cannot be planned yet, by the name it has in SQL.

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::{Expr, LogicalPlan};

use crate::{Error, Result};

/// Subqueries become joins; this is what is said of those that do not.
const UNJOINED: &str = "SELECT: this subquery has no form as a join; correlate it by equalities in its WHERE";

/// Why a plan's topmost node is refused. The first word or words, up to a colon, are the SQL keyword to look for.
pub(super) fn plan(plan: &LogicalPlan) -> Error {
    let what = match plan {
        LogicalPlan::RecursiveQuery(_) => "RECURSIVE: recursive queries are not planned",
        LogicalPlan::Subquery(_) => UNJOINED,
        other => return Error::Unsupported(format!("{}: not planned yet", other.display())),
    };
    Error::Unsupported(what.into())
}

/// Refuses an expression with parts that only a plan of its own could answer.
pub(super) fn expression(expr: &Expr) -> Result<()> {
    let mut found = None;
    expr.apply(|e| {
        found = match e {
            Expr::InSubquery(_) => {
                Some("IN: a subquery's membership is planned as a condition only, in WHERE or HAVING")
            }
            Expr::Exists(_) => Some("EXISTS: it is planned as a condition only, in WHERE or HAVING"),
            Expr::ScalarSubquery(_) => Some(UNJOINED),
            Expr::OuterReferenceColumn(..) => Some(UNJOINED),
            _ => return Ok(TreeNodeRecursion::Continue),
        };
        Ok(TreeNodeRecursion::Stop)
    })?;
    found.map_or(Ok(()), |what| Err(Error::Unsupported(what.into())))
}
