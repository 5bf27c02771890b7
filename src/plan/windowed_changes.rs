//! Aggregates over windows of rows that come and go.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::Expr;
use datafusion_expr::logical_plan::Aggregate as LogicalAggregate;

use super::aggregate::{Input, Prepared, result_schema};
use super::compile::{Compiler, EmitOptions};
use super::group;
use super::rank::updating;
use super::time_attribute::TimeAttribute;
use super::window_tvf::GROUP_COLUMNS;
use crate::change::TimeSpan;
use crate::operator::group_aggregate::{ChangingWindowAggregate, Emit};
use crate::operator::window::WindowSpec;
use crate::operator::window_aggregate::{Aggregate, WindowOutput, WindowSource};
use crate::operator::window_assign::WindowAssign;
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// Lowers an aggregate whose input is prepared: its keys are columns. Each row is given each of its windows, for what goes
/// again cannot be shared between windows as what only comes can.
pub(super) fn lower(
    compiler: &mut Compiler,
    aggregate: &LogicalAggregate,
    input: &Input,
    prepared: Prepared,
    aggregates: Vec<Aggregate>,
    outputs: Vec<WindowOutput>,
    emit: Option<Emit>,
) -> Result<NodeId> {
    if let TimeAttribute::Processing(_) = input.time {
        return Err(Error::Unsupported(
            "GROUP BY: windows of processing time over rows that change, or with early or late results".into(),
        ));
    }
    let changing = compiler.circuit.node(prepared.node).notes.changelog != Changelog::Append;
    if changing {
        compiler.mark_every_row(prepared.node);
    }
    let Prepared { node, keys } = prepared;
    let (node, window) = match input.windows {
        WindowSource::Columns { start, end } => (node, [start, end]),
        WindowSource::Rowtime { column, spec } => assign(compiler, node, column, spec)?,
    };
    let exchanged = compiler.exchange(node, window.iter().chain(&keys).copied().collect());
    let before = Arc::clone(&compiler.circuit.node(exchanged).schema);
    let schema = result_schema(aggregate, &before, &keys, &outputs, &aggregates)?;
    let names: Vec<&str> = keys.iter().map(|k| before.field(*k).name().as_str()).collect();
    let shown: Vec<String> = aggregate.aggr_expr.iter().map(|e| e.human_display().to_string()).collect();
    let place = |wanted| outputs.iter().position(|o| *o == wanted);
    let bound = group::bound(&names, aggregates.iter().zip(&shown), changing, None);
    let open = Lifetime::Windows { slices: false, spec: shown_windows(&input.windows, emit) };
    // What has gone out of each group, where that may change.
    let sent = emit.map(|_| Held::at_most(1, "last result").per(names.iter().copied()));
    let parts = bound.parts.into_iter().chain(sent);
    let notes = NodeNotes {
        detail: format!("{}, keys=[{}], aggregates=[{}]", input.detail, names.join(", "), shown.join(", ")),
        rowtimes: place(WindowOutput::Time).into_iter().collect(),
        windows: place(WindowOutput::Start).zip(place(WindowOutput::End)).into_iter().collect(),
        window_times: place(WindowOutput::Time).into_iter().collect(),
        window_ends: place(WindowOutput::End).filter(|_| input.clock.is_watermarks()).into_iter().collect(),
        keys: vec![(0..outputs.len()).filter(|o| !matches!(outputs[*o], WindowOutput::Aggregate(_))).collect()],
        changelog: if emit.is_some() { Changelog::Retract } else { Changelog::Append },
        net: emit.is_some(),
        bound: Some(Bound::of(parts.map(|part| part.lives(open.clone())))),
        ..NodeNotes::default()
    };
    let factory = ChangingWindowAggregate {
        window,
        keys,
        changing,
        emit,
        clock: input.clock,
        aggregates,
        outputs,
        input: before,
        schema: Arc::clone(&schema),
    };
    Ok(updating(compiler, factory, exchanged, schema, notes))
}

/// The windows as `EXPLAIN` shows them, and for how long after its end each takes rows.
fn shown_windows(windows: &WindowSource, emit: Option<Emit>) -> Option<String> {
    let WindowSource::Rowtime { spec, .. } = windows else { return None };
    let late = emit.map(|e| e.lateness).filter(|lateness| *lateness > 0);
    Some(late.map_or_else(|| spec.to_string(), |late| format!("{spec} and {} more", TimeSpan(late))))
}

/// When windows give results beside when they are closed, as the session's settings say; only group windows can.
pub(super) fn emit(compiler: &Compiler, all: &[&Expr], sessions: bool) -> Result<Option<Emit>> {
    let EmitOptions { lateness, early, late } = compiler.options.emit;
    if early.is_none() && late.is_none() {
        return Ok(None);
    }
    let is_group = all.iter().any(|e| matches!(e, Expr::Column(c) if GROUP_COLUMNS.contains(&c.name.as_str())));
    let said = match (is_group, sessions, late, lateness) {
        (false, ..) => {
            "a window function gives its results once; a group window, GROUP BY TUMBLE(…), can give them early or late"
        }
        (_, true, ..) => "SESSION gives its results once",
        (_, _, Some(_), None) => "late results need 'table.exec.emit.allow-lateness' or 'table.exec.state.ttl'",
        _ => return Ok(Some(Emit { lateness: late.and(lateness).unwrap_or(0), early, late })),
    };
    Err(Error::Unsupported(format!(
        "'table.exec.emit.early-fire.enabled' and 'table.exec.emit.late-fire.enabled': {said}"
    )))
}

/// Gives each row once for each of its windows, and says in which columns these stand.
fn assign(compiler: &mut Compiler, node: NodeId, rowtime: usize, spec: WindowSpec) -> Result<(NodeId, [usize; 2])> {
    let before = compiler.circuit.node(node);
    let width = before.schema.fields().len();
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let DataType::Timestamp(_, zone) = before.schema.field(rowtime).data_type() else {
        return Err(Error::internal("windows over a column that is no time"));
    };
    let instant = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
    let own = [("window_start", &time), ("window_end", &time), ("window_time", &instant)];
    let own = own.map(|(name, data_type)| Arc::new(Field::new(name, data_type.clone(), false)));
    let fields = before.schema.fields().iter().cloned().chain(own);
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let notes = NodeNotes {
        detail: format!("{spec}, time={}", before.schema.field(rowtime).name()),
        windows: vec![(width, width + 1)],
        keys: Vec::new(),
        bound: None,
        net: false,
        ..before.notes.clone()
    };
    let factory = WindowAssign::try_new(spec, rowtime, Arc::clone(&schema))?;
    Ok((compiler.operator(factory, vec![node], schema, notes), [width, width + 1]))
}
