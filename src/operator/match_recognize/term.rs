//! Conditions as small programs over single values.

use std::cmp::Ordering;

use super::scalar::Scalar;

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `IS DISTINCT FROM`
    Distinct,
    /// `IS NOT DISTINCT FROM`
    NotDistinct,
}

/// What numbers are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Whole numbers of so many bits, which wrap.
    Int(u8),
    /// DOUBLE.
    Double,
}

/// An arithmetic operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
}

/// An expression over the current row and what is remembered of the rows of the match so far.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// A constant.
    Constant(Scalar),
    /// A value of the current row.
    Cell(usize),
    /// A value of a row beside the current one.
    Beside(Beside),
    /// What is remembered of a row.
    Register {
        /// The register.
        at: usize,
        /// What stands for a row that is not there.
        absent: Scalar,
    },
    /// The value of one of the first rows of a set of variables that the current row may belong to.
    First {
        /// The registers of the first rows.
        registers: usize,
        /// Which of them.
        nth: usize,
        /// The value for the current row.
        value: Beside,
        /// What stands for a row that is not there.
        absent: Scalar,
    },
    /// `NOT`
    Not(Box<Term>),
    /// `AND`
    And(Box<Term>, Box<Term>),
    /// `OR`
    Or(Box<Term>, Box<Term>),
    /// `IS NULL`
    IsNull(Box<Term>),
    /// A comparison.
    Compare(Compare, Box<Term>, Box<Term>),
    /// Arithmetic.
    Arithmetic(Arithmetic, Number, Box<Term>, Box<Term>),
    /// A whole number as DOUBLE.
    ToDouble(Box<Term>),
    /// `COUNT`
    Count {
        /// The rows, or values, so far.
        at: usize,
        /// Whether the current row counts too, and the value that must not be NULL in it.
        with: Option<Option<usize>>,
    },
    /// `SUM`, `AVG`
    Total {
        /// The register of the sum; behind it is that of the count.
        at: usize,
        /// The current row's value.
        with: Option<usize>,
        /// Whether it is the average.
        average: bool,
        /// The type.
        number: Number,
    },
    /// `MIN`, `MAX`
    Extreme {
        /// The register.
        at: usize,
        /// The current row's value.
        with: Option<usize>,
        /// Whether it is the least.
        least: bool,
    },
}

/// What a term is evaluated over.
pub trait Row {
    /// A value of the current row.
    fn cell(&self, cell: usize) -> Scalar;
    /// A value of a row so many places behind it, if it is there.
    fn beside(&self, cell: usize, shift: i64) -> Scalar;
    /// What is remembered.
    fn register(&self, at: usize) -> Scalar;
}

/// A value of a row that stands beside another in its partition, or of that row itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beside {
    /// The value.
    pub cell: usize,
    /// How many places behind; before where this is negative.
    pub shift: i64,
    /// What stands for a row that is not there.
    pub absent: Scalar,
}

impl Beside {
    /// The value for a row.
    pub fn of(&self, row: &impl Row) -> Scalar {
        match self.shift {
            0 => row.cell(self.cell),
            shift => known(row.beside(self.cell, shift), self.absent),
        }
    }
}

/// Adds a value to the sum and the count of some.
pub fn add(sum: Scalar, count: Scalar, value: Scalar) -> (Scalar, Scalar) {
    let counted = match count {
        Scalar::Int(n) => n,
        _ => 0,
    };
    match (sum, value) {
        (_, Scalar::Absent | Scalar::Null) => (sum, Scalar::Int(counted)),
        (Scalar::Int(a), Scalar::Int(b)) => (Scalar::Int(a.wrapping_add(b)), Scalar::Int(counted + 1)),
        (Scalar::Float(a), Scalar::Float(b)) => (Scalar::Float(a + b), Scalar::Int(counted + 1)),
        (_, value) => (value, Scalar::Int(counted + 1)),
    }
}

/// The less, or the greater, of two values; NULL is passed over.
pub fn extreme(a: Scalar, b: Scalar, least: bool) -> Scalar {
    let wanted = if least { Ordering::Less } else { Ordering::Greater };
    match b.compare(a) {
        Some(order) if order == wanted => b,
        None if a.is_null() => b,
        _ => a,
    }
}

/// A whole number as it is in so many bits.
fn wrapped(n: i64, bits: u8) -> i64 {
    match bits {
        8 => i64::from(n as i8),
        16 => i64::from(n as i16),
        32 => i64::from(n as i32),
        _ => n,
    }
}

fn known(value: Scalar, absent: Scalar) -> Scalar {
    if let Scalar::Absent = value { absent } else { value }
}

fn truth(value: Scalar) -> Option<bool> {
    if let Scalar::Bool(b) = value { Some(b) } else { None }
}

