//! Aggregates over windows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::logical_plan::Aggregate as LogicalAggregate;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::utils::grouping_set_to_exprlist;
use datafusion_expr::{Expr, GroupingSet as LogicalSet};
use datafusion_physical_expr::aggregate::LoweredAggregateBuilder;

use super::compile::{Compiler, column_index, physical};
use super::time_attribute::TimeAttribute;
use super::windowed::{self, WindowColumn, Windows};
use super::{group, session, windowed_changes};
use crate::change::WallClock;
use crate::operator::calc::Calc;
use crate::operator::expand::{Expand, GroupingSet};
use crate::operator::window_aggregate::{Aggregate, WindowAggregateFactory, WindowOutput, WindowSource};
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// What an aggregate reads and where its windows come from.
pub(super) struct Input {
    node: NodeId,
    schema: Arc<DFSchema>,
    pub(super) windows: WindowSource,
    /// What closes them.
    pub(super) time: TimeAttribute,
    pub(super) clock: WallClock,
    pub(super) detail: String,
}

/// The group expressions of an aggregate, told apart.
pub(super) struct Keys<'a> {
    /// All of them, in the order of the aggregate's schema.
    pub all: Vec<&'a Expr>,
    /// For each, which window column it is, if any.
    pub window: Vec<Option<WindowColumn>>,
}

pub(super) fn lower(compiler: &mut Compiler, aggregate: &LogicalAggregate) -> Result<NodeId> {
    let all = grouping_set_to_exprlist(&aggregate.group_expr)?;
    if let Some(node) = session::aggregate(compiler, aggregate, &all)? {
        return windowed_changes::emit(compiler, &all, true).map(|_| node);
    }
    let mut found = input(compiler, aggregate, &all)?;
    if found.as_ref().is_some_and(|(input, _)| changes(compiler, input.node)) {
        found = compiler.for_each_change(|compiler| input(compiler, aggregate, &all))?;
    }
    let Some((input, keys)) = found else { return group::lower(compiler, aggregate, all) };
    let sets = grouping_sets(&aggregate.group_expr, &keys)?;
    let prepared = prepare(compiler, input.node, &input.schema, &keys, sets.as_deref())?;
    let aggregates =
        aggregate.aggr_expr.iter().map(|e| lower_aggregate(e, &input.schema)).collect::<Result<Vec<_>>>()?;
    let mut outputs = outputs(&keys);
    if sets.is_some() {
        outputs.push(WindowOutput::Key(prepared.keys.len() - 1));
    }
    outputs.extend((0..aggregates.len()).map(WindowOutput::Aggregate));
    let emit = windowed_changes::emit(compiler, &all, false)?;
    if emit.is_some() || changes(compiler, prepared.node) {
        return windowed_changes::lower(compiler, aggregate, &input, prepared, aggregates, outputs, emit);
    }

    let exchanged = compiler.exchange(prepared.node, prepared.keys.clone());
    let before = Arc::clone(&compiler.circuit.node(exchanged).schema);
    let schema = result_schema(aggregate, &before, &prepared.keys, &outputs, &aggregates)?;
    let names =
        |fields: &[usize]| fields.iter().map(|k| before.field(*k).name().as_str()).collect::<Vec<_>>().join(", ");
    let calls = aggregate.aggr_expr.iter().map(|e| e.human_display().to_string()).collect::<Vec<_>>().join(", ");
    let place = |wanted| outputs.iter().position(|o| *o == wanted);
    let notes = NodeNotes {
        detail: format!("{}, keys=[{}], aggregates=[{calls}]", input.detail, names(&prepared.keys)),
        windows: place(WindowOutput::Start).zip(place(WindowOutput::End)).into_iter().collect(),
        window_times: place(WindowOutput::Time).into_iter().collect(),
        window_ends: place(WindowOutput::End).filter(|_| input.clock.is_watermarks()).into_iter().collect(),
        keys: vec![(0..outputs.len()).filter(|o| !matches!(outputs[*o], WindowOutput::Aggregate(_))).collect()],
        bound: Some(Bound::of([bound(&input.windows, &before, &prepared.keys)])),
        ..NodeNotes::default()
    };
    let shown = place(WindowOutput::Time);
    let factory = WindowAggregateFactory {
        windows: input.windows,
        clock: input.clock,
        keys: prepared.keys,
        aggregates,
        outputs,
        input: before,
        schema: Arc::clone(&schema),
    };
    Ok(compiler.over_time(factory, input.time, shown, exchanged, schema, notes))
}

