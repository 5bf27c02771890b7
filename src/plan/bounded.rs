//! Joins whose conditions bound how far apart in time two rows can be: by equal windows, or by an interval.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use crate::change::TimeSpan;
use crate::operator::interval_join::JoinTime;
use crate::runtime::circuit::{Changelog, NodeNotes};
use crate::runtime::{Bound, Held};

/// Two inputs of a join, the left and the right of its operator.
pub(super) struct Sides<'a> {
    pub plans: [&'a LogicalPlan; 2],
    /// What is known of their rows; columns are counted as in the plans.
    pub notes: [&'a NodeNotes; 2],
    /// The key columns.
    pub keys: [&'a [usize]; 2],
}

/// An interval that a join's condition keeps its rows' times in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interval {
    /// Which times.
    pub time: JoinTime,
    /// By how many milliseconds the right row can be later than the left, and the left than the right.
    pub reach: [i64; 2],
    /// What else the condition says.
    pub rest: Option<Expr>,
}

/// The windows that both sides' rows carry, where those of a pair are the same.
pub(super) fn common_window(sides: &Sides<'_>) -> Option<[(usize, usize); 2]> {
    if sides.notes.iter().any(|n| n.changelog != Changelog::Append) {
        return None;
    }
    let equal = |left: usize, right: usize| {
        let mut pairs = sides.keys[0].iter().zip(sides.keys[1]);
        pairs.any(|(l, r)| (*l, *r) == (left, right))
    };
    let [left, right] = sides.notes.map(|n| &n.windows);
    let pairs = left.iter().flat_map(|l| right.iter().map(move |r| [*l, *r]));
    pairs.into_iter().find(|[l, r]| equal(l.0, r.0) && equal(l.1, r.1))
}

/// The interval that a join by some equalities and a further condition has, if its condition bounds the times on both sides of
/// each row.
pub(super) fn interval(sides: &Sides<'_>, on: &[(&Expr, &Expr)], condition: Option<&Expr>) -> Option<Interval> {
    if sides.notes.iter().any(|n| n.changelog != Changelog::Append) {
        return None;
    }
    let mut found: BTreeMap<[usize; 2], Bounds> = BTreeMap::new();
    for (left, right) in on {
        note(sides, left, Operator::Eq, right, None, &mut found);
    }
    let parts: Vec<&Expr> = condition.map(split_conjunction).unwrap_or_default();
    for (i, part) in parts.iter().enumerate() {
        match unwrapped(part) {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => note(sides, left, *op, right, Some(i), &mut found),
            Expr::Between(between) if !between.negated => {
                note(sides, &between.expr, Operator::GtEq, &between.low, Some(i), &mut found);
                note(sides, &between.expr, Operator::LtEq, &between.high, Some(i), &mut found);
            }
            _ => {}
        }
    }
    let whole = |(columns, bounds): ([usize; 2], Bounds)| {
        let reach = [bounds.earliest?.checked_neg()?, bounds.latest?];
        let time = time_of(sides, columns)?;
        // Times that are not whole milliseconds are near enough to find rows by; what is true of them the condition says.
        let exact = time == JoinTime::Processing || is_whole(sides, columns);
        let reach = if exact { reach } else { [reach[0].checked_add(1)?, reach[1].checked_add(1)?] };
        let kept = |(i, _): &(usize, &&Expr)| !exact || !bounds.parts.contains(i);
        let rest = conjunction(parts.iter().enumerate().filter(kept).map(|(_, e)| (*e).clone()));
        Some(Interval { time, reach, rest })
    };
    found.into_iter().find_map(whole)
}

/// What is known of the difference between two columns, the left less the right, in milliseconds.
#[derive(Default)]
struct Bounds {
    earliest: Option<i64>,
    latest: Option<i64>,
    /// The parts of the condition that say so, and nothing else.
    parts: Vec<usize>,
}

/// A time column, and what is added to it in milliseconds.
struct Term {
    side: usize,
    column: usize,
    plus: i64,
}

/// Notes what a comparison of times of both sides says.
fn note(
    sides: &Sides<'_>,
    left: &Expr,
    op: Operator,
    right: &Expr,
    part: Option<usize>,
    found: &mut BTreeMap<[usize; 2], Bounds>,
) {
    let (Some(a), Some(b)) = (term(sides, left), term(sides, right)) else { return };
    let (a, op, b) = match (a.side, b.side) {
        (0, 1) => (a, op, b),
        (1, 0) => match op.swap() {
            Some(op) => (b, op, a),
            None => return,
        },
        _ => return,
    };
    let Some(difference) = b.plus.checked_sub(a.plus) else { return };
    let (earliest, latest) = match op {
        Operator::Eq => (Some(difference), Some(difference)),
        Operator::LtEq => (None, Some(difference)),
        Operator::Lt => (None, difference.checked_sub(1)),
        Operator::GtEq => (Some(difference), None),
        Operator::Gt => (difference.checked_add(1), None),
        _ => return,
    };
    let bounds = found.entry([a.column, b.column]).or_default();
    bounds.earliest = bounds.earliest.max(earliest);
    bounds.latest = match (bounds.latest, latest) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    };
    bounds.parts.extend(part);
}

fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unwrapped(&alias.expr),
        other => other,
    }
}

/// A time column of a side, with spans added and taken away.
fn term(sides: &Sides<'_>, expr: &Expr) -> Option<Term> {
    match unwrapped(expr) {
        Expr::Column(column) => {
            let place = |side: usize| sides.plans[side].schema().maybe_index_of_column(column);
            match (place(0), place(1)) {
                (Some(column), None) => Some(Term { side: 0, column, plus: 0 }),
                (None, Some(column)) => Some(Term { side: 1, column, plus: 0 }),
                _ => None,
            }
        }
        Expr::Cast(cast) => {
            let inner = term(sides, &cast.expr)?;
            let from = sides.plans[inner.side].schema().field(inner.column).data_type().clone();
            keeps_time(&from, cast.field.data_type()).then_some(inner)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Plus => match (span(left), span(right)) {
                (None, Some(span)) => moved(term(sides, left)?, span),
                (Some(span), None) => moved(term(sides, right)?, span),
                _ => None,
            },
            Operator::Minus => moved(term(sides, left)?, span(right)?.checked_neg()?),
            _ => None,
        },
        _ => None,
    }
}

fn moved(term: Term, by: i64) -> Option<Term> {
    Some(Term { plus: term.plus.checked_add(by)?, ..term })
}

/// Whether a cast of a timestamp leaves it the same instant.
fn keeps_time(from: &DataType, to: &DataType) -> bool {
    let rank = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    match (from, to) {
        (DataType::Timestamp(a, from), DataType::Timestamp(b, to)) => {
            from.is_some() == to.is_some() && rank(a) <= rank(b)
        }
        _ => false,
    }
}

/// A span that is written in the query, in milliseconds; no months, which are not all of one length.
fn span(expr: &Expr) -> Option<i64> {
    match unwrapped(expr) {
        Expr::Literal(ScalarValue::IntervalDayTime(Some(v)), _) => {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(i64::from(v.milliseconds))
        }
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(v)), _)
            if v.months == 0 && v.nanoseconds % 1_000_000 == 0 =>
        {
            i64::from(v.days).checked_mul(86_400_000)?.checked_add(v.nanoseconds / 1_000_000)
        }
        Expr::Literal(ScalarValue::DurationSecond(Some(v)), _) => v.checked_mul(1000),
        Expr::Literal(ScalarValue::DurationMillisecond(Some(v)), _) => Some(*v),
        Expr::Literal(ScalarValue::DurationMicrosecond(Some(v)), _) if v % 1000 == 0 => Some(v / 1000),
        Expr::Literal(ScalarValue::DurationNanosecond(Some(v)), _) if v % 1_000_000 == 0 => Some(v / 1_000_000),
        Expr::Negative(inner) => span(inner)?.checked_neg(),
        Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Interval(_) | DataType::Duration(_)) => {
            span(&cast.expr)
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::Plus => span(left)?.checked_add(span(right)?),
            Operator::Minus => span(left)?.checked_sub(span(right)?),
            _ => None,
        },
        _ => None,
    }
}

/// By which times two columns join, if they are of times that the watermark or the clock bounds.
fn time_of(sides: &Sides<'_>, columns: [usize; 2]) -> Option<JoinTime> {
    let both = |of: fn(&NodeNotes, &usize) -> bool| sides.notes.iter().zip(&columns).all(|(n, c)| of(n, c));
    if both(|n, c| n.rowtimes.contains(c) || n.window_ends.contains(c)) {
        return Some(JoinTime::Rowtime(columns));
    }
    both(|n, c| n.proctimes.contains(c)).then_some(JoinTime::Processing)
}

fn is_whole(sides: &Sides<'_>, columns: [usize; 2]) -> bool {
    sides.plans.iter().zip(columns).all(|(plan, column)| {
        matches!(
            plan.schema().field(column).data_type(),
            DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, _)
        )
    })
}

impl Interval {
    /// What is kept of each side.
    pub fn bound(&self) -> Bound {
        let kept = |side: usize| {
            let name = ["left", "right"][side];
            Held::rows(format!("the {name} input")).within(self.reach[side].max(0), "interval")
        };
        match self.reach[0].max(0) == self.reach[1].max(0) {
            true => Bound::of([Held::rows("both inputs").within(self.reach[0].max(0), "interval")]),
            false => Bound::of([kept(0), kept(1)]),
        }
    }

    /// The interval as `EXPLAIN` shows it.
    pub fn detail(&self, names: [&str; 2]) -> String {
        let sign = |millis: i64| if millis < 0 { "-" } else { "+" };
        let shown = |millis: i64| match millis {
            0 => String::new(),
            _ => format!(" {} {}", sign(millis), TimeSpan(millis.saturating_abs())),
        };
        let [left, right] = names;
        match (self.time, shown(-self.reach[0]), shown(self.reach[1])) {
            (JoinTime::Rowtime(_), from, to) if from == to => format!("{left} = {right}{from}"),
            (JoinTime::Rowtime(_), from, to) => format!("{left} between {right}{from} and {right}{to}"),
            (JoinTime::Processing, from, to) => format!("arrival of left between that of right{from} and{to}"),
        }
    }
}
