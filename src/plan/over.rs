//! OVER: which rows go out once, and which results change.

mod by_time;
mod inputs;
mod reach;

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_plan::windows::create_window_expr;

use self::by_time::by_time;
use self::inputs::Inputs;
use self::reach::reach_of;
use super::compile::{Compiler, column_index, physical};
use crate::operator::calc::Calc;
use crate::operator::over::{Frame, OverAggregate, OverCall, OverFunction, OverTime, OverUpdating};
use crate::runtime::circuit::{Changelog, Circuit, NodeId, NodeKind, NodeNotes};
use crate::runtime::{Bound, Held, Lifetime};
use crate::{Error, Result};

/// One function of a window, and its column in the result.
struct Call<'a> {
    function: &'a WindowFunction,
    field: FieldRef,
    /// Its place among the window's functions.
    place: usize,
}

impl Call<'_> {
    fn params(&self) -> &WindowFunctionParams {
        &self.function.params
    }

    fn ignores_nulls(&self) -> bool {
        self.params().null_treatment == Some(NullTreatment::IgnoreNulls)
    }
}

pub(super) fn lower(compiler: &mut Compiler, window: &Window) -> Result<NodeId> {
    let schema = window.input.schema();
    let mut node = compiler.lower(&window.input)?;
    let ttl = compiler.state_ttl(&window.input);
    let width = compiler.circuit.node(node).schema.fields().len();
    let mut columns: Vec<usize> = (0..width).collect();
    columns.resize(width + window.window_expr.len(), 0);
    // DataFusion sorts once for functions whose partitions and orders are sorted alike; here each is for itself.
    for calls in by_window(window)? {
        let first = compiler.circuit.node(node).schema.fields().len();
        node = lower_calls(compiler, node, schema, &calls, ttl)?;
        calls.iter().zip(first..).for_each(|(call, at)| columns[width + call.place] = at);
    }
    reorder(compiler, node, &columns)
}

/// The functions of one PARTITION BY and ORDER BY each.
fn by_window(window: &Window) -> Result<Vec<Vec<Call<'_>>>> {
    let fields = window.schema.fields().iter().skip(window.input.schema().fields().len());
    let mut windows: Vec<Vec<Call<'_>>> = Vec::new();
    for (place, (expr, field)) in window.window_expr.iter().zip(fields).enumerate() {
        let function = function_of(expr)?;
        let call = Call { function, field: Arc::clone(field), place };
        let same = |calls: &&mut Vec<Call<'_>>| {
            let other = calls[0].params();
            other.partition_by == function.params.partition_by && other.order_by == function.params.order_by
        };
        match windows.iter_mut().find(same) {
            Some(calls) => calls.push(call),
            None => windows.push(vec![call]),
        }
    }
    Ok(windows)
}

fn function_of(expr: &Expr) -> Result<&WindowFunction> {
    match expr {
        Expr::WindowFunction(function) => Ok(function),
        Expr::Alias(alias) => function_of(&alias.expr),
        other => Err(Error::internal(format!("no window function: {other}"))),
    }
}

/// Brings the columns of a node into an order.
fn reorder(compiler: &mut Compiler, node: NodeId, columns: &[usize]) -> Result<NodeId> {
    if columns.iter().enumerate().all(|(at, column)| at == *column) {
        return Ok(node);
    }
    let before = compiler.circuit.node(node);
    let schema = Arc::new(before.schema.project(columns)?);
    let column = |c: &usize| Arc::new(Column::new(before.schema.field(*c).name(), *c)) as Arc<dyn PhysicalExpr>;
    let projection = columns.iter().map(column).collect();
    // Only results change places, and no note speaks of those.
    let notes = NodeNotes { detail: "order of columns".into(), bound: None, ..before.notes.clone() };
    let calc = Calc::try_new(&before.schema, None, projection, Arc::clone(&schema))?;
    Ok(compiler.operator(calc, vec![node], schema, notes))
}

