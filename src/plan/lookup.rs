//! Lookup joins: `FOR SYSTEM_TIME AS OF` a processing time, with what a table outside holds now.

mod policy;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, JoinType};
use datafusion_expr::logical_plan::TableScan;
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{BinaryExpr, Cast, Expr, LogicalPlan, Operator, TryCast};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr as PhysicalBinary, Column as PhysicalColumn};

pub use self::policy::LookupHint;
use self::policy::{bound, check_hint, shown};
use super::as_of::TemporalJoin;
use super::compile::{Compiler, about_table, column_index, physical};
use super::scan;
use crate::connector::SourceChangelog;
use crate::connector::lookup::LookupMode;
use crate::operator::calc::Calc;
use crate::operator::lookup_join::{LookupColumn, LookupJoin, PairCondition};
use crate::runtime::circuit::{Changelog, LookupPolicy, LookupSpec, Node, NodeId, NodeKind, NodeNotes, SourceSpec};
use crate::{Error, Result};

/// What is looked up: a table, seen through projections, filters and other names.
struct Looked<'a> {
    scan: &'a TableScan,
    /// What is seen of it, over the connector's columns.
    columns: Vec<Expr>,
    /// What must hold of a row, over the connector's columns.
    filters: Vec<Expr>,
}

/// An equality of both sides that rows are found by.
struct Key {
    /// Over the left side.
    probe: Expr,
    /// Over the connector's columns.
    table: Expr,
    /// Whether rows that are found by it satisfy the equality.
    exact: bool,
}

/// A lookup join that gives some columns of its plan's schema. `left` gives the rows of its left side.
pub(super) fn lower(compiler: &mut Compiler, join: &TemporalJoin, left: NodeId, columns: &[usize]) -> Result<NodeId> {
    let looked = looked(&join.right)?;
    let (spec, _) = compiler.scans.source(looked.scan)?;
    let mode = mode(&spec)?;
    check_changes(compiler, left, &mode, &spec.table.name)?;
    check_hint(join, &mode, &spec.table.name)?;
    let policy = join.hint.unwrap_or_default().policy(compiler.options.lookup);
    let by_key = matches!(mode, LookupMode::Keyed { .. });
    let (keys, rest) = keys(join, &looked, &spec, by_key)?;
    let read = DFSchema::try_from(Arc::clone(&spec.projection))?;
    let before = Arc::clone(&compiler.circuit.node(left).schema);
    let (probes, key_columns) = with_keys(compiler, left, join.left.schema(), &keys)?;
    let all = looked.columns.iter().chain(&looked.filters);
    let table = all.map(|e| physical(e, &read)).collect::<Result<Vec<_>>>()?;
    let table_schema = table_schema(&join.right, &table, &spec.projection)?;
    let condition = condition(join, rest, looked.filters.len())?;
    let condition = condition.map(|c| PairCondition::try_new(&c, &before, &table_schema)).transpose()?;
    let width = before.fields().len();
    let place = |c: &usize| c.checked_sub(width).map_or(LookupColumn::Probe(*c), LookupColumn::Table);
    let outputs: Vec<LookupColumn> = columns.iter().map(place).collect();
    let outer = join.join_type == JoinType::Left;
    let schema = result_schema(join, columns, &outputs, &before, &table_schema);
    let table_keys = keys.iter().map(|k| physical(&k.table, &read)).collect::<Result<Vec<_>>>()?;
    let key_fields = keys.iter().filter_map(|k| Some(field_of(&k.table, &spec.projection)?.clone()));
    let key_fields: Vec<Field> = if by_key { key_fields.collect() } else { Vec::new() };
    let notes = notes(compiler, join, left, &outputs, &keys, &spec, (&mode, &policy));
    let lookup = LookupJoin {
        unique: !notes.keys.is_empty(),
        outer,
        keys: key_columns,
        table,
        table_schema,
        table_keys,
        condition,
        outputs,
        schema: Arc::clone(&schema),
    };
    compiler.circuit.lookups.push(LookupSpec {
        table: spec.table,
        connector: spec.connector,
        projection: spec.projection,
        keys: Arc::new(Schema::new(key_fields)),
        mode,
        policy,
        join: Arc::new(lookup),
    });
    let kind = NodeKind::Lookup(compiler.circuit.lookups.len() - 1);
    Ok(compiler.circuit.add(Node { kind, inputs: vec![probes], schema, notes }))
}

