//! Reading tables: which columns, computed how, and their watermark. All scans of a table share one source.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, ScalarValue};
use datafusion_expr::logical_plan::TableScan;
use datafusion_expr::{Expr, LogicalPlan, Operator};

use super::compile::{CompileOptions, physical};
use super::source::is_normalised;
use super::table::{ColumnOrigin, StreamTable, TableWatermark};
use crate::operator::watermark::{WatermarkRule, WatermarkStrategy};
use crate::runtime::circuit::SourceSpec;
use crate::{Error, Result};

/// The connector's columns as far as they are read, by [`table_id`]; tables that are read whole are not in it.
pub(super) type Narrowed = HashMap<usize, SchemaRef>;

/// What is read of each table.
#[derive(Default)]
pub(super) struct Scans {
    columns: HashMap<usize, BTreeSet<usize>>,
    narrowed: Narrowed,
}

/// Tells tables apart: two declarations of one name are two tables.
pub(super) fn table_id(table: &StreamTable) -> usize {
    Arc::as_ptr(&table.descriptor) as usize
}

/// The table that a scan reads.
pub(super) fn table_of(scan: &TableScan) -> Result<&StreamTable> {
    let not_ours = || Error::Unsupported(format!("{}: a table that is no stream", scan.table_name));
    scan.source.downcast_ref::<StreamTable>().ok_or_else(not_ours)
}

/// The columns of a table that a scan gives.
fn scanned(scan: &TableScan, table: &StreamTable) -> Vec<usize> {
    scan.projection.clone().unwrap_or_else(|| (0..table.schema.fields().len()).collect())
}

/// What a scan gives, as expressions over the connector's columns.
pub(super) fn projection(scan: &TableScan) -> Result<Vec<Expr>> {
    let table = table_of(scan)?;
    Ok(scanned(scan, table).into_iter().map(|c| column_expr(table, c)).collect())
}

/// The scan that a plan is, under other names perhaps.
pub(super) fn below(plan: &LogicalPlan) -> Option<&TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan),
        LogicalPlan::SubqueryAlias(alias) => below(&alias.input),
        _ => None,
    }
}

/// Puts a scan's columns, as expressions over the connector's, in the place of the columns of `input`.
pub(super) fn inline(expr: &Expr, input: &LogicalPlan, origins: &[Expr]) -> Result<Expr> {
    let inlined = expr.clone().transform_up(|e| match &e {
        Expr::Column(c) => Ok(Transformed::yes(origins[input.schema().index_of_column(c)?].clone())),
        _ => Ok(Transformed::no(e)),
    });
    Ok(inlined?.data)
}

