//! Joins whose conditions bound how far apart in time two rows can be: by equal windows, or by an interval.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::{Column, JoinType};
use datafusion_expr::logical_plan::builder::build_join_schema;
use datafusion_expr::utils::{conjunction, split_conjunction};
use datafusion_expr::{Expr, LogicalPlan, Operator};

use super::difference::{Difference, compared, differences};
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
    let schema = build_join_schema(sides.plans[0].schema(), sides.plans[1].schema(), &JoinType::Inner).ok()?;
    let mut found: BTreeMap<[usize; 2], Bounds> = BTreeMap::new();
    for (left, right) in on {
        if let Some(difference) = compared(left, Operator::Eq, right, &schema) {
            note(sides, &difference, None, &mut found);
        }
    }
    let parts: Vec<&Expr> = condition.map(split_conjunction).unwrap_or_default();
    for (i, part) in parts.iter().enumerate() {
        differences(part, &schema).iter().for_each(|difference| note(sides, difference, Some(i), &mut found));
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

/// Notes what a part of the condition says of times of both sides.
fn note(sides: &Sides<'_>, difference: &Difference, part: Option<usize>, found: &mut BTreeMap<[usize; 2], Bounds>) {
    let place = |side: usize, column: &Column| sides.plans[side].schema().maybe_index_of_column(column);
    let places = |d: &Difference| {
        let [a, b] = &d.columns;
        let only = place(1, a).is_none() && place(0, b).is_none();
        place(0, a).zip(place(1, b)).filter(|_| only).map(|(l, r)| [l, r])
    };
    let turned = difference.turned();
    let of_sides = [difference, &turned].into_iter().find_map(|d| Some((places(d)?, d)));
    let Some((columns, difference)) = of_sides else { return };
    let bounds = found.entry(columns).or_default();
    bounds.earliest = bounds.earliest.max(difference.earliest);
    bounds.latest = match (bounds.latest, difference.latest) {
        (Some(known), Some(new)) => Some(known.min(new)),
        (known, new) => known.or(new),
    };
    bounds.parts.extend(part);
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
