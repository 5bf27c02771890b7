//! ORDER BY, LIMIT and OFFSET.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_expr::logical_plan::{FetchType, Limit as LogicalLimit, Projection, SkipType, Sort as LogicalSort};
use datafusion_expr::{Expr, LogicalPlan};

use super::compile::Compiler;
use super::rank::{Ordered, Prepared, passed, prepare, shown_order, top_n};
use crate::change::WallClock;
use crate::operator::limit::Limit;
use crate::operator::sort::Sort;
use crate::operator::top_n::check_order;
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// `ORDER BY` by itself.
pub(super) fn lower(compiler: &mut Compiler, sort: &LogicalSort) -> Result<NodeId> {
    if let Some(fetch) = sort.fetch {
        return first_rows(compiler, sort, (0, Some(fetch as u64)));
    }
    let input = compiler.lower(&sort.input)?;
    let ordered = Ordered {
        partition: &[],
        order: &sort.expr,
        range: (1, u64::MAX),
        ttl: None,
        clock: WallClock::default(),
        by_session: false,
    };
    let Prepared { node, order, .. } = prepare(compiler, input, sort.input.schema(), &ordered)?;
    let node = compiler.exchange(node, Vec::new());
    let before = compiler.circuit.node(node);
    let wide = Arc::clone(&before.schema);
    check_order(&wide, &order)?;
    let rowtime = order.first().filter(|o| !o.descending && before.notes.rowtimes.contains(&o.column));
    let rowtime = rowtime.filter(|_| before.notes.changelog == Changelog::Append).map(|o| o.column);
    if rowtime.is_none() {
        check_bounded(compiler, node)?;
    }
    let width = sort.input.schema().fields().len();
    let schema: SchemaRef = Arc::new(Schema::new(wide.fields().iter().take(width).cloned().collect::<Vec<_>>()));
    let held = Held::rows("the input").lives(if rowtime.is_some() { Lifetime::Watermark } else { Lifetime::End });
    let notes = NodeNotes {
        detail: format!("order=[{}]", shown_order(&wide, &order)),
        keys: before.notes.keys.iter().filter(|k| k.iter().all(|c| *c < width)).cloned().collect(),
        bound: Some(Bound::of([held])),
        ..match rowtime {
            Some(_) => passed(&before.notes, width),
            None => NodeNotes::default(),
        }
    };
    let factory = Sort { order, rowtime, input: wide, schema: Arc::clone(&schema) };
    Ok(compiler.operator(factory, vec![node], schema, notes))
}

/// Refuses to wait for the end of an input that has none.
fn check_bounded(compiler: &Compiler, node: NodeId) -> Result<()> {
    let sources = compiler.sources_of(node);
    let unbounded = sources.iter().map(|s| &compiler.circuit.sources[*s]).find(|s| !s.connector.is_bounded(&s.table));
    match unbounded {
        None => Ok(()),
        Some(source) => Err(Error::Unsupported(format!(
            "ORDER BY: the input from '{}' never ends, so that its rows can be put in order only by ascending rowtime first; \
             add a LIMIT, or read a bounded source",
            source.table.name
        ))),
    }
}

/// `LIMIT` and `OFFSET`: after an ORDER BY a Top-N of all rows, else the first rows to arrive.
pub(super) fn lower_limit(compiler: &mut Compiler, limit: &LogicalLimit) -> Result<NodeId> {
    let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
        return Err(Error::Unsupported("LIMIT: it and OFFSET take whole numbers only".into()));
    };
    rows_of(compiler, &limit.input, (skip as u64, fetch.map(|f| f as u64)))
}

fn rows_of(compiler: &mut Compiler, plan: &LogicalPlan, span: (u64, Option<u64>)) -> Result<NodeId> {
    match plan {
        LogicalPlan::Sort(sort) => first_rows(compiler, sort, span),
        LogicalPlan::SubqueryAlias(alias) => rows_of(compiler, &alias.input, span),
        LogicalPlan::Projection(p) if is_ordered(&p.input) => project(compiler, p, span),
        other => {
            let input = compiler.lower(other)?;
            if compiler.circuit.node(input).notes.changelog == Changelog::Retract {
                let ttl = compiler.state_ttl(other);
                let ordered = Ordered {
                    partition: &[],
                    order: &[],
                    range: range(span),
                    ttl,
                    clock: WallClock::default(),
                    by_session: false,
                };
                return top_n(compiler, input, other.schema(), &ordered, None);
            }
            Ok(arrived(compiler, input, span))
        }
    }
}

fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_ordered(&alias.input),
        LogicalPlan::Projection(p) => is_ordered(&p.input),
        _ => false,
    }
}

/// A projection of rows that are limited before it.
fn project(compiler: &mut Compiler, projection: &Projection, span: (u64, Option<u64>)) -> Result<NodeId> {
    let node = rows_of(compiler, &projection.input, span)?;
    let exprs: &[Expr] = &projection.expr;
    compiler.calc(node, projection.input.schema(), None, exprs, projection.schema.inner())
}

fn first_rows(compiler: &mut Compiler, sort: &LogicalSort, (skip, fetch): (u64, Option<u64>)) -> Result<NodeId> {
    let own = sort.fetch.map(|own| (own as u64).saturating_sub(skip));
    let fetch = fetch.into_iter().chain(own).min();
    let input = compiler.lower(&sort.input)?;
    let ttl = compiler.state_ttl(&sort.input);
    let ordered = Ordered {
        partition: &[],
        order: &sort.expr,
        range: range((skip, fetch)),
        ttl,
        clock: WallClock::default(),
        by_session: false,
    };
    top_n(compiler, input, sort.input.schema(), &ordered, None)
}

/// Places counted from 1.
fn range((skip, fetch): (u64, Option<u64>)) -> (u64, u64) {
    match fetch {
        Some(0) => (1, 0),
        Some(fetch) => (skip.saturating_add(1), skip.saturating_add(fetch)),
        None => (skip.saturating_add(1), u64::MAX),
    }
}

fn arrived(compiler: &mut Compiler, input: NodeId, (skip, fetch): (u64, Option<u64>)) -> NodeId {
    let node = compiler.exchange(input, Vec::new());
    let before = compiler.circuit.node(node);
    let schema = Arc::clone(&before.schema);
    let shown = fetch.map_or("all".into(), |f| f.to_string());
    let notes = NodeNotes {
        detail: format!("rows={shown}, offset={skip}"),
        bound: Some(Bound::of([Held::at_most(1, "count")])),
        ..before.notes.clone()
    };
    compiler.operator(Limit { skip, fetch: fetch.unwrap_or(u64::MAX) }, vec![node], schema, notes)
}
