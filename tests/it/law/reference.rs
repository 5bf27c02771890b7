//! What a query must answer: the same plan, run by DataFusion in batch, with a naive model of time around it.
//!
//! Tables become the rows consumed so far, each with the watermark just before it in a hidden column. Window functions
//! become rows worked out one by one. In front of an aggregate over windows, a (row, window) pair counts only if the
//! window was still open just before the row, and if the watermark has closed it by now.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::logical_plan::{Aggregate, Projection, SubqueryAlias, Union};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore, lit};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt;
use futures::future::BoxFuture;
use millstream::operator::window::{WindowKind, WindowSpec};
use millstream::plan::{ColumnOrigin, SessionTvf, StreamTable, WindowTvf};

use super::rows::batch_rows;

/// The watermark (milliseconds) just before a row; NULL or absent where a row cannot be late.
const BEFORE: &str = "__before";
/// The last millisecond of a row's window.
const CLOSES: &str = "__closes";
/// Whether it is the last of the row's windows to close.
const LAST: &str = "__last";

/// What has been consumed of a table.
#[derive(Debug, Clone)]
pub struct Consumed {
    /// The rows, with the connector's columns.
    pub rows: RecordBatch,
    /// The watermark just before each.
    pub before: Vec<i64>,
    /// The watermark now.
    pub watermark: i64,
}

/// How far the clock of the session's zone is ahead of UTC, in milliseconds: windows of TIMESTAMP_LTZ are cut by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zone(pub i64);

/// What the reference says of a query.
#[derive(Debug)]
pub struct Expected {
    /// Its result.
    pub rows: RecordBatch,
    /// (row, window) pairs that came when the window was closed.
    pub late_pairs: u64,
    /// Rows that came when all their windows were closed.
    pub late_rows: u64,
}

/// Deliberate faults, to see that the laws notice them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fault {
    #[default]
    None,
    /// Late rows count as if they were in time.
    KeepsLate,
    /// Windows close a millisecond early.
    ClosesEarly,
    /// Windows close a millisecond late.
    ClosesLate,
}

pub struct Reference<'a> {
    context: SessionContext,
    tables: &'a HashMap<String, Consumed>,
    zone: Zone,
    fault: Fault,
    late: std::sync::Mutex<(u64, u64)>,
}

/// A plan whose hidden columns stand behind the others, and the watermark that its rows have brought.
struct Lowered {
    plan: LogicalPlan,
    watermark: i64,
}

impl<'a> Reference<'a> {
    pub fn new(tables: &'a HashMap<String, Consumed>, zone: Zone, fault: Fault) -> Self {
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(1 << 16);
        Self { context: SessionContext::new_with_config(config), tables, zone, fault, late: Default::default() }
    }

