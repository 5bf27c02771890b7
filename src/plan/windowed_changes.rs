//! Aggregates over windows of rows that come and go.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_expr::logical_plan::Aggregate as LogicalAggregate;

use super::aggregate::{Input, Prepared, result_schema};
use super::compile::Compiler;
use super::group;
use crate::Result;
use crate::operator::group_aggregate::ChangingWindowAggregate;
use crate::operator::window::WindowSpec;
use crate::operator::window_aggregate::{Aggregate, WindowOutput, WindowSource};
use crate::operator::window_assign::WindowAssign;
use crate::runtime::circuit::{NodeId, NodeNotes};
use crate::runtime::{Bound, Lifetime};

/// Lowers an aggregate whose input is prepared: its keys are columns. Each row is given each of its windows, for what goes
/// again cannot be shared between windows as what only comes can.
pub(super) fn lower(
    compiler: &mut Compiler,
    aggregate: &LogicalAggregate,
    input: &Input,
    prepared: Prepared,
    aggregates: Vec<Aggregate>,
    outputs: Vec<WindowOutput>,
) -> Result<NodeId> {
    for source in compiler.sources_of(prepared.node) {
        if let Some(watermark) = &mut compiler.circuit.sources[source].watermark {
            watermark.every_row = true;
        }
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
    let open = Lifetime::Windows { slices: false, spec: None };
    let held = group::bound(&names, aggregates.iter().zip(&shown), true, None).parts;
    let held = held.into_iter().map(|part| part.lives(open.clone()));
    let notes = NodeNotes {
        detail: format!("{}, keys=[{}], aggregates=[{}]", input.detail, names.join(", "), shown.join(", ")),
        rowtimes: place(WindowOutput::Time).into_iter().collect(),
        windows: place(WindowOutput::Start).zip(place(WindowOutput::End)).into_iter().collect(),
        window_times: place(WindowOutput::Time).into_iter().collect(),
        window_ends: place(WindowOutput::End).filter(|_| input.clock.is_watermarks()).into_iter().collect(),
        keys: vec![(0..outputs.len()).filter(|o| !matches!(outputs[*o], WindowOutput::Aggregate(_))).collect()],
        bound: Some(Bound::of(held)),
        ..NodeNotes::default()
    };
    let factory = ChangingWindowAggregate {
        window,
        keys,
        clock: input.clock,
        aggregates,
        outputs,
        input: before,
        schema: Arc::clone(&schema),
    };
    Ok(compiler.operator(factory, vec![exchanged], schema, notes))
}

/// Gives each row once for each of its windows, and says in which columns these stand.
fn assign(compiler: &mut Compiler, node: NodeId, rowtime: usize, spec: WindowSpec) -> Result<(NodeId, [usize; 2])> {
    let before = compiler.circuit.node(node);
    let width = before.schema.fields().len();
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let own = ["window_start", "window_end"].map(|name| Arc::new(Field::new(name, time.clone(), false)));
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
