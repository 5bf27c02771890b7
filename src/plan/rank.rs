//! Top-N: rows whose `ROW_NUMBER()` is asked to be in a range.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{Column, DFSchema, DFSchemaRef, ScalarValue};
use datafusion_expr::expr::{WindowFunction, WindowFunctionDefinition};
use datafusion_expr::logical_plan::{Filter, Projection, SubqueryAlias, Window};
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator, SortExpr, lit};

use super::compile::{Compiler, column_index, physical};
use super::over::{arrives_in_order, arrives_in_order_by_session};
use super::windowed;
use crate::Result;
use crate::change::WallClock;
use crate::operator::OperatorFactory;
use crate::operator::calc::Calc;
use crate::operator::deduplicate::{Deduplicate, Keep};
use crate::operator::each_change::EachChange;
use crate::operator::top_n::{Closing, OrderColumn, TopN, check_order};
use crate::runtime::circuit::{Changelog, NodeId, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};

/// A Top-N in a plan: a filter over `ROW_NUMBER()` that has an upper bound.
pub(super) struct Ranked<'a> {
    window: &'a Window,
    function: &'a WindowFunction,
    /// The first and the last row number that is asked for.
    range: (u64, u64),
    /// What else the rows have to satisfy.
    rest: Option<Expr>,
    /// The plans between the filter and the window.
    between: Vec<&'a LogicalPlan>,
}

/// The Top-N that a filter is, if it is one.
pub(super) fn recognise(filter: &Filter) -> Result<Option<Ranked<'_>>> {
    let mut between = Vec::new();
    let Some(window) = window_below(&filter.input, &mut between) else { return Ok(None) };
    let ([expr], Some(number)) = (window.window_expr.as_slice(), rank_column(window)) else { return Ok(None) };
    let Some(function) = row_number(expr) else { return Ok(None) };
    let predicate = inline(&filter.predicate, &between)?;
    let mut range = (1, u64::MAX);
    let mut rest = Vec::new();
    for condition in split_conjunction(&predicate) {
        match bounds(condition, &number) {
            Some((first, last)) => range = (range.0.max(first), range.1.min(last)),
            None => rest.push(condition.clone()),
        }
    }
    let range = if range.0 > range.1 { (1, 0) } else { range };
    Ok((range.1 < u64::MAX).then(|| Ranked { window, function, range, rest: conjunction(rest), between }))
}

/// The window that a plan is, under other names and with some of its columns perhaps.
fn window_below<'a>(plan: &'a LogicalPlan, between: &mut Vec<&'a LogicalPlan>) -> Option<&'a Window> {
    match plan {
        LogicalPlan::Window(window) => Some(window),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) | LogicalPlan::Projection(Projection { input, .. }) => {
            between.push(plan);
            window_below(input, between)
        }
        _ => None,
    }
}

/// An expression over the topmost of some plans as one over the input of the last.
fn inline(expr: &Expr, between: &[&LogicalPlan]) -> Result<Expr> {
    let mut expr = expr.clone();
    for plan in between {
        let below = |column: &Column| {
            let index = plan.schema().index_of_column(column)?;
            Ok(match plan {
                LogicalPlan::Projection(projection) => projection.expr[index].clone().unalias_nested().data,
                other => Expr::Column(other.inputs()[0].schema().columns()[index].clone()),
            })
        };
        let inlined = expr.transform_up(|e| match &e {
            Expr::Column(column) => below(column).map(Transformed::yes),
            _ => Ok(Transformed::no(e)),
        });
        expr = inlined?.data;
    }
    Ok(expr)
}

fn row_number(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::Alias(alias) => row_number(&alias.expr),
        Expr::WindowFunction(function) => match &function.fun {
            WindowFunctionDefinition::WindowUDF(f) if f.name().eq_ignore_ascii_case("row_number") => Some(function),
            _ => None,
        },
        _ => None,
    }
}

/// The column that holds the row number: the one behind the window's input.
fn rank_column(window: &Window) -> Option<Column> {
    window.schema.columns().into_iter().nth(window.input.schema().fields().len())
}

