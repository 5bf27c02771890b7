//! OVER whose results change: any order, any function, any input.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{SortOptions, cast, concat};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr::window::WindowExpr;

use super::net::{Change, batch, cancel};
use super::order::Ordering;
use super::rows::Rows;
use crate::change::{ChangeBatch, take_rows};
use crate::operator::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::state::{Expiry, Keys, Placement, RowStore, StateTable, row_store};
use crate::{Error, Result};

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
    pending: Vec<ChangeBatch>,
    look_from: usize,
}

/// The rows of the partitions that a step has touched, as they are now.
struct Touched {
    /// The partitions, and where the rows of each stand.
    spans: Vec<(u32, std::ops::Range<usize>)>,
    /// Numbers of the rows, in order; a row that is there twice stands here twice.
    numbers: Vec<u32>,
    rows: RecordBatch,
}

/// What differs from what went out.
struct Difference {
    /// What goes: rows and results as they were.
    gone: Vec<Shown>,
    /// What comes: places among the touched rows.
    come: Vec<u32>,
    changes: Vec<Change>,
}

/// Touched rows and how they stood in the output before.
#[derive(Default)]
struct Paired {
    /// By touched row.
    before: Vec<Option<Shown>>,
    /// What is no more.
    gone: Vec<Shown>,
    /// Whether equal rows may stand in the output more than once.
    repeated: bool,
}

impl Updating {
    fn try_new(plan: &OverUpdating) -> Result<Self> {
        // What cannot be evaluated over its frame is told here.
        plan.functions.iter().try_for_each(|f| f.create_window_fn().map(drop))?;
        let results = Schema::new(plan.schema.fields().iter().skip(plan.width).cloned().collect::<Vec<_>>());
        Ok(Self {
            ordering: Ordering::new(plan.order.clone(), plan.by_content, &plan.input),
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

    /// Applies the step's changes; gives the partitions that they touch, and of each the rows that are new to it.
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
            if partitions.last().is_none_or(|(last, _)| *last != key) {
                partitions.push((key, Vec::new()));
            }
            let is_new = self.shown[row as usize] == 0 && self.rows.weight(row) > 0;
            if let Some((_, new)) = partitions.last_mut().filter(|_| is_new) {
                new.push(row);
            }
        }
        Ok(partitions)
    }

    /// Orders the rows of some partitions.
    fn sort(&self, partitions: Vec<(u32, Vec<u32>)>) -> Result<Touched> {
        let (mut distinct, mut bounds) = (Vec::new(), Vec::new());
        for (key, new) in partitions {
            let from = distinct.len();
            let mut last = None;
            for shown in &self.partitions[key as usize] {
                if last != Some(shown.row) && self.rows.weight(shown.row) > 0 {
                    distinct.push(shown.row);
                }
                last = Some(shown.row);
            }
            distinct.extend(new);
            bounds.push((key, from..distinct.len()));
        }
        let rows = self.rows.take(&distinct)?;
        let encoded = self.ordering.encode(&rows)?;
        let mut order: Vec<u32> = (0..distinct.len() as u32).collect();
        let (mut picked, mut numbers, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for (key, range) in bounds {
            let part = &mut order[range];
            if let Some(encoded) = &encoded {
                part.sort_by(|a, b| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)));
            }
            let from = numbers.len();
            for place in part.iter() {
                let number = distinct[*place as usize];
                let times = self.rows.weight(number) as usize;
                picked.extend(std::iter::repeat_n(*place, times));
                numbers.extend(std::iter::repeat_n(number, times));
            }
            spans.push((key, from..numbers.len()));
        }
        Ok(Touched { spans, rows: take_rows(&rows, &UInt32Array::from(picked))?, numbers })
    }

