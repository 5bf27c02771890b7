//! Operators: synchronous state machines, one file each.
//!
//! # Contract
//! A worker drives every operator of its circuit the same way, one step after another:
//!
//! ```text
//! restore*   ( push*  advance  snapshot? )*
//! ```
//!
//! Operators that work by key ([`OperatorFactory::works_by_key`]) may be given more state between any two steps, of keys of which they
//! hold none.
//!
//! `push` once for each batch of the step, `advance` once at its end, after all inputs have been pushed. Operators do
//! not await, read a clock, draw randomness, do I/O, or let the order of a hash map reach their output.

pub mod calc;
pub mod deduplicate;
pub mod each_change;
pub mod expand;
pub mod group_aggregate;
mod grouped;
pub mod interval_join;
pub mod join;
pub mod late;
pub mod limit;
pub mod lookup_join;
pub mod match_recognize;
pub mod net;
pub mod normalize;
pub mod over;
pub mod processing_time;
pub mod reached;
pub mod session;
pub mod set_operation;
pub mod single_row;
pub mod sort;
pub mod temporal_join;
pub mod top_n;
pub mod union;
pub mod unnest;
pub mod watermark;
pub mod window;
pub mod window_aggregate;
pub mod window_assign;
pub mod window_join;

use std::sync::Arc;

use self::late::LateRows;
use crate::Result;
use crate::change::{ChangeBatch, Watermark};
use crate::state::StateTable;

/// The times of a step, the same for all workers.
#[derive(Debug, Clone)]
pub struct StepTime {
    /// The watermark of each input at the end of the step.
    pub inputs: Vec<Watermark>,
    /// The least of them: what the operator may rely on.
    pub watermark: Watermark,
    /// The driver's clock, read once a step: milliseconds since the epoch.
    pub processing_time: i64,
}

/// One operator of a circuit, with the state for the keys of one worker.
pub trait Operator: Send {
    /// Takes a batch that arrived at `input` in this step; what follows from it at once goes into `out`.
    ///
    /// # Errors
    /// When the query fails on the data; the job ends with that error.
    fn push(&mut self, input: usize, batch: ChangeBatch, out: &mut Vec<ChangeBatch>) -> Result<()>;

    /// Ends the step: all its input has been pushed and the watermark stands at `time.watermark`.
    ///
    /// # Errors
    /// As [`Operator::push`].
    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        let _ = (time, out);
        Ok(())
    }

    /// Hands out the whole state, between two steps; the operator goes on as if nothing had happened.
    ///
    /// # Errors
    /// When the state cannot be written as columns.
    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        Ok(Vec::new())
    }

    /// Takes over state that operators of the same kind handed out, before the first step: rows whose keys are this worker's, from
    /// however many workers there were; all at once, or table by table and chunk by chunk. What works by key takes it between two
    /// steps as well, and adds it to what is there.
    ///
    /// # Errors
    /// When the tables are not those that [`Operator::snapshot`] hands out.
    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        if tables.iter().all(|t| t.rows.iter().all(|b| b.num_rows() == 0)) {
            return Ok(());
        }
        Err(crate::Error::internal("state for an operator that keeps none"))
    }

    /// The processing time, in milliseconds since the epoch, at which it wants a step even if no rows come: when a window or
    /// an interval of processing time ends. Asked for after each step; `None` when it waits for rows alone. At the step
    /// that comes then, or at any later one, `advance` does what is due.
    fn next_timer(&self) -> Option<i64> {
        None
    }

    /// Where it notes the rows that it drops because they are late; `None` if it never drops any. After each step the rows
    /// are taken from there, if a sink of the user's takes them.
    fn late_rows(&mut self) -> Option<&mut LateRows> {
        None
    }

    /// What it holds and what it saw, for the metrics.
    fn stats(&self) -> OperatorStats {
        OperatorStats::default()
    }
}

/// Gives an operator a step's input, and ends the step.
///
/// # Errors
/// As [`Operator::push`].
pub fn run_once(
    operator: &mut dyn Operator,
    inputs: Vec<Vec<ChangeBatch>>,
    time: &StepTime,
    out: &mut Vec<ChangeBatch>,
) -> Result<()> {
    for (input, batches) in inputs.into_iter().enumerate() {
        batches.into_iter().try_for_each(|batch| operator.push(input, batch, out))?;
    }
    operator.advance(time, out)
}

/// What an operator holds and saw so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OperatorStats {
    /// Rows of state now.
    pub state_rows: u64,
    /// Bytes of state now, as far as they can be told.
    pub state_bytes: u64,
    /// Rows dropped because they were late.
    pub late_rows: u64,
}

/// Makes one operator for each worker. Part of a circuit's description: immutable and shared.
pub trait OperatorFactory: std::fmt::Debug + Send + Sync {
    /// A new operator without state.
    ///
    /// # Errors
    /// When an expression or an aggregate cannot be made ready.
    fn build(&self) -> Result<Box<dyn Operator>>;

    /// The operator's name in `EXPLAIN` and in metrics, e.g. `WindowAggregate`.
    fn name(&self) -> &'static str;

    /// Whether the state of a key is asked for only in steps that bring rows of that key, and what follows from these rows on that
    /// state alone: then the state of other keys may be elsewhere in the meantime, and keys may take turns within a step.
    fn works_by_key(&self) -> bool {
        false
    }

    /// For how many milliseconds of processing time state is kept that no row touches, all of it; `None` is for ever.
    fn state_ttl(&self) -> Option<i64> {
        None
    }

    /// By how many milliseconds rows that come out can be older than the watermark of what came in: by so much the operator's
    /// own watermark is held back.
    fn watermark_delay(&self) -> i64 {
        0
    }
}

/// A shared factory, as circuits hold it.
pub type Factory = Arc<dyn OperatorFactory>;
