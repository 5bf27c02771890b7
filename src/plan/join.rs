//! Joins: keys, what is kept of each side, and what is known of the result.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchema, JoinType, NullEquality};
use datafusion_expr::logical_plan::builder::build_join_schema;
use datafusion_expr::logical_plan::{Join as LogicalJoin, Projection};
use datafusion_expr::{Expr, LogicalPlan};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use super::bounded::{self, Interval, Sides};
use super::compile::{Compiler, column_index, physical};
use super::{rank, windowed};
use crate::operator::calc::Calc;
use crate::operator::interval_join::{IntervalJoinFactory, JoinTime};
use crate::operator::join::{JoinColumn, JoinFactory, JoinInput, JoinKind};
use crate::operator::window_join::WindowJoinFactory;
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Count, Held, Lifetime};
use crate::{Error, Result};

/// A result has at most so many unique keys noted: several joins in a row could multiply them.
const MAX_KEYS: usize = 8;

/// One side, its keys computed, on the workers where they belong.
pub(super) struct Input {
    pub node: NodeId,
    pub keys: Vec<usize>,
    /// How many columns it had before its keys were computed.
    pub width: usize,
}

/// A join that gives some columns of its plan's schema.
pub(super) fn lower(compiler: &mut Compiler, join: &LogicalJoin, columns: &[usize]) -> Result<NodeId> {
    let (kind, swapped) = kind(join)?;
    let plans: [&LogicalPlan; 2] = if swapped { [&join.right, &join.left] } else { [&join.left, &join.right] };
    let on: Vec<(&Expr, &Expr)> = join.on.iter().map(|(l, r)| if swapped { (r, l) } else { (l, r) }).collect();
    if kind == JoinKind::NotIn && (on.len() != 1 || join.filter.is_some()) {
        return Err(Error::internal("NOT IN with other conditions than its own"));
    }
    let sides = [
        side(compiler, plans[0], &on.iter().map(|(l, _)| *l).collect::<Vec<_>>(), kind)?,
        side(compiler, plans[1], &on.iter().map(|(_, r)| *r).collect::<Vec<_>>(), kind)?,
    ];
    let bounded = bounded_by(compiler, kind, plans, &on, join.filter.as_ref(), &sides);
    let filter = match &bounded {
        Some(Bounded::Interval(interval)) => interval.rest.as_ref(),
        _ => join.filter.as_ref(),
    };
    let condition = filter.map(|filter| condition(filter, plans, &sides)).transpose()?;
    let left_width = sides[0].width;
    let given = |column: &usize| match (kind, column.checked_sub(left_width)) {
        (_, None) => JoinColumn::Left(*column),
        (JoinKind::Mark, Some(_)) => JoinColumn::Mark,
        (_, Some(right)) => JoinColumn::Right(right),
    };
    let outputs: Vec<JoinColumn> = columns.iter().map(given).collect();
    let inputs = [0, 1].map(|i| {
        let node = compiler.circuit.node(sides[i].node);
        JoinInput {
            schema: Arc::clone(&node.schema),
            keys: sides[i].keys.clone(),
            changing: node.notes.changelog == Changelog::Retract,
            ttl: compiler.state_ttl(plans[i]),
        }
    });
    check_key_types(&inputs)?;
    let mut factory = JoinFactory {
        kind,
        inputs,
        nulls_equal: join.null_equality == NullEquality::NullEqualsNull,
        condition,
        outputs,
        schema: Arc::new(Schema::empty()),
    };
    factory.schema = result_schema(join, columns, &factory);
    let mut notes = notes(compiler, join, &factory, &sides);
    let schema = Arc::clone(&factory.schema);
    let inputs = sides.map(|s| s.node);
    let Some(bounded) = bounded else { return Ok(compiler.operator(factory, inputs.to_vec(), schema, notes)) };
    let origin = compiler.origin(inputs);
    notes.changelog = Changelog::Append;
    let times = carried(compiler, &factory, inputs, &bounded);
    notes = NodeNotes { detail: notes.detail, changelog: notes.changelog, keys: notes.keys, ..times };
    match bounded {
        Bounded::Window(windows) => {
            notes.bound =
                Some(Bound::of([Held::rows("both inputs").lives(Lifetime::Windows { slices: false, spec: None })]));
            let clock = windowed::clock(plans[0])?;
            let factory = WindowJoinFactory { join: factory, windows, clock, origin };
            Ok(compiler.operator(factory, inputs.to_vec(), schema, notes))
        }
        Bounded::Interval(interval) => {
            notes.bound = Some(interval.bound());
            let JoinFactory { inputs: [left, right], .. } = &factory;
            let names = match interval.time {
                JoinTime::Rowtime([l, r]) => {
                    [left.schema.field(l).name().as_str(), right.schema.field(r).name().as_str()]
                }
                JoinTime::Processing => ["", ""],
            };
            notes.detail.push_str(&format!(", time=[{}]", interval.detail(names)));
            let Interval { time, reach, .. } = interval;
            let factory = IntervalJoinFactory { join: factory, time, reach, origin };
            Ok(compiler.operator(factory, inputs.to_vec(), schema, notes))
        }
    }
}

