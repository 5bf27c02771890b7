//! What rows must satisfy, and what is remembered of those that a match has bound.

use std::sync::Arc;

use super::scalar::Scalar;
use super::slot::General;
use super::term::{Beside, Row, Term, add, extreme};

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
        value: Beside,
    },
    /// The first rows' values.
    First {
        /// The first register.
        at: usize,
        /// How many.
        count: usize,
        /// The value.
        value: Beside,
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
    /// How many rows before those of a match conditions and measures look back in the partition.
    pub before: u64,
    /// How many rows behind those of a match they look ahead.
    pub after: u64,
    /// Whether a condition depends on the match's rows in a way that registers do not tell.
    pub general: bool,
}

impl Program {
    /// Remembers a row that is bound to a variable.
    pub fn bind(&self, variable: u32, row: &Current<'_>, registers: &mut [Scalar]) {
        for update in &self.updates[variable as usize] {
            match update {
                Update::Last { at, count, value } => {
                    registers.copy_within(*at..at + count - 1, at + 1);
                    registers[*at] = value.of(row);
                }
                Update::First { at, count, value } => {
                    let free = registers[*at..at + count].iter_mut().find(|r| **r == Scalar::Absent);
                    if let Some(register) = free {
                        *register = value.of(row);
                    }
                }
                Update::Count { at, cell } => {
                    let before = if let Scalar::Int(n) = registers[*at] { n } else { 0 };
                    let counts = cell.is_none_or(|cell| !row.cell(cell).is_null());
                    registers[*at] = Scalar::Int(before + i64::from(counts));
                }
                Update::Total { at, cell } => {
                    (registers[*at], registers[at + 1]) = add(registers[*at], registers[at + 1], row.cell(*cell));
                }
                Update::Extreme { at, cell, least } => {
                    registers[*at] = extreme(registers[*at], row.cell(*cell), *least);
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

    fn beside(&self, cell: usize, shift: i64) -> Scalar {
        let row = isize::try_from(shift).ok().and_then(|shift| self.row.checked_add_signed(shift));
        let value = row.and_then(|row| self.cells.get(row * self.width + cell));
        value.copied().unwrap_or(Scalar::Absent)
    }

    fn register(&self, at: usize) -> Scalar {
        self.registers[at]
    }
}