fn looked(plan: &LogicalPlan) -> Result<Looked<'_>> {
    match plan {
        LogicalPlan::TableScan(scan) => Ok(Looked { scan, columns: scan::projection(scan)?, filters: Vec::new() }),
        LogicalPlan::SubqueryAlias(alias) => looked(&alias.input),
        LogicalPlan::Filter(filter) => {
            let mut below = looked(&filter.input)?;
            below.filters.push(scan::inline(&filter.predicate, &filter.input, &below.columns)?);
            Ok(below)
        }
        LogicalPlan::Projection(projection) => {
            let below = looked(&projection.input)?;
            let inlined = projection.expr.iter().map(|e| scan::inline(e, &projection.input, &below.columns));
            Ok(Looked { columns: inlined.collect::<Result<Vec<_>>>()?, ..below })
        }
        _ => Err(Error::Unsupported(
            "FOR SYSTEM_TIME AS OF a processing time over a query: what is looked up is a table, perhaps filtered"
                .into(),
        )),
    }
}

fn mode(spec: &SourceSpec) -> Result<LookupMode> {
    let (table, connector) = (&spec.table, &spec.connector);
    connector.check(table).map_err(|e| about_table(table, e))?;
    let Some(mode) = connector.lookup_mode(table).map_err(|e| about_table(table, e))? else {
        let message = format!(
            "table '{}': connector '{}' has no look-ups, which FOR SYSTEM_TIME AS OF a processing time needs",
            table.name,
            connector.name()
        );
        return Err(Error::Option(message));
    };
    if matches!(mode, LookupMode::Whole { .. }) {
        if !connector.is_bounded(table) {
            return Err(Error::Option(format!("table '{}' is read whole to be looked up, and has no end", table.name)));
        }
        if connector.changelog(table).map_err(|e| about_table(table, e))? != SourceChangelog::Append {
            let message = format!("table '{}' gives changes, and can be looked up only if its rows stay", table.name);
            return Err(Error::Option(message));
        }
    }
    Ok(mode)
}

/// What is taken back must be what was given: so the table must not change.
fn check_changes(compiler: &Compiler, left: NodeId, mode: &LookupMode, table: &str) -> Result<()> {
    let stays = matches!(mode, LookupMode::Whole { reload: None, .. });
    if compiler.circuit.node(left).notes.changelog == Changelog::Append || stays {
        return Ok(());
    }
    Err(Error::Unsupported(format!(
        "FOR SYSTEM_TIME AS OF a processing time for rows that change: what table '{table}' held when a row came may be gone \
         when the row is taken back"
    )))
}

/// The equalities that rows are found by, and what else must hold.
fn keys(join: &TemporalJoin, looked: &Looked<'_>, spec: &SourceSpec, by_key: bool) -> Result<(Vec<Key>, Vec<Expr>)> {
    let (mut keys, mut rest): (Vec<Key>, Vec<Expr>) = (Vec::new(), Vec::new());
    for part in split_conjunction(&join.condition) {
        match equality(join, part) {
            Some((probe, table)) => {
                let table = scan::inline(table, &join.right, &looked.columns)?;
                let key = key(join, probe, table, spec, by_key)?;
                let known = |k: &Key| keys.iter().any(|other: &Key| other.table == k.table);
                match key.filter(|k| !known(k)) {
                    Some(key) => {
                        if !key.exact {
                            rest.push(part.clone());
                        }
                        keys.push(key);
                    }
                    None => rest.push(part.clone()),
                }
            }
            None => rest.push(part.clone()),
        }
    }
    if by_key && keys.is_empty() {
        let message = format!(
            "a lookup join needs an equality with a column of table '{}' in ON, as it is asked by key",
            spec.table.name
        );
        return Err(Error::Option(message));
    }
    Ok((keys, rest))
}

