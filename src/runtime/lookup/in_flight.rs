//! The executor's side: what is out, and how far the watermark may go.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{LookupInput, Probes};
use crate::change::{ChangeBatch, Watermark};
use crate::operator::lookup_join::{Answer, LookupTable};
use crate::runtime::circuit::REQUEST_ROWS;
use crate::{Error, Result};

/// The probes of one look-up that are out, in the order in which they left.
#[derive(Debug, Default)]
pub struct InFlight {
    state: InFlightState,
    /// The number of the oldest that is out.
    first: u64,
    rows: usize,
}

/// What is to be kept of a look-up between two steps.
#[derive(Debug, Clone, Default)]
pub struct InFlightState {
    /// The table, where it is kept whole.
    table: Option<Arc<LookupTable>>,
    out: VecDeque<Out>,
    /// The watermark behind all that has left.
    latest: Watermark,
}

#[derive(Debug, Clone)]
struct Out {
    rows: ChangeBatch,
    /// The watermark that may go on when these rows are back.
    behind: Watermark,
}

/// What workers do for one look-up in a step.
#[derive(Debug, Clone, Default)]
pub struct LookupWork {
    /// The table, where it is kept whole.
    pub table: Option<Arc<LookupTable>>,
    /// Probes that come back, each with its answer.
    pub answered: Vec<(ChangeBatch, Answer)>,
}

impl InFlightState {
    /// From what was out, each with the watermark behind it, and the watermark behind all.
    pub fn of(out: impl Iterator<Item = (ChangeBatch, Watermark)>, latest: Watermark) -> Self {
        Self { table: None, out: out.map(|(rows, behind)| Out { rows, behind }).collect(), latest }
    }

    /// What [`InFlightState::of`] takes.
    pub fn parts(&self) -> (impl Iterator<Item = (ChangeBatch, Watermark)>, Watermark) {
        (self.out.iter().map(|out| (out.rows.clone(), out.behind)), self.latest)
    }
}

impl LookupWork {
    /// Deals the probes to workers as runs of neighbours, the first to the first.
    pub fn divide(self, workers: usize) -> Vec<Self> {
        let share = self.answered.len().div_ceil(workers).max(1);
        let mut dealt = vec![Self { table: self.table, answered: Vec::new() }; workers];
        for (i, answered) in self.answered.into_iter().enumerate() {
            dealt[i / share].answered.push(answered);
        }
        dealt
    }
}

impl InFlight {
    /// Takes in what a step brings: the work for the workers, and the watermark that may go on.
    ///
    /// # Errors
    /// When there are more answers than probes.
    pub fn take(&mut self, input: LookupInput) -> Result<(LookupWork, Watermark)> {
        if input.table.is_some() {
            self.state.table = input.table;
        }
        let mut answered = Vec::with_capacity(input.answers.len());
        let mut reached = Watermark::MIN;
        for answer in input.answers {
            let Some(out) = self.state.out.pop_front() else {
                return Err(Error::internal("an answer to rows that nobody asked for"));
            };
            self.first += 1;
            self.rows -= out.rows.num_rows();
            reached = out.behind;
            answered.push((out.rows, answer));
        }
        if self.state.out.is_empty() {
            reached = self.state.latest;
        }
        Ok((LookupWork { table: self.state.table.clone(), answered }, reached))
    }

    /// Takes the probes that left in a step, and the watermark behind them.
    pub fn leave(&mut self, batches: Vec<ChangeBatch>, watermark: Watermark) {
        for batch in batches {
            let mut from = 0;
            while from < batch.num_rows() {
                let length = REQUEST_ROWS.min(batch.num_rows() - from);
                // Behind each but the last the watermark is what it was: only then is it known that no row is before it.
                self.state.out.push_back(Out { rows: batch.slice(from, length), behind: self.state.latest });
                self.rows += length;
                from += length;
            }
        }
        self.state.latest = watermark;
        if let Some(last) = self.state.out.back_mut() {
            last.behind = watermark;
        }
    }

    /// The probes that are out, from a number on.
    pub fn probes_from(&self, number: u64) -> impl Iterator<Item = Probes> {
        let skipped = number.saturating_sub(self.first);
        let first = self.first.max(number);
        let out = self.state.out.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
        (first..).zip(out).map(|(number, out)| Probes { number, rows: out.rows.clone() })
    }

    /// The number that the next probes will get.
    pub fn next_number(&self) -> u64 {
        self.first + self.state.out.len() as u64
    }

    /// How many rows are out, and how many are kept as a table.
    pub fn rows(&self) -> usize {
        self.rows + self.state.table.as_ref().map_or(0, |t| t.rows().num_rows())
    }

    /// How many bytes both take.
    pub fn bytes(&self) -> usize {
        let out: usize = self.state.out.iter().map(|o| o.rows.rows.get_array_memory_size()).sum();
        out + self.state.table.as_ref().map_or(0, |t| t.rows().get_array_memory_size())
    }

    pub fn is_empty(&self) -> bool {
        self.state.out.is_empty()
    }

    /// The watermark behind all that has left.
    pub fn latest(&self) -> Watermark {
        self.state.latest
    }

    pub fn state(&self) -> InFlightState {
        self.state.clone()
    }

    /// Takes over what another kept, before the first step.
    pub fn restore(&mut self, state: InFlightState) {
        self.rows = state.out.iter().map(|o| o.rows.num_rows()).sum();
        self.state = state;
    }
}
