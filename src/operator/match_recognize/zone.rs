//! Many rows at once: what they may make of a condition, told by the least and the greatest of their values.

mod blocks;

use std::cmp::Ordering;

pub(super) use self::blocks::Zones;
use super::program::{Condition, Program};
use super::scalar::Scalar;
use super::term::{Arithmetic, Compare, Number, Term};

/// What a condition may be: a bit for each of true, false, and not known.
type Truth = u8;
const TRUE: Truth = 1;
const FALSE: Truth = 2;
const UNKNOWN: Truth = 4;
const ANY: Truth = 7;

/// The values of some rows.
#[derive(Debug, Clone, Copy)]
struct Range {
    /// The least and the greatest, if there is one.
    ends: Option<(Scalar, Scalar)>,
    /// Whether there may be NULLs.
    null: bool,
}

impl Range {
    /// Of no rows.
    const NONE: Range = Range { ends: None, null: false };

    fn of(value: Scalar) -> Self {
        let null = value.is_null();
        Self { ends: (!null).then_some((value, value)), null }
    }

    /// Takes in the values of other rows.
    fn add(&mut self, other: &Self) {
        self.null |= other.null;
        match (&mut self.ends, &other.ends) {
            (Some((Scalar::Int(low), Scalar::Int(high))), Some((Scalar::Int(a), Scalar::Int(b)))) => {
                *low = (*low).min(*a);
                *high = (*high).max(*b);
            }
            (Some((low, high)), Some((a, b))) => {
                if a.compare(*low) == Some(Ordering::Less) {
                    *low = *a;
                }
                if b.compare(*high) == Some(Ordering::Greater) {
                    *high = *b;
                }
            }
            (own, other) => *own = own.or(*other),
        }
    }

    /// Of truth values.
    fn truth(self) -> Truth {
        let known = match self.ends {
            Some((Scalar::Bool(a), Scalar::Bool(b))) => match (a, b) {
                (true, true) => TRUE,
                (false, false) => FALSE,
                _ => TRUE | FALSE,
            },
            None => 0,
            _ => TRUE | FALSE,
        };
        known | if self.null { UNKNOWN } else { 0 }
    }
}

/// What is known of some rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Zone<'a> {
    /// By cell. What conditions do not read is not known.
    cells: &'a [Range],
    /// The latest time.
    pub latest: i64,
}

impl Zone<'_> {
    /// Whether every row satisfies a condition.
    pub fn always(&self, condition: &Condition, registers: &[Scalar]) -> bool {
        self.truth_of(condition, registers) == TRUE
    }

    /// Whether no row satisfies a condition.
    pub fn never(&self, condition: &Condition, registers: &[Scalar]) -> bool {
        self.truth_of(condition, registers) & TRUE == 0
    }

    fn truth_of(&self, condition: &Condition, registers: &[Scalar]) -> Truth {
        match condition {
            Condition::Always => TRUE,
            Condition::Cell(cell) => self.cells[*cell].truth(),
            Condition::Term(term) => self.truth(term, registers),
            Condition::General(_) => ANY,
        }
    }

    fn truth(&self, term: &Term, registers: &[Scalar]) -> Truth {
        let both = |a: &Term, b: &Term, and: bool| {
            let (a, b) = (self.truth(a, registers), self.truth(b, registers));
            let (decides, other) = if and { (FALSE, TRUE) } else { (TRUE, FALSE) };
            let mut truth = (a | b) & decides;
            if a & other != 0 && b & other != 0 {
                truth |= other;
            }
            // Not known, unless the other side decides in every row.
            if (a & UNKNOWN != 0 && b != decides) || (b & UNKNOWN != 0 && a != decides) {
                truth |= UNKNOWN;
            }
            truth
        };
        match term {
            Term::And(a, b) => both(a, b, true),
            Term::Or(a, b) => both(a, b, false),
            Term::Not(inner) => {
                let inner = self.truth(inner, registers);
                let flip = |from: Truth, to: Truth| if inner & from != 0 { to } else { 0 };
                flip(TRUE, FALSE) | flip(FALSE, TRUE) | (inner & UNKNOWN)
            }
            Term::IsNull(inner) => match self.range(inner, registers) {
                Some(Range { ends: None, .. }) => TRUE,
                Some(Range { null: false, .. }) => FALSE,
                _ => TRUE | FALSE,
            },
            Term::Compare(compare, a, b) => match (self.range(a, registers), self.range(b, registers)) {
                (Some(a), Some(b)) => compared(*compare, a, b),
                _ => ANY,
            },
            other => self.range(other, registers).map_or(ANY, Range::truth),
        }
    }

    fn range(&self, term: &Term, registers: &[Scalar]) -> Option<Range> {
        match term {
            Term::Constant(value) => Some(Range::of(*value)),
            Term::Cell(cell) => Some(self.cells[*cell]),
            Term::Register { at, absent } => Some(Range::of(match registers[*at] {
                Scalar::Absent => *absent,
                value => value,
            })),
            Term::Count { at, with: None } => Some(Range::of(match registers[*at] {
                Scalar::Int(n) => Scalar::Int(n),
                _ => Scalar::Int(0),
            })),
            Term::Arithmetic(operation, number, a, b) => {
                arithmetic(*operation, *number, self.range(a, registers)?, self.range(b, registers)?)
            }
            _ => None,
        }
    }
}

