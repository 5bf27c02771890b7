//! Where a join's columns come from, and its rows on their way out.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;

use super::side::{Delta, Side};
use super::{JoinColumn, JoinFactory, JoinKind, Role};
use crate::change::{ChangeBatch, RowKind};
use crate::{Error, Result};

/// How many rows a batch of the result holds at most.
const BATCH: usize = 8192;

/// Which columns are kept of each side, and how the condition's and the result's columns are made of them.
pub(in crate::operator) struct Layout {
    /// The columns of each input that are kept.
    pub kept: [Vec<usize>; 2],
    /// The condition, over the columns of `condition_columns`.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// The columns that the condition reads: of the left, then of the right, counted in what is kept.
    pub condition_columns: [Vec<usize>; 2],
    condition_schema: SchemaRef,
    /// The columns of each side that the result has, counted in what is kept.
    pub taken: [Vec<usize>; 2],
    /// The result's columns, counted in `taken`.
    outputs: Vec<JoinColumn>,
    schema: SchemaRef,
    /// Whether rows can be taken away from the result.
    retracts: bool,
    /// Whether two different pairs of what is kept can look the same in the result.
    pub ambiguous: bool,
}

fn place(columns: &[usize], column: usize) -> Result<usize> {
    columns.iter().position(|c| *c == column).ok_or_else(|| Error::internal("a column that a join does not keep"))
}

impl Layout {
    pub fn try_new(factory: &JoinFactory) -> Result<Self> {
        let width = factory.inputs[0].schema.fields().len();
        let read = factory.condition.as_ref().map(collect_columns).unwrap_or_default();
        let mut read: Vec<usize> = read.iter().map(Column::index).collect();
        read.sort_unstable();
        let given = |side: usize| {
            factory.outputs.iter().filter_map(move |column| match (column, side) {
                (JoinColumn::Left(c), 0) | (JoinColumn::Right(c), 1) => Some(*c),
                _ => None,
            })
        };
        let of_side = |side: usize| {
            let columns = read.iter().filter(move |c| (**c >= width) == (side == 1));
            columns.map(move |c| c - side * width).collect::<Vec<_>>()
        };
        let read_of = [of_side(0), of_side(1)];
        let kept = [0, 1].map(|side| {
            let keys = factory.inputs[side].keys.iter().copied();
            sorted(keys.chain(given(side)).chain(read_of[side].iter().copied()))
        });
        let taken = [0, 1].map(|side| sorted(given(side)));
        let outputs = factory.outputs.iter().map(|column| {
            Ok(match column {
                JoinColumn::Left(c) => JoinColumn::Left(place(&taken[0], *c)?),
                JoinColumn::Right(c) => JoinColumn::Right(place(&taken[1], *c)?),
                JoinColumn::Mark => JoinColumn::Mark,
            })
        });
        let outputs = outputs.collect::<Result<Vec<_>>>()?;
        let fields = [0, 1].map(|side| {
            let schema = &factory.inputs[side].schema;
            read_of[side].iter().map(|c| Arc::clone(&schema.fields()[*c])).collect::<Vec<_>>()
        });
        let condition_schema = Arc::new(Schema::new(fields.concat()));
        let condition = factory.condition.clone().map(|c| reassign(c, &read)).transpose()?;
        let in_kept = |side: usize, columns: &[usize]| -> Result<Vec<usize>> {
            columns.iter().map(|c| place(&kept[side], *c)).collect()
        };
        Ok(Self {
            condition_columns: [in_kept(0, &read_of[0])?, in_kept(1, &read_of[1])?],
            taken: [in_kept(0, &taken[0])?, in_kept(1, &taken[1])?],
            ambiguous: is_ambiguous(factory, &kept, &taken),
            kept,
            condition,
            condition_schema,
            outputs,
            schema: Arc::clone(&factory.schema),
            retracts: factory.retracts(),
        })
    }

    fn condition_rows(&self, columns: [Vec<ArrayRef>; 2], rows: usize) -> Result<RecordBatch> {
        self.batch(Arc::clone(&self.condition_schema), columns.concat(), rows)
    }

    /// Which of some pairs satisfy the condition, from what it reads of them; `None` where there is no condition.
    pub fn verdict(&self, columns: [Vec<ArrayRef>; 2], rows: usize) -> Result<Option<BooleanArray>> {
        let Some(condition) = &self.condition else { return Ok(None) };
        let verdict = condition.evaluate(&self.condition_rows(columns, rows)?)?.into_array(rows)?;
        Ok(Some(verdict.as_boolean().clone()))
    }