/// What an aggregate reads, if it is one over windows.
fn input<'a>(
    compiler: &mut Compiler,
    aggregate: &LogicalAggregate,
    all: &[&'a Expr],
) -> Result<Option<(Input, Keys<'a>)>> {
    match by_slices(compiler, aggregate, all)? {
        Some(found) => Ok(Some(found)),
        None => by_columns(compiler, aggregate, all),
    }
}

fn changes(compiler: &Compiler, node: NodeId) -> bool {
    compiler.circuit.node(node).notes.changelog != Changelog::Append
}

/// What bounds the state.
pub(super) fn bound(windows: &WindowSource, input: &Schema, keys: &[usize]) -> Held {
    let lifetime = match windows {
        WindowSource::Rowtime { spec, .. } => Lifetime::Windows { slices: true, spec: Some(spec.to_string()) },
        WindowSource::Columns { .. } => Lifetime::Windows { slices: false, spec: None },
    };
    Held::at_most(1, "group").per(keys.iter().map(|k| input.field(*k).name())).lives(lifetime)
}

/// The aggregate over a window function's input, by slices, where its windows are only grouped by.
fn by_slices<'a>(
    compiler: &mut Compiler,
    aggregate: &LogicalAggregate,
    all: &[&'a Expr],
) -> Result<Option<(Input, Keys<'a>)>> {
    let Some(stripped) = windowed::strip(&aggregate.input)? else { return Ok(None) };
    let window: Vec<_> = all.iter().map(|e| stripped.window_column(&aggregate.input, e)).collect();
    let grouped = |c| window.contains(&Some(c));
    let others = all.iter().zip(&window).filter(|(_, w)| w.is_none()).map(|(e, _)| *e);
    let uses_windows = |e: &Expr| stripped.uses_windows(&aggregate.input, e);
    let Windows::Slices(spec) = stripped.spec else { return Ok(None) };
    if !grouped(WindowColumn::Start) || !grouped(WindowColumn::End) {
        return Ok(None);
    }
    if others.chain(&aggregate.aggr_expr).any(uses_windows) {
        return Ok(None);
    }
    let node = compiler.lower(&stripped.plan)?;
    let schema = Arc::clone(stripped.plan.schema());
    let time = compiler.time_attribute(node, &stripped.time, &schema)?;
    let column = time.column();
    let windows = WindowSource::Rowtime { column, spec };
    let clock = WallClock::of(schema.field(column).data_type())?;
    let detail = format!("{spec}, time={}{}", stripped.time.name, time.shown());
    Ok(Some((Input { node, schema, windows, time, clock, detail }, Keys { all: all.to_vec(), window })))
}

/// The aggregate over rows that carry their windows as columns.
fn by_columns<'a>(
    compiler: &mut Compiler,
    aggregate: &LogicalAggregate,
    all: &[&'a Expr],
) -> Result<Option<(Input, Keys<'a>)>> {
    let node = compiler.lower(&aggregate.input)?;
    let schema = Arc::clone(aggregate.input.schema());
    let index = |e: &Expr| match e {
        Expr::Column(c) => schema.index_of_column(c).ok(),
        _ => None,
    };
    let grouped: Vec<Option<usize>> = all.iter().map(|e| index(e)).collect();
    let windows = &compiler.circuit.node(node).notes.windows;
    let pair = windows.iter().find(|(s, e)| grouped.contains(&Some(*s)) && grouped.contains(&Some(*e)));
    let Some((start, end)) = pair.copied() else { return Ok(None) };
    let window = grouped.iter().map(|column| match column {
        Some(c) if *c == start => Some(WindowColumn::Start),
        Some(c) if *c == end => Some(WindowColumn::End),
        _ => None,
    });
    let keys = Keys { window: window.collect(), all: all.to_vec() };
    let windows = WindowSource::Columns { start, end };
    let clock = windowed::clock(&aggregate.input)?;
    let detail = format!("window=[{}, {}]", schema.field(start).name(), schema.field(end).name());
    Ok(Some((Input { node, schema, windows, time: TimeAttribute::Event(end), clock, detail }, keys)))
}

