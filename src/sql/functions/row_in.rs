//! `(a, b) IN (SELECT …)` as EXISTS, which DataFusion plans.

use std::ops::ControlFlow;

use datafusion_sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SetExpr, TableAliasColumnDef, TableFactor, VisitMut, VisitorMut,
};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::Parser;

/// How the subquery is called; no table of a user's is called so.
const ROWS: &str = "__rows";

/// Rewrites the conditions of all queries below `node`.
pub(super) fn prepare<V: VisitMut>(node: &mut V) {
    let _ = node.visit(&mut Rewriter);
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        select.selection.iter_mut().for_each(condition);
        ControlFlow::Continue(())
    }
}

/// Where only truth counts: there a condition that is not known may be taken for false.
fn condition(expr: &mut Expr) {
    let mut left = vec![expr];
    while let Some(expr) = left.pop() {
        if let Some(exists) = as_exists(expr) {
            *expr = exists;
            continue;
        }
        match expr {
            Expr::Nested(inner) => left.push(inner),
            Expr::BinaryOp { left: l, op: BinaryOperator::And | BinaryOperator::Or, right } => {
                left.extend([&mut **l, right])
            }
            _ => {}
        }
    }
}

/// `IN`: there is a row all of whose values are equal. `NOT IN`: there is none of which that is true or not known.
fn as_exists(expr: &Expr) -> Option<Expr> {
    let Expr::InSubquery { expr: row, subquery, negated } = expr else { return None };
    let Expr::Tuple(values) = row.as_ref() else { return None };
    let names: Vec<Ident> = (0..values.len()).map(|i| Ident::new(format!("c{i}"))).collect();
    let equal = values.iter().zip(&names).map(|(value, name)| Expr::BinaryOp {
        left: Box::new(value.clone()),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::CompoundIdentifier(vec![Ident::new(ROWS), name.clone()])),
    });
    let all = equal.reduce(|l, r| Expr::BinaryOp { left: Box::new(l), op: BinaryOperator::And, right: Box::new(r) })?;
    let wanted = if *negated { Expr::IsNotFalse(Box::new(Expr::Nested(Box::new(all)))) } else { all };
    let subquery = Box::new(rows_that(subquery, names, wanted)?);
    Some(Expr::Exists { subquery, negated: *negated })
}

/// `SELECT 1 FROM (subquery) AS __rows (names) WHERE wanted`.
fn rows_that(subquery: &Query, names: Vec<Ident>, wanted: Expr) -> Option<Query> {
    let form = format!("SELECT 1 FROM (SELECT 1) AS {ROWS}");
    let mut query = *Parser::new(&GenericDialect {}).try_with_sql(&form).ok()?.parse_query().ok()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    let TableFactor::Derived { subquery: from, alias, .. } = &mut select.from.first_mut()?.relation else {
        return None;
    };
    **from = subquery.clone();
    alias.as_mut()?.columns = names.into_iter().map(|name| TableAliasColumnDef { name, data_type: None }).collect();
    select.selection = Some(wanted);
    Some(query)
}