/// The least and the greatest row number that satisfy a condition, where it is a plain comparison of the row number.
fn bounds(condition: &Expr, number: &Column) -> Option<(u64, u64)> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (op, limit) = match (is_number(left, number), is_number(right, number)) {
                (true, false) => (*op, constant(right)?),
                (false, true) => (op.swap()?, constant(left)?),
                _ => return None,
            };
            compared(op, limit)
        }
        Expr::Between(between) if !between.negated && is_number(&between.expr, number) => {
            let (_, last) = compared(Operator::LtEq, constant(&between.high)?)?;
            let (first, _) = compared(Operator::GtEq, constant(&between.low)?)?;
            Some((first, last))
        }
        _ => None,
    }
}

fn compared(op: Operator, limit: i128) -> Option<(u64, u64)> {
    let within = |n: i128| u64::try_from(n.max(0)).unwrap_or(u64::MAX);
    Some(match op {
        Operator::LtEq => (1, within(limit)),
        Operator::Lt => (1, within(limit.saturating_sub(1))),
        Operator::GtEq => (within(limit).max(1), u64::MAX),
        Operator::Gt => (within(limit.saturating_add(1)).max(1), u64::MAX),
        Operator::Eq if limit < 1 => (1, 0),
        Operator::Eq => (within(limit), within(limit)),
        _ => return None,
    })
}

fn is_number(expr: &Expr, number: &Column) -> bool {
    match expr {
        Expr::Cast(cast) => cast.field.data_type().is_numeric() && is_number(&cast.expr, number),
        Expr::Column(column) => column == number,
        _ => false,
    }
}

/// A whole number that is written in the query.
fn constant(expr: &Expr) -> Option<i128> {
    match expr {
        Expr::Cast(cast) => constant(&cast.expr),
        Expr::Literal(ScalarValue::Decimal128(Some(v), _, 0), _) => Some(*v),
        Expr::Literal(value, _) if value.data_type().is_integer() => {
            match value.cast_to(&arrow::datatypes::DataType::Decimal128(38, 0)) {
                Ok(ScalarValue::Decimal128(v, ..)) => v,
                _ => None,
            }
        }
        _ => None,
    }
}

/// The rows of a Top-N, projected.
pub(super) fn lower(
    compiler: &mut Compiler,
    ranked: &Ranked<'_>,
    exprs: &[Expr],
    schema: &SchemaRef,
) -> Result<NodeId> {
    let below = &ranked.window.input;
    let input = compiler.lower(below)?;
    let params = &ranked.function.params;
    let ttl = compiler.state_ttl(below);
    let clock = windowed::clock(below)?;
    let by_session = windowed::divides_sessions(below, &params.partition_by)?;
    let (partition, order) = (&params.partition_by, &params.order_by);
    let ordered = Ordered { partition, order, range: ranked.range, ttl, clock, by_session };
    let number = rank_column(ranked.window);
    let known = |e: Expr| with_known_rank(e, number.as_ref(), ranked.range);
    let inlined = |e: &Expr| inline(e, &ranked.between).and_then(known);
    let exprs = exprs.iter().map(inlined).collect::<Result<Vec<_>>>()?;
    let rest = ranked.rest.clone().map(known).transpose()?;
    let reads = |e: &Expr| number.as_ref().is_some_and(|n| e.column_refs().contains(n));
    if !exprs.iter().chain(&rest).any(reads) {
        let node = top_n(compiler, input, below.schema(), &ordered, None)?;
        return compiler.calc(node, below.schema(), rest.as_ref(), &exprs, schema);
    }
    let number = ranked.window.schema.fields().last().cloned();
    let node = top_n(compiler, input, below.schema(), &ordered, number)?;
    compiler.calc(node, &ranked.window.schema, rest.as_ref(), &exprs, schema)
}

/// The rows of which a deduplication keeps the newest of each key.
pub(super) struct Newest {
    /// All of them, with the columns of the deduplication.
    pub plan: LogicalPlan,
    /// Of those columns the key.
    pub partition: Vec<usize>,
}