/// What bounds a join's state in time.
enum Bounded {
    /// The windows that rows carry, on each side.
    Window([(usize, usize); 2]),
    /// An interval between rows' times.
    Interval(Interval),
}

fn bounded_by(
    compiler: &Compiler,
    kind: JoinKind,
    plans: [&LogicalPlan; 2],
    on: &[(&Expr, &Expr)],
    filter: Option<&Expr>,
    sides: &[Input; 2],
) -> Option<Bounded> {
    let notes = [0, 1].map(|i| &compiler.circuit.node(sides[i].node).notes);
    let found = Sides { plans, notes, keys: [&sides[0].keys, &sides[1].keys] };
    match kind {
        JoinKind::NotIn => None,
        _ => bounded::common_window(&found).map(Bounded::Window).or_else(|| {
            let interval = if kind == JoinKind::Mark { None } else { bounded::interval(&found, on, filter) };
            interval.map(Bounded::Interval)
        }),
    }
}

/// The time attributes and windows of a result whose rows come when their times are at hand; none of a side that can be padded.
fn carried(compiler: &Compiler, factory: &JoinFactory, inputs: [NodeId; 2], bounded: &Bounded) -> NodeNotes {
    let mut all = NodeNotes::default();
    for (side, input) in inputs.into_iter().enumerate() {
        let padded = match factory.kind {
            JoinKind::Full => true,
            JoinKind::Left => side == 1,
            JoinKind::Right => side == 0,
            _ => false,
        };
        if padded {
            continue;
        }
        let mut own = compiler.circuit.node(input).notes.clone();
        match bounded {
            Bounded::Window(windows) => rank::close(&mut own, windows[side]),
            Bounded::Interval(Interval { time: JoinTime::Rowtime(columns), .. }) => {
                // Other times of its rows are not held to the interval.
                let joined = own.rowtimes.contains(&columns[side]);
                own.rowtimes.retain(|c| *c == columns[side]);
                own.window_times.retain(|c| *c == columns[side]);
                if !joined {
                    (own.windows, own.window_ends) = (Vec::new(), Vec::new());
                }
            }
            Bounded::Interval(_) => {
                own = NodeNotes { proctimes: own.proctimes, ..NodeNotes::default() };
            }
        }
        let wanted = |c: usize| if side == 0 { JoinColumn::Left(c) } else { JoinColumn::Right(c) };
        let places = |c: usize| {
            let outputs = factory.outputs.iter().enumerate();
            outputs.filter(|(_, o)| **o == wanted(c)).map(|(i, _)| i).collect()
        };
        let own = own.carried(places);
        all.rowtimes.extend(own.rowtimes);
        all.proctimes.extend(own.proctimes);
        all.windows.extend(own.windows);
        all.window_times.extend(own.window_times);
        all.window_ends.extend(own.window_ends);
    }
    all
}

/// The columns that a projection takes of a join's, if it does nothing else.
pub(super) fn taken(exprs: &[Expr], schema: &DFSchema) -> Option<Vec<usize>> {
    let index = |e: &Expr| match e {
        Expr::Column(c) => schema.index_of_column(c).ok(),
        _ => None,
    };
    exprs.iter().map(index).collect()
}

/// A join with only the columns that some expressions read, if they do not read all.
pub(super) fn narrowed<'a>(plan: &LogicalPlan, exprs: impl Iterator<Item = &'a Expr>) -> Result<Option<LogicalPlan>> {
    let LogicalPlan::Join(join) = plan else { return Ok(None) };
    let mut read = BTreeSet::new();
    for column in exprs.flat_map(Expr::column_refs) {
        read.insert(join.schema.index_of_column(column)?);
    }
    if read.len() == join.schema.fields().len() {
        return Ok(None);
    }
    let columns = join.schema.columns();
    let exprs = read.into_iter().map(|i| Expr::Column(columns[i].clone())).collect();
    Ok(Some(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan.clone()))?)))
}

/// What a join gives, and whether its sides change places.
fn kind(join: &LogicalJoin) -> Result<(JoinKind, bool)> {
    Ok(match join.join_type {
        JoinType::LeftAnti if join.null_aware => (JoinKind::NotIn, false),
        _ if join.null_aware => return Err(Error::internal("NOT IN in a join of another kind")),
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::Semi, false),
        JoinType::RightSemi => (JoinKind::Semi, true),
        JoinType::LeftAnti => (JoinKind::Anti, false),
        JoinType::RightAnti => (JoinKind::Anti, true),
        JoinType::LeftMark => (JoinKind::Mark, false),
        JoinType::RightMark => (JoinKind::Mark, true),
    })
}