fn lower_calls(
    compiler: &mut Compiler,
    node: NodeId,
    names: &DFSchema,
    calls: &[Call<'_>],
    ttl: Option<i64>,
) -> Result<NodeId> {
    let Some(params) = calls.first().map(Call::params) else { return Ok(node) };
    calls.iter().try_for_each(|call| check_frame(&call.params().window_frame))?;
    let before = Arc::clone(&compiler.circuit.node(node).schema);
    let mut inputs = Inputs { names, before, computed: Vec::new() };
    let keys = params.partition_by.iter().map(|e| inputs.column(e)).collect::<Result<Vec<_>>>()?;
    let over = Over { calls, keys, ttl };
    if let Some((time, column)) = time_of(&compiler.circuit.node(node).notes, &inputs, params)? {
        let mut inputs = inputs.clone();
        let functions = calls.iter().map(|call| by_time(call, &mut inputs, time, column));
        if let Some(functions) = functions.collect::<Result<Option<Vec<_>>>>()? {
            return over.by_time(compiler, node, &inputs, time, functions);
        }
    }
    over.updating(compiler, node, inputs)
}

/// The time attribute that rows are ordered by, where they are ordered by one alone and only come; and its column.
fn time_of(notes: &NodeNotes, inputs: &Inputs<'_>, params: &WindowFunctionParams) -> Result<Option<(OverTime, usize)>> {
    let [order] = params.order_by.as_slice() else { return Ok(None) };
    if !order.asc || notes.changelog != Changelog::Append {
        return Ok(None);
    }
    let Some(column) = column_index(&physical(&order.expr, inputs.names)?) else { return Ok(None) };
    Ok(match (notes.rowtimes.contains(&column), notes.proctimes.contains(&column)) {
        (true, _) => Some((OverTime::Rowtime(column), column)),
        (false, true) => Some((OverTime::Arrival, column)),
        _ => None,
    })
}

/// Refuses frames that end before they begin, and those that count more rows than can be counted.
fn check_frame(frame: &WindowFrame) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
    let is_countable = |bound: &WindowFrameBound| match bound {
        Preceding(n) | Following(n) if frame.units == WindowFrameUnits::Rows => n.cast_to(&DataType::Int64).is_ok(),
        _ => true,
    };
    if !is_countable(&frame.start_bound) || !is_countable(&frame.end_bound) {
        let message = format!("the window frame {frame} counts more rows than {}", i64::MAX);
        return Err(Error::Execution(message));
    }
    let fits = match (&frame.start_bound, &frame.end_bound) {
        (Following(_), Preceding(_) | CurrentRow) | (CurrentRow, Preceding(_)) => false,
        (Preceding(start), Preceding(end)) => !end.is_null() && (start.is_null() || start >= end),
        (Following(start), Following(end)) => !start.is_null() && (end.is_null() || start <= end),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(Error::Execution(format!("the window frame {frame} ends before it begins")))
}

/// Whether rows reach a node in an order that the tables' own rows define: whatever the steps, and however many workers.
pub(super) fn arrives_in_order(circuit: &Circuit, node: NodeId) -> bool {
    in_order(circuit, node, false)
}

/// The same of the rows of each session: they go out in the order in which they came.
pub(super) fn arrives_in_order_by_session(circuit: &Circuit, node: NodeId) -> bool {
    in_order(circuit, node, true)
}

fn in_order(circuit: &Circuit, node: NodeId, by_session: bool) -> bool {
    let node = circuit.node(node);
    let inputs = |by_session: bool| node.inputs.iter().all(|input| in_order(circuit, *input, by_session));
    match &node.kind {
        NodeKind::Source(_) => true,
        NodeKind::Operator(factory) => match factory.name() {
            "Calc" | "WindowTableFunction" | "Unnest" | "Expand" => inputs(by_session),
            // It stands behind an exchange by the sessions' keys.
            "SessionWindow" if by_session => inputs(true),
            _ => false,
        },
        NodeKind::Exchange(_) if by_session => inputs(false),
        _ => false,
    }
}

/// Functions of one PARTITION BY and ORDER BY, to be planned.
struct Over<'a> {
    calls: &'a [Call<'a>],
    keys: Vec<usize>,
    ttl: Option<i64>,
}

