//! OVER: which rows go out once, and which results change.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{AggregateUDF, Expr, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use datafusion_functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::PhysicalSortExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::window::WindowExpr;
use datafusion_physical_plan::windows::create_window_expr;

use super::compile::{Compiler, column_index, physical};
use super::ttl;
use crate::operator::calc::Calc;
use crate::operator::over::{AggregateCall, Frame, OverAggregate, OverCall, OverFunction, OverTime, OverUpdating};
use crate::runtime::circuit::{Changelog, Circuit, NodeId, NodeKind, NodeNotes};
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

/// The columns that functions read: the input's, and behind them computed ones.
#[derive(Clone)]
struct Inputs<'a> {
    /// What names stand for: the first columns of the node.
    names: &'a DFSchema,
    before: SchemaRef,
    computed: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
}

impl Inputs<'_> {
    /// The column that holds an expression.
    fn column(&mut self, expr: &Expr) -> Result<usize> {
        let expr = physical(expr, self.names)?;
        if let Some(column) = column_index(&expr) {
            return Ok(column);
        }
        let first = self.before.fields().len();
        if let Some(known) = self.computed.iter().position(|(e, _)| e == &expr) {
            return Ok(first + known);
        }
        let name = format!("${}", self.computed.len());
        let field = Field::new(name, expr.data_type(&self.before)?, expr.nullable(&self.before)?);
        self.computed.push((expr, Arc::new(field)));
        Ok(first + self.computed.len() - 1)
    }

    /// An argument: a literal as it is, all else as a column.
    fn argument(&mut self, expr: &Expr) -> Result<Arc<dyn PhysicalExpr>> {
        match expr {
            Expr::Literal(..) => physical(expr, self.names),
            _ => self.column(expr).map(|c| self.reference(c)),
        }
    }

    fn reference(&self, column: usize) -> Arc<dyn PhysicalExpr> {
        let first = self.before.fields().len();
        let computed = || self.computed.get(column - first).map_or("", |(_, f)| f.name());
        let name = if column < first { self.before.field(column).name() } else { computed() };
        Arc::new(Column::new(name, column))
    }

    fn schema(&self) -> SchemaRef {
        let computed = self.computed.iter().map(|(_, field)| field);
        Arc::new(Schema::new(self.before.fields().iter().chain(computed).cloned().collect::<Vec<_>>()))
    }

    /// The node that gives all columns.
    fn compute(&self, compiler: &mut Compiler, node: NodeId) -> Result<NodeId> {
        if self.computed.is_empty() {
            return Ok(node);
        }
        let own = (0..self.before.fields().len()).map(|c| self.reference(c));
        let projection = own.chain(self.computed.iter().map(|(e, _)| Arc::clone(e))).collect();
        let notes = NodeNotes { detail: "arguments".into(), bound: None, ..compiler.circuit.node(node).notes.clone() };
        let calc = Calc::try_new(&self.before, None, projection, self.schema())?;
        Ok(compiler.operator(calc, vec![node], self.schema(), notes))
    }
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

/// A function over rows in the order of time; `None` where its answers change with later rows, or where it is known to
/// DataFusion alone.
fn by_time(
    call: &Call<'_>,
    inputs: &mut Inputs<'_>,
    time: OverTime,
    time_column: usize,
) -> Result<Option<OverFunction>> {
    let params = call.params();
    let whole = |call| Ok(Some(OverFunction { call, frame: Frame::Rows(None) }));
    let udwf = match &call.function.fun {
        WindowFunctionDefinition::AggregateUDF(udaf) => {
            let Some(frame) = frame_of(&params.window_frame, time)? else { return Ok(None) };
            let call = OverCall::Aggregate(aggregate(udaf, call, inputs, time_column)?);
            return Ok(Some(OverFunction { call, frame }));
        }
        WindowFunctionDefinition::WindowUDF(udwf) => udwf.name(),
    };
    match udwf {
        "row_number" => whole(OverCall::RowNumber),
        // In the order of arrival no two rows tie.
        "rank" | "dense_rank" if time == OverTime::Arrival => whole(OverCall::RowNumber),
        "rank" => whole(OverCall::Rank),
        "dense_rank" => whole(OverCall::DenseRank),
        "lag" => match lag(call, inputs)? {
            Some(lag) => whole(lag),
            None => Ok(None),
        },
        "first_value" | "last_value" => {
            let Some(frame) = frame_of(&params.window_frame, time)? else { return Ok(None) };
            let [argument] = params.args.as_slice() else { return Ok(None) };
            let (first, ignore_nulls) = (udwf == "first_value", call.ignores_nulls());
            let call = if frame.is_unbounded() {
                let udaf = if first { first_value_udaf() } else { last_value_udaf() };
                OverCall::Aggregate(aggregate(&udaf, call, inputs, time_column)?)
            } else {
                let column = inputs.column(argument)?;
                match first {
                    true => OverCall::First { column, ignore_nulls },
                    false => OverCall::Last { column, ignore_nulls },
                }
            };
            Ok(Some(OverFunction { call, frame }))
        }
        _ => Ok(None),
    }
}