fn scalar(value: Option<bool>) -> Scalar {
    value.map_or(Scalar::Null, Scalar::Bool)
}

impl Term {
    /// Its value.
    pub fn evaluate(&self, row: &impl Row) -> Scalar {
        match self {
            Term::Constant(value) => *value,
            Term::Cell(cell) => row.cell(*cell),
            Term::Beside(value) => value.of(row),
            Term::Register { at, absent } => known(row.register(*at), *absent),
            Term::First { registers, nth, value: current, absent } => match row.register(registers + nth) {
                Scalar::Absent if *nth == 0 || row.register(registers + nth - 1) != Scalar::Absent => current.of(row),
                value => known(value, *absent),
            },
            Term::Not(term) => scalar(truth(term.evaluate(row)).map(|b| !b)),
            Term::And(left, right) => match truth(left.evaluate(row)) {
                Some(false) => Scalar::Bool(false),
                left => match (left, truth(right.evaluate(row))) {
                    (_, Some(false)) => Scalar::Bool(false),
                    (Some(true), right) => scalar(right),
                    _ => Scalar::Null,
                },
            },
            Term::Or(left, right) => match truth(left.evaluate(row)) {
                Some(true) => Scalar::Bool(true),
                left => match (left, truth(right.evaluate(row))) {
                    (_, Some(true)) => Scalar::Bool(true),
                    (Some(false), right) => scalar(right),
                    _ => Scalar::Null,
                },
            },
            Term::IsNull(term) => Scalar::Bool(term.evaluate(row).is_null()),
            Term::Compare(compare, left, right) => compare.of(left.evaluate(row), right.evaluate(row)),
            Term::Arithmetic(operation, number, left, right) => {
                operation.of(*number, left.evaluate(row), right.evaluate(row))
            }
            Term::ToDouble(term) => match term.evaluate(row) {
                Scalar::Int(n) => Scalar::Float(n as f64),
                other => other,
            },
            Term::Count { at, with } => {
                let before = if let Scalar::Int(n) = row.register(*at) { n } else { 0 };
                let current = with.is_some_and(|cell| cell.is_none_or(|cell| !row.cell(cell).is_null()));
                Scalar::Int(before + i64::from(current))
            }
            Term::Total { at, with, average, number } => {
                let (mut sum, mut count) = (row.register(*at), row.register(at + 1));
                if let Some(cell) = with {
                    (sum, count) = add(sum, count, row.cell(*cell));
                }
                total(sum, count, *average, *number)
            }
            Term::Extreme { at, with, least } => {
                let before = row.register(*at);
                known(with.map_or(before, |cell| extreme(before, row.cell(cell), *least)), Scalar::Null)
            }
        }
    }
}

fn total(sum: Scalar, count: Scalar, average: bool, number: Number) -> Scalar {
    match (sum, count, number) {
        (Scalar::Int(sum), Scalar::Int(count), Number::Int(bits)) => {
            let value = if average { sum.checked_div(count).unwrap_or_default() } else { sum };
            Scalar::Int(wrapped(value, bits))
        }
        (Scalar::Float(sum), Scalar::Int(count), _) if average => Scalar::Float(sum / count as f64),
        (Scalar::Float(_), ..) => sum,
        _ => Scalar::Null,
    }
}

impl Compare {
    fn of(self, left: Scalar, right: Scalar) -> Scalar {
        let order = left.compare(right);
        match self {
            Compare::Distinct => Scalar::Bool(!same(left, right, order)),
            Compare::NotDistinct => Scalar::Bool(same(left, right, order)),
            _ => scalar(order.map(|order| match self {
                Compare::Equal => order == Ordering::Equal,
                Compare::NotEqual => order != Ordering::Equal,
                Compare::Less => order == Ordering::Less,
                Compare::LessOrEqual => order != Ordering::Greater,
                Compare::Greater => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })),
        }
    }
}

fn same(left: Scalar, right: Scalar, order: Option<Ordering>) -> bool {
    order.map_or(left.is_null() && right.is_null(), |o| o == Ordering::Equal)
}

impl Arithmetic {
    fn of(self, number: Number, left: Scalar, right: Scalar) -> Scalar {
        match (left, right, number) {
            (Scalar::Int(a), Scalar::Int(b), Number::Int(bits)) => {
                let result = match self {
                    Arithmetic::Plus => a.wrapping_add(b),
                    Arithmetic::Minus => a.wrapping_sub(b),
                    Arithmetic::Times => a.wrapping_mul(b),
                };
                Scalar::Int(wrapped(result, bits))
            }
            (Scalar::Float(a), Scalar::Float(b), Number::Double) => Scalar::Float(match self {
                Arithmetic::Plus => a + b,
                Arithmetic::Minus => a - b,
                Arithmetic::Times => a * b,
            }),
            _ => Scalar::Null,
        }
    }
}
