//! Sessions: the window function SESSION by itself, and aggregates over it.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{Column, DFSchema};
use datafusion_expr::logical_plan::Aggregate as LogicalAggregate;
use datafusion_expr::{Expr, UserDefinedLogicalNodeCore};

use super::aggregate::{Keys, lower_aggregate, outputs, result_schema};
use super::compile::Compiler;
use super::over::arrives_in_order;
use super::time_attribute::TimeAttribute;
use super::window_tvf::SessionTvf;
use super::windowed::{self, Stripped, WindowColumn, Windows};
use crate::change::{TimeSpan, WallClock};
use crate::operator::session::{SessionAggregateFactory, SessionAssignFactory, SessionSpec};
use crate::operator::window_aggregate::{Aggregate, WindowOutput};
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// Aggregates whose results do not depend on the order of rows, so that those of a session's parts can be put together in any.
const ORDERLESS: &[&str] = &[
    "approx_distinct",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "count",
    "max",
    "median",
    "min",
    "stddev",
    "stddev_pop",
    "sum",
    "var",
    "var_pop",
];

/// Lowers the window function by itself: rows go out when their session is final.
pub(super) fn lower(compiler: &mut Compiler, tvf: &SessionTvf) -> Result<NodeId> {
    let mut input = compiler.lower(&tvf.input)?;
    if changes(compiler, input) {
        input = compiler.for_each_change(|compiler| compiler.lower(&tvf.input))?;
        compiler.mark_every_row(input);
    }
    let (node, time, sessions) = sessions(compiler, input, &tvf.time, &tvf.keys, tvf.gap, tvf.input.schema())?;
    let before = compiler.circuit.node(node);
    let width = before.schema.fields().len();
    let own = tvf.schema().fields().iter().skip(width).cloned();
    let schema = Arc::new(Schema::new(before.schema.fields().iter().cloned().chain(own).collect::<Vec<_>>()));
    let keys = key_names(&before.schema, &sessions.keys);
    let mut window_ends = before.notes.window_ends.clone();
    window_ends.extend(sessions.clock.is_watermarks().then_some(width + 1));
    let notes = NodeNotes {
        detail: detail(tvf.gap, &tvf.time, time, &keys),
        windows: vec![(width, width + 1)],
        window_ends,
        window_times: vec![width + 2],
        // What goes while its session is open is not given.
        changelog: Changelog::Append,
        net: false,
        bound: Some(bound(Held::rows("the input"), tvf.gap)),
        ..before.notes.clone()
    };
    let input = Arc::clone(&before.schema);
    let factory = SessionAssignFactory { sessions, input, schema: Arc::clone(&schema) };
    Ok(compiler.over_time(factory, time, Some(width + 2), node, schema, notes))
}

/// What bounds the state: sessions are let go when they close.
fn bound(held: Held, gap: i64) -> Bound {
    let spec = Some(format!("SESSION(gap={})", TimeSpan(gap)));
    Bound::of([held.lives(Lifetime::Windows { slices: false, spec })])
}

fn changes(compiler: &Compiler, node: NodeId) -> bool {
    compiler.circuit.node(node).notes.changelog != Changelog::Append
}

