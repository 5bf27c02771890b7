//! The names of a query's columns.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion_common::Result;
use datafusion_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion_sql::sqlparser::ast::{
    Expr as SqlExpr, Ident, Query, Select, SelectItem, SetExpr, VisitMut, VisitorMut,
};

/// Gives columns without a name of their own the names that Flink gives them: `EXPR$0`, `EXPR$1`, by their position.
pub(super) fn name_unnamed(plan: LogicalPlan, query: &Query) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let named = named_columns(&items(&query.body), columns.len());
    if named.iter().all(|n| *n) {
        return Ok(plan);
    }
    let renamed = columns.into_iter().zip(named).enumerate().map(|(i, (column, named))| match named {
        true => Expr::Column(column),
        false => Expr::Column(column).alias(format!("EXPR${i}")),
    });
    LogicalPlanBuilder::from(plan).project(renamed.collect::<Vec<_>>())?.build()
}

/// Whether each of `width` columns has a name. Those of a wildcard have; what stands between two wildcards is left alone.
fn named_columns(items: &[Item], width: usize) -> Vec<bool> {
    let is_named = |item: &Item| *item != Item::Unnamed;
    let before: Vec<bool> = items.iter().take_while(|i| **i != Item::Wildcard).map(is_named).collect();
    if before.len() == items.len() {
        return if before.len() == width { before } else { vec![true; width] };
    }
    let mut after: Vec<bool> = items.iter().rev().take_while(|i| **i != Item::Wildcard).map(is_named).collect();
    after.reverse();
    let wild = width.saturating_sub(before.len() + after.len());
    before.into_iter().chain(std::iter::repeat_n(true, wild)).chain(after).collect()
}

/// What stands in a SELECT list.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Named,
    Unnamed,
    Wildcard,
}

/// The items of the leftmost SELECT.
fn items(body: &SetExpr) -> Vec<Item> {
    match body {
        SetExpr::Select(select) => select.projection.iter().map(item).collect(),
        SetExpr::Query(query) => items(&query.body),
        SetExpr::SetOperation { left, .. } => items(left),
        SetExpr::Values(values) => vec![Item::Unnamed; values.rows.first().map_or(0, |r| r.len())],
        _ => Vec::new(),
    }
}

fn item(item: &SelectItem) -> Item {
    match item {
        SelectItem::UnnamedExpr(SqlExpr::Identifier(_) | SqlExpr::CompoundIdentifier(_)) => Item::Named,
        SelectItem::ExprWithAlias { .. } => Item::Named,
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => Item::Wildcard,
        _ => Item::Unnamed,
    }
}

/// Gives columns that are selected twice under one name the names that Flink gives them: `a`, `a0`, `a1`.
pub(super) fn tell_apart(query: &mut Query) {
    let _ = query.visit(&mut TellApart);
}

struct TellApart;

impl VisitorMut for TellApart {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        let mut taken: HashSet<String> =
            select.projection.iter().filter_map(|i| Some(name(i)?.value.clone())).collect();
        // By name how many numbers have been tried; by text the expressions without a name.
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (place, item) in select.projection.iter_mut().enumerate() {
            match name(item).cloned() {
                Some(old) => match seen.get_mut(&old.value) {
                    None => drop(seen.insert(old.value, 0)),
                    Some(tried) => rename(item, free_name(&old, tried, &mut taken)),
                },
                None => {
                    if let SelectItem::UnnamedExpr(expr) = item
                        && seen.insert(format!("{expr} "), 0).is_some()
                    {
                        rename(item, Ident::with_quote('`', format!("EXPR${place}")));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

/// A name with the first number behind it that makes it one of its own.
fn free_name(old: &Ident, tried: &mut usize, taken: &mut HashSet<String>) -> Ident {
    loop {
        let value = format!("{}{tried}", old.value);
        *tried += 1;
        if taken.insert(value.clone()) {
            return Ident { value, quote_style: Some('`'), span: old.span };
        }
    }
}

/// The name that an item gives its column.
fn name(item: &SelectItem) -> Option<&Ident> {
    match item {
        SelectItem::UnnamedExpr(SqlExpr::Identifier(name)) => Some(name),
        SelectItem::UnnamedExpr(SqlExpr::CompoundIdentifier(parts)) => parts.last(),
        SelectItem::ExprWithAlias { alias, .. } => Some(alias),
        _ => None,
    }
}

fn rename(item: &mut SelectItem, alias: Ident) {
    let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { return };
    *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias };
}