/// Both sides of an equality of the left side, or of a constant, with the right.
fn equality<'a>(join: &TemporalJoin, part: &'a Expr) -> Option<(&'a Expr, &'a Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
    let on_left = |e: &Expr| e.column_refs().into_iter().all(|c| join.left.schema().index_of_column(c).is_ok());
    let on_right = |e: &Expr| {
        let columns = e.column_refs();
        !columns.is_empty() && columns.into_iter().all(|c| join.right.schema().index_of_column(c).is_ok())
    };
    let volatile = left.is_volatile() || right.is_volatile();
    match (left.as_ref(), right.as_ref()) {
        _ if volatile => None,
        (l, r) if on_left(l) && on_right(r) => Some((l, r)),
        (l, r) if on_left(r) && on_right(l) => Some((r, l)),
        _ => None,
    }
}

/// What to look for, where rows can be found by this equality. A table that is asked by key is asked by columns, as they are.
fn key(join: &TemporalJoin, probe: &Expr, table: Expr, spec: &SourceSpec, by_key: bool) -> Result<Option<Key>> {
    use datafusion_expr::ExprSchemable;
    let probe_type = probe.get_type(join.left.schema())?;
    let read = DFSchema::try_from(Arc::clone(&spec.projection))?;
    let same = probe_type == table.get_type(&read)?;
    if same && (!by_key || field_of(&table, &spec.projection).is_some()) {
        return Ok(Some(Key { probe: probe.clone(), table, exact: true }));
    }
    let Expr::Cast(Cast { expr, .. }) = &table else { return Ok(None) };
    let Some(field) = field_of(expr, &spec.projection) else { return Ok(None) };
    if !by_key || !same || !is_told_by(field.data_type(), &probe_type) {
        return Ok(None);
    }
    // A value that does not fit the column is in no row of it.
    let narrowed = TryCast::new(Box::new(probe.clone()), field.data_type().clone());
    Ok(Some(Key { probe: Expr::TryCast(narrowed), table: expr.as_ref().clone(), exact: false }))
}

/// Whether a value that equals a column's, cast to another type, tells which value of the column that is.
fn is_told_by(column: &DataType, other: &DataType) -> bool {
    let decimal = |t: &DataType| matches!(t, DataType::Decimal128(..));
    column.is_integer() && (other.is_integer() || decimal(other) || *other == DataType::Utf8)
        || decimal(column) && decimal(other)
}

/// The connector's column that an expression is.
fn field_of<'a>(expr: &Expr, read: &'a SchemaRef) -> Option<&'a Field> {
    match expr {
        Expr::Alias(alias) => field_of(&alias.expr, read),
        Expr::Column(column) => read.field_with_name(&column.name).ok(),
        _ => None,
    }
}

/// The rows of the left side with the values that are looked for.
fn with_keys(compiler: &mut Compiler, left: NodeId, schema: &DFSchema, keys: &[Key]) -> Result<(NodeId, Vec<usize>)> {
    let before = Arc::clone(&compiler.circuit.node(left).schema);
    let width = before.fields().len();
    let (mut exprs, mut fields): (Vec<Arc<dyn PhysicalExpr>>, Vec<Field>) = (Vec::new(), Vec::new());
    let mut columns = Vec::with_capacity(keys.len());
    for key in keys {
        let expr = physical(&key.probe, schema)?;
        match column_index(&expr) {
            Some(column) => columns.push(column),
            None => {
                columns.push(width + exprs.len());
                let name = key.probe.schema_name().to_string();
                fields.push(Field::new(name, expr.data_type(&before)?, expr.nullable(&before)?));
                exprs.push(expr);
            }
        }
    }
    if exprs.is_empty() {
        return Ok((left, columns));
    }
    let all = before.fields().iter().enumerate();
    let all = all.map(|(i, f)| Arc::new(PhysicalColumn::new(f.name(), i)) as Arc<dyn PhysicalExpr>);
    let schema: SchemaRef = Arc::new(Schema::new(
        before.fields().iter().cloned().chain(fields.into_iter().map(Arc::new)).collect::<Vec<_>>(),
    ));
    let notes = NodeNotes { detail: "keys".into(), bound: None, ..compiler.circuit.node(left).notes.clone() };
    let calc = Calc::try_new(&before, None, all.chain(exprs).collect(), Arc::clone(&schema))?;
    Ok((compiler.operator(calc, vec![left], schema, notes), columns))
}

