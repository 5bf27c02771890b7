//! Random patterns and conditions, as SQL and as trees to be tried.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// A pattern.
#[derive(Debug, Clone)]
pub enum Pattern {
    Variable(usize),
    Concat(Vec<Pattern>),
    Either(Vec<Pattern>),
    /// What, at least, at most, greedily.
    Repeat(Box<Pattern>, usize, Option<usize>, bool),
}

pub const NAMES: [&str; 4] = ["A", "B", "C", "D"];

impl Pattern {
    pub fn sql(&self) -> String {
        let all = |parts: &[Pattern], between: &str| parts.iter().map(Pattern::sql).collect::<Vec<_>>().join(between);
        match self {
            Pattern::Variable(v) => NAMES[*v].to_string(),
            Pattern::Concat(parts) => format!("({})", all(parts, " ")),
            Pattern::Either(parts) => format!("({})", all(parts, " | ")),
            Pattern::Repeat(inner, min, max, greedy) => {
                let quantifier = match (min, max) {
                    (0, None) => "*".to_string(),
                    (1, None) => "+".to_string(),
                    (0, Some(1)) => "?".to_string(),
                    (n, None) => format!("{{{n},}}"),
                    (n, Some(m)) if n == m => format!("{{{n}}}"),
                    (0, Some(m)) => format!("{{,{m}}}"),
                    (n, Some(m)) => format!("{{{n},{m}}}"),
                };
                let inner = match **inner {
                    Pattern::Repeat(..) => format!("({})", inner.sql()),
                    _ => inner.sql(),
                };
                format!("{inner}{quantifier}{}", if *greedy { "" } else { "?" })
            }
        }
    }

    pub fn variables(&self, into: &mut Vec<usize>) {
        match self {
            Pattern::Variable(v) if into.contains(v) => {}
            Pattern::Variable(v) => into.push(*v),
            Pattern::Concat(parts) | Pattern::Either(parts) => parts.iter().for_each(|p| p.variables(into)),
            Pattern::Repeat(inner, ..) => inner.variables(into),
        }
    }

    /// Whether it matches no rows at all.
    fn matches_nothing(&self) -> bool {
        match self {
            Pattern::Variable(_) => false,
            Pattern::Concat(parts) => parts.iter().all(Pattern::matches_nothing),
            Pattern::Either(parts) => parts.iter().any(Pattern::matches_nothing),
            Pattern::Repeat(inner, min, ..) => *min == 0 || inner.matches_nothing(),
        }
    }

    /// Single variables one after the other, as Flink takes them.
    pub fn flinks(rng: &mut Xoshiro256PlusPlus) -> Self {
        loop {
            let count = rng.random_range(1..=4);
            let mut parts = Vec::new();
            let mut held = false;
            let mut optional = true;
            for v in 0..count {
                let inner = Box::new(Pattern::Variable(v));
                let (min, max, greedy) = match rng.random_range(0..9) {
                    0 | 1 => (0, None, rng.random_bool(0.6)),
                    2 | 3 => (1, None, rng.random_bool(0.6)),
                    4 => (0, Some(1), true),
                    5 => (2, Some(2), true),
                    6 => (1, Some(2), rng.random_bool(0.5)),
                    _ => (1, Some(1), true),
                };
                let holds = greedy && max != Some(min) && (min, max) != (0, Some(1));
                if (held && min == 0) || (holds && v + 1 == count) {
                    parts.push(Pattern::Variable(v));
                    (held, optional) = (false, false);
                    continue;
                }
                optional &= min == 0;
                held = holds;
                parts.push(match (min, max) {
                    (1, Some(1)) => *inner,
                    _ => Pattern::Repeat(inner, min, max, greedy),
                });
            }
            if !optional {
                return Pattern::Concat(parts);
            }
        }
    }

    /// Anything of some size.
    pub fn random(rng: &mut Xoshiro256PlusPlus, depth: usize) -> Self {
        match rng.random_range(0..6) {
            0 | 1 if depth > 0 => {
                Pattern::Concat((0..rng.random_range(1..=3)).map(|_| Self::random(rng, depth - 1)).collect())
            }
            2 if depth > 0 => {
                Pattern::Either((0..rng.random_range(2..=3)).map(|_| Self::random(rng, depth - 1)).collect())
            }
            3 | 4 => {
                let inner = Box::new(Self::random(rng, depth.saturating_sub(1)));
                // What repeats nothing more than once is preferred how, no one says.
                let which = if inner.matches_nothing() { 0 } else { rng.random_range(0..7) };
                let (min, max) =
                    [(0, Some(1)), (0, None), (1, None), (1, Some(2)), (0, Some(2)), (2, None), (2, Some(2))][which];
                Pattern::Repeat(inner, min, max, rng.random_bool(0.6))
            }
            _ => Pattern::Variable(rng.random_range(0..3)),
        }
    }
}

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    pub id: i64,
    pub p: Option<i64>,
    pub time: i64,
}

