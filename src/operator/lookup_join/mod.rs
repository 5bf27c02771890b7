//! Lookup joins: rows, each joined with what was looked up for it in a table outside.
//!
//! No operator by itself, for what is looked up comes from outside the circuit: a [`LookupJoin`] joins a batch of rows, the
//! *probes*, with rows that were found for them, either in a table that is kept whole ([`LookupTable`]) or by asking
//! ([`Answer`]). It keeps no state.

mod groups;
mod table;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt32Builder};
use arrow::compute::{filter, take};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;

pub use self::groups::Groups;
pub use self::table::LookupTable;
use crate::change::ChangeBatch;
use crate::{Error, Result};

/// Pairs are judged and given out so many at a time.
const CHUNK: usize = 8192;

/// A column of a lookup join's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupColumn {
    /// A column of the row that was looked up for.
    Probe(usize),
    /// A column of the row that was found.
    Table(usize),
}

/// How rows are joined with what is found for them.
#[derive(Debug, Clone)]
pub struct LookupJoin {
    /// Whether a row for which nothing is found is given with NULLs.
    pub outer: bool,
    /// The probes' key columns. A key with a NULL finds nothing.
    pub keys: Vec<usize>,
    /// The table's columns, over what its connector gives.
    pub table: Vec<Arc<dyn PhysicalExpr>>,
    /// Their schema.
    pub table_schema: SchemaRef,
    /// The table's keys, over what its connector gives: as many as `keys`, of the same types.
    pub table_keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether each key must have one row at most: the table is refused if it is not so.
    pub unique: bool,
    /// What else must hold of a pair.
    pub condition: Option<PairCondition>,
    /// The columns of the result.
    pub outputs: Vec<LookupColumn>,
    /// Their schema.
    pub schema: SchemaRef,
}

/// A condition over pairs of a probe and a row of the table, of which only the columns that it reads are put together.
#[derive(Debug, Clone)]
pub struct PairCondition {
    expr: Arc<dyn PhysicalExpr>,
    columns: Vec<LookupColumn>,
    schema: SchemaRef,
}

/// What was found for a batch of probes by asking.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Rows as the table's connector gives them.
    pub rows: RecordBatch,
    /// Which belong to which probe.
    pub pairs: Pairs,
}

/// Pairs of a probe and a row, by the probes' order.
#[derive(Debug, Clone)]
pub struct Pairs {
    /// For each pair its probe: a row number, ascending.
    pub probes: UInt32Array,
    /// For each pair the row that was found.
    pub found: UInt32Array,
}

impl PairCondition {
    /// An expression over the probes' columns and, behind them, the table's.
    ///
    /// # Errors
    /// When it reads a column that there is not.
    pub fn try_new(expr: &Arc<dyn PhysicalExpr>, probes: &Schema, table: &Schema) -> Result<Self> {
        let mut read: Vec<usize> = collect_columns(expr).iter().map(Column::index).collect();
        read.sort_unstable();
        let width = probes.fields().len();
        let place = |c: &usize| c.checked_sub(width).map_or(LookupColumn::Probe(*c), LookupColumn::Table);
        let columns: Vec<LookupColumn> = read.iter().map(place).collect();
        let field = |column: &LookupColumn| match column {
            LookupColumn::Probe(c) => probes.fields().get(*c).cloned(),
            LookupColumn::Table(c) => table.fields().get(*c).cloned(),
        };
        let fields = columns.iter().map(field).collect::<Option<Vec<_>>>();
        let fields = fields.ok_or_else(|| Error::internal("a condition over a column that there is not"))?;
        let moved = Arc::clone(expr).transform(|e| {
            let Some(column) = e.downcast_ref::<Column>() else { return Ok(Transformed::no(e)) };
            let at = read.binary_search(&column.index());
            let at = at.map_err(|_| DataFusionError::Internal(format!("column {} is not read", column.name())))?;
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>))
        })?;
        Ok(Self { expr: moved.data, columns, schema: Arc::new(Schema::new(fields)) })
    }

    /// The pairs for which it holds.
    fn judge(&self, probes: &RecordBatch, table: &RecordBatch, pairs: &Pairs) -> Result<Pairs> {
        let column = |column: &LookupColumn| match column {
            LookupColumn::Probe(c) => take(probes.column(*c), &pairs.probes, None),
            LookupColumn::Table(c) => take(table.column(*c), &pairs.found, None),
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let rows = batch(&self.schema, columns, pairs.len())?;
        let verdict = self.expr.evaluate(&rows)?.into_array(pairs.len())?;
        let verdict = verdict.as_boolean();
        if verdict.true_count() == pairs.len() {
            return Ok(pairs.clone());
        }
        let kept = |rows: &UInt32Array| Ok::<_, Error>(filter(rows, verdict)?.as_primitive().clone());
        Ok(Pairs { probes: kept(&pairs.probes)?, found: kept(&pairs.found)? })
    }
}

impl Pairs {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.probes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slice(&self, from: usize, length: usize) -> Self {
        Self { probes: self.probes.slice(from, length), found: self.found.slice(from, length) }
    }