fn compared(compare: Compare, a: Range, b: Range) -> Truth {
    let unknown = if a.null || b.null { UNKNOWN } else { 0 };
    if matches!(compare, Compare::Distinct | Compare::NotDistinct) {
        return TRUE | FALSE;
    }
    let (Some((a_low, a_high)), Some((b_low, b_high))) = (a.ends, b.ends) else { return UNKNOWN };
    // How the least of a compares with the greatest of b, and the other way around.
    let (Some(low), Some(high)) = (a_low.compare(b_high), a_high.compare(b_low)) else { return ANY };
    let (may_less, may_greater) = (low == Ordering::Less, high == Ordering::Greater);
    let may_equal = low != Ordering::Greater && high != Ordering::Less;
    let (holds, fails) = match compare {
        Compare::Less => (may_less, may_equal || may_greater),
        Compare::LessOrEqual => (may_less || may_equal, may_greater),
        Compare::Greater => (may_greater, may_equal || may_less),
        Compare::GreaterOrEqual => (may_greater || may_equal, may_less),
        Compare::Equal => (may_equal, may_less || may_greater),
        _ => (may_less || may_greater, may_equal),
    };
    unknown | if holds { TRUE } else { 0 } | if fails { FALSE } else { 0 }
}

/// Sums and differences; nothing is told of those that might wrap, and of products.
fn arithmetic(operation: Arithmetic, number: Number, a: Range, b: Range) -> Option<Range> {
    let null = a.null || b.null;
    let (Some((a_low, a_high)), Some((b_low, b_high))) = (a.ends, b.ends) else {
        return Some(Range { ends: None, null: true });
    };
    let (b_first, b_last) = match operation {
        Arithmetic::Plus => (b_low, b_high),
        Arithmetic::Minus => (b_high, b_low),
        Arithmetic::Times => return None,
    };
    let of = |a: Scalar, b: Scalar| match (a, b) {
        (Scalar::Int(a), Scalar::Int(b)) => {
            let value = if operation == Arithmetic::Plus { a.checked_add(b) } else { a.checked_sub(b) };
            let Number::Int(bits) = number else { return None };
            let most = i64::MAX >> (64 - u32::from(bits));
            value.filter(|v| (-most - 1..=most).contains(v)).map(Scalar::Int)
        }
        _ => None,
    };
    Some(Range { ends: Some((of(a_low, b_first)?, of(a_high, b_last)?)), null })
}

/// The cells of which conditions read something that a zone tells.
fn cells_read(program: &Program) -> Vec<usize> {
    let mut cells = Vec::new();
    for condition in &program.conditions {
        match condition {
            Condition::Cell(cell) => cells.push(*cell),
            Condition::Term(term) => cells_of(term, &mut cells),
            Condition::Always | Condition::General(_) => {}
        }
    }
    cells.sort_unstable();
    cells.dedup();
    cells
}

fn cells_of(term: &Term, cells: &mut Vec<usize>) {
    match term {
        Term::Cell(cell) => cells.push(*cell),
        Term::Not(inner) | Term::IsNull(inner) => cells_of(inner, cells),
        Term::And(a, b) | Term::Or(a, b) | Term::Compare(_, a, b) | Term::Arithmetic(_, _, a, b) => {
            cells_of(a, cells);
            cells_of(b, cells);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