    pub async fn answer(&self, plan: &LogicalPlan) -> Result<Expected> {
        let lowered = self.lower(plan).await?;
        let visible: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(visible, Arc::new(lowered.plan))?);
        let rows = self.run(plan).await?;
        let (late_pairs, late_rows) = *self.late.lock().unwrap();
        Ok(Expected { rows, late_pairs, late_rows })
    }

    /// Runs a plan as it stands, but for what must be simplified before it can run: so DataFusion's optimizer and ours
    /// cannot be wrong in the same way.
    async fn run(&self, plan: LogicalPlan) -> Result<RecordBatch> {
        let state = self.context.state();
        let rules = Optimizer::with_rules(vec![Arc::new(SimplifyExpressions::new())]);
        let plan = rules.optimize(plan, &OptimizerContext::new(), |_, _| {})?;
        let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
        let schema = physical.schema();
        let batches = datafusion::physical_plan::collect(physical, self.context.task_ctx()).await?;
        let all = arrow::compute::concat_batches(&schema, &batches)?;
        // Names that cannot collide.
        let fields = all.columns().iter().enumerate();
        let fields = fields.map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true)).collect::<Vec<_>>();
        let options = RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), all.columns().to_vec(), &options)?)
    }

    fn lower<'b>(&'b self, plan: &'b LogicalPlan) -> BoxFuture<'b, Result<Lowered>> {
        async move {
            let mut inputs = Vec::new();
            for input in plan.inputs() {
                inputs.push(self.lower(input).await?);
            }
            let watermark = inputs.iter().map(|i| i.watermark).min().unwrap_or(i64::MAX);
            if let LogicalPlan::TableScan(scan) = plan {
                return self.scan(scan);
            }
            if let LogicalPlan::Union(union) = plan {
                return Ok(Lowered { plan: self.union(union, inputs)?, watermark });
            }
            if inputs.len() != 1 {
                return Ok(Lowered { plan: plan.clone(), watermark });
            }
            let input = inputs.remove(0).plan;
            let plan = match plan {
                LogicalPlan::Projection(p) => {
                    let exprs = p.expr.iter().cloned().chain(hidden(&input)).collect();
                    LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?)
                }
                LogicalPlan::SubqueryAlias(a) => {
                    LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), a.alias.clone())?)
                }
                LogicalPlan::Unnest(u) => {
                    let columns = u.exec_columns.clone();
                    let unnested =
                        LogicalPlanBuilder::from(input).unnest_columns_with_options(columns, u.options.clone())?;
                    let unnested = unnested.build()?;
                    let visible = u.schema.columns().into_iter().map(Expr::Column);
                    let exprs = visible.chain(hidden(&unnested)).collect();
                    LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(unnested))?)
                }
                LogicalPlan::Aggregate(a) => {
                    let input = self.open_and_closed(input, watermark).await?;
                    let (groups, aggregates) = (a.group_expr.clone(), a.aggr_expr.clone());
                    LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregates)?)
                }
                LogicalPlan::Extension(e) => {
                    let node = e.node.as_any();
                    match (node.downcast_ref::<WindowTvf>(), node.downcast_ref::<SessionTvf>()) {
                        (Some(tvf), _) => self.windows(tvf, input).await?,
                        (_, Some(tvf)) => self.sessions(tvf, input, watermark).await?,
                        _ => plan.with_new_exprs(plan.expressions(), vec![input])?,
                    }
                }
                other => other.with_new_exprs(other.expressions(), vec![input])?,
            };
            Ok(Lowered { plan, watermark })
        }
        .boxed()
    }

    fn scan(&self, scan: &datafusion::logical_expr::TableScan) -> Result<Lowered> {
        let table = scan.source.downcast_ref::<StreamTable>().expect("a stream");
        let consumed = &self.tables[&table.descriptor.name];
        let before: ArrayRef = Arc::new(Int64Array::from(consumed.before.clone()));
        let input = memory(append(&consumed.rows, &[(BEFORE, before)]))?;
        let all = (0..table.schema.fields().len()).collect();
        let exprs = scan.projection.clone().unwrap_or(all).into_iter().map(|column| {
            let expr = match &table.origins[column] {
                ColumnOrigin::Connector(i) => by_name(table.descriptor.schema.field(*i).name()),
                ColumnOrigin::Computed(expr) => expr.clone(),
            };
            expr.alias_qualified(Some(scan.table_name.clone()), table.schema.field(column).name())
        });
        let exprs: Vec<Expr> = exprs.chain([by_name(BEFORE)]).collect();
        let plan = LogicalPlanBuilder::from(input).project(exprs)?.build()?;
        Ok(Lowered { plan, watermark: consumed.watermark })
    }

    fn union(&self, union: &Union, inputs: Vec<Lowered>) -> Result<LogicalPlan> {
        let mut aligned = Vec::new();
        for (input, original) in inputs.into_iter().zip(&union.inputs) {
            let named = original.schema().columns().into_iter().zip(union.schema.columns());
            let visible = named.zip(union.schema.fields()).map(|((own, common), field)| {
                let typed = Expr::Cast(datafusion::logical_expr::Cast::new(
                    Box::new(Expr::Column(own)),
                    field.data_type().clone(),
                ));
                typed.alias(common.name)
            });
            let null = lit(datafusion::common::ScalarValue::Int64(None)).alias(BEFORE);
            let before = hidden(&input.plan).into_iter().find(|e| is_named(e, BEFORE)).unwrap_or(null);
            let exprs = visible.chain([before]).collect();
            aligned.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input.plan))?)));
        }
        Ok(LogicalPlan::Union(Union::try_new_with_loose_types(aligned)?))
    }

    /// The (row, window) pairs that count.
    async fn open_and_closed(&self, input: LogicalPlan, watermark: i64) -> Result<LogicalPlan> {
        if !hidden(&input).iter().any(|e| is_named(e, CLOSES)) {
            return Ok(input);
        }
        let columns = input.schema().columns();
        let names: Vec<(Option<TableReference>, String)> = columns.into_iter().map(|c| (c.relation, c.name)).collect();
        let batch = self.run(input).await?;
        let closes = millis(&batch, &names, CLOSES).unwrap();
        let before = millis(&batch, &names, BEFORE);
        let lasts = batch.column(names.iter().position(|(_, n)| n == LAST).unwrap());
        let lasts = lasts.as_any().downcast_ref::<BooleanArray>().unwrap().clone();
        let mut kept = Vec::new();
        for row in 0..batch.num_rows() {
            let moved = i64::from(self.fault == Fault::ClosesLate) - i64::from(self.fault == Fault::ClosesEarly);
            let closes = closes.value(row) + moved;
            let late = before.as_ref().is_some_and(|b| b.is_valid(row) && closes <= b.value(row));
            if late && self.fault != Fault::KeepsLate {
                let mut counts = self.late.lock().unwrap();
                counts.0 += 1;
                counts.1 += u64::from(lasts.value(row));
            } else if closes <= watermark {
                kept.push(row as u32);
            }
        }
        let batch = take_record_batch(&batch, &UInt32Array::from(kept))?;
        named(batch, &names)
    }

    /// Every row once for each of its windows.
    async fn windows(&self, tvf: &WindowTvf, input: LogicalPlan) -> Result<LogicalPlan> {
        let rows = self.timed(&tvf.time, input).await?;
        let (mut picked, mut windows) = (Vec::new(), Vec::new());
        for (row, instant) in floor_millis(rows.batch.column(rows.time)).iter().enumerate() {
            for window in windows_of(&tvf.spec, instant + rows.ahead) {
                picked.push(row as u32);
                windows.push(window);
            }
        }
        let last = |row: u32| picked.iter().zip(&windows).filter(|(r, _)| **r == row).map(|(_, w)| w.1).max();
        let lasts = picked.iter().zip(&windows).map(|(row, w)| last(*row) == Some(w.1)).collect();
        rows.with_windows(tvf.schema(), &picked, &windows, lasts, true)
    }

    /// The rows of the sessions that the watermark has closed, one by one as they came.
    async fn sessions(&self, tvf: &SessionTvf, input: LogicalPlan, watermark: i64) -> Result<LogicalPlan> {
        let places = tvf.keys.iter().map(|key| input.schema().index_of_column(key)).collect::<Result<Vec<_>>>()?;
        let rows = self.timed(&tvf.time, input).await?;
        let keys = batch_rows(&rows.batch.project(&places)?);
        let before = rows.before.map(|b| rows.batch.column(b).as_any().downcast_ref::<Int64Array>().unwrap().clone());
        let moved = i64::from(self.fault == Fault::ClosesLate) - i64::from(self.fault == Fault::ClosesEarly);
        let mut open: Vec<(Vec<u32>, i64, i64)> = Vec::new();
        let mut closed = Vec::new();
        for (row, time) in floor_millis(rows.batch.column(rows.time)).into_iter().enumerate() {
            let mark = before.as_ref().filter(|b| b.is_valid(row)).map_or(i64::MIN, |b| b.value(row));
            let is_closed = |end: i64| end - 1 + moved <= mark && self.fault != Fault::KeepsLate;
            closed.extend(open.extract_if(.., |s| is_closed(s.2)));
            let of_key = |s: &(Vec<u32>, i64, i64)| keys[s.0[0] as usize].exact() == keys[row].exact();
            let near = open.extract_if(.., |s| of_key(s) && s.1 <= time + tvf.gap && time <= s.2);
            let mut session = near.fold((vec![row as u32], time, time + tvf.gap), |(mut all, start, end), s| {
                all.extend(s.0);
                (all, start.min(s.1), end.max(s.2))
            });
            session.0.sort_unstable();
            if is_closed(session.2) {
                let mut counts = self.late.lock().unwrap();
                *counts = (counts.0 + 1, counts.1 + 1);
            } else {
                open.push(session);
            }
        }
        closed.extend(open.extract_if(.., |s| s.2 - 1 + moved <= watermark));
        let (mut picked, mut windows) = (Vec::new(), Vec::new());
        for (members, start, end) in closed {
            windows.extend(std::iter::repeat_n((start + rows.ahead, end + rows.ahead), members.len()));
            picked.extend(members);
        }
        let lasts = vec![true; picked.len()];
        rows.with_windows(tvf.schema(), &picked, &windows, lasts, false)
    }

    /// The rows that a window function gets.
    async fn timed(&self, time: &Column, input: LogicalPlan) -> Result<Timed> {
        let columns = input.schema().columns().into_iter();
        let mut names: Vec<(Option<TableReference>, String)> = columns.map(|c| (c.relation, c.name)).collect();
        let time = input.schema().index_of_column(time)?;
        let mut batch = self.run(input).await?;
        for old in [CLOSES, LAST] {
            if let Some(i) = names.iter().position(|(_, n)| n == old) {
                names.remove(i);
                batch.remove_column(i);
            }
        }
        let zoned = matches!(batch.column(time).data_type(), DataType::Timestamp(_, Some(_)));
        let before = names.iter().position(|(_, n)| n == BEFORE);
        Ok(Timed { batch, names, time, before, ahead: if zoned { self.zone.0 } else { 0 } })
    }
}

