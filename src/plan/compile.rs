//! Logical plans to one circuit.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::DFSchema;
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::{Expr, LogicalPlan, Unnest as LogicalUnnest};
use datafusion_physical_expr::expressions::CastExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use super::as_of::TemporalJoin;
use super::match_recognize::MatchRecognizeNode;
use super::scan::Scans;
use super::set_operation::{self, SetOperationNode};
use super::source::Read;
use super::subquery::SingleRowNode;
use super::table::StreamTable;
use super::ttl::StateTtls;
use super::unbounded::{self, UnboundedState};
use super::window_tvf::{SessionTvf, WindowTvf};
use super::{
    aggregate, difference, join, match_recognize, narrow, optimize, over, rank, refuse, scaled, scan, session, sort,
    temporal,
};
use crate::connector::values::Values;
use crate::connector::{Connector, Options, TableDescriptor};
use crate::operator::calc::Calc;
use crate::operator::reached::Origin;
use crate::operator::single_row::SingleRow;
use crate::operator::union::UnionAll;
use crate::operator::unnest::{Kept, Unnest, UnnestColumn};
use crate::operator::{Factory, OperatorFactory};
use crate::runtime::circuit::{
    Changelog, Circuit, LookupPolicy, Node, NodeId, NodeKind, NodeNotes, SinkSpec, SourceSpec,
};
use crate::runtime::{Bound, Held};
use crate::{Error, Result};

/// A query and where its result goes.
#[derive(Debug, Clone)]
pub struct Query {
    /// The query, analysed: names resolved, types coerced.
    pub plan: LogicalPlan,
    /// The table it is written to; `None` for a bare query.
    pub target: Option<Arc<StreamTable>>,
    /// What its `STATE_TTL` hints say.
    pub state_ttls: StateTtls,
}

/// When group windows give results beside when the watermark closes them; all in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EmitOptions {
    /// How long after its end a window takes rows.
    pub lateness: Option<i64>,
    /// How long after a change, before the window is closed; 0: at once.
    pub early: Option<i64>,
    /// How long after a change, behind that.
    pub late: Option<i64>,
}

/// What holds for all of a circuit's queries.
#[derive(Debug, Clone, Default)]
pub struct CompileOptions {
    /// `table.exec.state.ttl`: state that no row has touched for so many milliseconds of processing time is let go;
    /// `None` keeps all.
    pub state_ttl: Option<i64>,
    /// `table.exec.source.cdc-events-duplicate`: sources of changes with a PRIMARY KEY may give a change more than once.
    pub cdc_events_duplicate: bool,
    /// `millstream.state.unbounded`: what is done where state grows without a bound.
    pub unbounded: UnboundedState,
    /// `table.exec.emit.*`: when windows give results beside when they are closed.
    pub emit: EmitOptions,
    /// `millstream.late-rows.sink`: the table that takes the rows which operators drop as late.
    pub late_sink: Option<Arc<StreamTable>>,
    /// `table.exec.async-lookup.*`: how tables are asked by key.
    pub lookup: LookupPolicy,
}

/// Compiles queries into one circuit. Sub-plans that they share run once, and a table that several read is read once.
///
/// # Errors
/// [`Error::Unsupported`] for what cannot be planned yet, by its SQL name; other errors where an expression is wrong.
pub fn compile(queries: Vec<Query>, options: CompileOptions) -> Result<Circuit> {
    let (plans, rest): (Vec<_>, Vec<_>) = queries.into_iter().map(|q| (q.plan, (q.target, q.state_ttls))).unzip();
    let plans = plans.into_iter().map(|plan| difference::imply(optimize::optimize(plan)?));
    let plans = plans.collect::<Result<Vec<_>>>()?;
    let (plans, narrowed) = narrow::narrow_scans(plans)?;
    let scans = Scans::collect(&plans, narrowed, &options)?;
    let mut compiler = Compiler { options, scans, ..Compiler::default() };
    for (plan, (target, state_ttls)) in plans.iter().zip(rest) {
        if compiler.state_ttls != state_ttls {
            // Equal plans under other hints are other operators.
            compiler.lowered.iter_mut().for_each(HashMap::clear);
            compiler.state_ttls = state_ttls;
        }
        let input = compiler.lower(plan)?;
        compiler.sink(input, target.as_deref())?;
    }
    if let Some(table) = compiler.options.late_sink.clone() {
        compiler.late_sink(&table)?;
    }
    check_tables(&compiler.circuit)?;
    unbounded::check(&mut compiler.circuit, compiler.options.unbounded)?;
    Ok(compiler.circuit.without_unread())
}

