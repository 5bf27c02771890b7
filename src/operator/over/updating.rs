//! OVER whose results change: any order, any function, any input.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr::window::WindowExpr;

use super::order::Ordering;
use super::rows::Rows;
use crate::change::ChangeBatch;
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Expiry, Keys, Placement, RowStore, StateTable, row_store};
use crate::{Error, Result};

mod difference;
mod parts;
#[cfg(test)]
mod tests;

/// How many rows stand in one batch.
const BATCH_ROWS: usize = 8192;
/// With fewer partitions it is not worth looking whether most are empty.
const COMPACT_FROM: usize = 4096;

/// Functions over the rows around each row, kept up to date as rows come and go. Of each step only the partitions that it
/// touches are evaluated, and what differs from what went out before goes out.
#[derive(Debug, Clone)]
pub struct OverUpdating {
    /// The columns that partition.
    pub keys: Vec<usize>,
    /// The columns that order.
    pub order: Vec<(usize, SortOptions)>,
    /// The functions, over the input's columns.
    pub functions: Vec<Arc<dyn WindowExpr>>,
    /// How many rows before and behind a row its results depend on, where that is fixed.
    pub reach: Option<(usize, usize)>,
    /// How many of the input's columns go out, from the first on; behind them come the functions' results.
    pub width: usize,
    /// Whether rows that tie are ordered by what they hold, rather than by their arrival. Must be set where rows may go.
    pub by_content: bool,
    /// Whether no two rows are equal at the same time.
    pub distinct: bool,
    /// How long a partition is kept that no row touches, in milliseconds of processing time.
    pub ttl: Option<i64>,
    /// The input's schema.
    pub input: SchemaRef,
    /// The result's schema.
    pub schema: SchemaRef,
}

impl OperatorFactory for OverUpdating {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Updating::try_new(self)?))
    }

    fn name(&self) -> &'static str {
        "OverUpdating"
    }

    fn works_by_key(&self) -> bool {
        true
    }

    fn state_ttl(&self) -> Option<i64> {
        self.ttl
    }
}

/// A row that stands in the output.
#[derive(Debug, Clone, Copy)]
struct Shown {
    /// The number of the row.
    row: u32,
    /// The number of its results.
    results: u32,
}

struct Updating {
    plan: OverUpdating,
    ordering: Ordering,
    keys: Keys,
    rows: Rows,
    /// By row how often it stands in the output.
    shown: Vec<u32>,
    results: Box<dyn RowStore>,
    /// By key the rows in the output, in order.
    partitions: Vec<Vec<Shown>>,
    expiry: Expiry,
    /// How far results reach, in rows before and behind; `None` where a row may matter to any other.
    reach: Option<(usize, usize)>,
    pending: Vec<ChangeBatch>,
    look_from: usize,
}

impl Updating {
    fn try_new(plan: &OverUpdating) -> Result<Self> {
        // What cannot be evaluated over its frame is told here.
        plan.functions.iter().try_for_each(|f| f.create_window_fn().map(drop))?;
        let results = Schema::new(plan.schema.fields().iter().skip(plan.width).cloned().collect::<Vec<_>>());
        let ordering = Ordering::new(plan.order.clone(), plan.by_content, &plan.input);
        Ok(Self {
            reach: plan.reach.filter(|_| ordering.is_total),
            ordering,
            keys: Keys::try_new(Arc::new(plan.input.project(&plan.keys)?))?,
            rows: Rows::new(Arc::clone(&plan.input), plan.by_content, plan.ttl.is_some()),
            shown: Vec::new(),
            results: row_store(Arc::new(results)),
            partitions: Vec::new(),
            expiry: Expiry::new(plan.ttl),
            pending: Vec::new(),
            look_from: COMPACT_FROM,
            plan: plan.clone(),
        })
    }

    fn intern(&mut self, rows: &RecordBatch) -> Result<Vec<u32>> {
        let columns: Vec<ArrayRef> = self.plan.keys.iter().map(|k| Arc::clone(rows.column(*k))).collect();
        let mut ids = Vec::new();
        self.keys.intern(&columns, rows.num_rows(), &mut ids)?;
        self.partitions.resize_with(self.keys.len(), Vec::new);
        Ok(ids)
    }

    fn expire(&mut self, now: i64) {
        for key in self.expiry.expired(now) {
            for shown in std::mem::take(&mut self.partitions[key as usize]) {
                self.rows.clear(shown.row);
                self.shown[shown.row as usize] = 0;
                self.results.remove(shown.results);
            }
        }
    }

    /// Applies the step's changes; gives the partitions that they touch, and of each the rows.
    fn apply(&mut self, now: i64) -> Result<Vec<(u32, Vec<u32>)>> {
        let (mut touched, mut numbers) = (Vec::new(), Vec::new());
        for batch in std::mem::take(&mut self.pending) {
            let keys = self.intern(&batch.rows)?;
            self.expiry.touch(&keys, now);
            self.rows.change(&batch, &mut numbers)?;
            // A row that had been let go is not there to be taken away.
            touched.extend(keys.into_iter().zip(numbers.iter().copied()).filter(|(_, row)| *row != u32::MAX));
        }
        self.shown.resize(self.rows.numbers() as usize, 0);
        touched.sort_unstable();
        touched.dedup();
        let mut partitions: Vec<(u32, Vec<u32>)> = Vec::new();
        for (key, row) in touched {
            match partitions.last_mut() {
                Some((last, rows)) if *last == key => rows.push(row),
                _ => partitions.push((key, vec![row])),
            }
        }
        Ok(partitions)
    }

