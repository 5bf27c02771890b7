//! The parts of partitions that a step touches, in order and evaluated.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, UInt32Array, new_empty_array};
use arrow::compute::{cast, concat};

use super::{Shown, Updating};
use crate::Result;
use crate::change::take_rows;

/// Smaller partitions are evaluated whole.
const WHOLE_ROWS: usize = if cfg!(test) { 3 } else { 256 };

/// A part of a partition whose results may change.
pub(super) struct Part {
    pub key: u32,
    /// Where it stands in the output's order.
    pub old: Range<usize>,
    /// The rows that are new in it.
    pub new: Vec<u32>,
    /// How many rows before and behind it are looked at.
    pub context: (usize, usize),
}

/// The rows of a part as they are now.
pub(super) struct Span {
    pub part: Part,
    /// All rows that are looked at.
    rows: Range<usize>,
    /// The rows of the part.
    pub inner: Range<usize>,
}

/// The rows of the parts that a step has touched, as they are now.
pub(super) struct Touched {
    pub spans: Vec<Span>,
    /// Numbers of the rows, in order; a row that is there twice stands here twice.
    pub numbers: Vec<u32>,
    pub rows: RecordBatch,
}

impl Updating {
    /// Which parts of some partitions may change, from the rows that are touched in them.
    pub(super) fn parts(&self, partitions: Vec<(u32, Vec<u32>)>) -> Result<Vec<Part>> {
        let mut parts = Vec::with_capacity(partitions.len());
        for (key, rows) in partitions {
            let old = self.partitions[key as usize].len();
            match self.reach.filter(|_| old > WHOLE_ROWS.max(rows.len() * 4)) {
                Some(reach) => parts.extend(self.parts_near(key, rows, reach)?),
                None => {
                    let new = rows.into_iter().filter(|row| self.is_new(*row)).collect();
                    parts.push(Part { key, old: 0..old, new, context: (0, 0) });
                }
            }
        }
        Ok(parts)
    }

    fn is_new(&self, row: u32) -> bool {
        self.shown[row as usize] == 0 && self.rows.weight(row) > 0
    }

    /// The parts of a partition around the rows that are touched in it.
    fn parts_near(&self, key: u32, rows: Vec<u32>, (back, ahead): (usize, usize)) -> Result<Vec<Part>> {
        let partition = &self.partitions[key as usize];
        let same = |a: usize, b: usize| partition[a].row == partition[b].row;
        let mut at: Vec<(usize, u32)> = self.places(partition, &rows)?.into_iter().zip(rows).collect();
        at.sort_unstable();
        let mut parts: Vec<Part> = Vec::new();
        for (place, row) in at {
            let end = place + (self.shown[row as usize] as usize).max(1);
            let (mut from, mut to) = (place.saturating_sub(ahead), (end + back).min(partition.len()));
            // A row that is there more than once is taken whole.
            while from > 0 && from < partition.len() && same(from - 1, from) {
                from -= 1;
            }
            while to > 0 && to < partition.len() && same(to - 1, to) {
                to += 1;
            }
            let new = self.is_new(row).then_some(row);
            match parts.last_mut().filter(|last| from <= last.old.end + back + ahead) {
                Some(last) => {
                    last.old.start = last.old.start.min(from);
                    last.old.end = last.old.end.max(to);
                    last.new.extend(new);
                }
                None => parts.push(Part { key, old: from..to, new: new.into_iter().collect(), context: (back, ahead) }),
            }
        }
        for part in &mut parts {
            part.context.0 = back.min(part.old.start);
            part.context.1 = ahead.min(partition.len() - part.old.end);
        }
        Ok(parts)
    }

