//! Watermark assignment: from a rowtime column to the watermark behind each row.

use std::sync::Arc;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::compute::{max, min};
use datafusion_physical_expr::PhysicalExpr;

use crate::change::{ChangeBatch, Watermark, rowtime_millis};
use crate::{Error, Result};

/// How the watermark follows from a row.
#[derive(Debug, Clone)]
pub enum WatermarkRule {
    /// Rowtime less a constant, in milliseconds: `ts - INTERVAL '5' SECOND`.
    Delay(i64),
    /// Any expression that gives a timestamp; NULL leaves the watermark as it is.
    Expression(Arc<dyn PhysicalExpr>),
}

/// What a table's `WATERMARK FOR` clause says.
#[derive(Debug, Clone)]
pub struct WatermarkStrategy {
    /// The rowtime column's name, for messages.
    pub column: String,
    /// The rowtime, over the columns that the source gives.
    pub rowtime: Arc<dyn PhysicalExpr>,
    /// The watermark that a row brings.
    pub rule: WatermarkRule,
    /// Whether every row is given the watermark before it, and not only where one is late: asked for where windows count
    /// rows that go again, which may be older than the rows that take them away.
    pub every_row: bool,
}

impl WatermarkStrategy {
    /// For each row its time and the watermark that it brings, in milliseconds; NULL where it has none.
    ///
    /// # Errors
    /// When an expression fails.
    pub fn times(&self, rows: &RecordBatch) -> Result<(Int64Array, Int64Array)> {
        let rowtimes = evaluate_millis(&self.rowtime, rows)?;
        let marks = match &self.rule {
            WatermarkRule::Delay(delay) => rowtimes.unary(|t| t.saturating_sub(*delay)),
            WatermarkRule::Expression(expr) => evaluate_millis(expr, rows)?,
        };
        Ok((rowtimes, marks))
    }
}

/// Follows the watermark of one source, row by row, in the order of arrival.
///
/// A row goes first and its watermark after it, as in Flink: a row sees the watermark of the rows before it. This runs
/// where the input is still in one piece, before it is divided among workers.
///
/// Of a source with several partitions, each in order by itself, the watermark is the least of theirs: of those that
/// hold it, which are neither idle nor at their end.
#[derive(Debug, Clone)]
pub struct WatermarkAssigner {
    strategy: WatermarkStrategy,
    current: i64,
    partitions: Vec<Partition>,
}

/// A part of a source.
#[derive(Debug, Clone)]
struct Partition {
    /// Its own watermark.
    reached: i64,
    /// Whether the source's watermark waits for it.
    holds: bool,
}

impl WatermarkAssigner {
    /// Starts with no watermark.
    pub fn new(strategy: WatermarkStrategy) -> Self {
        Self { strategy, current: i64::MIN, partitions: Vec::new() }
    }

    /// Where the watermark stands.
    pub fn current(&self) -> Watermark {
        Watermark(self.current)
    }

    /// Moves the watermark on to where it is told to be, not back.
    pub fn raise(&mut self, watermark: Watermark) {
        self.current = self.current.max(watermark.0);
    }

    /// The watermark, and those of the partitions.
    pub fn snapshot(&self) -> Vec<Watermark> {
        let own = self.partitions.iter().map(|p| Watermark(p.reached));
        std::iter::once(self.current()).chain(own).collect()
    }

    /// Goes on from watermarks that were reached before.
    pub fn restore(&mut self, watermarks: &[Watermark]) {
        let Some((current, own)) = watermarks.split_first() else { return };
        self.current = current.0;
        self.partitions = own.iter().map(|w| Partition { reached: w.0, holds: true }).collect();
    }

    /// Waits for the partitions of which `holds` says so. The watermark does not go back for one that was not waited for.
    pub fn wait_for(&mut self, holds: &[bool]) {
        self.grow(holds.len());
        self.partitions.iter_mut().zip(holds).filter(|(_, holds)| **holds).for_each(|(p, _)| p.holds = true);
    }

