//! What a step changes in the output.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};

use super::parts::{Part, Touched};
use super::{BATCH_ROWS, Shown, Updating};
use crate::Result;
use crate::change::{ChangeBatch, take_rows};
use crate::operator::over::net::{Change, batch, cancel};

/// What differs from what went out.
struct Difference {
    /// What goes: rows and results as they were.
    gone: Vec<Shown>,
    /// What comes: places in [`Paired::places`].
    come: Vec<usize>,
    changes: Vec<Change>,
}

/// Touched rows and how they stood in the output before.
#[derive(Default)]
struct Paired {
    /// The places of the touched rows, without those that are only looked at.
    places: Vec<u32>,
    /// For each of these how it stood in the output.
    before: Vec<Option<Shown>>,
    /// What is no more.
    gone: Vec<Shown>,
    /// Whether equal rows may stand in the output more than once.
    repeated: bool,
}

impl Updating {
    /// For each touched row how it stood in the output. Both are in the same order.
    fn pair(&self, touched: &Touched) -> Paired {
        let mut paired = Paired { repeated: !self.plan.by_content && !self.plan.distinct, ..Paired::default() };
        for span in &touched.spans {
            let old = &self.partitions[span.part.key as usize][span.part.old.clone()];
            let mut old = old.iter().copied().peekable();
            paired.places.extend(span.inner.clone().map(|place| place as u32));
            for rows in touched.numbers[span.inner.clone()].chunk_by(|a, b| a == b) {
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
        let pairs = paired.places.iter().zip(&paired.before);
        let at: Vec<u32> = pairs.filter(|(_, before)| before.is_some()).map(|(place, _)| *place).collect();
        let mut equal = self.results.equal(&known, results, &at)?.into_iter();
        let goes = (0..paired.gone.len()).map(|gone| Change { gone: Some(gone), come: None });
        let (mut gone, mut come, mut changes) = (paired.gone.clone(), Vec::new(), goes.collect::<Vec<_>>());
        for (index, before) in paired.before.iter().enumerate() {
            if before.is_some() && equal.next() == Some(true) {
                continue;
            }
            changes.push(Change { gone: before.map(|_| gone.len()), come: Some(come.len()) });
            gone.extend(before);
            come.push(index);
        }
        Ok(Difference { gone, come, changes })
    }

    /// Evaluates some parts of partitions anew; what differs goes out.
    pub(super) fn update(&mut self, parts: Vec<Part>, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let touched = self.sort(parts)?;
        let results = self.evaluate(&touched)?;
        let paired = self.pair(&touched);
        let mut difference = self.compare(&paired, &results)?;
        if !difference.changes.is_empty() {
            let rows: Vec<u32> = difference.gone.iter().map(|s| s.row).collect();
            let old: Vec<u32> = difference.gone.iter().map(|s| s.results).collect();
            let gone = self.joined(&self.rows.take(&rows)?, &self.results.take(&old)?)?;
            let come: UInt32Array = difference.come.iter().map(|index| Some(paired.places[*index])).collect();
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
        for (index, results) in difference.come.iter().zip(first..) {
            let row = touched.numbers[paired.places[*index] as usize];
            self.shown[row as usize] += 1;
            shown[*index] = Some(Shown { row, results });
        }
        let mut shown = shown.into_iter().flatten();
        let ranges = touched.spans.iter().map(|span| shown.by_ref().take(span.inner.len()).collect());
        let ranges: Vec<Vec<Shown>> = ranges.collect();
        // From the last part on, so that the places of those before it stay.
        for (span, rows) in touched.spans.iter().zip(ranges).rev() {
            self.partitions[span.part.key as usize].splice(span.part.old.clone(), rows);
        }
        Ok(())
    }
}
