//! What rows must satisfy, and what is remembered of those that a match has bound.

use std::sync::Arc;

use super::scalar::Scalar;
use super::slot::General;
use super::term::{Row, Term, add, extreme};

/// The condition of a variable.
#[derive(Debug, Clone)]
pub enum Condition {
    /// The variable is not defined: every row satisfies it.
    Always,
    /// The current row alone decides: a truth value in it.
    Cell(usize),
    /// Over single values.
    Term(Term),
    /// Anything else, evaluated over columns of one row.
    General(Arc<General>),
}

/// What is remembered when a row is bound.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// The last rows' values, the latest in the first register.
    Last {
        /// The first register.
        at: usize,
        /// How many.
        count: usize,
        /// The value.
        cell: usize,
    },
    /// The first rows' values.
    First {
        /// The first register.
        at: usize,
        /// How many.
        count: usize,
        /// The value.
        cell: usize,
    },
    /// How many rows, or values that are not NULL.
    Count {
        /// The register.
        at: usize,
        /// The value; `None` counts rows.
        cell: Option<usize>,
    },
    /// A sum, and behind it the count of its values.
    Total {
        /// The register.
        at: usize,
        /// The value.
        cell: usize,
    },
    /// The least or the greatest value.
    Extreme {
        /// The register.
        at: usize,
        /// The value.
        cell: usize,
        /// Whether it is the least.
        least: bool,
    },
}

/// The conditions of a pattern's variables.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The input's columns whose values conditions compute with.
    pub cells: Vec<usize>,
    /// How many values are remembered.
    pub registers: usize,
    /// By variable.
    pub conditions: Vec<Condition>,
    /// By variable: what is remembered of its rows.
    pub updates: Vec<Vec<Update>>,
    /// How many rows before the current one conditions look back in the partition.
    pub before: u64,
    /// Whether a condition depends on the match's rows in a way that registers do not tell.
    pub general: bool,
}

impl Program {
    /// Remembers a row that is bound to a variable.
    pub fn bind(&self, variable: u32, cells: &[Scalar], registers: &mut [Scalar]) {
        for update in &self.updates[variable as usize] {
            match update {
                Update::Last { at, count, cell } => {
                    registers.copy_within(*at..at + count - 1, at + 1);
                    registers[*at] = cells[*cell];
                }
                Update::First { at, count, cell } => {
                    let free = registers[*at..at + count].iter_mut().find(|r| **r == Scalar::Absent);
                    if let Some(register) = free {
                        *register = cells[*cell];
                    }
                }
                Update::Count { at, cell } => {
                    let before = if let Scalar::Int(n) = registers[*at] { n } else { 0 };
                    let counts = cell.is_none_or(|cell| !cells[cell].is_null());
                    registers[*at] = Scalar::Int(before + i64::from(counts));
                }
                Update::Total { at, cell } => {
                    (registers[*at], registers[at + 1]) = add(registers[*at], registers[at + 1], cells[*cell]);
                }
                Update::Extreme { at, cell, least } => {
                    registers[*at] = extreme(registers[*at], cells[*cell], *least);
                }
            }
        }
    }
}

/// A row of a partition, and what a thread of the match remembers.
pub struct Current<'a> {
    /// The partition's values, row by row.
    pub cells: &'a [Scalar],
    /// How many values a row has.
    pub width: usize,
    /// Where the row stands.
    pub row: usize,
    /// What is remembered.
    pub registers: &'a [Scalar],
}

impl Row for Current<'_> {
    fn cell(&self, cell: usize) -> Scalar {
        self.cells[self.row * self.width + cell]
    }

    fn before(&self, cell: usize, rows: u64) -> Scalar {
        match usize::try_from(rows).ok().and_then(|rows| self.row.checked_sub(rows)) {
            Some(row) => self.cells[row * self.width + cell],
            None => Scalar::Absent,
        }
    }

    fn register(&self, at: usize) -> Scalar {
        self.registers[at]
    }
}