/// A number read of a match's rows so far.
#[derive(Debug, Clone)]
pub enum Value {
    Constant(i64),
    /// `p`
    Own,
    /// `v.p`, `LAST(v.p, n)`
    Last(usize, usize),
    /// `FIRST(v.p, n)`
    First(usize, usize),
    /// `NEXT(p, n)`; `PREV` where it is negative
    Beside(i64),
    /// `NEXT(LAST(v.p, n), m)`, or of the first ones
    BesideOf(usize, bool, usize, i64),
    Sum(Option<usize>),
    Count(usize),
    Average(usize),
    Least(usize),
    /// `v.p - n`, computed in the row
    Less(usize, i64),
    /// A sum of two.
    Plus(Box<Value>, Box<Value>),
    /// By a function that conditions know nothing of.
    Absolute(Box<Value>),
    Distinct(usize),
}

/// A condition.
#[derive(Debug, Clone)]
pub enum Condition {
    Compare(Value, &'static str, Value),
    IsNull(Value),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
}

/// The rows so far: variables and places; and all rows of the partition.
pub struct Bound<'a> {
    pub rows: &'a [Row],
    pub start: usize,
    pub variables: &'a [usize],
}

impl Bound<'_> {
    pub fn places(&self, variable: Option<usize>) -> Vec<usize> {
        let of = |(at, v): (usize, &usize)| variable.is_none_or(|w| w == *v).then_some(self.start + at);
        self.variables.iter().enumerate().filter_map(of).collect()
    }

    /// The row so many places behind one, in the match or not.
    pub fn beside(&self, at: usize, shift: i64) -> Option<&Row> {
        self.rows.get(at.checked_add_signed(shift as isize)?)
    }

    fn values(&self, variable: Option<usize>) -> Vec<i64> {
        self.places(variable).into_iter().filter_map(|at| self.rows[at].p).collect()
    }
}

fn beside(row: &str, shift: i64) -> String {
    format!("{}({row}, {})", if shift < 0 { "PREV" } else { "NEXT" }, shift.abs())
}

impl Value {
    pub fn random(rng: &mut Xoshiro256PlusPlus, variables: &[usize], own: usize) -> Self {
        let v = if rng.random_bool(0.5) { own } else { variables[rng.random_range(0..variables.len())] };
        let shift = [-2, -1, 1, 1, 2][rng.random_range(0..5)];
        match rng.random_range(0..17) {
            0..3 => Value::Constant(rng.random_range(0..6)),
            3 | 4 => Value::Own,
            5 | 6 => Value::Last(v, rng.random_range(0..3)),
            7 => Value::First(v, rng.random_range(0..2)),
            8 => Value::Beside(shift),
            9 => Value::Sum(rng.random_bool(0.7).then_some(v)),
            10 => Value::Count(v),
            11 => Value::Average(v),
            12 => Value::Least(v),
            13 => Value::Less(v, rng.random_range(0..3)),
            14 if rng.random_bool(0.5) => Value::BesideOf(v, rng.random_bool(0.5), rng.random_range(0..2), shift),
            14 | 15 => Value::Plus(Box::new(Self::random(rng, variables, own)), Box::new(Value::Last(v, 0))),
            _ if rng.random_bool(0.5) => Value::Absolute(Box::new(Value::Last(v, 1))),
            _ => Value::Distinct(v),
        }
    }

    pub fn sql(&self) -> String {
        let name = |v: &usize| NAMES[*v];
        match self {
            Value::Constant(n) => n.to_string(),
            Value::Own => "p".into(),
            Value::Last(v, 0) => format!("{}.p", name(v)),
            Value::Last(v, n) => format!("LAST({}.p, {n})", name(v)),
            Value::First(v, 0) => format!("FIRST({}.p)", name(v)),
            Value::First(v, n) => format!("FIRST({}.p, {n})", name(v)),
            Value::Beside(shift) => beside("p", *shift),
            Value::BesideOf(v, first, n, shift) => {
                beside(&format!("{}({}.p, {n})", if *first { "FIRST" } else { "LAST" }, name(v)), *shift)
            }
            Value::Sum(None) => "SUM(p)".into(),
            Value::Sum(Some(v)) => format!("SUM({}.p)", name(v)),
            Value::Count(v) => format!("COUNT({}.p)", name(v)),
            Value::Average(v) => format!("AVG({}.p)", name(v)),
            Value::Least(v) => format!("MIN({}.p)", name(v)),
            Value::Less(v, n) => format!("({}.p - {n})", name(v)),
            Value::Plus(a, b) => format!("({} + {})", a.sql(), b.sql()),
            Value::Absolute(a) => format!("ABS({} - 2)", a.sql()),
            Value::Distinct(v) => format!("COUNT(DISTINCT {}.p)", name(v)),
        }
    }