    fn concat(parts: &[Self]) -> Result<Self> {
        let all = |of: fn(&Self) -> &UInt32Array| {
            let parts: Vec<&dyn Array> = parts.iter().map(|p| of(p) as &dyn Array).collect();
            Ok::<_, Error>(arrow::compute::concat(&parts)?.as_primitive().clone())
        };
        Ok(Self { probes: all(|p| &p.probes)?, found: all(|p| &p.found)? })
    }

    /// The pairs, and for each probe without one a pair with nothing.
    fn padded(&self, probes: usize) -> Self {
        let (mut all, mut found) = (Vec::with_capacity(self.len()), UInt32Builder::with_capacity(self.len()));
        let mut next = 0;
        for probe in 0..probes as u32 {
            let first = next;
            while next < self.len() && self.probes.value(next) == probe {
                all.push(probe);
                found.append_value(self.found.value(next));
                next += 1;
            }
            if next == first {
                all.push(probe);
                found.append_null();
            }
        }
        Self { probes: all.into(), found: found.finish() }
    }

    /// Whether each probe has one pair.
    fn is_one_each(&self, probes: usize) -> bool {
        self.len() == probes && self.probes.values().iter().enumerate().all(|(i, p)| i == *p as usize)
    }
}

impl LookupJoin {
    /// Joins probes with what was found in a table that is kept whole.
    ///
    /// # Errors
    /// When the condition fails on the data.
    pub fn in_table(&self, probes: &ChangeBatch, table: &LookupTable, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let keys: Vec<ArrayRef> = self.keys.iter().map(|k| Arc::clone(probes.rows.column(*k))).collect();
        let pairs = table.find(&keys, probes.num_rows())?;
        self.join(probes, table.rows(), pairs, out)
    }

    /// Joins probes with what was found for them by asking.
    ///
    /// # Errors
    /// When the condition or a computed column fails on the data, or the answer is none to these probes.
    pub fn answered(&self, probes: &ChangeBatch, answer: &Answer, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let Answer { rows, pairs } = answer;
        let within = |numbers: &UInt32Array, rows: usize| numbers.values().iter().all(|n| (*n as usize) < rows);
        let ordered = pairs.probes.values().is_sorted();
        let whole = pairs.probes.len() == pairs.found.len() && ordered;
        if !whole || !within(&pairs.probes, probes.num_rows()) || !within(&pairs.found, rows.num_rows()) {
            return Err(Error::internal("an answer to other rows than were asked for"));
        }
        self.join(probes, &self.table_rows(rows)?, pairs.clone(), out)
    }

    /// The table's columns from what its connector gives.
    ///
    /// # Errors
    /// When a computed column fails on the data.
    pub fn table_rows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        batch(&self.table_schema, evaluate(&self.table, rows)?, rows.num_rows())
    }

    fn join(
        &self,
        probes: &ChangeBatch,
        table: &RecordBatch,
        mut pairs: Pairs,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        if let Some(condition) = &self.condition
            && !pairs.is_empty()
        {
            let parts = (0..pairs.len()).step_by(CHUNK).map(|from| pairs.slice(from, CHUNK.min(pairs.len() - from)));
            let parts = parts.map(|part| condition.judge(&probes.rows, table, &part)).collect::<Result<Vec<_>>>()?;
            pairs = Pairs::concat(&parts)?;
        }
        if self.outer {
            pairs = pairs.padded(probes.num_rows());
        }
        if pairs.is_one_each(probes.num_rows()) {
            return self.give(probes, table, &pairs.found, out);
        }
        for from in (0..pairs.len()).step_by(CHUNK) {
            let part = pairs.slice(from, CHUNK.min(pairs.len() - from));
            let given: Vec<usize> = self.outputs.iter().filter_map(LookupColumn::probe).collect();
            // Only what goes out is gathered.
            let taken = ChangeBatch { rows: probes.rows.project(&given)?, ..probes.clone() }.take(&part.probes)?;
            let mut columns = taken.rows.columns().iter();
            let column = |output: &LookupColumn| match output {
                LookupColumn::Probe(_) => {
                    columns.next().cloned().ok_or_else(|| Error::internal("a column that was not taken"))
                }
                LookupColumn::Table(c) => Ok(take(table.column(*c), &part.found, None)?),
            };
            let columns = self.outputs.iter().map(column).collect::<Result<Vec<_>>>()?;
            out.push(taken.with_rows(batch(&self.schema, columns, part.len())?));
        }
        Ok(())
    }

    /// Gives each probe with the row that was found for it.
    fn give(
        &self,
        probes: &ChangeBatch,
        table: &RecordBatch,
        found: &UInt32Array,
        out: &mut Vec<ChangeBatch>,
    ) -> Result<()> {
        let column = |output: &LookupColumn| match output {
            LookupColumn::Probe(c) => Ok(Arc::clone(probes.rows.column(*c))),
            LookupColumn::Table(c) => take(table.column(*c), found, None),
        };
        let columns = self.outputs.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        if probes.num_rows() > 0 {
            out.push(probes.with_rows(batch(&self.schema, columns, probes.num_rows())?));
        }
        Ok(())
    }
}

impl LookupColumn {
    fn probe(&self) -> Option<usize> {
        match self {
            LookupColumn::Probe(c) => Some(*c),
            LookupColumn::Table(_) => None,
        }
    }
}

fn evaluate(exprs: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
    exprs.iter().map(|e| Ok(e.evaluate(rows)?.into_array(rows.num_rows())?)).collect()
}

fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