/// Has each connector check the tables that are used, and in which direction, before anything is opened.
fn check_tables(circuit: &Circuit) -> Result<()> {
    for source in &circuit.sources {
        let can = source.connector.can_read();
        check_table(&source.table, source.connector.as_ref(), can, "written")?;
    }
    for sink in &circuit.sinks {
        if let SinkSpec::Table { table, connector } = sink {
            check_table(table, connector.as_ref(), connector.can_write(), "read")?;
        }
    }
    Ok(())
}

fn check_table(table: &TableDescriptor, connector: &dyn Connector, can: bool, only: &str) -> Result<()> {
    if !can {
        let message = format!("table '{}': connector '{}' can only be {only}", table.name, connector.name());
        return Err(Error::Option(message));
    }
    connector.check(table).map_err(|e| about_table(table, e))
}

/// What is wrong with a table's options, under its name.
pub(super) fn about_table(table: &TableDescriptor, error: Error) -> Error {
    match error {
        Error::Option(message) => Error::Option(format!("table '{}': {message}", table.name)),
        other => other,
    }
}

#[derive(Default)]
pub(super) struct Compiler {
    pub(super) circuit: Circuit,
    pub(super) options: CompileOptions,
    pub(super) scans: Scans,
    /// The tables that are read.
    pub(super) read: Vec<Read>,
    /// The hints of the query that is being lowered.
    pub(super) state_ttls: StateTtls,
    /// Whether sources are to give their changes as they read them.
    pub(super) as_read: bool,
    /// Whether operators are to give every change with the watermark that it came at, not a step's net changes: windows stand
    /// behind them.
    pub(super) each_change: bool,
    /// What the queries with these hints have in common: by whether changes are whole or as they are read, and net or each.
    lowered: [HashMap<LogicalPlan, NodeId>; 4],
}

impl Compiler {
    /// The node that gives a plan's rows, its columns in the order of the plan's schema.
    pub(super) fn lower(&mut self, plan: &LogicalPlan) -> Result<NodeId> {
        let mode = usize::from(self.as_read) + 2 * usize::from(self.each_change);
        if let Some(known) = self.lowered[mode].get(plan) {
            return Ok(*known);
        }
        let node = self.lower_new(plan)?;
        self.lowered[mode].insert(plan.clone(), node);
        Ok(node)
    }