/// The rows that a window function gets.
struct Timed {
    batch: RecordBatch,
    names: Vec<(Option<TableReference>, String)>,
    /// The time's column.
    time: usize,
    /// The column of the watermarks before the rows.
    before: Option<usize>,
    /// How far the clock that windows are cut by is ahead.
    ahead: i64,
}

impl Timed {
    /// Some rows with a window each, and whether it is their last; with the watermarks before the rows, if these still count.
    fn with_windows(
        &self,
        schema: &DFSchema,
        picked: &[u32],
        windows: &[(i64, i64)],
        lasts: Vec<bool>,
        marked: bool,
    ) -> Result<LogicalPlan> {
        let zone = match self.batch.column(self.time).data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let rows = take_record_batch(&self.batch, &UInt32Array::from(picked.to_vec()))?;
        let stamps = |v: Vec<i64>| Arc::new(TimestampMillisecondArray::from(v)) as ArrayRef;
        let closes: Vec<i64> = windows.iter().map(|w| w.1 - 1 - self.ahead).collect();
        let attribute = Arc::new(TimestampMillisecondArray::from(closes.clone()).with_timezone_opt(zone)) as ArrayRef;
        // Visible columns first, as elsewhere.
        let visible: Vec<usize> = (0..self.names.len()).filter(|i| Some(*i) != self.before).collect();
        let mut names: Vec<_> = visible.iter().map(|i| self.names[*i].clone()).collect();
        let mut columns: Vec<ArrayRef> = visible.iter().map(|i| Arc::clone(rows.column(*i))).collect();
        let bounds = [windows.iter().map(|w| w.0).collect(), windows.iter().map(|w| w.1).collect()];
        columns.extend(bounds.map(stamps));
        columns.push(attribute);
        let width = schema.fields().len() - 3;
        names.extend(schema.fields()[width..].iter().map(|field| (None, field.name().clone())));
        if let Some(b) = self.before.filter(|_| marked) {
            names.push((None, BEFORE.into()));
            columns.push(Arc::clone(rows.column(b)));
        }
        names.push((None, CLOSES.into()));
        columns.push(Arc::new(Int64Array::from(closes)));
        names.push((None, LAST.into()));
        columns.push(Arc::new(BooleanArray::from(lasts)));
        let fields = columns.iter().enumerate().map(|(i, c)| Field::new(format!("c{i}"), c.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        named(RecordBatch::try_new(schema, columns)?, &names)
    }
}

/// The windows (start, end) that hold a time, by trying all that could.
pub fn windows_of(spec: &WindowSpec, time: i64) -> Vec<(i64, i64)> {
    let (size, slide) = match spec.kind {
        WindowKind::Tumble { size } | WindowKind::Cumulate { size, .. } => (size, size),
        WindowKind::Hop { size, slide } => (size, slide),
    };
    let near = (time - spec.offset) / slide;
    let mut found = Vec::new();
    for k in near - size / slide - 2..=near + 2 {
        let start = spec.offset + k * slide;
        if start > time || time >= start + size {
            continue;
        }
        match spec.kind {
            WindowKind::Cumulate { step, .. } => {
                let ends = (1..=size / step).map(|j| start + j * step).filter(|end| time < *end);
                found.extend(ends.map(|end| (start, end)));
            }
            _ => found.push((start, start + size)),
        }
    }
    found
}

fn by_name(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// The hidden columns of a plan.
fn hidden(plan: &LogicalPlan) -> Vec<Expr> {
    let columns = plan.schema().columns();
    columns.into_iter().filter(|c| [BEFORE, CLOSES, LAST].contains(&c.name.as_str())).map(Expr::Column).collect()
}

fn is_named(expr: &Expr, name: &str) -> bool {
    matches!(expr, Expr::Column(c) if c.name == name)
}

fn append(rows: &RecordBatch, more: &[(&str, ArrayRef)]) -> RecordBatch {
    let fields = rows.schema().fields().iter().cloned().collect::<Vec<_>>();
    let new = more.iter().map(|(n, c)| Arc::new(Field::new(*n, c.data_type().clone(), true)));
    let schema = Arc::new(Schema::new(fields.into_iter().chain(new).collect::<Vec<_>>()));
    let columns = rows.columns().iter().cloned().chain(more.iter().map(|(_, c)| Arc::clone(c))).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

fn memory(rows: RecordBatch) -> Result<LogicalPlan> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
    LogicalPlanBuilder::scan("__memory", provider_as_source(Arc::new(table)), None)?.build()
}

/// Rows under the names that a plan gives to its columns.
fn named(rows: RecordBatch, names: &[(Option<TableReference>, String)]) -> Result<LogicalPlan> {
    let own: Vec<String> = rows.schema().fields().iter().map(|f| f.name().clone()).collect();
    let exprs =
        own.iter().zip(names).map(|(own, (relation, name))| by_name(own).alias_qualified(relation.clone(), name));
    let exprs: Vec<Expr> = exprs.collect();
    LogicalPlanBuilder::from(memory(rows)?).project(exprs)?.build()
}

fn millis(batch: &RecordBatch, names: &[(Option<TableReference>, String)], name: &str) -> Option<Int64Array> {
    let column = batch.column(names.iter().position(|(_, n)| n == name)?);
    column.as_any().downcast_ref::<Int64Array>().cloned()
}

/// A timestamp column in milliseconds, rounded down.
fn floor_millis(column: &ArrayRef) -> Vec<i64> {
    let DataType::Timestamp(unit, _) = column.data_type() else { panic!("{} is no time", column.data_type()) };
    let raw = cast(column, &DataType::Int64).unwrap();
    let raw = raw.as_any().downcast_ref::<Int64Array>().unwrap();
    let scale = |v: i64| match unit {
        TimeUnit::Second => v * 1000,
        TimeUnit::Millisecond => v,
        TimeUnit::Microsecond => v.div_euclid(1000),
        TimeUnit::Nanosecond => v.div_euclid(1_000_000),
    };
    raw.values().iter().map(|v| scale(*v)).collect()
}