/// The rows below a filter that keeps the last row of each key by rowtime, projected; `None` where it is another filter.
/// `rowtime` says which column of a plan is its rowtime.
pub(super) fn newest(
    filter: &Filter,
    exprs: &[Expr],
    schema: &DFSchemaRef,
    rowtime: impl Fn(&LogicalPlan) -> Option<usize>,
) -> Result<Option<Newest>> {
    let Some(ranked) = recognise(filter)?.filter(|r| r.range == (1, 1) && r.rest.is_none()) else { return Ok(None) };
    let input = &ranked.window.input;
    let params = &ranked.function.params;
    let [SortExpr { expr: Expr::Column(order), asc: false, .. }] = params.order_by.as_slice() else { return Ok(None) };
    if rowtime(input) != Some(input.schema().index_of_column(order)?) {
        return Ok(None);
    }
    let number = rank_column(ranked.window);
    let inlined = |e: &Expr| with_known_rank(inline(e, &ranked.between)?, number.as_ref(), ranked.range);
    let exprs = exprs.iter().map(inlined).collect::<Result<Vec<_>>>()?;
    let place = |key: &Expr| exprs.iter().position(|e| e.clone().unalias_nested().data == *key);
    let partition = params.partition_by.iter().map(place).collect::<Option<Vec<_>>>();
    let plan = Projection::try_new_with_schema(exprs, Arc::clone(input), Arc::clone(schema))?;
    Ok(partition.map(|partition| Newest { plan: LogicalPlan::Projection(plan), partition }))
}

/// An expression with the row number put in where only one number is asked for.
fn with_known_rank(expr: Expr, number: Option<&Column>, range: (u64, u64)) -> Result<Expr> {
    if range.0 != range.1 {
        return Ok(expr);
    }
    let known = expr.transform_up(|e| match &e {
        Expr::Column(column) if Some(column) == number => Ok(Transformed::yes(lit(range.0))),
        _ => Ok(Transformed::no(e)),
    });
    Ok(known?.data)
}

/// Which rows of which partitions, in which order.
pub(super) struct Ordered<'a> {
    /// What divides the rows.
    pub partition: &'a [Expr],
    /// What orders those of a partition.
    pub order: &'a [SortExpr],
    /// The first and the last place that is asked for, counted from 1.
    pub range: (u64, u64),
    /// How long state is kept untouched, in milliseconds of processing time.
    pub ttl: Option<i64>,
    /// The clock that windows among the rows were cut by.
    pub clock: WallClock,
    /// Whether no partition has rows of several sessions.
    pub by_session: bool,
}

/// The rows of a range of places in each partition; with their places as a last column if `number` says how it is called.
pub(super) fn top_n(
    compiler: &mut Compiler,
    input: NodeId,
    input_schema: &DFSchema,
    ordered: &Ordered<'_>,
    number: Option<FieldRef>,
) -> Result<NodeId> {
    let width = input_schema.fields().len();
    let Prepared { node, partition, order } = prepare(compiler, input, input_schema, ordered)?;
    let arrives_in_order = if ordered.by_session { arrives_in_order_by_session } else { arrives_in_order };
    let by_content = !arrives_in_order(&compiler.circuit, node);
    let node = compiler.exchange(node, partition.clone());
    let before = compiler.circuit.node(node);
    let wide = Arc::clone(&before.schema);
    check_order(&wide, &order)?;
    let ranked = number.is_some();
    let fields = wide.fields().iter().take(width).cloned().chain(number).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let changing = before.notes.changelog == Changelog::Retract;
    let window = before.notes.windows.iter().find(|(start, end)| partition.contains(start) && partition.contains(end));
    let windows = window.filter(|_| !changing).map(|(_, end)| Closing { end: *end, clock: ordered.clock });
    let keep = keep(&before.notes, ordered.range, &order);
    let latest_first = windows.is_some() && matches!(keep, Some(Keep::LastByRowtime(_) | Keep::LastArrived));
    let kept = keep.filter(|_| !ranked && windows.is_none());
    let mut passed = passed(&before.notes, width);
    if let Some((start, end)) = window.filter(|_| windows.is_some()) {
        close(&mut passed, (*start, *end));
    }
    let appends = windows.is_some() || kept.is_some_and(Keep::is_first);
    let notes = NodeNotes {
        detail: detail(&wide, &partition, &order, ordered.range, kept),
        changelog: if appends { Changelog::Append } else { Changelog::Retract },
        net: is_net(&before.notes, ordered.range, ranked),
        keys: keys(&before.notes, &partition, ordered.range, width, ranked),
        bound: Some(Bound::of([bound(&wide, &partition, ordered, changing, windows.is_some())])),
        ..passed
    };
    let ttl = ordered.ttl;
    let input = wide;
    Ok(match kept {
        Some(keep) => {
            let factory = Deduplicate { partition, keep, input, schema: Arc::clone(&schema), ttl };
            updating(compiler, factory, node, schema, notes)
        }
        None => {
            let range = ordered.range;
            let ttl = ttl.filter(|_| windows.is_none());
            let out = Arc::clone(&schema);
            let factory = TopN {
                partition,
                order,
                range,
                ranked,
                changing,
                by_content,
                latest_first,
                input,
                schema: out,
                ttl,
                windows,
            };
            updating(compiler, factory, node, schema, notes)
        }
    })
}

