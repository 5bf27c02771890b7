//! Interval joins: of two inputs that only grow, where each row can match rows of the other side from one time to another.
//!
//! A row is held for as long as the watermark lets rows come that it could match, and matches go out at once. The rows of a side stay
//! in the batches in which they came (`batches.rs`), and go with them. Those that the other side asks for are entered in an index
//! (`index.rs`), where each key's rows stand in the order of their times, so that what a row matches is found by two binary searches;
//! which are entered, and when, `side.rs` decides. Rows without a match that are to be given too (the padded rows of outer joins, the
//! rows of anti joins) go out when they are let go: the result only grows.
//!
//! A late row matches what is still held, and is itself held while rows on time could match it. Which of two late rows came first
//! is told by the watermarks before them; where these are the same, both must be held by them. A row that comes when all that it
//! could match has been let go is dropped, and counted, unless it goes out without a match.
//!
//! What goes out is behind the watermark by no more than the join looks back or ahead and a millisecond, and by so much its own is
//! held back.

mod batches;
mod index;
mod meet;
mod output;
mod side;
mod state;
#[cfg(test)]
mod tests;

use self::side::Side;
use super::join::output::Layout;
use super::join::{JoinFactory, JoinKind};
use super::late::LateRows;
use super::reached::{Origin, Reached};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::change::{ChangeBatch, Watermark};
use crate::state::StateTable;
use crate::{Error, Result};

/// By which times rows are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinTime {
    /// A column of the left input and one of the right whose values are later than the watermark when a row comes on time.
    Rowtime([usize; 2]),
    /// The times at which rows come, by the driver's clock.
    Processing,
}

/// Makes interval joins.
#[derive(Debug, Clone)]
pub struct IntervalJoinFactory {
    /// What is joined, and what comes of it: [`JoinKind::Inner`], outer, semi or anti. Its condition is what pairs must satisfy
    /// beside their times.
    pub join: JoinFactory,
    /// Which times.
    pub time: JoinTime,
    /// By how many milliseconds a row of the right side can be later than the row of the left that it matches, and a row of the
    /// left than that of the right. Below 0 it must be earlier by so much.
    pub reach: [i64; 2],
    /// Where the inputs' rows come from.
    pub origin: Origin,
}

impl IntervalJoinFactory {
    fn check(&self) -> Result<()> {
        let changing = self.join.inputs.iter().any(|i| i.changing);
        match self.join.kind {
            JoinKind::NotIn | JoinKind::Mark => Err(Error::internal("an interval join of another kind")),
            _ if changing => Err(Error::internal("an interval join of changing input")),
            _ => Ok(()),
        }
    }

    fn join(&self) -> Result<IntervalJoin> {
        self.check()?;
        let layout = Layout::try_new(&self.join)?;
        let sides = [Side::try_new(self, &layout, 0)?, Side::try_new(self, &layout, 1)?];
        Ok(IntervalJoin {
            plan: self.clone(),
            layout,
            sides,
            pending: [Vec::new(), Vec::new()],
            reached: Reached::new(self.origin),
            late: LateRows::default(),
        })
    }
}

impl OperatorFactory for IntervalJoinFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.join()?))
    }

    fn name(&self) -> &'static str {
        "IntervalJoin"
    }

    fn watermark_delay(&self) -> i64 {
        match self.time {
            // At the watermark up to which a row is held, a late one can still match it.
            JoinTime::Rowtime(_) => self.reach[0].max(self.reach[1]).saturating_add(1).max(0),
            JoinTime::Processing => 0,
        }
    }
}

struct IntervalJoin {
    plan: IntervalJoinFactory,
    layout: Layout,
    sides: [Side; 2],
    /// What the step brought so far.
    pending: [Vec<ChangeBatch>; 2],
    reached: Reached,
    late: LateRows,
}

/// What a step adds to the result.
#[derive(Default)]
struct Output {
    rows: Vec<ChangeBatch>,
    /// Rows of late rows, with the watermarks that they are behind. They close windows behind the join that the others may
    /// belong to, and so go last.
    late: Vec<ChangeBatch>,
}

impl Operator for IntervalJoin {
    fn push(&mut self, input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.kinds.is_some() {
            return Err(Error::internal("an interval join of changing rows"));
        }
        if batch.num_rows() > 0 {
            self.pending[input].push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let mut output = Output::default();
        if self.plan.time == JoinTime::Processing {
            self.expire(time.processing_time, &mut output)?;
        }
        // The more rows come last, to meet all of the other side's at once, with no copy of their columns where each meets one.
        let [left, right] = self.pending.each_ref().map(|p| p.iter().map(ChangeBatch::num_rows).sum::<usize>());
        for side in if left <= right { [0, 1] } else { [1, 0] } {
            let batches = std::mem::take(&mut self.pending[side]);
            self.take_in(side, batches, time.processing_time, &mut output)?;
        }
        match (self.plan.time, time.watermark) {
            (JoinTime::Rowtime(_), Watermark(at)) => self.expire(at, &mut output)?,
            // The input has ended: nothing is to come.
            (JoinTime::Processing, Watermark::MAX) => self.expire(i64::MAX, &mut output)?,
            (JoinTime::Processing, _) => {}
        }
        out.append(&mut output.rows);
        out.append(&mut output.late);
        self.reached.advance(time);
        self.sides.iter_mut().try_for_each(Side::tidy)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.freeze()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.thaw(tables)
    }

    fn next_timer(&self) -> Option<i64> {
        let ends = || self.sides.iter().filter_map(Side::first_end).min();
        if self.plan.time == JoinTime::Processing { ends() } else { None }
    }

    fn late_rows(&mut self) -> Option<&mut LateRows> {
        Some(&mut self.late)
    }

    fn stats(&self) -> OperatorStats {
        let rows: usize = self.sides.iter().map(|s| s.batches.rows()).sum();
        let bytes: usize = self.sides.iter().map(Side::bytes).sum();
        OperatorStats { state_rows: rows as u64, state_bytes: bytes as u64, late_rows: self.late.count() }
    }
}
