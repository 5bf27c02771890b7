//! Regular joins: of any two inputs, appended to or changing, by equal keys and perhaps a further condition.
//!
//! Both sides' keys get numbers from one table, so that one look-up per row both finds its matches and says where it is kept.
//! A step's changes are made net first, by row; then what the step takes away from the answer is given out, then what it adds:
//!
//! 1. what left the one side, with the other as it was;
//! 2. what left the other side, with what stayed of the one;
//! 3. what came to the one side, with what stayed of the other;
//! 4. what came to the other side, with the one as it is now.
//!
//! No pair of rows is met twice, and every row that is taken away was there. Rows that stand *alone* (the padded rows of outer
//! joins, all rows of semi and anti joins) are judged at the end, by whether they had a match before the step and have one now.

mod alone;
pub(super) mod collect;
mod net;
pub(super) mod output;
mod pairs;
pub(super) mod side;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion_physical_expr::PhysicalExpr;

use self::alone::Presence;
use self::output::Layout;
pub(super) use self::output::reassign;
use self::side::{Shape, Side};
use super::{Operator, OperatorFactory, OperatorStats, StepTime};
use crate::Result;
use crate::change::ChangeBatch;
use crate::state::{Keys, StateTable};

/// What a join gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// Pairs that match, and left rows without a match, padded with NULLs.
    Left,
    /// Pairs that match, and right rows without a match, padded with NULLs.
    Right,
    /// Pairs that match, and rows of both sides without a match, padded with NULLs.
    Full,
    /// Left rows with a match.
    Semi,
    /// Left rows without a match.
    Anti,
    /// Left rows whose one key is `NOT IN` the right side's, by SQL's rule of three values: none as long as the right side has
    /// a NULL, all as long as it is empty. Takes no further condition, and runs on one worker.
    NotIn,
    /// All left rows, with a column that says whether they have a match.
    Mark,
}

impl JoinKind {
    /// Whether it gives pairs of rows.
    pub(super) fn pairs(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
    }

    /// What a side's rows give by themselves.
    pub(super) fn role(self, side: usize) -> Role {
        match (self, side) {
            (JoinKind::Left | JoinKind::Full | JoinKind::Anti | JoinKind::NotIn, 0) => Role::Unmatched,
            (JoinKind::Right | JoinKind::Full, 1) => Role::Unmatched,
            (JoinKind::Semi, 0) => Role::Matched,
            (JoinKind::Mark, 0) => Role::Marked,
            _ => Role::None,
        }
    }
}

/// What rows of a side give by themselves, apart from pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing.
    None,
    /// A row while there is no match.
    Unmatched,
    /// A row while there is a match.
    Matched,
    /// A row, and whether there is a match.
    Marked,
}

impl Role {
    /// Whether a row shows while it has a match, or while it has none.
    pub(super) fn shows(self, matched: bool) -> bool {
        match self {
            Role::None => false,
            Role::Unmatched => !matched,
            Role::Matched => matched,
            Role::Marked => true,
        }
    }
}

/// One input of a join.
#[derive(Debug, Clone)]
pub struct JoinInput {
    /// Its columns.
    pub schema: SchemaRef,
    /// The key columns; as many on both sides, of the same types.
    pub keys: Vec<usize>,
    /// Whether its rows can be taken away.
    pub changing: bool,
    /// For how many milliseconds of processing time its rows are kept untouched; `None` is for ever.
    pub ttl: Option<i64>,
}

/// A column of a join's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JoinColumn {
    /// A column of the left input.
    Left(usize),
    /// A column of the right input.
    Right(usize),
    /// Whether there is a match; of [`JoinKind::Mark`].
    Mark,
}

/// Makes [`JoinKind`]'s operators.
#[derive(Debug, Clone)]
pub struct JoinFactory {
    /// What is given.
    pub kind: JoinKind,
    /// The left and the right input.
    pub inputs: [JoinInput; 2],
    /// Whether NULL keys match each other.
    pub nulls_equal: bool,
    /// What pairs of equal keys must satisfy too: over the left input's columns followed by the right input's.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of the result. For kinds that give left rows only, none of the right.
    pub outputs: Vec<JoinColumn>,
    /// The result's columns.
    pub schema: SchemaRef,
}

impl JoinFactory {
    /// Whether rows can be taken away from the result.
    pub fn retracts(&self) -> bool {
        let changing = self.inputs.iter().any(|i| i.changing);
        changing || !matches!(self.kind, JoinKind::Inner | JoinKind::Semi)
    }

    fn settles(&self) -> bool {
        let stays = |input: &JoinInput| !input.changing && input.ttl.is_none();
        matches!(self.kind, JoinKind::Semi | JoinKind::Anti) && self.inputs.iter().all(stays)
    }
}

impl OperatorFactory for JoinFactory {
    fn build(&self) -> Result<Box<dyn Operator>> {
        let layout = Layout::try_new(self)?;
        let key_schema = self.inputs[0].schema.project(&self.inputs[0].keys)?;
        let sides = [Side::try_new(&Shape::of(self, 0), &layout)?, Side::try_new(&Shape::of(self, 1), &layout)?];
        Ok(Box::new(Join {
            kind: self.kind,
            nulls_equal: self.nulls_equal,
            settles: self.settles(),
            layout,
            keys: Keys::try_new(Arc::new(key_schema))?,
            sides,
            pending: [Vec::new(), Vec::new()],
            presence: Presence::default(),
            check_keys_at: CHECK_KEYS_FROM,
            null_key: None,
        }))
    }

    fn name(&self) -> &'static str {
        "Join"
    }

    fn works_by_key(&self) -> bool {
        self.kind != JoinKind::NotIn
    }

    fn state_ttl(&self) -> Option<i64> {
        self.inputs[0].ttl.zip(self.inputs[1].ttl).map(|(left, right)| left.max(right))
    }
}

/// With fewer keys it is not asked whether they are still needed.
const CHECK_KEYS_FROM: usize = 4096;

/// A regular join.
struct Join {
    kind: JoinKind,
    nulls_equal: bool,
    layout: Layout,
    /// Whether a left row that has a match is done with: neither it nor its match can go again.
    settles: bool,
    /// The keys of both sides.
    keys: Keys,
    sides: [Side; 2],
    /// What the step brought so far.
    pending: [Vec<ChangeBatch>; 2],
    presence: Presence,
    /// With so many keys it is asked which are still needed.
    check_keys_at: usize,
    /// Of [`JoinKind::NotIn`]: the number of the right side's NULL.
    null_key: Option<u32>,
}

impl Operator for Join {
    fn push(&mut self, input: usize, batch: ChangeBatch, _out: &mut Vec<ChangeBatch>) -> Result<()> {
        if batch.num_rows() > 0 {
            self.pending[input].push(batch);
        }
        Ok(())
    }

    fn advance(&mut self, time: &StepTime, out: &mut Vec<ChangeBatch>) -> Result<()> {
        self.step(time.processing_time, out)
    }

    fn snapshot(&mut self) -> Result<Vec<StateTable>> {
        self.freeze()
    }

    fn restore(&mut self, tables: Vec<StateTable>) -> Result<()> {
        self.thaw(tables)
    }

    fn stats(&self) -> OperatorStats {
        let rows: usize = self.sides.iter().map(Side::rows).sum();
        let bytes: usize = self.sides.iter().map(Side::bytes).sum();
        OperatorStats {
            state_rows: rows as u64,
            state_bytes: (bytes + self.keys.bytes()) as u64,
            ..OperatorStats::default()
        }
    }
}