/// An operator that gives net changes, or each change where windows stand behind it.
pub(super) fn updating(
    compiler: &mut Compiler,
    factory: impl OperatorFactory + 'static,
    input: NodeId,
    schema: SchemaRef,
    notes: NodeNotes,
) -> NodeId {
    if !compiler.each_change || notes.changelog == Changelog::Append {
        return compiler.operator(factory, vec![input], schema, notes);
    }
    let notes = NodeNotes { net: false, ..notes };
    compiler.operator(EachChange(Arc::new(factory)), vec![input], schema, notes)
}

/// Rows with all columns that divide and order them.
pub(super) struct Prepared {
    pub node: NodeId,
    pub partition: Vec<usize>,
    pub order: Vec<OrderColumn>,
}

/// Computes what divides and orders the rows where it is no plain column; as further columns behind the input's.
pub(super) fn prepare(
    compiler: &mut Compiler,
    input: NodeId,
    schema: &DFSchema,
    ordered: &Ordered<'_>,
) -> Result<Prepared> {
    let before = Arc::clone(&compiler.circuit.node(input).schema);
    let mut exprs: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let mut fields: Vec<FieldRef> = before.fields().iter().cloned().collect();
    let mut place = |expr: &Expr| -> Result<Option<usize>> {
        if matches!(expr, Expr::Literal(..)) {
            return Ok(None);
        }
        let key = physical(expr, schema)?;
        if let Some(column) = column_index(&key) {
            return Ok(Some(column));
        }
        fields.push(Arc::new(Field::new(expr.schema_name().to_string(), key.data_type(&before)?, true)));
        exprs.push(expr.clone());
        Ok(Some(exprs.len() - 1))
    };
    let mut partition = Vec::new();
    for expr in ordered.partition {
        if let Some(column) = place(expr)?.filter(|c| !partition.contains(c)) {
            partition.push(column);
        }
    }
    let mut order: Vec<OrderColumn> = Vec::new();
    for sort in ordered.order {
        let Some(column) = place(&sort.expr)? else { continue };
        // Not where it is the same in all rows of a partition, or decided by an earlier mention.
        if !partition.contains(&column) && order.iter().all(|o| o.column != column) {
            order.push(OrderColumn { column, descending: !sort.asc, nulls_first: sort.nulls_first });
        }
    }
    let mut node = input;
    if exprs.len() > before.fields().len() {
        let projection = exprs.iter().map(|e| physical(e, schema)).collect::<Result<Vec<_>>>()?;
        let wide: SchemaRef = Arc::new(Schema::new(fields));
        let notes = NodeNotes { detail: "keys".into(), bound: None, ..compiler.circuit.node(node).notes.clone() };
        let calc = Calc::try_new(&before, None, projection, Arc::clone(&wide))?;
        node = compiler.operator(calc, vec![node], wide, notes);
    }
    Ok(Prepared { node, partition, order })
}