/// What is seen of the table, and behind it whether each filter holds.
fn table_schema(right: &LogicalPlan, exprs: &[Arc<dyn PhysicalExpr>], read: &SchemaRef) -> Result<SchemaRef> {
    let names = right.schema().fields().iter().map(|f| f.name().as_str());
    let fields = names
        .chain(std::iter::repeat("filter"))
        .zip(exprs)
        .map(|(name, expr)| Ok(Field::new(name, expr.data_type(read)?, expr.nullable(read)?)));
    Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?)))
}

/// What else must hold of a pair: over the left side's columns, the right's, and the filters'.
fn condition(join: &TemporalJoin, rest: Vec<Expr>, filters: usize) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    use datafusion_expr::UserDefinedLogicalNodeCore;
    let literal = |e: &Expr| matches!(e, Expr::Literal(datafusion_common::ScalarValue::Boolean(Some(true)), _));
    let rest = conjunction(rest.into_iter().filter(|e| !literal(e)));
    let rest = rest.map(|rest| physical(&rest, join.schema())).transpose()?;
    let width = join.schema().fields().len();
    let filters = (0..filters).map(|i| Arc::new(PhysicalColumn::new("filter", width + i)) as Arc<dyn PhysicalExpr>);
    let both = |a, b| Arc::new(PhysicalBinary::new(a, Operator::And, b)) as Arc<dyn PhysicalExpr>;
    Ok(filters.chain(rest).reduce(both))
}

/// The result's columns: the plan's names, with the types that really come.
fn result_schema(
    join: &TemporalJoin,
    columns: &[usize],
    outputs: &[LookupColumn],
    probes: &Schema,
    table: &Schema,
) -> SchemaRef {
    use datafusion_expr::UserDefinedLogicalNodeCore;
    let outer = join.join_type == JoinType::Left;
    let field = |(named, output): (&usize, &LookupColumn)| {
        let (field, padded) = match output {
            LookupColumn::Probe(c) => (probes.field(*c), false),
            LookupColumn::Table(c) => (table.field(*c), outer),
        };
        let named = join.schema().field(*named).as_ref().clone();
        Arc::new(named.with_data_type(field.data_type().clone()).with_nullable(field.is_nullable() || padded))
    };
    Arc::new(Schema::new(columns.iter().zip(outputs).map(field).collect::<Vec<_>>()))
}

fn notes(
    compiler: &Compiler,
    join: &TemporalJoin,
    left: NodeId,
    outputs: &[LookupColumn],
    keys: &[Key],
    spec: &SourceSpec,
    (mode, policy): (&LookupMode, &LookupPolicy),
) -> NodeNotes {
    let before = &compiler.circuit.node(left).notes;
    let place = |column: usize| outputs.iter().position(|o| *o == LookupColumn::Probe(column));
    let is_key = |column: &usize| {
        let name = spec.table.schema.field(*column).name();
        keys.iter().any(|k| k.exact && field_of(&k.table, &spec.projection).is_some_and(|f| f.name() == name))
    };
    let primary_key = &spec.table.primary_key;
    // What is said of a table is believed where it can be checked, when it is read.
    let once = !primary_key.is_empty() && primary_key.iter().all(is_key) && matches!(mode, LookupMode::Whole { .. });
    let kept = |key: &Vec<usize>| key.iter().map(|c| place(*c)).collect::<Option<Vec<_>>>();
    let unique: Vec<Vec<usize>> = if once { before.keys.iter().filter_map(kept).collect() } else { Vec::new() };
    let kind = if join.join_type == JoinType::Left { "LEFT" } else { "INNER" };
    NodeNotes {
        detail: format!("{kind}, on=[{}], {}", join.condition.human_display(), shown(mode, policy)),
        changelog: before.changelog,
        keys: unique,
        net: false,
        bound: Some(bound(policy, spec, mode)),
        ..before.carried(|column| place(column).into_iter().collect())
    }
}