    pub fn of(&self, bound: &Bound<'_>) -> Option<i64> {
        let nth = |places: Vec<usize>, n: usize| places.get(n).and_then(|at| bound.rows[*at].p);
        let last = |v: Option<usize>, n| {
            let mut places = bound.places(v);
            places.reverse();
            nth(places, n)
        };
        match self {
            Value::Constant(n) => Some(*n),
            Value::Own => last(None, 0),
            Value::Last(v, n) => last(Some(*v), *n),
            Value::First(v, n) => nth(bound.places(Some(*v)), *n),
            Value::Beside(shift) => bound.beside(bound.places(None).last().copied()?, *shift)?.p,
            Value::BesideOf(v, first, n, shift) => {
                let mut places = bound.places(Some(*v));
                if !first {
                    places.reverse();
                }
                bound.beside(*places.get(*n)?, *shift)?.p
            }
            Value::Sum(v) => bound.values(*v).into_iter().reduce(|a, b| a + b),
            Value::Count(v) => Some(bound.values(Some(*v)).len() as i64),
            Value::Average(v) => {
                let values = bound.values(Some(*v));
                (!values.is_empty()).then(|| values.iter().sum::<i64>() / values.len() as i64)
            }
            Value::Least(v) => bound.values(Some(*v)).into_iter().min(),
            Value::Less(v, n) => Some(last(Some(*v), 0)? - n),
            Value::Plus(a, b) => Some(a.of(bound)? + b.of(bound)?),
            Value::Absolute(a) => Some((a.of(bound)? - 2).abs()),
            Value::Distinct(v) => {
                Some(bound.values(Some(*v)).into_iter().collect::<std::collections::BTreeSet<_>>().len() as i64)
            }
        }
    }
}

impl Condition {
    pub fn random(rng: &mut Xoshiro256PlusPlus, variables: &[usize], own: usize, depth: usize) -> Self {
        match rng.random_range(0..8) {
            0 if depth > 0 => Condition::And(
                Box::new(Self::random(rng, variables, own, depth - 1)),
                Box::new(Self::random(rng, variables, own, depth - 1)),
            ),
            1 if depth > 0 => Condition::Or(
                Box::new(Self::random(rng, variables, own, depth - 1)),
                Box::new(Self::random(rng, variables, own, depth - 1)),
            ),
            2 if depth > 0 => Condition::Not(Box::new(Self::random(rng, variables, own, depth - 1))),
            3 => Condition::IsNull(Value::random(rng, variables, own)),
            4..6 => Condition::Compare(
                Value::Own,
                ["<", ">=", "="][rng.random_range(0..3)],
                Value::Constant(rng.random_range(0..6)),
            ),
            _ => {
                let op = ["<", "<=", ">", ">=", "=", "<>"][rng.random_range(0..6)];
                Condition::Compare(Value::random(rng, variables, own), op, Value::random(rng, variables, own))
            }
        }
    }

    pub fn sql(&self) -> String {
        match self {
            Condition::Compare(a, op, b) => format!("{} {op} {}", a.sql(), b.sql()),
            Condition::IsNull(a) => format!("{} IS NULL", a.sql()),
            Condition::And(a, b) => format!("({} AND {})", a.sql(), b.sql()),
            Condition::Or(a, b) => format!("({} OR {})", a.sql(), b.sql()),
            Condition::Not(a) => format!("NOT ({})", a.sql()),
        }
    }

    /// True, false, or not known.
    pub fn of(&self, bound: &Bound<'_>) -> Option<bool> {
        match self {
            Condition::Compare(a, op, b) => {
                let (a, b) = (a.of(bound)?, b.of(bound)?);
                Some(match *op {
                    "<" => a < b,
                    "<=" => a <= b,
                    ">" => a > b,
                    ">=" => a >= b,
                    "=" => a == b,
                    _ => a != b,
                })
            }
            Condition::IsNull(a) => Some(a.of(bound).is_none()),
            Condition::And(a, b) => match (a.of(bound), b.of(bound)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Condition::Or(a, b) => match (a.of(bound), b.of(bound)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            Condition::Not(a) => a.of(bound).map(|b| !b),
        }
    }
}