/// Where each group expression stands in the result: windows by themselves, all else among the keys.
pub(super) fn outputs(keys: &Keys) -> Vec<WindowOutput> {
    let mut next = 0;
    let output = |window: &Option<WindowColumn>| match window {
        Some(WindowColumn::Start) => WindowOutput::Start,
        Some(WindowColumn::End) => WindowOutput::End,
        Some(WindowColumn::Time) => WindowOutput::Time,
        None => {
            next += 1;
            WindowOutput::Key(next - 1)
        }
    };
    keys.window.iter().map(output).collect()
}

pub(super) struct Prepared {
    pub node: NodeId,
    /// The key columns; with grouping sets the last is the grouping id.
    pub keys: Vec<usize>,
}

/// Computes the keys that are no plain columns, and gives each row once for each grouping set.
pub(super) fn prepare(
    compiler: &mut Compiler,
    input: NodeId,
    input_schema: &DFSchema,
    keys: &Keys,
    sets: Option<&[GroupingSet]>,
) -> Result<Prepared> {
    let before = Arc::clone(&compiler.circuit.node(input).schema);
    let mut exprs = input_schema.columns().into_iter().map(Expr::Column).collect::<Vec<_>>();
    let mut fields: Vec<FieldRef> = before.fields().iter().cloned().collect();
    let mut columns = Vec::new();
    for (expr, _) in keys.all.iter().zip(&keys.window).filter(|(_, w)| w.is_none()) {
        let key = physical(expr, input_schema)?;
        // A grouping set overwrites its keys: they must not be columns that an aggregate reads.
        match column_index(&key).filter(|_| sets.is_none()) {
            Some(column) => columns.push(column),
            None => {
                columns.push(exprs.len());
                let name = expr.schema_name().to_string();
                fields.push(Arc::new(Field::new(name, key.data_type(&before)?, true)));
                exprs.push((*expr).clone());
            }
        }
    }
    let mut node = input;
    if exprs.len() > before.fields().len() {
        let projection = exprs.iter().map(|e| physical(e, input_schema)).collect::<Result<Vec<_>>>()?;
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let notes = NodeNotes { detail: "keys".into(), bound: None, ..compiler.circuit.node(node).notes.clone() };
        let calc = Calc::try_new(&before, None, projection, Arc::clone(&schema))?;
        node = compiler.operator(calc, vec![node], schema, notes);
    }
    if let Some(sets) = sets {
        (node, columns) = expand(compiler, node, columns, sets)?;
    }
    Ok(Prepared { node, keys: columns })
}

fn expand(
    compiler: &mut Compiler,
    node: NodeId,
    mut keys: Vec<usize>,
    sets: &[GroupingSet],
) -> Result<(NodeId, Vec<usize>)> {
    let before = compiler.circuit.node(node);
    let id = sets.first().map_or(DataType::UInt8, |s| s.id.data_type());
    let id = Arc::new(Field::new(LogicalAggregate::INTERNAL_GROUPING_ID, id, false));
    let fields = before.schema.fields().iter().cloned().chain([id]).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    // The sets speak of the keys by number.
    let sets: Vec<GroupingSet> = sets
        .iter()
        .map(|s| GroupingSet { masked: s.masked.iter().map(|k| keys[*k]).collect(), id: s.id.clone() })
        .collect();
    let id = schema.fields().len() - 1;
    keys.push(id);
    let notes = NodeNotes {
        detail: format!("{} grouping sets", sets.len()),
        // Each row stands there once for each set.
        keys: before.notes.keys.iter().map(|key| key.iter().copied().chain([id]).collect()).collect(),
        bound: None,
        ..before.notes.clone()
    };
    Ok((compiler.operator(Expand::new(sets, Arc::clone(&schema)), vec![node], schema, notes), keys))
}