    /// Lowers what windows stand on that count changing rows.
    pub(super) fn for_each_change<T>(&mut self, lower: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.each_change, true);
        let lowered = lower(self);
        self.each_change = before;
        lowered
    }

    /// Has every row of a node's sources carry the watermark before it, late or not: a row that goes may be older than that of
    /// the row that takes it away.
    pub(super) fn mark_every_row(&mut self, node: NodeId) {
        for source in self.sources_of(node) {
            if let Some(watermark) = &mut self.circuit.sources[source].watermark {
                watermark.every_row = true;
            }
        }
    }

    /// Lowers what is to have each change of its sources as it was read.
    pub(super) fn with_changes_as_read<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.as_read, true);
        let lowered = f(self);
        self.as_read = before;
        lowered
    }

    fn lower_new(&mut self, plan: &LogicalPlan) -> Result<NodeId> {
        match plan {
            LogicalPlan::TableScan(_) => self.select(plan, None, &columns(plan), plan.schema().inner()),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            LogicalPlan::Join(join) => join::lower(self, join, &(0..join.schema.fields().len()).collect::<Vec<_>>()),
            LogicalPlan::Projection(p) => match p.input.as_ref() {
                LogicalPlan::Filter(f) => match rank::recognise(f)? {
                    Some(ranked) => rank::lower(self, &ranked, &p.expr, p.schema.inner()),
                    None => self.select(&f.input, Some(&f.predicate), &p.expr, p.schema.inner()),
                },
                LogicalPlan::Join(join) if join::taken(&p.expr, &join.schema).is_some() => {
                    let columns = join::taken(&p.expr, &join.schema).unwrap_or_default();
                    join::lower(self, join, &columns)
                }
                LogicalPlan::Extension(e) if e.node.as_any().is::<TemporalJoin>() => {
                    match (e.node.as_any().downcast_ref::<TemporalJoin>(), join::taken(&p.expr, p.input.schema())) {
                        (Some(join), Some(columns)) => temporal::lower(self, join, &columns),
                        _ => self.select(&p.input, None, &p.expr, p.schema.inner()),
                    }
                }
                input => self.select(input, None, &p.expr, p.schema.inner()),
            },
            LogicalPlan::Filter(f) => match rank::recognise(f)? {
                Some(ranked) => rank::lower(self, &ranked, &columns(&f.input), plan.schema().inner()),
                None => self.select(&f.input, Some(&f.predicate), &columns(&f.input), plan.schema().inner()),
            },
            LogicalPlan::Sort(s) => sort::lower(self, s),
            LogicalPlan::Limit(l) => sort::lower_limit(self, l),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|i| self.lower(i)).collect::<Result<Vec<_>>>()?;
                self.union(inputs, Arc::clone(union.schema.inner()))
            }
            LogicalPlan::Aggregate(a) => aggregate::lower(self, a),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest),
            LogicalPlan::Window(window) => over::lower(self, window),
            LogicalPlan::Values(values) => {
                let rows = super::constant::evaluate_rows(&values.values, values.schema.inner())?;
                Ok(self.constant(rows))
            }
            LogicalPlan::EmptyRelation(empty) => {
                let rows = usize::from(empty.produce_one_row);
                let schema = Arc::clone(empty.schema.inner());
                let columns = schema.fields().iter().map(|f| arrow::array::new_null_array(f.data_type(), rows));
                let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
                let batch =
                    arrow::array::RecordBatch::try_new_with_options(Arc::clone(&schema), columns.collect(), &options)?;
                let node = self.constant(batch);
                if rows == 0 {
                    self.circuit.nodes[node.0].notes = notes_of_nothing(&schema);
                }
                Ok(node)
            }
            LogicalPlan::Extension(e) => {
                let node = e.node.as_any();
                if let Some(tvf) = node.downcast_ref::<WindowTvf>() {
                    return self.window_assign(tvf);
                }
                if let Some(tvf) = node.downcast_ref::<SessionTvf>() {
                    return session::lower(self, tvf);
                }
                if let Some(join) = node.downcast_ref::<TemporalJoin>() {
                    return temporal::lower(self, join, &(0..plan.schema().fields().len()).collect::<Vec<_>>());
                }
                if let Some(operation) = node.downcast_ref::<SetOperationNode>() {
                    return set_operation::lower(self, operation);
                }
                if let Some(matched) = node.downcast_ref::<MatchRecognizeNode>() {
                    return match_recognize::lower(self, matched);
                }
                match node.downcast_ref::<SingleRowNode>() {
                    Some(single) => self.single_row(&single.input),
                    None => Err(refuse::plan(plan)),
                }
            }
            other => Err(refuse::plan(other)),
        }
    }

    /// A projection of the rows of `input` that satisfy a condition. Straight over a table, its computed columns are
    /// computed in the same operator, and so only for rows that are kept.
    fn select(
        &mut self,
        input: &LogicalPlan,
        condition: Option<&Expr>,
        exprs: &[Expr],
        schema: &SchemaRef,
    ) -> Result<NodeId> {
        let Some(scan) = scan::below(input) else {
            let narrowed = join::narrowed(input, exprs.iter().chain(condition))?;
            let input = narrowed.as_ref().unwrap_or(input);
            let node = self.lower(input)?;
            return self.calc(node, input.schema(), condition, exprs, schema);
        };
        let origins = scan::projection(scan)?;
        if scan::computes_twice(input, &origins, exprs.iter().chain(condition))? {
            let all = columns(input);
            let node = self.select(input, None, &all, input.schema().inner())?;
            return self.calc(node, input.schema(), condition, exprs, schema);
        }
        let (source, read) = self.scan(scan)?;
        let inlined = exprs.iter().map(|e| scan::inline(e, input, &origins)).collect::<Result<Vec<_>>>()?;
        let condition = condition.map(|c| scan::inline(c, input, &origins)).transpose()?;
        let node = self.calc(source, &read, condition.as_ref(), &inlined, schema)?;
        let rowtime = scan::rowtime(scan)?.map(|i| Expr::Column(input.schema().columns()[i].clone()));
        let places = exprs.iter().enumerate().filter(|(_, e)| rowtime.as_ref() == Some(unaliased(e)));
        let notes = &mut self.circuit.nodes[node.0].notes;
        for (place, _) in places {
            if !notes.rowtimes.contains(&place) {
                notes.rowtimes.push(place);
            }
        }
        Ok(node)
    }

    fn constant(&mut self, rows: arrow::array::RecordBatch) -> NodeId {
        let schema = rows.schema();
        let table = TableDescriptor {
            name: format!("values-{}", self.circuit.sources.len()),
            schema: Arc::clone(&schema),
            metadata: Vec::new(),
            options: Options::default(),
            partition_keys: Vec::new(),
            primary_key: Vec::new(),
        };
        let connector = Arc::new(Values::new([rows]));
        let spec = SourceSpec { table: Arc::new(table), connector, projection: schema, watermark: None };
        self.source(spec, None, Changelog::Append)
    }

    /// A projection of the rows that satisfy a condition; nothing where it would change nothing.
    pub(super) fn calc(
        &mut self,
        input: NodeId,
        input_schema: &DFSchema,
        condition: Option<&Expr>,
        exprs: &[Expr],
        schema: &SchemaRef,
    ) -> Result<NodeId> {
        let condition_expr = condition.map(|c| physical(c, input_schema)).transpose()?;
        let projection = exprs.iter().map(|e| physical(e, input_schema)).collect::<Result<Vec<_>>>()?;
        let taken: Vec<Option<usize>> = projection.iter().map(column_index).collect();
        let before = Arc::clone(&self.circuit.node(input).schema);
        let identity = taken.len() == before.fields().len() && taken.iter().enumerate().all(|(i, t)| *t == Some(i));
        let same_names = before.fields().iter().zip(schema.fields()).all(|(a, b)| a.name() == b.name());
        if condition.is_none() && identity && same_names {
            return Ok(input);
        }
        let schema = typed(schema, &projection, &before)?;
        let mut notes = calc_notes(self.circuit.node(input), &taken, condition, exprs);
        let told_apart: Vec<Option<usize>> = projection.iter().map(|e| told_apart(e, &before)).collect();
        notes.keys = keys_of(&self.circuit.node(input).notes, &told_apart);
        let calc = Calc::try_new(&before, condition_expr, projection, Arc::clone(&schema))?;
        Ok(self.operator(calc, vec![input], schema, notes))
    }

    pub(super) fn operator(
        &mut self,
        factory: impl OperatorFactory + 'static,
        inputs: Vec<NodeId>,
        schema: SchemaRef,
        notes: NodeNotes,
    ) -> NodeId {
        let factory: Factory = Arc::new(factory);
        self.circuit.add(Node { kind: NodeKind::Operator(factory), inputs, schema, notes })
    }

    /// Sends rows to the workers that their keys belong to.
    pub(super) fn exchange(&mut self, input: NodeId, keys: Vec<usize>) -> NodeId {
        let before = self.circuit.node(input);
        let schema = Arc::clone(&before.schema);
        let names: Vec<&str> = keys.iter().map(|k| schema.field(*k).name().as_str()).collect();
        let detail = if keys.is_empty() { "single".into() } else { format!("hash=[{}]", names.join(", ")) };
        let notes = NodeNotes { detail, bound: None, ..before.notes.clone() };
        self.circuit.add(Node { kind: NodeKind::Exchange(keys), inputs: vec![input], schema, notes })
    }

    fn union(&mut self, inputs: Vec<NodeId>, schema: SchemaRef) -> Result<NodeId> {
        let mut aligned = Vec::with_capacity(inputs.len());
        for input in inputs {
            let own = DFSchema::try_from(Arc::clone(&self.circuit.node(input).schema))?;
            let names: Vec<Expr> = own.columns().into_iter().map(Expr::Column).collect();
            aligned.push(self.calc(input, &own, None, &names, &schema)?);
        }
        let notes: Vec<&NodeNotes> = aligned.iter().map(|i| &self.circuit.node(*i).notes).collect();
        let paired = |pair: &(usize, usize)| notes.iter().all(|n| n.windows.contains(pair));
        let windows = notes.first().map_or(vec![], |n| n.windows.iter().copied().filter(paired).collect());
        let common = |columns: fn(&NodeNotes) -> &Vec<usize>| {
            let all = notes.first().map_or(&[][..], |n| columns(n));
            all.iter().copied().filter(|c| notes.iter().all(|n| columns(n).contains(c))).collect()
        };
        let changelog = notes.iter().fold(Changelog::Append, |all, n| all.or(n.changelog));
        let notes = NodeNotes {
            rowtimes: common(|n| &n.rowtimes),
            proctimes: common(|n| &n.proctimes),
            window_times: common(|n| &n.window_times),
            window_ends: common(|n| &n.window_ends),
            windows,
            changelog,
            ..NodeNotes::default()
        };
        let schema = common_schema(aligned.iter().map(|i| &self.circuit.node(*i).schema)).unwrap_or(schema);
        let sources: Vec<BTreeSet<usize>> = aligned.iter().map(|i| self.sources_of(*i)).collect();
        let origins: Vec<usize> = sources.iter().map(|s| sources.iter().take_while(|o| *o != s).count()).collect();
        let delays: Vec<i64> = aligned.iter().map(|i| self.watermark_delay(*i)).collect();
        let most = |origin: usize| {
            let same = origins.iter().zip(&delays).filter(|(o, _)| **o == origin);
            same.map(|(_, delay)| *delay).max().unwrap_or(0)
        };
        let ahead = origins.iter().zip(&delays).map(|(o, delay)| most(*o).saturating_sub(*delay)).collect();
        Ok(self.operator(UnionAll::new(origins, ahead, Arc::clone(&schema)), aligned, schema, notes))
    }

    /// The sources that a node's rows come from.
    pub(super) fn sources_of(&self, node: NodeId) -> BTreeSet<usize> {
        let Node { kind, inputs, .. } = self.circuit.node(node);
        match kind {
            NodeKind::Source(i) => BTreeSet::from([*i]),
            _ => inputs.iter().flat_map(|i| self.sources_of(*i)).collect(),
        }
    }

    /// By how much a node's watermark is held back behind those of its sources.
    fn watermark_delay(&self, node: NodeId) -> i64 {
        let Node { kind, inputs, .. } = self.circuit.node(node);
        let own = if let NodeKind::Operator(factory) = kind { factory.watermark_delay() } else { 0 };
        let before = inputs.iter().map(|i| self.watermark_delay(*i)).max().unwrap_or(0);
        own.saturating_add(before)
    }

    /// Where the rows of two nodes come from.
    pub(super) fn origin(&self, nodes: [NodeId; 2]) -> Origin {
        let [left, right] = nodes;
        if self.sources_of(left) != self.sources_of(right) {
            return Origin::Apart;
        }
        let delays = nodes.map(|n| self.watermark_delay(n));
        let most = delays[0].max(delays[1]);
        Origin::Same(delays.map(|delay| most.saturating_sub(delay)))
    }

    fn single_row(&mut self, input: &LogicalPlan) -> Result<NodeId> {
        let input = self.lower(input)?;
        let input = self.exchange(input, Vec::new());
        let before = self.circuit.node(input);
        let schema = Arc::clone(&before.schema);
        let notes = NodeNotes {
            detail: "scalar subquery".into(),
            keys: vec![Vec::new()],
            bound: Some(Bound::of([Held::at_most(1, "count")])),
            ..before.notes.clone()
        };
        Ok(self.operator(SingleRow::default(), vec![input], schema, notes))
    }

    fn unnest(&mut self, unnest: &LogicalUnnest) -> Result<NodeId> {
        let input = self.lower(&unnest.input)?;
        let mut columns = vec![UnnestColumn::Repeat; unnest.input.schema().fields().len()];
        for (index, list) in &unnest.list_type_columns {
            if list.depth != 1 || columns[*index] != UnnestColumn::Repeat {
                return Err(Error::Unsupported("UNNEST of arrays within arrays in one step".into()));
            }
            columns[*index] = UnnestColumn::Elements;
        }
        for index in &unnest.struct_type_columns {
            columns[*index] = UnnestColumn::Fields;
        }
        let options = &unnest.options;
        let kept = Kept { null: options.preserve_nulls(), empty: options.expand_empty_as_null() };
        let schema = Arc::clone(unnest.schema.inner());
        let before = &self.circuit.node(input).notes;
        let place = |column: usize| unnest.dependency_indices.iter().position(|d| *d == column);
        let notes = NodeNotes {
            detail: unnest.exec_columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
            changelog: before.changelog,
            ..before.carried(|c| place(c).into_iter().collect())
        };
        Ok(self.operator(Unnest::new(columns, kept, Arc::clone(&schema)), vec![input], schema, notes))
    }
}