    /// Waits no more for the partitions of which `holds` does not say so, and moves the watermark on.
    pub fn pass_over(&mut self, holds: &[bool]) {
        self.partitions.iter_mut().zip(holds).for_each(|(p, holds)| p.holds = *holds);
        if !holds.is_empty() && self.partitions.iter().any(|p| p.holds) {
            self.current = self.current.max(self.least_but(usize::MAX));
        }
    }

    fn grow(&mut self, partitions: usize) {
        if self.partitions.len() < partitions {
            self.partitions.resize(partitions, Partition { reached: i64::MIN, holds: true });
        }
    }

    /// The least watermark of the partitions that hold it, but for one.
    fn least_but(&self, partition: usize) -> i64 {
        let others = self.partitions.iter().enumerate().filter(|(i, p)| *i != partition && p.holds);
        others.map(|(_, p)| p.reached).min().unwrap_or(i64::MAX)
    }

    /// Notes for each row of the batch the watermark just before it, where that is at or past the millisecond before a row
    /// (what ends a millisecond before the row it has closed), and moves the watermark on.
    ///
    /// # Errors
    /// When a rowtime is NULL, or an expression fails.
    pub fn assign(&mut self, batch: &mut ChangeBatch) -> Result<()> {
        self.assign_of(0, batch)
    }

    /// As [`WatermarkAssigner::assign`], for a batch of one of the source's partitions.
    ///
    /// # Errors
    /// As [`WatermarkAssigner::assign`].
    pub fn assign_of(&mut self, partition: usize, batch: &mut ChangeBatch) -> Result<()> {
        self.grow(partition + 1);
        let rowtimes = evaluate_millis(&self.strategy.rowtime, &batch.rows)?;
        if rowtimes.null_count() > 0 {
            if (0..batch.num_rows()).all(|row| rowtimes.is_valid(row) || !batch.kind(row).is_addition()) {
                return self.assign_with_bare_keys(partition, batch, &rowtimes);
            }
            return Err(Error::Execution(format!(
                "the rowtime column '{}' is NULL in a row; event time must not be NULL (filter such rows where the data is \
                 made, or give the column a value)",
                self.strategy.column
            )));
        }
        match &self.strategy.rule {
            WatermarkRule::Delay(delay) => {
                let (Some(first), Some(last)) = (min(&rowtimes), max(&rowtimes)) else { return Ok(()) };
                let own = self.partitions[partition].reached.max(last.saturating_sub(*delay));
                let reached = self.current.max(own.min(self.least_but(partition)));
                if first.saturating_sub(1) > reached && !self.strategy.every_row {
                    self.partitions[partition].reached = own;
                    self.current = reached;
                    return Ok(());
                }
                let delay = *delay;
                let behind = rowtimes.values().iter().map(move |t| t.saturating_sub(delay));
                batch.watermarks = self.follow(partition, rowtimes.values(), behind);
            }
            WatermarkRule::Expression(expr) => {
                let marks = evaluate_millis(expr, &batch.rows)?;
                let behind = marks.iter().map(|m| m.unwrap_or(i64::MIN));
                batch.watermarks = self.follow(partition, rowtimes.values(), behind);
            }
        }
        Ok(())
    }

    /// As [`WatermarkAssigner::assign`], for rows of which some that go have no more than their key: those have no time,
    /// are not late, and leave the watermark as it is.
    fn assign_with_bare_keys(
        &mut self,
        partition: usize,
        batch: &mut ChangeBatch,
        rowtimes: &Int64Array,
    ) -> Result<()> {
        let marks = match &self.strategy.rule {
            WatermarkRule::Delay(delay) => rowtimes.iter().map(|t| t.map(|t| t.saturating_sub(*delay))).collect(),
            WatermarkRule::Expression(expr) => evaluate_millis(expr, &batch.rows)?,
        };
        let times: Vec<i64> = rowtimes.iter().map(|t| t.unwrap_or(i64::MAX)).collect();
        batch.watermarks = self.follow(partition, &times, marks.iter().map(|m| m.unwrap_or(i64::MIN)));
        Ok(())
    }

