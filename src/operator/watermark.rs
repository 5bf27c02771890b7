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
#[derive(Debug, Clone)]
pub struct WatermarkAssigner {
    strategy: WatermarkStrategy,
    current: i64,
}

impl WatermarkAssigner {
    /// Starts with no watermark.
    pub fn new(strategy: WatermarkStrategy) -> Self {
        Self { strategy, current: i64::MIN }
    }

    /// Where the watermark stands.
    pub fn current(&self) -> Watermark {
        Watermark(self.current)
    }

    /// Moves the watermark on to where it is told to be, not back.
    pub fn raise(&mut self, watermark: Watermark) {
        self.current = self.current.max(watermark.0);
    }

    /// Goes on from a watermark that was reached before.
    pub fn restore(&mut self, watermark: Watermark) {
        self.current = watermark.0;
    }

    /// Notes for each row of the batch the watermark just before it, where that is at or past the millisecond before a row
    /// (what ends a millisecond before the row it has closed), and moves the watermark on.
    ///
    /// # Errors
    /// When a rowtime is NULL, or an expression fails.
    pub fn assign(&mut self, batch: &mut ChangeBatch) -> Result<()> {
        let rowtimes = evaluate_millis(&self.strategy.rowtime, &batch.rows)?;
        if rowtimes.null_count() > 0 {
            if (0..batch.num_rows()).all(|row| rowtimes.is_valid(row) || !batch.kind(row).is_addition()) {
                return self.assign_with_bare_keys(batch, &rowtimes);
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
                let reached = self.current.max(last.saturating_sub(*delay));
                if first.saturating_sub(1) > reached && !self.strategy.every_row {
                    self.current = reached;
                    return Ok(());
                }
                let delay = *delay;
                let behind = rowtimes.values().iter().map(move |t| t.saturating_sub(delay));
                batch.watermarks = self.follow(rowtimes.values(), behind);
            }
            WatermarkRule::Expression(expr) => {
                let marks = evaluate_millis(expr, &batch.rows)?;
                let behind = marks.iter().map(|m| m.unwrap_or(i64::MIN));
                batch.watermarks = self.follow(rowtimes.values(), behind);
            }
        }
        Ok(())
    }

    /// As [`WatermarkAssigner::assign`], for rows of which some that go have no more than their key: those have no time,
    /// are not late, and leave the watermark as it is.
    fn assign_with_bare_keys(&mut self, batch: &mut ChangeBatch, rowtimes: &Int64Array) -> Result<()> {
        let marks = match &self.strategy.rule {
            WatermarkRule::Delay(delay) => rowtimes.iter().map(|t| t.map(|t| t.saturating_sub(*delay))).collect(),
            WatermarkRule::Expression(expr) => evaluate_millis(expr, &batch.rows)?,
        };
        let times: Vec<i64> = rowtimes.iter().map(|t| t.unwrap_or(i64::MAX)).collect();
        batch.watermarks = self.follow(&times, marks.iter().map(|m| m.unwrap_or(i64::MIN)));
        Ok(())
    }

    /// Goes through the rows one by one. `None` when all of them are more than a millisecond past the watermark before them,
    /// unless every row is asked for.
    fn follow(&mut self, rowtimes: &[i64], marks: impl Iterator<Item = i64>) -> Option<Int64Array> {
        let mut late = false;
        let mut before = Vec::with_capacity(rowtimes.len());
        for (rowtime, mark) in rowtimes.iter().zip(marks) {
            late |= rowtime.saturating_sub(1) <= self.current;
            before.push(self.current);
            self.current = self.current.max(mark);
        }
        (late || self.strategy.every_row).then(|| Int64Array::from(before))
    }
}

fn evaluate_millis(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<Int64Array> {
    let array = expr.evaluate(rows)?.into_array(rows.num_rows())?;
    rowtime_millis(&array)
}