fn aggregate(
    udaf: &Arc<AggregateUDF>,
    call: &Call<'_>,
    inputs: &mut Inputs<'_>,
    never_null: usize,
) -> Result<AggregateCall> {
    let params = call.params();
    let argument = |e: &Expr| match e {
        // COUNT(*) counts the values of a column that has no NULLs.
        Expr::Literal(value, _) if udaf.name() == "count" && !value.is_null() && !params.distinct => Ok(never_null),
        other => inputs.column(other),
    };
    let arguments = params.args.iter().map(argument).collect::<Result<Vec<_>>>()?;
    let filter = params.filter.as_ref().map(|f| inputs.column(f)).transpose()?;
    let columns = arguments.iter().map(|c| inputs.reference(*c)).collect();
    let function = AggregateExprBuilder::new(Arc::clone(udaf), columns)
        .schema(inputs.schema())
        .alias(call.field.name())
        .with_ignore_nulls(call.ignores_nulls())
        .with_distinct(params.distinct)
        .build()?;
    Ok(AggregateCall { function: Arc::new(function), arguments, filter })
}

fn lag(call: &Call<'_>, inputs: &mut Inputs<'_>) -> Result<Option<OverCall>> {
    let args = &call.params().args;
    let literal = |at: usize| match args.get(at) {
        None => Some(ScalarValue::Null),
        Some(Expr::Literal(value, _)) => Some(value.clone()),
        Some(_) => None,
    };
    let (Some(argument), Some(offset), Some(default)) = (args.first(), literal(1), literal(2)) else { return Ok(None) };
    let offset = match offset.cast_to(&DataType::Int64)? {
        ScalarValue::Int64(Some(offset)) => u64::try_from(offset).ok(),
        _ => Some(1),
    };
    match offset {
        Some(offset) if !call.ignores_nulls() => {
            Ok(Some(OverCall::Lag { column: inputs.column(argument)?, offset, default }))
        }
        _ => Ok(None),
    }
}

/// The frame, if it ends with the current row and reaches back a number of rows, a fixed time, or to the first row.
fn frame_of(frame: &WindowFrame, time: OverTime) -> Result<Option<Frame>> {
    if frame.end_bound != WindowFrameBound::CurrentRow {
        return Ok(None);
    }
    let range = |ms| match time {
        OverTime::Rowtime(_) => Frame::Range(Some(ms)),
        OverTime::Arrival => Frame::Recent(ms),
    };
    Ok(match (frame.units, &frame.start_bound) {
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(n)) if n.is_null() => Some(Frame::Rows(None)),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(n)) => match n.cast_to(&DataType::UInt64)? {
            ScalarValue::UInt64(Some(n)) => Some(Frame::Rows(Some(n))),
            _ => None,
        },
        (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => Some(Frame::Rows(Some(0))),
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(n)) if n.is_null() => match time {
            OverTime::Rowtime(_) => Some(Frame::Range(None)),
            OverTime::Arrival => Some(Frame::Rows(None)),
        },
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(span)) => millis_of(span).map(range),
        (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => Some(range(0)),
        _ => None,
    })
}

/// A span of fixed length in milliseconds.
fn millis_of(span: &ScalarValue) -> Option<i64> {
    match span {
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 && v.nanoseconds % 1_000_000 == 0 => {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(v.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(v)) => {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(i64::from(v.milliseconds))
        }
        _ => None,
    }
    .filter(|ms| *ms >= 0)
}

/// Refuses frames that end before they begin.
fn check_frame(frame: &WindowFrame) -> Result<()> {
    use WindowFrameBound::{CurrentRow, Following, Preceding};
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
fn arrives_in_order(circuit: &Circuit, node: NodeId) -> bool {
    let node = circuit.node(node);
    match &node.kind {
        NodeKind::Source(_) => true,
        NodeKind::Operator(factory) if ["Calc", "WindowAssign", "Unnest", "Expand"].contains(&factory.name()) => {
            node.inputs.iter().all(|input| arrives_in_order(circuit, *input))
        }
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
            bound: Some(format!("unbounded: grows with rows of the input{}", ttl::shown(self.ttl))),
            ..before.notes.clone()
        };
        let factory = OverUpdating {
            keys: self.keys.clone(),
            order,
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
    fn bound_by_time(&self, schema: &Schema, time: OverTime, functions: &[OverFunction]) -> String {
        let rows = functions.iter().map(|f| match (&f.call, f.frame) {
            (OverCall::Lag { offset, .. }, _) => *offset,
            (_, Frame::Rows(Some(n))) => n.saturating_add(1),
            _ => 1,
        });
        let spans = functions.iter().filter_map(|f| match f.frame {
            Frame::Range(Some(ms)) | Frame::Recent(ms) => Some(ms),
            _ => None,
        });
        let held = match (spans.max(), rows.max().unwrap_or(1)) {
            (Some(ms), _) => format!("rows of the last {}", ttl::span(ms)),
            (None, 1) => "one row".to_string(),
            (None, rows) => format!("{rows} rows"),
        };
        let per =
            if self.keys.is_empty() { String::new() } else { format!(" per distinct ({})", self.key_names(schema)) };
        let ahead = if time == OverTime::Arrival { "" } else { ", and rows ahead of the watermark" };
        format!("{held}{per}{ahead}{}", ttl::shown(self.ttl))
    }
}