/// A side with its keys as columns, exchanged by them.
pub(super) fn side(compiler: &mut Compiler, plan: &LogicalPlan, keys: &[&Expr], kind: JoinKind) -> Result<Input> {
    let mut node = compiler.lower(plan)?;
    let before = Arc::clone(&compiler.circuit.node(node).schema);
    let width = before.fields().len();
    let mut exprs: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
    let mut fields: Vec<Arc<Field>> = Vec::new();
    let mut columns = Vec::with_capacity(keys.len());
    for key in keys {
        let expr = physical(key, plan.schema())?;
        if let Some(column) = column_index(&expr) {
            columns.push(column);
            continue;
        }
        columns.push(width + exprs.len());
        let name = key.schema_name().to_string();
        fields.push(Arc::new(Field::new(name, expr.data_type(&before)?, expr.nullable(&before)?)));
        exprs.push(expr);
    }
    if !exprs.is_empty() {
        let all = before.fields().iter().enumerate();
        let all = all.map(|(i, f)| Arc::new(Column::new(f.name(), i)) as Arc<dyn PhysicalExpr>);
        let schema: SchemaRef =
            Arc::new(Schema::new(before.fields().iter().cloned().chain(fields).collect::<Vec<_>>()));
        let notes = NodeNotes { detail: "keys".into(), bound: None, ..compiler.circuit.node(node).notes.clone() };
        let calc = Calc::try_new(&before, None, all.chain(exprs).collect(), Arc::clone(&schema))?;
        node = compiler.operator(calc, vec![node], schema, notes);
    }
    // What NOT IN gives depends on the whole other side.
    let together = if kind == JoinKind::NotIn { Vec::new() } else { columns.clone() };
    Ok(Input { node: compiler.exchange(node, together), keys: columns, width })
}

/// The further condition, over all columns of both sides.
pub(super) fn condition(filter: &Expr, plans: [&LogicalPlan; 2], sides: &[Input; 2]) -> Result<Arc<dyn PhysicalExpr>> {
    let schema = build_join_schema(plans[0].schema(), plans[1].schema(), &JoinType::Inner)?;
    let condition = physical(filter, &schema)?;
    let width = sides[0].width;
    let computed = sides[0].keys.iter().filter(|k| **k >= width).count();
    if computed == 0 {
        return Ok(condition);
    }
    let moved = condition.transform(|e| match e.downcast_ref::<Column>() {
        Some(c) if c.index() >= width => {
            Ok(Transformed::yes(Arc::new(Column::new(c.name(), c.index() + computed)) as Arc<dyn PhysicalExpr>))
        }
        _ => Ok(Transformed::no(e)),
    })?;
    Ok(moved.data)
}

fn check_key_types(inputs: &[JoinInput; 2]) -> Result<()> {
    let types =
        |i: &JoinInput| i.keys.iter().map(|k| i.schema.field(*k).data_type().clone()).collect::<Vec<DataType>>();
    let (left, right) = (types(&inputs[0]), types(&inputs[1]));
    match left == right {
        true => Ok(()),
        false => Err(Error::internal(format!("a join of keys of types {left:?} with keys of types {right:?}"))),
    }
}

/// The result's columns: the plan's names, with the types that really come.
fn result_schema(join: &LogicalJoin, columns: &[usize], factory: &JoinFactory) -> SchemaRef {
    let padded = |left: bool| match factory.kind {
        JoinKind::Full => true,
        JoinKind::Left => !left,
        JoinKind::Right => left,
        _ => false,
    };
    let field = |(named, output): (&usize, &JoinColumn)| {
        let named = join.schema.field(*named).as_ref().clone();
        let (field, padded) = match output {
            JoinColumn::Left(c) => (factory.inputs[0].schema.field(*c), padded(true)),
            JoinColumn::Right(c) => (factory.inputs[1].schema.field(*c), padded(false)),
            JoinColumn::Mark => return Arc::new(named.with_data_type(DataType::Boolean).with_nullable(false)),
        };
        Arc::new(named.with_data_type(field.data_type().clone()).with_nullable(field.is_nullable() || padded))
    };
    Arc::new(Schema::new(columns.iter().zip(&factory.outputs).map(field).collect::<Vec<_>>()))
}