/// The schema of rows that come from several inputs: a column may be NULL where it may in one of them.
fn common_schema<'a>(schemas: impl Iterator<Item = &'a SchemaRef> + Clone) -> Option<SchemaRef> {
    let first = schemas.clone().next()?;
    let nullable = |i: usize| schemas.clone().any(|s| s.fields().get(i).is_none_or(|f| f.is_nullable()));
    let fields = first.fields().iter().enumerate();
    let fields: Vec<Field> = fields.map(|(i, f)| f.as_ref().clone().with_nullable(nullable(i))).collect();
    Some(Arc::new(Schema::new(fields)))
}

/// Of rows that never come all is true: each time is a time attribute, each pair of times a window. What is built on a
/// query that was found to be empty is then planned like any other.
fn notes_of_nothing(schema: &Schema) -> NodeNotes {
    let times = schema.fields().iter().enumerate().filter(|(_, f)| matches!(f.data_type(), DataType::Timestamp(..)));
    let rowtimes: Vec<usize> = times.map(|(i, _)| i).collect();
    let pairs = rowtimes.iter().flat_map(|s| rowtimes.iter().map(|e| (*s, *e)));
    let windows = pairs.filter(|(s, e)| s != e).collect();
    NodeNotes { detail: "no rows".into(), rowtimes, windows, ..NodeNotes::default() }
}