/// Whether some computed column would be computed more than once if it were put in the place of each mention.
pub(super) fn computes_twice<'a>(
    input: &LogicalPlan,
    origins: &[Expr],
    exprs: impl Iterator<Item = &'a Expr>,
) -> Result<bool> {
    let mut mentions = vec![0; origins.len()];
    for expr in exprs {
        expr.apply(|e| {
            if let Expr::Column(c) = e {
                mentions[input.schema().index_of_column(c)?] += 1;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(mentions.iter().zip(origins).any(|(n, origin)| *n > 1 && !matches!(origin, Expr::Column(_))))
}

/// Where among the columns that a scan gives the rowtime stands.
pub(super) fn rowtime(scan: &TableScan) -> Result<Option<usize>> {
    let table = table_of(scan)?;
    let column = table.watermark.as_ref().map(|w| w.column);
    Ok(scanned(scan, table).into_iter().position(|c| Some(c) == column))
}

/// Where among the columns that a scan gives the PRIMARY KEY stands, if there is one and all of it is read.
pub(super) fn primary_key(scan: &TableScan) -> Result<Option<Vec<usize>>> {
    let table = table_of(scan)?;
    let columns = scanned(scan, table);
    let of =
        |key: &usize| columns.iter().position(|c| matches!(table.origins[*c], ColumnOrigin::Connector(i) if i == *key));
    let key = table.descriptor.primary_key.iter().map(of).collect::<Option<Vec<_>>>();
    Ok(key.filter(|key| !key.is_empty()))
}

/// The columns of the PRIMARY KEY of a scan's table.
pub(super) fn primary_key_names(scan: &TableScan) -> Result<Vec<String>> {
    let table = &table_of(scan)?.descriptor;
    Ok(table.primary_key.iter().map(|c| table.schema.field(*c).name().clone()).collect())
}

fn column_expr(table: &StreamTable, column: usize) -> Expr {
    match &table.origins[column] {
        ColumnOrigin::Connector(i) => Expr::Column(Column::from_name(table.descriptor.schema.field(*i).name())),
        ColumnOrigin::Computed(expr) => expr.clone(),
    }
}

impl Scans {
    /// Goes through all plans.
    pub fn collect(plans: &[LogicalPlan], narrowed: Narrowed, options: &CompileOptions) -> Result<Self> {
        let mut columns: HashMap<usize, BTreeSet<usize>> = HashMap::new();
        for_each_scan(plans, |scan| {
            let table = table_of(scan)?;
            let needed = columns.entry(table_id(table)).or_default();
            for expr in read_expressions(scan, table) {
                for column in expr.column_refs() {
                    needed.insert(table.descriptor.schema.index_of(&column.name)?);
                }
            }
            if is_normalised(&table.descriptor, table.connector.as_ref(), options)? {
                needed.extend(&table.descriptor.primary_key);
            }
            Ok(())
        })?;
        Ok(Self { columns, narrowed })
    }

    /// What reads a scan's table, and where among its columns the rowtime stands if it is one of them.
    pub fn source(&self, scan: &TableScan) -> Result<(SourceSpec, Option<usize>)> {
        let table = table_of(scan)?;
        let id = table_id(table);
        let whole = self.narrowed.get(&id).unwrap_or(&table.descriptor.schema);
        let columns = self.columns.get(&id).ok_or_else(|| Error::internal("a scan that was not counted"))?;
        let fields = columns.iter().map(|c| Arc::clone(&whole.fields()[*c])).collect::<Vec<_>>();
        let projection = Arc::new(Schema::new(fields));
        let watermark = match &table.watermark {
            Some(w) => Some(strategy(table, w, &projection)?),
            None => None,
        };
        let rowtime = table.watermark.as_ref().and_then(|w| match table.origins[w.column] {
            ColumnOrigin::Connector(i) => columns.iter().position(|c| *c == i),
            ColumnOrigin::Computed(_) => None,
        });
        let spec = SourceSpec {
            table: Arc::clone(&table.descriptor),
            connector: Arc::clone(&table.connector),
            projection,
            watermark,
        };
        Ok((spec, rowtime))
    }
}

/// All that is computed from the connector's columns for a scan.
pub(super) fn read_expressions(scan: &TableScan, table: &StreamTable) -> Vec<Expr> {
    let watermark = table.watermark.iter().flat_map(|w| [column_expr(table, w.column), w.expr.clone()]);
    scanned(scan, table).into_iter().map(|c| column_expr(table, c)).chain(watermark).collect()
}

/// Calls `f` for every scan in some plans.
pub(super) fn for_each_scan(plans: &[LogicalPlan], mut f: impl FnMut(&TableScan) -> Result<()>) -> Result<()> {
    let mut failed = None;
    for plan in plans {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Err(e) = f(scan)
            {
                failed = Some(e);
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    failed.map_or(Ok(()), Err)
}

fn strategy(table: &StreamTable, watermark: &TableWatermark, projection: &SchemaRef) -> Result<WatermarkStrategy> {
    let schema = DFSchema::try_from(Arc::clone(projection))?;
    let rowtime = column_expr(table, watermark.column);
    let rule = match constant_delay(&watermark.expr, &rowtime) {
        Some(delay) => WatermarkRule::Delay(delay),
        None => WatermarkRule::Expression(physical(&watermark.expr, &schema)?),
    };
    let column = table.schema.field(watermark.column).name().clone();
    Ok(WatermarkStrategy { column, rowtime: physical(&rowtime, &schema)?, rule, every_row: false })
}

/// The milliseconds that a watermark stays behind its rowtime, where that is a constant.
fn constant_delay(watermark: &Expr, rowtime: &Expr) -> Option<i64> {
    if watermark == rowtime {
        return Some(0);
    }
    let Expr::BinaryExpr(difference) = watermark else { return None };
    if difference.op != Operator::Minus || difference.left.as_ref() != rowtime {
        return None;
    }
    match difference.right.as_ref() {
        Expr::Literal(ScalarValue::IntervalDayTime(Some(v)), _) => {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(i64::from(v.milliseconds))
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _) if v.months == 0 => {
            let whole = v.nanoseconds % 1_000_000 == 0;
            whole.then(|| i64::from(v.days) * 86_400_000 + v.nanoseconds / 1_000_000)
        }
        _ => None,
    }
}