    /// Goes through the rows one by one. `None` when all of them are more than a millisecond past the watermark before them,
    /// unless every row is asked for.
    fn follow(&mut self, partition: usize, rowtimes: &[i64], marks: impl Iterator<Item = i64>) -> Option<Int64Array> {
        let others = self.least_but(partition);
        let mut own = self.partitions[partition].reached;
        let mut late = false;
        let mut before = Vec::with_capacity(rowtimes.len());
        for (rowtime, mark) in rowtimes.iter().zip(marks) {
            late |= rowtime.saturating_sub(1) <= self.current;
            before.push(self.current);
            own = own.max(mark);
            self.current = self.current.max(own.min(others));
        }
        self.partitions[partition].reached = own;
        (late || self.strategy.every_row).then(|| Int64Array::from(before))
    }
}

fn evaluate_millis(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<Int64Array> {
    let array = expr.evaluate(rows)?.into_array(rows.num_rows())?;
    rowtime_millis(&array)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, TimestampMillisecondArray};
    use datafusion_physical_expr::expressions::Column;

    use super::*;

    fn assigner() -> WatermarkAssigner {
        let rowtime: Arc<dyn PhysicalExpr> = Arc::new(Column::new("ts", 0));
        let rule = WatermarkRule::Delay(2);
        WatermarkAssigner::new(WatermarkStrategy { column: "ts".into(), rowtime, rule, every_row: false })
    }

    fn batch(times: &[i64]) -> ChangeBatch {
        let ts: ArrayRef = Arc::new(TimestampMillisecondArray::from(times.to_vec()));
        ChangeBatch::append(RecordBatch::try_from_iter([("ts", ts)]).unwrap())
    }

    fn give(assigner: &mut WatermarkAssigner, partition: usize, times: &[i64]) -> Option<Vec<i64>> {
        let mut batch = batch(times);
        assigner.assign_of(partition, &mut batch).unwrap();
        batch.watermarks.map(|w| w.values().to_vec())
    }

    #[test]
    fn the_least_of_the_partitions_counts() {
        let mut assigner = assigner();
        assigner.wait_for(&[true, true]);
        assert_eq!(give(&mut assigner, 0, &[10, 20]), None);
        assert_eq!(assigner.current(), Watermark::MIN, "nothing has come of the other");
        assert_eq!(give(&mut assigner, 1, &[5, 15]), None, "in order, though the first partition is ahead");
        assert_eq!(assigner.current(), Watermark(13));
        assert_eq!(give(&mut assigner, 1, &[30, 12]), Some(vec![13, 18]), "the first stands at 18");
        assert_eq!(assigner.current(), Watermark(18));
        // It falls idle, and comes back behind the watermark, which stays.
        assigner.pass_over(&[false, true]);
        assert_eq!(assigner.current(), Watermark(28));
        assigner.wait_for(&[true, true]);
        assert_eq!(give(&mut assigner, 0, &[21, 40]), Some(vec![28, 28]));
        assert_eq!(assigner.current(), Watermark(28));
        assert_eq!(give(&mut assigner, 1, &[50]), None);
        assert_eq!(assigner.current(), Watermark(38));
    }

    #[test]
    fn partitions_go_on_from_a_snapshot_however_they_are_cut() {
        let rows = [(0, 10), (1, 4), (0, 12), (1, 30), (0, 9), (1, 7), (0, 40), (1, 33)];
        let mut whole = assigner();
        whole.wait_for(&[true, true]);
        let marks: Vec<i64> = rows
            .iter()
            .map(|(partition, ts)| {
                let before = whole.current().0;
                give(&mut whole, *partition, &[*ts]);
                before
            })
            .collect();
        for cut in 0..rows.len() {
            let mut first = assigner();
            first.wait_for(&[true, true]);
            rows[..cut].iter().for_each(|(partition, ts)| drop(give(&mut first, *partition, &[*ts])));
            let mut second = assigner();
            second.restore(&first.snapshot());
            for ((partition, ts), before) in rows[cut..].iter().zip(&marks[cut..]) {
                assert_eq!(second.current().0, *before, "cut at {cut}");
                give(&mut second, *partition, &[*ts]);
            }
            assert_eq!(second.current(), whole.current());
        }
    }
}