    /// The functions' results for all touched rows.
    fn evaluate(&self, touched: &Touched) -> Result<RecordBatch> {
        let schema = self.results.schema();
        let mut columns = Vec::with_capacity(self.plan.functions.len());
        for (function, field) in self.plan.functions.iter().zip(schema.fields()) {
            let mut parts = Vec::with_capacity(touched.spans.len());
            for (_, span) in touched.spans.iter().filter(|(_, span)| !span.is_empty()) {
                parts.push(function.evaluate(&touched.rows.slice(span.start, span.len()))?);
            }
            let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
            let column = if parts.is_empty() { new_empty_array(field.data_type()) } else { concat(&parts)? };
            let typed = column.data_type() == field.data_type();
            columns.push(if typed { column } else { cast(&column, field.data_type())? });
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }

    /// For each touched row how it stood in the output. Both are in the same order.
    fn pair(&self, touched: &Touched) -> Paired {
        let mut paired = Paired { repeated: !self.plan.by_content && !self.plan.distinct, ..Paired::default() };
        for (key, span) in &touched.spans {
            let mut old = self.partitions[*key as usize].iter().copied().peekable();
            for rows in touched.numbers[span.clone()].chunk_by(|a, b| a == b) {
                let row = rows[0];
                if self.shown[row as usize] > 0 {
                    paired.gone.extend(std::iter::from_fn(|| old.next_if(|o| o.row != row)));
                }
                let before = paired.gone.len();
                paired.before.extend(rows.iter().map(|_| old.next_if(|o| o.row == row)));
                paired.gone.extend(std::iter::from_fn(|| old.next_if(|o| o.row == row)));
                paired.repeated |= rows.len() > 1 || paired.gone.len() > before;
            }
            paired.gone.extend(old);
        }
        paired
    }

    /// Compares results with what went out.
    fn compare(&self, paired: &Paired, results: &RecordBatch) -> Result<Difference> {
        let known: Vec<u32> = paired.before.iter().flatten().map(|p| p.results).collect();
        let at: Vec<u32> = (0u32..).zip(&paired.before).filter(|(_, p)| p.is_some()).map(|(at, _)| at).collect();
        let mut equal = self.results.equal(&known, results, &at)?.into_iter();
        let goes = (0..paired.gone.len()).map(|gone| Change { gone: Some(gone), come: None });
        let (mut gone, mut come, mut changes) = (paired.gone.clone(), Vec::new(), goes.collect::<Vec<_>>());
        for (place, before) in (0u32..).zip(&paired.before) {
            if before.is_some() && equal.next() == Some(true) {
                continue;
            }
            changes.push(Change { gone: before.map(|_| gone.len()), come: Some(come.len()) });
            gone.extend(before);
            come.push(place);
        }
        Ok(Difference { gone, come, changes })
    }

    /// Evaluates some partitions anew; what differs goes out.
    fn update(&mut self, partitions: Vec<(u32, Vec<u32>)>, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let touched = self.sort(partitions)?;
        let results = self.evaluate(&touched)?;
        let paired = self.pair(&touched);
        let mut difference = self.compare(&paired, &results)?;
        if !difference.changes.is_empty() {
            let rows: Vec<u32> = difference.gone.iter().map(|s| s.row).collect();
            let old: Vec<u32> = difference.gone.iter().map(|s| s.results).collect();
            let gone = self.joined(&self.rows.take(&rows)?, &self.results.take(&old)?)?;
            let come = UInt32Array::from(difference.come.clone());
            let new = take_rows(&results, &come)?;
            let come = self.joined(&take_rows(&touched.rows, &come)?, &new)?;
            if paired.repeated {
                cancel(&gone, &come, &mut difference.changes)?;
            }
            let changes = batch(&gone, &come, &difference.changes)?;
            let parts = (0..changes.num_rows()).step_by(BATCH_ROWS);
            out.extend(parts.map(|at| changes.slice(at, BATCH_ROWS.min(changes.num_rows() - at))));
            self.take_over(&touched, paired, &difference, &new)?;
        }
        Ok(())
    }

    /// Rows as they go out.
    fn joined(&self, rows: &RecordBatch, results: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().iter().take(self.plan.width).chain(results.columns()).cloned().collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.plan.schema), columns)?)
    }

    /// Notes how the touched partitions stand in the output now.
    fn take_over(
        &mut self,
        touched: &Touched,
        paired: Paired,
        difference: &Difference,
        new: &RecordBatch,
    ) -> Result<()> {
        let first = self.results.append(new)?;
        let mut shown = paired.before;
        for gone in &difference.gone {
            self.results.remove(gone.results);
            self.shown[gone.row as usize] -= 1;
        }
        for (place, results) in difference.come.iter().zip(first..) {
            let row = touched.numbers[*place as usize];
            self.shown[row as usize] += 1;
            shown[*place as usize] = Some(Shown { row, results });
        }
        for (key, span) in &touched.spans {
            self.partitions[*key as usize] = shown[span.clone()].iter().copied().flatten().collect();
        }
        Ok(())
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
            let upto = partitions.iter().take_while(|(key, new)| {
                let before = rows;
                rows += self.partitions[*key as usize].len() + new.len();
                before < BATCH_ROWS
            });
            let rest = partitions.split_off(upto.count());
            self.update(std::mem::replace(&mut partitions, rest), out)?;
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
        Ok(vec![StateTable { name: "rows", placement, rows }])
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