/// All columns of a plan, as expressions.
pub(super) fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

pub(super) fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// An expression that can be evaluated over batches of a schema.
pub(super) fn physical(expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
    refuse::expression(expr)?;
    let planned = create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    scaled::fuse(planned, schema.as_arrow())
}

/// The column that an expression takes as it is.
pub(super) fn column_index(expr: &Arc<dyn PhysicalExpr>) -> Option<usize> {
    expr.downcast_ref::<datafusion_physical_expr::expressions::Column>().map(|c| c.index())
}

/// A schema with the types that its expressions really give.
fn typed(schema: &SchemaRef, exprs: &[Arc<dyn PhysicalExpr>], input: &Schema) -> Result<SchemaRef> {
    let fields = schema.fields().iter().zip(exprs).map(|(field, expr)| {
        let data_type = expr.data_type(input)?;
        Ok(Arc::new(field.as_ref().clone().with_data_type(data_type).with_nullable(expr.nullable(input)?)))
    });
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// An expression as `EXPLAIN` shows it.
fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => format!("{} AS {}", unaliased(expr).human_display(), alias.name),
        other => other.human_display().to_string(),
    }
}

/// Whether an expression is `PROCTIME()`.
fn is_proctime(expr: &Expr) -> bool {
    matches!(unaliased(expr), Expr::ScalarFunction(call) if call.name().eq_ignore_ascii_case("proctime"))
}