    /// For each of some rows the place of the first in the partition that does not come before it.
    fn places(&self, partition: &[Shown], rows: &[u32]) -> Result<Vec<usize>> {
        let wanted = self.ordering.encode(&self.rows.take(rows)?)?;
        let mut ranges: Vec<Range<usize>> = rows.iter().map(|_| 0..partition.len()).collect();
        // All are looked for at once, so that rows are read a few at a time.
        while ranges.iter().any(|r| r.start < r.end) {
            let middle = |r: &Range<usize>| (r.start + r.len() / 2).min(partition.len() - 1);
            let numbers: Vec<u32> = ranges.iter().map(|r| partition[middle(r)].row).collect();
            let found = self.ordering.encode(&self.rows.take(&numbers)?)?;
            for (i, range) in ranges.iter_mut().enumerate().filter(|(_, r)| r.start < r.end) {
                let by_key = match (&found, &wanted) {
                    (Some(found), Some(wanted)) => found.row(i).cmp(&wanted.row(i)),
                    _ => std::cmp::Ordering::Equal,
                };
                let before = by_key.then_with(|| self.rows.tie(numbers[i], rows[i])).is_lt();
                let middle = range.start + range.len() / 2;
                *range = if before { middle + 1..range.end } else { range.start..middle };
            }
        }
        Ok(ranges.into_iter().map(|r| r.start).collect())
    }

    /// Brings the rows of some parts into order.
    pub(super) fn sort(&self, parts: Vec<Part>) -> Result<Touched> {
        let mut wanted = Vec::new();
        let mut bounds = Vec::with_capacity(parts.len());
        for part in &parts {
            let partition = &self.partitions[part.key as usize];
            let (from, to) = (part.old.start, part.old.end);
            let number = |s: &Shown| s.row;
            wanted.extend(partition[from - part.context.0..from].iter().map(number));
            let inner = wanted.len();
            let mut last = None;
            for shown in &partition[part.old.clone()] {
                if last != Some(shown.row) && self.rows.weight(shown.row) > 0 {
                    wanted.push(shown.row);
                }
                last = Some(shown.row);
            }
            wanted.extend(&part.new);
            bounds.push(inner..wanted.len());
            wanted.extend(partition[to..to + part.context.1].iter().map(number));
        }
        let rows = self.rows.take(&wanted)?;
        let encoded = self.ordering.encode(&rows)?;
        let mut order: Vec<u32> = (0..wanted.len() as u32).collect();
        let (mut picked, mut spans) = (Vec::new(), Vec::with_capacity(parts.len()));
        for (part, bounds) in parts.into_iter().zip(bounds) {
            let from = picked.len();
            picked.extend_from_slice(&order[bounds.start - part.context.0..bounds.start]);
            let inner = picked.len();
            let sorted = &mut order[bounds.clone()];
            if let Some(encoded) = &encoded {
                sorted.sort_by(|a, b| encoded.row(*a as usize).cmp(&encoded.row(*b as usize)));
            }
            for place in sorted {
                let times = self.rows.weight(wanted[*place as usize]) as usize;
                picked.extend(std::iter::repeat_n(*place, times));
            }
            let inner = inner..picked.len();
            picked.extend_from_slice(&order[bounds.end..bounds.end + part.context.1]);
            spans.push(Span { part, rows: from..picked.len(), inner });
        }
        let numbers = picked.iter().map(|place| wanted[*place as usize]).collect();
        Ok(Touched { spans, rows: take_rows(&rows, &UInt32Array::from(picked))?, numbers })
    }

    /// The functions' results for all touched rows; those of rows that are only looked at are of no meaning.
    pub(super) fn evaluate(&self, touched: &Touched) -> Result<RecordBatch> {
        let schema = self.results.schema();
        let mut columns = Vec::with_capacity(self.plan.functions.len());
        for (function, field) in self.plan.functions.iter().zip(schema.fields()) {
            let mut parts = Vec::with_capacity(touched.spans.len());
            for span in touched.spans.iter().filter(|span| span.rows.start < span.rows.end) {
                parts.push(function.evaluate(&touched.rows.slice(span.rows.start, span.rows.len()))?);
            }
            let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
            let column = if parts.is_empty() { new_empty_array(field.data_type()) } else { concat(&parts)? };
            let typed = column.data_type() == field.data_type();
            columns.push(if typed { column } else { cast(&column, field.data_type())? });
        }
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}