    /// Gives up the places of what is gone, where most is.
    fn compact(&mut self) -> Result<()> {
        if let Some(remap) = self.rows.compact()? {
            remap.apply(&mut self.shown);
            let shown = self.partitions.iter_mut().flatten();
            shown.for_each(|s| s.row = remap.get(s.row).unwrap_or(s.row));
        }
        if self.results.wants_compaction() {
            let remap = self.results.compact()?;
            let shown = self.partitions.iter_mut().flatten();
            shown.for_each(|s| s.results = remap.get(s.results).unwrap_or(s.results));
        }
        if self.partitions.len() >= self.look_from {
            let live = self.partitions.iter().filter(|p| !p.is_empty()).count();
            if live * 2 < self.partitions.len() {
                let remap = self.keys.retain(|key| !self.partitions[key as usize].is_empty())?;
                remap.apply(&mut self.partitions);
                self.expiry.remap(&remap);
            }
            self.look_from = COMPACT_FROM.max(self.partitions.len() * 2);
        }
        Ok(())
    }
}

impl Operator for Updating {
    fn push(&mut self, _input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending.push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.expire(time.processing_time);
        let mut partitions = self.apply(time.processing_time)?;
        while !partitions.is_empty() {
            // A few thousand rows at a time, so that little is held at once; a partition stays whole.
            let mut rows = 0;
            let upto = partitions.iter().take_while(|(key, touched)| {
                let before = rows;
                rows += self.partitions[*key as usize].len() + touched.len();
                before < BATCH_ROWS
            });
            let rest = partitions.split_off(upto.count());
            let parts = self.parts(std::mem::replace(&mut partitions, rest))?;
            self.update(parts, out)?;
        }
        self.compact()
    }

    /// The rows as they stand in the output, each as often as it does, those of a partition in order.
    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        let shown = (0u32..).zip(&self.partitions).flat_map(|(key, p)| p.iter().map(move |s| (key, *s)));
        let shown: Vec<(u32, Shown)> = shown.collect();
        let mut rows = Vec::new();
        for chunk in shown.chunks(BATCH_ROWS) {
            let numbers: Vec<u32> = chunk.iter().map(|(_, s)| s.row).collect();
            let results: Vec<u32> = chunk.iter().map(|(_, s)| s.results).collect();
            let written = Int64Array::from_iter_values(chunk.iter().map(|(key, _)| self.expiry.written(*key)));
            let (own, results) = (self.rows.take(&numbers)?, self.results.take(&results)?);
            let mut columns: Vec<ArrayRef> = own.columns().iter().chain(results.columns()).cloned().collect();
            columns.push(Arc::new(written));
            let named = columns.into_iter().enumerate().map(|(i, c)| (format!("c{i}"), c, true));
            rows.push(RecordBatch::try_from_iter_with_nullable(named)?);
        }
        let placement = match self.plan.keys.is_empty() {
            true => Placement::First,
            false => Placement::Key(self.plan.keys.clone()),
        };
        Ok(vec![StateTable { name: "rows".into(), placement, rows }])
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        let width = self.plan.input.fields().len();
        let mut numbers = Vec::new();
        for rows in tables.iter().flat_map(|t| &t.rows) {
            let own: Vec<usize> = (0..width).collect();
            let own = RecordBatch::try_new(Arc::clone(&self.plan.input), rows.project(&own)?.columns().to_vec())?;
            let results: Vec<usize> = (width..rows.num_columns() - 1).collect();
            let first = self.results.append(&rows.project(&results)?)?;
            let written = rows.columns().last().and_then(|c| c.as_any().downcast_ref::<Int64Array>());
            let written = written.ok_or_else(|| Error::internal("state of another type than was handed out"))?;
            let keys = self.intern(&own)?;
            self.rows.add(&own, &mut numbers)?;
            self.shown.resize(self.rows.numbers() as usize, 0);
            for (((key, row), results), written) in keys.iter().zip(&numbers).zip(first..).zip(written.values()) {
                self.shown[*row as usize] += 1;
                self.partitions[*key as usize].push(Shown { row: *row, results });
                self.expiry.touch(&[*key], *written);
            }
        }
        Ok(())
    }

    fn stats(&self) -> OperatorStats {
        let partitions: usize = self.partitions.iter().map(|p| p.capacity() * size_of::<Shown>() + 24).sum();
        let bytes = self.rows.bytes() + self.results.bytes() + self.keys.bytes() + self.expiry.bytes();
        OperatorStats {
            state_rows: self.results.len() as u64,
            state_bytes: (bytes + partitions + self.shown.capacity() * 4) as u64,
            late_rows: 0,
        }
    }
}