/// What a projection keeps of its input's time attributes and windows.
fn calc_notes(input: &Node, taken: &[Option<usize>], condition: Option<&Expr>, exprs: &[Expr]) -> NodeNotes {
    let (before, width) = (&input.notes, input.schema.fields().len());
    let places = |column: usize| {
        let places = taken.iter().enumerate().filter(move |(_, t)| **t == Some(column));
        places.map(|(i, _)| i).collect()
    };
    let mut notes = before.carried(places);
    let select = exprs.iter().map(shown).collect::<Vec<_>>().join(", ");
    let mut detail = format!("select=[{select}]");
    if let Some(condition) = condition {
        detail.push_str(&format!(", where=[{}]", condition.human_display()));
    }
    notes.proctimes.extend(exprs.iter().enumerate().filter(|(_, e)| is_proctime(e)).map(|(i, _)| i));
    let all_kept = taken.iter().flatten().collect::<BTreeSet<_>>().len() == width;
    let net = before.net && all_kept;
    NodeNotes { detail, changelog: before.changelog, net, ..notes }
}

/// The keys of its input that a projection keeps; for each of its columns the input's whose values it tells apart.
fn keys_of(before: &NodeNotes, told_apart: &[Option<usize>]) -> Vec<Vec<usize>> {
    let place = |column: &usize| told_apart.iter().position(|t| *t == Some(*column));
    before.keys.iter().filter_map(|key| key.iter().map(place).collect()).collect()
}

/// The column whose values an expression tells apart: itself, or a whole number as one of another width, which fails where
/// it does not fit.
fn told_apart(expr: &Arc<dyn PhysicalExpr>, input: &Schema) -> Option<usize> {
    let is_whole = |e: &Arc<dyn PhysicalExpr>| e.data_type(input).is_ok_and(|t| t.is_integer());
    match expr.downcast_ref::<CastExpr>() {
        Some(cast) if !cast.cast_options().safe && is_whole(expr) && is_whole(cast.expr()) => {
            told_apart(cast.expr(), input)
        }
        Some(_) => None,
        None => column_index(expr),
    }
}