fn notes(compiler: &Compiler, join: &LogicalJoin, factory: &JoinFactory, sides: &[Input; 2]) -> NodeNotes {
    let notes = [0, 1].map(|i| &compiler.circuit.node(sides[i].node).notes);
    let on = join.on.iter().map(|(l, r)| format!("{} = {}", l.human_display(), r.human_display()));
    let on: Vec<String> = on.chain(join.filter.iter().map(|f| f.human_display().to_string())).collect();
    let kind = match factory.kind {
        JoinKind::NotIn => "NOT IN".to_string(),
        kind => format!("{kind:?}").to_uppercase(),
    };
    let keys = unique_keys(factory, notes);
    NodeNotes {
        detail: format!("{kind}, on=[{}]", on.join(" AND ")),
        changelog: if factory.retracts() { Changelog::Retract } else { Changelog::Append },
        // Of a key it may give a row that goes and one that comes, which are one update.
        net: keys.is_empty(),
        keys,
        bound: Some(bound(factory, notes)),
        ..NodeNotes::default()
    }
}

/// Whether a side has at most one row for any values of its join keys.
fn unique_on_keys(input: &JoinInput, notes: &NodeNotes) -> bool {
    notes.keys.iter().any(|key| key.iter().all(|c| input.keys.contains(c)))
}

fn unique_keys(factory: &JoinFactory, notes: [&NodeNotes; 2]) -> Vec<Vec<usize>> {
    let [left, right] = &factory.inputs;
    let (left_once, right_once) = (unique_on_keys(right, notes[1]), unique_on_keys(left, notes[0]));
    let mut found: Vec<Vec<JoinColumn>> = Vec::new();
    let lefts: Vec<Vec<JoinColumn>> =
        notes[0].keys.iter().map(|k| k.iter().map(|c| JoinColumn::Left(*c)).collect()).collect();
    let rights: Vec<Vec<JoinColumn>> =
        notes[1].keys.iter().map(|k| k.iter().map(|c| JoinColumn::Right(*c)).collect()).collect();
    match factory.kind {
        JoinKind::Semi | JoinKind::Anti | JoinKind::NotIn | JoinKind::Mark => found = lefts,
        // Rows padded on either side could have equal NULLs for keys.
        JoinKind::Full => {}
        JoinKind::Inner | JoinKind::Left | JoinKind::Right => {
            if left_once && factory.kind != JoinKind::Right {
                found.extend(lefts.iter().cloned());
            }
            if right_once && factory.kind != JoinKind::Left {
                found.extend(rights.iter().cloned());
            }
            if found.is_empty() {
                found.extend(lefts.iter().flat_map(|l| rights.iter().map(|r| [l.as_slice(), r].concat())));
            }
        }
    }
    let mut keys: Vec<Vec<usize>> = found.iter().filter_map(|key| placed(factory, key)).collect();
    keys.truncate(MAX_KEYS);
    keys
}

/// Where a key's columns, or those that equal them, stand in the result.
fn placed(factory: &JoinFactory, key: &[JoinColumn]) -> Option<Vec<usize>> {
    let place = |column: JoinColumn| factory.outputs.iter().position(|o| *o == column);
    let equal = |column: JoinColumn| {
        let pairs = factory.inputs[0].keys.iter().zip(&factory.inputs[1].keys);
        let pairs = pairs.map(|(l, r)| (JoinColumn::Left(*l), JoinColumn::Right(*r)));
        let others = pairs.filter(|_| factory.kind == JoinKind::Inner).filter_map(move |(l, r)| match column {
            c if c == l => Some(r),
            c if c == r => Some(l),
            _ => None,
        });
        others.collect::<Vec<_>>()
    };
    let find = |column: &JoinColumn| place(*column).or_else(|| equal(*column).into_iter().find_map(place));
    let mut places = key.iter().map(find).collect::<Option<Vec<_>>>()?;
    places.sort_unstable();
    places.dedup();
    Some(places)
}

/// What bounds the state.
fn bound(factory: &JoinFactory, notes: [&NodeNotes; 2]) -> Bound {
    let counts = !matches!(factory.kind, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
        && factory.condition.is_none();
    let side = |i: usize| {
        let (input, notes) = (&factory.inputs[i], notes[i]);
        let name = ["left", "right"][i];
        let keys = || input.keys.iter().map(|k| input.schema.field(*k).name());
        let held = match () {
            () if notes.keys.iter().any(Vec::is_empty) => Held::at_most(1, "row").of_side(name),
            () if i == 1 && counts => Held::at_most(1, "count").per(keys()).of_side(name),
            () if unique_on_keys(input, notes) => Held::at_most(1, "row").per(keys()).of_side(name),
            () => Held::rows(format!("the {name} input")),
        };
        held.ttl(input.ttl)
    };
    let [left, right] = [side(0), side(1)];
    match (&left.count, &right.count) {
        (Count::Rows(_), Count::Rows(_)) if left.ttl == right.ttl => {
            Bound::of([Held::rows("both inputs").ttl(left.ttl)])
        }
        _ => Bound::of([left, right]),
    }
}
