//! What goes out: pairs, and rows that had no match.

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;

use super::batches::ON_TIME;
use super::{IntervalJoin, Output};
use crate::Result;
use crate::change::ChangeBatch;

impl IntervalJoin {
    /// Adds rows to the result; `marks` are the watermarks before them, if they are late.
    pub(super) fn put(&self, rows: RecordBatch, marks: Vec<i64>, out: &mut Output) {
        if marks.is_empty() {
            out.rows.push(ChangeBatch::append(rows));
            return;
        }
        let delay = self.delay();
        let marks = Int64Array::from_iter_values(marks.iter().map(|m| m.saturating_sub(delay)));
        out.late.push(ChangeBatch { watermarks: Some(marks), ..ChangeBatch::append(rows) });
    }

    fn delay(&self) -> i64 {
        use crate::operator::OperatorFactory;
        self.plan.watermark_delay()
    }

    /// Lets go of the rows that the watermark has passed, and gives out those of them that had no match, where they are asked for.
    pub(super) fn expire(&mut self, now: i64, out: &mut Output) -> Result<()> {
        for side in [0, 1] {
            for alone in self.sides[side].pass(now)? {
                let times = Int64Array::new(alone.times, None);
                let marks = if alone.marks.is_empty() { None } else { Some(Int64Array::from(alone.marks)) };
                self.give_alone_rows(side, &alone.rows, &times, marks, out)?;
            }
        }
        Ok(())
    }

    /// Gives out rows that had no match, those apart that come out behind the watermark.
    pub(super) fn give_alone_rows(
        &self,
        side: usize,
        rows: &RecordBatch,
        times: &Int64Array,
        marks: Option<Int64Array>,
        out: &mut Output,
    ) -> Result<()> {
        let delay = self.delay();
        let is_late = |i: usize, marks: &Int64Array| {
            marks.value(i) != ON_TIME && times.is_valid(i) && marks.value(i).saturating_sub(delay) >= times.value(i)
        };
        let late: BooleanArray = match &marks {
            Some(marks) => (0..rows.num_rows()).map(|i| Some(is_late(i, marks))).collect(),
            None => BooleanArray::from(vec![false; rows.num_rows()]),
        };
        for (part, late) in [(arrow::compute::not(&late)?, false), (late, true)] {
            let rows = filter_record_batch(rows, &part)?;
            if rows.num_rows() == 0 {
                continue;
            }
            let marks = match &marks {
                Some(marks) if late => picked(marks, &part)?.values().to_vec(),
                _ => Vec::new(),
            };
            let mut columns = [Vec::new(), Vec::new()];
            columns[side] = self.layout.taken[side].iter().map(|c| rows.column(*c).clone()).collect();
            self.put(self.layout.assemble(&columns, None, rows.num_rows())?, marks, out);
        }
        Ok(())
    }
}

pub(super) fn picked(values: &Int64Array, which: &BooleanArray) -> Result<Int64Array> {
    use arrow::array::AsArray;
    let picked = arrow::compute::filter(values, which)?;
    Ok(picked.as_primitive::<arrow::datatypes::Int64Type>().clone())
}