/// The aggregate of each session of rows that only come, where sessions are grouped by themselves and their keys; `None` for any
/// other aggregate.
pub(super) fn aggregate(
    compiler: &mut Compiler,
    aggregate: &LogicalAggregate,
    all: &[&Expr],
) -> Result<Option<NodeId>> {
    let Some(stripped) = windowed::strip(&aggregate.input)? else { return Ok(None) };
    let Windows::Sessions { keys, gap } = &stripped.spec else { return Ok(None) };
    let Some(group) = grouped(&stripped, aggregate, all, keys)? else { return Ok(None) };
    let schema = stripped.plan.schema();
    let aggregates = aggregate.aggr_expr.iter().map(|e| lower_aggregate(e, schema)).collect::<Result<Vec<_>>>()?;
    if !aggregates.iter().all(is_orderless) {
        return Ok(None);
    }
    let input = compiler.lower(&stripped.plan)?;
    if changes(compiler, input) {
        return Ok(None);
    }
    // The keys in the order of the result's, each once.
    let ordered: Vec<Column> =
        all.iter().zip(&group.window).filter(|(_, w)| w.is_none()).filter_map(|(e, _)| column(e)).collect();
    let (node, time, sessions) = self::sessions(compiler, input, &stripped.time, &ordered, *gap, schema)?;
    let mut outputs = outputs(&group);
    outputs.extend((0..aggregates.len()).map(WindowOutput::Aggregate));
    let before = Arc::clone(&compiler.circuit.node(node).schema);
    let schema = result_schema(aggregate, &before, &sessions.keys, &outputs, &aggregates)?;
    let keys = key_names(&before, &sessions.keys);
    let calls = aggregate.aggr_expr.iter().map(|e| e.human_display().to_string()).collect::<Vec<_>>().join(", ");
    let place = |wanted| outputs.iter().position(|o| *o == wanted);
    let notes = NodeNotes {
        detail: format!("{}, aggregates=[{calls}]", detail(*gap, &stripped.time, time, &keys)),
        windows: place(WindowOutput::Start).zip(place(WindowOutput::End)).into_iter().collect(),
        window_times: place(WindowOutput::Time).into_iter().collect(),
        window_ends: place(WindowOutput::End).filter(|_| sessions.clock.is_watermarks()).into_iter().collect(),
        keys: vec![(0..outputs.len()).filter(|o| !matches!(outputs[*o], WindowOutput::Aggregate(_))).collect()],
        bound: Some(bound(Held::at_most(1, "group").per(sessions.keys.iter().map(|k| before.field(*k).name())), *gap)),
        ..NodeNotes::default()
    };
    let (shown, out) = (place(WindowOutput::Time), Arc::clone(&schema));
    let factory = SessionAggregateFactory { sessions, aggregates, outputs, input: before, schema: out };
    Ok(Some(compiler.over_time(factory, time, shown, node, schema, notes)))
}

/// The group expressions, where they are the window's start and end and the session's keys.
fn grouped<'a>(
    stripped: &Stripped,
    aggregate: &LogicalAggregate,
    all: &[&'a Expr],
    keys: &[Column],
) -> Result<Option<Keys<'a>>> {
    let window: Vec<_> = all.iter().map(|e| stripped.window_column(&aggregate.input, e)).collect();
    let has = |c| window.contains(&Some(c));
    let is_set = matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_)));
    let uses_windows = |e: &Expr| stripped.uses_windows(&aggregate.input, e);
    if is_set || !has(WindowColumn::Start) || !has(WindowColumn::End) || aggregate.aggr_expr.iter().any(uses_windows) {
        return Ok(None);
    }
    let schema = stripped.plan.schema();
    let place = |c: &Column| schema.index_of_column(c);
    let sessions = keys.iter().map(place).collect::<datafusion_common::Result<BTreeSet<_>>>()?;
    let mut found = BTreeSet::new();
    for (expr, _) in all.iter().zip(&window).filter(|(_, w)| w.is_none()) {
        match column(expr).and_then(|c| place(&c).ok()) {
            Some(place) if sessions.contains(&place) && found.insert(place) => {}
            _ => return Ok(None),
        }
    }
    Ok((found == sessions).then(|| Keys { all: all.to_vec(), window }))
}

fn column(expr: &Expr) -> Option<Column> {
    match expr {
        Expr::Column(column) => Some(column.clone()),
        _ => None,
    }
}

fn is_orderless(aggregate: &Aggregate) -> bool {
    ORDERLESS.contains(&aggregate.function.fun().name().to_ascii_lowercase().as_str())
}

/// What an operator over sessions needs to know, with the rows sent to their keys' workers.
fn sessions(
    compiler: &mut Compiler,
    input: NodeId,
    time: &Column,
    keys: &[Column],
    gap: i64,
    schema: &DFSchema,
) -> Result<(NodeId, TimeAttribute, SessionSpec)> {
    let attribute = compiler.time_attribute(input, time, schema)?;
    if matches!(attribute, TimeAttribute::Processing(_)) && changes(compiler, input) {
        return Err(Error::Unsupported("SESSION: windows of processing time over rows that change".into()));
    }
    let time = attribute.column();
    let keys = keys.iter().map(|k| Ok(schema.index_of_column(k)?)).collect::<Result<Vec<_>>>()?;
    let clock = WallClock::of(schema.field(time).data_type())?;
    let strict = !arrives_in_order(&compiler.circuit, input);
    let node = compiler.exchange(input, keys.clone());
    Ok((node, attribute, SessionSpec { gap, time, keys, strict, clock }))
}

fn key_names(schema: &SchemaRef, keys: &[usize]) -> String {
    keys.iter().map(|k| schema.field(*k).name().as_str()).collect::<Vec<_>>().join(", ")
}

fn detail(gap: i64, time: &Column, attribute: TimeAttribute, keys: &str) -> String {
    format!("SESSION(gap={}), time={}{}, keys=[{keys}]", TimeSpan(gap), time.name, attribute.shown())
}