    fn batch(&self, schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// The result's rows from the columns of both sides that it has.
    pub fn assemble(&self, columns: &[Vec<ArrayRef>; 2], mark: Option<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let column = |(i, column): (usize, &JoinColumn)| {
            let data_type = || self.schema.field(i).data_type();
            match column {
                JoinColumn::Left(c) => columns[0].get(*c).cloned(),
                JoinColumn::Right(c) => columns[1].get(*c).cloned(),
                JoinColumn::Mark => mark.clone(),
            }
            .unwrap_or_else(|| new_null_array(data_type(), rows))
        };
        self.batch(Arc::clone(&self.schema), self.outputs.iter().enumerate().map(column).collect(), rows)
    }
}

fn sorted(columns: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut columns: Vec<usize> = columns.collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// Points the condition's columns at their places among those that it reads. By index: names need not be unique.
pub(in crate::operator) fn reassign(condition: Arc<dyn PhysicalExpr>, read: &[usize]) -> Result<Arc<dyn PhysicalExpr>> {
    let moved = condition.transform(|e| {
        let Some(column) = e.downcast_ref::<Column>() else { return Ok(Transformed::no(e)) };
        let at = read.binary_search(&column.index());
        let at = at.map_err(|_| DataFusionError::Internal(format!("column {} is not read", column.name())))?;
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(moved.data)
}

/// Whether rows of the result that come of different rows can be equal: a column that is kept is not in it.
fn is_ambiguous(factory: &JoinFactory, kept: &[Vec<usize>; 2], taken: &[Vec<usize>; 2]) -> bool {
    let by_key = |side: usize, column: usize| {
        let [own, other] = if side == 0 { [0, 1] } else { [1, 0] };
        let pairs = factory.inputs[own].keys.iter().zip(&factory.inputs[other].keys);
        factory.kind == JoinKind::Inner && pairs.into_iter().any(|(k, o)| *k == column && taken[other].contains(o))
    };
    let shown = |side: usize| kept[side].iter().all(|c| taken[side].contains(c) || by_key(side, *c));
    // A padded row looks like a match whose columns are all NULL.
    let padding = |side: usize| {
        let other = &factory.inputs[1 - side];
        let never_null =
            |c: &usize| !other.schema.field(*c).is_nullable() || (!factory.nulls_equal && other.keys.contains(c));
        factory.kind.role(side) == Role::Unmatched && !taken[1 - side].iter().any(never_null)
    };
    match factory.kind.pairs() {
        true => !shown(0) || !shown(1) || padding(0) || padding(1),
        false => !shown(0),
    }
}

/// Pairs of a changed entry and an entry of the other side.
pub(super) struct Pairs {
    /// Whose changes they are.
    pub side: usize,
    /// Whether they come to the result or go.
    pub added: bool,
    /// For each the change, by its place among the side's changes.
    pub delta: Vec<u32>,
    /// For each the entry of the other side.
    pub others: Vec<u32>,
    /// For each how often it comes or goes; empty while that is once.
    times: Vec<u64>,
}

impl Pairs {
    pub fn new(side: usize, added: bool) -> Self {
        Self { side, added, delta: Vec::new(), others: Vec::new(), times: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.delta.len()
    }

    pub fn clear(&mut self) {
        self.delta.clear();
        self.others.clear();
        self.times.clear();
    }

    /// Adds a pair, unless it comes or goes no time at all.
    pub fn push(&mut self, delta: u32, other: u32, times: u64) {
        if times == 0 {
            return;
        }
        if times > 1 && self.times.is_empty() {
            self.times.resize(self.delta.len(), 1);
        }
        self.delta.push(delta);
        self.others.push(other);
        if times > 1 || !self.times.is_empty() {
            self.times.push(times);
        }
    }

    /// Keeps the pairs for which `verdict` is true; NULL counts as false.
    pub fn retain(&mut self, verdict: &BooleanArray) {
        let keep = |i: usize| verdict.is_valid(i) && verdict.value(i);
        let all = if verdict.true_count() == self.len() { return } else { 0..self.len() };
        let kept: Vec<usize> = all.filter(|i| keep(*i)).collect();
        self.delta = kept.iter().map(|i| self.delta[*i]).collect();
        self.others = kept.iter().map(|i| self.others[*i]).collect();
        if !self.times.is_empty() {
            self.times = kept.iter().map(|i| self.times[*i]).collect();
        }
    }

    /// Columns of one side, for each pair.
    pub fn columns(&self, sides: &[Side; 2], side: usize, columns: &[usize], delta: &Delta) -> Result<Vec<ArrayRef>> {
        if columns.is_empty() {
            return Ok(Vec::new());
        }
        if side != self.side {
            return sides[side].take(columns, &self.others);
        }
        let first = self.delta.first().copied().unwrap_or(0) as usize;
        let chunk = delta.chunks.partition_point(|(start, _)| *start <= first).checked_sub(1);
        let Some((start, rows)) = chunk.and_then(|c| delta.chunks.get(c)) else {
            let entries: Vec<u32> = self.delta.iter().map(|i| delta.entries[*i as usize]).collect();
            return sides[side].take(columns, &entries);
        };
        // The rows as they came: no copy where all of them match once.
        let start = *start as u32;
        if self.len() == rows.num_rows() && (start..).zip(&self.delta).all(|(a, b)| a == *b) {
            return Ok(columns.iter().map(|c| rows.column(*c).clone()).collect());
        }
        let at = UInt32Array::from_iter_values(self.delta.iter().map(|i| i - start));
        columns.iter().map(|c| Ok(take(rows.column(*c), &at, None)?)).collect()
    }
}

/// A row of one side by itself that comes to the result or goes.
pub(super) struct Alone {
    pub entry: u32,
    pub times: u64,
    pub kind: RowKind,
    pub mark: bool,
}

/// What a step takes away from the result, and what it adds.
#[derive(Default)]
pub(super) struct Output {
    pub removed: Vec<ChangeBatch>,
    pub added: Vec<ChangeBatch>,
}

impl Output {
    /// Gives out pairs.
    pub fn pairs(&mut self, layout: &Layout, sides: &[Side; 2], pairs: &Pairs, delta: &Delta) -> Result<()> {
        if pairs.len() == 0 {
            return Ok(());
        }
        if pairs.times.is_empty() {
            return self.pairs_once(layout, sides, pairs, delta);
        }
        let mut repeated = Pairs::new(pairs.side, pairs.added);
        for ((i, other), times) in pairs.delta.iter().zip(&pairs.others).zip(&pairs.times) {
            for _ in 0..*times {
                repeated.push(*i, *other, 1);
                if repeated.len() >= BATCH {
                    self.pairs_once(layout, sides, &repeated, delta)?;
                    repeated.clear();
                }
            }
        }
        if repeated.len() > 0 { self.pairs_once(layout, sides, &repeated, delta) } else { Ok(()) }
    }

    fn pairs_once(&mut self, layout: &Layout, sides: &[Side; 2], pairs: &Pairs, delta: &Delta) -> Result<()> {
        let columns =
            [pairs.columns(sides, 0, &layout.taken[0], delta)?, pairs.columns(sides, 1, &layout.taken[1], delta)?];
        let rows = layout.assemble(&columns, None, pairs.len())?;
        // A change of an outer side gives new rows and takes rows away, in place of updating them: padded ones stand between.
        let outer = sides[pairs.side].role != Role::None;
        let plain = if pairs.added { RowKind::Insert } else { RowKind::Delete };
        let kind = |i: &u32| if outer { plain } else { delta.kind(*i as usize, pairs.added) };
        let kinds: Vec<RowKind> = if layout.retracts { pairs.delta.iter().map(kind).collect() } else { Vec::new() };
        self.put(rows, kinds, pairs.added);
        Ok(())
    }

    fn put(&mut self, rows: RecordBatch, kinds: Vec<RowKind>, added: bool) {
        let kinds = kinds.iter().any(|k| *k != RowKind::Insert).then(|| kinds.into());
        let batch = ChangeBatch { kinds, ..ChangeBatch::append(rows) };
        if added { self.added.push(batch) } else { self.removed.push(batch) }
    }

    /// Gives out rows of one side by themselves.
    pub fn alone(
        &mut self,
        layout: &Layout,
        sides: &[Side; 2],
        side: usize,
        rows: &[Alone],
        added: bool,
    ) -> Result<()> {
        let (mut entries, mut kinds, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            for _ in 0..row.times {
                entries.push(row.entry);
                kinds.push(row.kind);
                marks.push(row.mark);
                if entries.len() >= BATCH {
                    let (kinds, marks) = (std::mem::take(&mut kinds), std::mem::take(&mut marks));
                    self.alone_once(layout, &sides[side], side, (&entries, kinds, marks), added)?;
                    entries.clear();
                }
            }
        }
        match entries.is_empty() {
            true => Ok(()),
            false => self.alone_once(layout, &sides[side], side, (&entries, kinds, marks), added),
        }
    }

    fn alone_once(
        &mut self,
        layout: &Layout,
        own: &Side,
        side: usize,
        (entries, kinds, marks): (&[u32], Vec<RowKind>, Vec<bool>),
        added: bool,
    ) -> Result<()> {
        let mut columns = [Vec::new(), Vec::new()];
        columns[side] = own.take(&layout.taken[side], entries)?;
        let mark: ArrayRef = Arc::new(BooleanArray::from(marks));
        let rows = layout.assemble(&columns, Some(mark), entries.len())?;
        self.put(rows, kinds, added);
        Ok(())
    }
}