/// What a deduplication keeps: the first row of each partition in order of one time attribute, over rows that only come.
fn keep(before: &NodeNotes, range: (u64, u64), order: &[OrderColumn]) -> Option<Keep> {
    let [OrderColumn { column, descending, .. }] = order else { return None };
    if before.changelog != Changelog::Append || range != (1, 1) {
        return None;
    }
    match (before.rowtimes.contains(column), before.proctimes.contains(column), descending) {
        (true, _, false) => Some(Keep::FirstByRowtime(*column)),
        (true, _, true) => Some(Keep::LastByRowtime(*column)),
        (_, true, false) => Some(Keep::FirstArrived),
        (_, true, true) => Some(Keep::LastArrived),
        _ => None,
    }
}

fn names(schema: &Schema, columns: &[usize]) -> String {
    columns.iter().map(|c| schema.field(*c).name().as_str()).collect::<Vec<_>>().join(", ")
}

/// An order as `EXPLAIN` shows it.
pub(super) fn shown_order(schema: &Schema, order: &[OrderColumn]) -> String {
    let shown = order.iter().map(|o| {
        let direction = if o.descending { "DESC" } else { "ASC" };
        let nulls = match (o.descending, o.nulls_first) {
            (false, false) => " NULLS LAST",
            (true, true) => " NULLS FIRST",
            _ => "",
        };
        format!("{} {direction}{nulls}", schema.field(o.column).name())
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn detail(
    schema: &Schema,
    partition: &[usize],
    order: &[OrderColumn],
    (first, last): (u64, u64),
    keep: Option<Keep>,
) -> String {
    let partition = names(schema, partition);
    let order = shown_order(schema, order);
    match keep {
        Some(keep) => {
            let which = if keep.is_first() { "first" } else { "last" };
            format!("keep={which}, partition=[{partition}], order=[{order}]")
        }
        None if last == u64::MAX => format!("rows={first}.., partition=[{partition}], order=[{order}]"),
        None => format!("rows={first}..{last}, partition=[{partition}], order=[{order}]"),
    }
}

/// Whether a step's changes are net. With places, or behind an offset, an equal row may take the place of another. Where several
/// rows of a partition are given, a row of a key may go from one place and come in another: that is one update.
fn is_net(before: &NodeNotes, range: (u64, u64), ranked: bool) -> bool {
    let from_first = before.changelog == Changelog::Retract || range.0 == 1;
    !ranked && from_first && (range.0 == range.1 || before.keys.is_empty())
}

/// What is unique in the result: what is in the input, the place in a partition, and the partition where one row is kept.
fn keys(before: &NodeNotes, partition: &[usize], range: (u64, u64), width: usize, ranked: bool) -> Vec<Vec<usize>> {
    let mut own = partition.to_vec();
    if ranked {
        own.push(width);
    }
    let mut keys: Vec<Vec<usize>> = before.keys.iter().filter(|k| k.iter().all(|c| *c < width)).cloned().collect();
    let passed = partition.iter().all(|c| *c < width);
    if passed && (ranked || range.0 == range.1) && !keys.contains(&own) {
        keys.push(own);
    }
    keys
}

/// The time attributes and windows of rows that are passed on, `width` columns of them.
pub(super) fn passed(before: &NodeNotes, width: usize) -> NodeNotes {
    before.carried(|c| (c < width).then_some(c).into_iter().collect())
}

/// What is left of times and windows in rows that come out when a window of theirs has closed.
pub(super) fn close(notes: &mut NodeNotes, window: (usize, usize)) {
    notes.rowtimes.clone_from(&notes.window_times);
    notes.windows.retain(|w| *w == window);
    notes.window_ends.retain(|end| *end == window.1);
}

fn bound(schema: &Schema, partition: &[usize], ordered: &Ordered<'_>, changing: bool, windowed: bool) -> Held {
    let held = match ordered.range.1 {
        _ if changing => Held::rows("the input"),
        u64::MAX => Held::rows("the input"),
        last => Held::at_most(last.max(1), "row").per(partition.iter().map(|c| schema.field(*c).name())),
    };
    match windowed {
        true => held.lives(Lifetime::Windows { slices: false, spec: None }),
        false => held.ttl(ordered.ttl),
    }
}