impl Over<'_> {
    /// Each row goes out once.
    fn by_time(
        &self,
        compiler: &mut Compiler,
        node: NodeId,
        inputs: &Inputs<'_>,
        time: OverTime,
        functions: Vec<OverFunction>,
    ) -> Result<NodeId> {
        let by_content = !arrives_in_order(&compiler.circuit, node);
        let types = functions.iter().zip(self.calls).map(|(function, call)| match &function.call {
            OverCall::Aggregate(aggregate) => aggregate.function.field().data_type().clone(),
            _ => call.field.data_type().clone(),
        });
        let schema = self.schema(&inputs.before, types);
        let node = inputs.compute(compiler, node)?;
        let node = compiler.exchange(node, self.keys.clone());
        let before = compiler.circuit.node(node);
        let notes = NodeNotes {
            detail: self.detail(&before.schema),
            bound: Some(self.bound_by_time(&before.schema, time, &functions)),
            ..before.notes.clone()
        };
        let factory = OverAggregate {
            time,
            keys: self.keys.clone(),
            functions,
            width: inputs.before.fields().len(),
            by_content,
            ttl: self.ttl,
            input: Arc::clone(&before.schema),
            schema: Arc::clone(&schema),
        };
        Ok(compiler.operator(factory, vec![node], schema, notes))
    }

    /// Results change as rows come and go.
    fn updating(&self, compiler: &mut Compiler, node: NodeId, mut inputs: Inputs<'_>) -> Result<NodeId> {
        let notes = &compiler.circuit.node(node).notes;
        let by_content = notes.changelog != Changelog::Append || !arrives_in_order(&compiler.circuit, node);
        let params = self.calls.first().map(Call::params);
        let order = params.map_or(&[][..], |p| &p.order_by).iter().map(|sort| {
            let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            Ok((inputs.column(&sort.expr)?, options))
        });
        let order = order.collect::<Result<Vec<_>>>()?;
        let functions = self.calls.iter().map(|call| self.window_expr(call, &mut inputs, &order));
        let functions = functions.collect::<Result<Vec<_>>>()?;
        let reach = self.calls.iter().zip(&functions).map(|(call, f)| reach_of(call, f));
        let reach = reach.collect::<Result<Option<Vec<_>>>>()?;
        let reach = reach.map(|all| all.into_iter().fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1))));
        let types = functions.iter().map(|f| Ok(f.field()?.data_type().clone())).collect::<Result<Vec<_>>>()?;
        let schema = self.schema(&inputs.before, types.into_iter());
        let node = inputs.compute(compiler, node)?;
        let node = compiler.exchange(node, self.keys.clone());
        let before = compiler.circuit.node(node);
        let notes = NodeNotes {
            detail: self.detail(&before.schema),
            changelog: Changelog::Retract,
            // A row's results may change when its time has long passed.
            rowtimes: Vec::new(),
            windows: Vec::new(),
            // Of a key a row may go from one partition and come in another, which is one update.
            net: before.notes.keys.is_empty(),
            bound: Some(Bound::of([Held::rows("the input").ttl(self.ttl)])),
            ..before.notes.clone()
        };
        let factory = OverUpdating {
            keys: self.keys.clone(),
            order,
            reach,
            functions,
            width: inputs.before.fields().len(),
            by_content,
            distinct: !before.notes.keys.is_empty(),
            ttl: self.ttl,
            input: Arc::clone(&before.schema),
            schema: Arc::clone(&schema),
        };
        Ok(compiler.operator(factory, vec![node], schema, notes))
    }

    fn window_expr(
        &self,
        call: &Call<'_>,
        inputs: &mut Inputs<'_>,
        order: &[(usize, SortOptions)],
    ) -> Result<Arc<dyn WindowExpr>> {
        let params = call.params();
        let arguments = params.args.iter().map(|e| inputs.argument(e)).collect::<Result<Vec<_>>>()?;
        let filter = params.filter.as_ref().map(|f| inputs.argument(f)).transpose()?;
        let keys: Vec<_> = self.keys.iter().map(|k| inputs.reference(*k)).collect();
        let order: Vec<_> = order.iter().map(|(c, o)| PhysicalSortExpr::new(inputs.reference(*c), *o)).collect();
        Ok(create_window_expr(
            &call.function.fun,
            call.field.name().clone(),
            &arguments,
            &keys,
            &order,
            Arc::new(params.window_frame.clone()),
            inputs.schema(),
            call.ignores_nulls(),
            params.distinct,
            filter,
        )?)
    }

    /// The input's columns and the results'.
    fn schema(&self, before: &Schema, types: impl Iterator<Item = DataType>) -> SchemaRef {
        let results = self.calls.iter().zip(types).map(|(call, data_type)| {
            Arc::new(call.field.as_ref().clone().with_data_type(data_type).with_nullable(true))
        });
        Arc::new(Schema::new(before.fields().iter().cloned().chain(results).collect::<Vec<_>>()))
    }

    fn detail(&self, schema: &Schema) -> String {
        let calls: Vec<&str> = self.calls.iter().map(|call| call.field.name().as_str()).collect();
        format!("partition=[{}], functions=[{}]", self.key_names(schema), calls.join(", "))
    }

    fn key_names(&self, schema: &Schema) -> String {
        self.keys.iter().map(|k| schema.field(*k).name().as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What bounds the state of rows that go out once, in words.
    fn bound_by_time(&self, schema: &Schema, time: OverTime, functions: &[OverFunction]) -> Bound {
        let rows = functions.iter().map(|f| match (&f.call, f.frame) {
            (OverCall::Lag { offset, .. }, _) => *offset,
            (_, Frame::Rows(Some(n))) => n.saturating_add(1),
            _ => 1,
        });
        let spans = functions.iter().filter_map(|f| match f.frame {
            Frame::Range(Some(ms)) | Frame::Recent(ms) => Some(ms),
            _ => None,
        });
        let held = match spans.max() {
            // A span before a partition's last row, which itself goes a span behind the watermark.
            Some(ms) => Held::rows("the input").within(ms.saturating_mul(2), "OVER"),
            None => Held::at_most(rows.max().unwrap_or(1), "row"),
        };
        let held = held.per(self.keys.iter().map(|k| schema.field(*k).name())).ttl(self.ttl);
        let ahead = (time != OverTime::Arrival).then(|| Held::rows("the input").lives(Lifetime::Watermark));
        Bound::of([held].into_iter().chain(ahead))
    }
}