/// The grouping sets, their masks counted over the keys that are no window columns; `None` for a plain GROUP BY.
pub(super) fn grouping_sets(group_expr: &[Expr], keys: &Keys) -> Result<Option<Vec<GroupingSet>>> {
    let Some(Expr::GroupingSet(set)) = group_expr.first() else { return Ok(None) };
    let sets: Vec<Vec<Expr>> = match set {
        LogicalSet::GroupingSets(sets) => sets.clone(),
        LogicalSet::Rollup(exprs) => (0..=exprs.len()).rev().map(|n| exprs[..n].to_vec()).collect(),
        LogicalSet::Cube(exprs) => {
            if exprs.len() > 12 {
                return Err(Error::Unsupported("CUBE: over more than 12 columns".into()));
            }
            let member = |mask: usize| exprs.iter().enumerate().filter(move |(i, _)| mask & (1 << i) != 0);
            (0..1usize << exprs.len()).rev().map(|mask| member(mask).map(|(_, e)| e.clone()).collect()).collect()
        }
    };
    let present = |set: &[Expr]| keys.all.iter().map(|k| set.contains(k)).collect::<Vec<bool>>();
    let sets: Vec<Vec<bool>> = sets.iter().map(|s| present(s)).collect();
    let windowed = |set: &Vec<bool>| set.iter().zip(&keys.window).all(|(present, w)| *present || w.is_none());
    if !sets.iter().all(windowed) {
        return Err(Error::Unsupported("GROUPING SETS: every set must hold window_start and window_end".into()));
    }
    let ordinal = |i: usize| sets[..i].iter().filter(|s| **s == sets[i]).count();
    let max_ordinal = (0..sets.len()).map(ordinal).max().unwrap_or(0);
    let id_type = LogicalAggregate::grouping_id_type(keys.all.len(), max_ordinal);
    if keys.all.len() > 32 {
        return Err(Error::Unsupported("GROUPING SETS: over more than 32 columns".into()));
    }
    let make = |(i, set): (usize, &Vec<bool>)| {
        let bits = set.iter().fold(0u64, |bits, present| bits << 1 | u64::from(!present));
        let id = bits | (ordinal(i) as u64) << keys.all.len();
        let plain = set.iter().zip(&keys.window).filter(|(_, w)| w.is_none());
        let masked = plain.enumerate().filter(|(_, (present, _))| !**present).map(|(k, _)| k).collect();
        Ok(GroupingSet { masked, id: ScalarValue::UInt64(Some(id)).cast_to(&id_type)? })
    };
    sets.iter().enumerate().map(make).collect::<Result<Vec<_>>>().map(Some)
}

pub(super) fn lower_aggregate(expr: &Expr, schema: &DFSchema) -> Result<Aggregate> {
    let lowered = LoweredAggregateBuilder::new(
        expr,
        schema,
        schema.as_arrow(),
        &ExecutionProps::new(),
        &PhysicalPlanningContext::default(),
    )
    .build()?;
    Ok(Aggregate { function: lowered.aggregate, filter: lowered.filter })
}

/// The result's columns: the aggregate's names, with the types that really come.
pub(super) fn result_schema(
    aggregate: &LogicalAggregate,
    input: &Schema,
    keys: &[usize],
    outputs: &[WindowOutput],
    aggregates: &[Aggregate],
) -> Result<SchemaRef> {
    let named = aggregate.schema.fields();
    if named.len() != outputs.len() {
        return Err(Error::internal("an aggregate with another number of columns than its plan"));
    }
    let fields = named.iter().zip(outputs).map(|(field, output)| {
        let field = Field::clone(field);
        Arc::new(match output {
            WindowOutput::Key(k) => {
                let key = input.field(keys[*k]);
                field.with_data_type(key.data_type().clone()).with_nullable(key.is_nullable())
            }
            WindowOutput::Aggregate(a) => {
                field.with_data_type(aggregates[*a].function.field().data_type().clone()).with_nullable(true)
            }
            _ => field,
        })
    });
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
